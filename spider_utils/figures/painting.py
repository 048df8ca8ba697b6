"""Slices as pictures: grey levels, classes and errors painted over them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.ndimage import binary_erosion

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.figures.style import CLASS_COLOURS, ERROR_COLOURS, SLIDE, new_figure, rgb

DISPLAY_GAMMA = 0.7


def grey_levels(image: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Give a slice (H, W) as uint8 for the screen: its 0.5 to 99.9 percentile on 0..255, brightened by a gamma of 0.7.

    Only what is shown changes: near the coil fat is so bright that vertebrae would else stay black. `reference`: the
    slice whose percentiles are taken instead, so that changes of brightness are seen.
    """
    low, high = np.percentile(image if reference is None else reference, (0.5, 99.9))
    scaled = np.clip((np.asarray(image, np.float32) - low) / max(high - low, 1e-6), 0, 1)
    return (255 * scaled**DISPLAY_GAMMA).round().astype(np.uint8)


def paint_classes(
    image: np.ndarray, classes: np.ndarray, opacity: float = 0.35, shown: tuple[str, ...] = FOREGROUND
) -> np.ndarray:
    """Paint the classes `shown` over a slice: (H, W) image and classes 0..3 to (H, W, 3) uint8, with solid outlines."""
    picture = in_colour(image)
    for name in shown:
        mask = np.asarray(classes) == CLASSES.index(name)
        if opacity > 0:
            width = max(1, round(mask.shape[0] / 400))
            rim = mask & ~binary_erosion(mask, iterations=width, border_value=1)
            blend(picture, mask, CLASS_COLOURS[name], opacity)
            blend(picture, rim, CLASS_COLOURS[name], 1.0)
    return picture.round().astype(np.uint8)


def paint_errors(image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, opacity: float = 0.3) -> np.ndarray:
    """Paint hits and errors of the foreground over a slice, (H, W, 3) uint8.

    True positive: the right foreground class. False negative: the reference is foreground and the prediction is
    background. False positive: the prediction is foreground where the reference is background *or another class*.
    Errors are three times as opaque as hits, so that they stand out without colour too.
    """
    picture = in_colour(image)
    for name, mask in error_masks(reference, prediction).items():
        share = opacity if name == "true positive" else min(1.0, 3 * opacity)
        blend(picture, mask, ERROR_COLOURS[name], share)
    return picture.round().astype(np.uint8)


def error_masks(reference: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
    """Give the three masks of `paint_errors`, each (H, W) bool; no pixel is in two of them."""
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    predicted = prediction > 0
    return {
        "true positive": predicted & (prediction == reference),
        "false positive": predicted & (prediction != reference),
        "false negative": ~predicted & (reference > 0),
    }


def paint_pair(
    image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, box: tuple[slice, slice] = (slice(None),) * 2
) -> dict[str, np.ndarray]:
    """Give a slice painted three times, each (H, W, 3) uint8 cut to `box`: reference, prediction and errors."""
    pictures = {
        "reference": paint_classes(image, reference),
        "prediction": paint_classes(image, prediction),
        "errors": paint_errors(image, reference, prediction),
    }
    return {name: picture[box] for name, picture in pictures.items()}


def paint_flat(picture: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fill each mask (H, W) bool of `picture` (H, W, 3) uint8 with the colour that it stands under, in place."""
    for colour, mask in masks.items():
        picture[mask] = rgb(colour)
    return picture


def show_slice(
    axes: Axes, picture: np.ndarray, title: str = "", aspect: float = 1.0, fontsize: float | None = None
) -> None:
    """Show a slice (H, W) in grey, or a painted one (H, W, 3), without ticks; `aspect` is row over column spacing."""
    picture = grey_levels(picture) if picture.ndim == 2 else picture
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect=aspect)
    axes.set_title(title)
    if fontsize:
        axes.title.set_fontsize(fontsize)
    axes.set_axis_off()


def show_slices(
    panels: Sequence[tuple[str, np.ndarray]],
    size: tuple[float, float] = SLIDE,
    shape: tuple[int, int] | None = None,
    *,
    aspects: Sequence[float] | None = None,
    fontsize: float | None = None,
    **options,
) -> Figure:
    """Make a figure of slices in order of reading, (title, slice) each, as `show_slice` shows them.

    `shape`: rows and columns, where they do not all stand side by side; `aspects`: row over column spacing of each,
    where it is not 1; `options` go to matplotlib.pyplot.subplots.
    """
    figure, grid = new_figure(*(shape or (1, len(panels))), size, **options)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    aspects, places = aspects or [1.0] * len(panels), grid.flat[: len(panels)]
    for axes, (title, picture), aspect in zip(places, panels, aspects, strict=True):
        show_slice(axes, picture, title, aspect, fontsize)
    return figure


def foreground_box(*masks: np.ndarray, margin: int = 20) -> tuple[slice, slice]:
    """Give the rows and columns that hold the foreground of all masks (H, W), `margin` pixels wider on each side."""
    foreground = np.any([np.asarray(mask) > 0 for mask in masks], axis=0)
    if not foreground.any():
        return slice(0, foreground.shape[0]), slice(0, foreground.shape[1])
    edges = [np.flatnonzero(foreground.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    return tuple(slice(max(0, int(first) - margin), int(last) + margin + 1) for first, last in edges)


def in_colour(image: np.ndarray) -> np.ndarray:
    """Give a slice's grey levels as a picture to paint on, (H, W, 3) float32 of 0..255."""
    return np.repeat(grey_levels(image)[..., None], 3, axis=2).astype(np.float32)


def blend(picture: np.ndarray, mask: np.ndarray, colour: str, share: float) -> None:
    """Mix a share of `colour` into `picture` (H, W, 3) float32 where `mask` is set, in place."""
    picture[mask] = (1 - share) * picture[mask] + share * 255 * np.array(to_rgb(colour), np.float32)
