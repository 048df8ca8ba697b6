"""What the scores count, drawn on one slice and one class: the pixels of overlap, and the distances of two contours."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy.ndimage import binary_erosion, distance_transform_edt

from spider_utils.evaluate.boundaries import HAUSDORFF_QUANTILE, TOLERANCES, Boundary, boundary_distances
from spider_utils.evaluate.metrics import dice, iou, overlap_counts, precision, recall
from spider_utils.figures.painting import (
    blend,
    error_masks,
    foreground_box,
    grey_levels,
    in_colour,
    show_slice,
    show_slices,
)
from spider_utils.figures.style import DOTTED, ERROR_COLOURS, LINE_COLOURS, error_patches, finish, new_figure

TOLERANCE = TOLERANCES[0]
OVERLAP_SIZE = (8.0, 5.6)  # inches; a spine is slender
CLOSE = 0.2  # of the slice's rows, the side of the close-up
FARTHEST = "#FFD400"  # boundary pixels beyond the HD95
SIDES = {"prediction": LINE_COLOURS[1], "reference": LINE_COLOURS[0]}  # whose pixels a distance starts from


def class_overlap(
    image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, title: str, *, source: str
) -> Figure:
    """One class of one slice, (H, W) image and two boolean masks, cropped: the reference's pixels, the prediction's,
    and both laid over each other. The legend counts the three colours, the heading tells the scores of the counts.
    """
    counts = overlap_counts(reference, prediction)
    legend = error_patches({name: f"{name}: {count:,} px" for name, count in zip(ERROR_COLOURS, counts, strict=True)})
    box, both = foreground_box(reference, prediction), in_colour(image)
    for name, mask in error_masks(reference, prediction).items():
        blend(both, mask, ERROR_COLOURS[name], 0.75)
    panels = []
    for name, mask in (("reference", reference), ("prediction", prediction)):
        alone = in_colour(image)
        blend(alone, mask, SIDES[name], 0.75)
        panels.append((f"{name}: {np.count_nonzero(mask):,} px", alone))
    cut = [(name, picture.round().astype(np.uint8)[box]) for name, picture in (*panels, ("both", both))]
    scores = {"Dice": dice, "IoU": iou, "precision": precision, "recall": recall}
    told = ", ".join(f"{name} {float(score(*counts)):.3f}" for name, score in scores.items())
    return finish(show_slices(cut, OVERLAP_SIZE), f"{title}\n{told}", source=source, legend=legend)


def contour_distances(
    image: np.ndarray,
    reference: np.ndarray,
    prediction: np.ndarray,
    title: str,
    *,
    unit: str,
    spacing: Sequence[float] = (1.0, 1.0),
    source: str,
) -> Figure:
    """One class of one slice, (H, W) image and two boolean masks: every boundary pixel of the prediction in the colour
    of its distance to the reference's boundary, cropped and close up around the farthest one; and the share of both
    boundaries within each distance, on which ASD, HD95 and NSD are read.

    `spacing`: of rows and columns in `unit` ("mm" or "px"). Distances are those of `evaluate.boundaries`. With one of
    the masks empty there are none, and the figure says so.
    """
    boundary = boundary_distances(reference, prediction, spacing)
    figure, ((left, middle, right),) = new_figure(1, 3, size=(12.0, 5.8), width_ratios=(0.6, 1.1, 1.5))
    distances, whole = edge_distances(prediction, reference, spacing), foreground_box(reference, prediction, margin=8)
    close = _around_farthest(distances)
    scale = Normalize(0, max(boundary.hd95, 1.0) if boundary.pixels else 1.0)
    for axes, box, name in ((left, whole, "prediction"), (middle, close, "close up")):
        show_slice(axes, grey_levels(image)[box], name, spacing[0] / spacing[1])
        if reference[box].any():
            axes.contour(reference[box], [0.5], colors="white", linewidths=0.5 if box == whole else 1.5)
        look: dict[str, Any] = {"norm": scale, "interpolation": "nearest", "aspect": spacing[0] / spacing[1]}
        axes.imshow(distances[box], cmap=_colours(), **look)
    corner = close[1].start - whole[1].start - 0.5, close[0].start - whole[0].start - 0.5
    sides = close[1].stop - close[1].start, close[0].stop - close[0].start
    left.add_patch(Rectangle(corner, *sides, fill=False, edgecolor="white", linestyle="--"))
    label = f"from the prediction's boundary to the reference's (white), {unit}"
    where: dict[str, Any] = {"location": "bottom", "fraction": 0.05, "pad": 0.02}
    figure.colorbar(ScalarMappable(scale, _colours()), ax=[left, middle], label=label, extend="max", **where)
    legend = _cumulative(right, boundary, unit)
    if boundary.pixels:
        nsd = f"NSD at {TOLERANCE:g} {unit} {boundary.nsd[0]:.3f}"
        title = f"{title}\nASD {boundary.asd:.2f} {unit}, HD95 {boundary.hd95:.2f} {unit}, {nsd}"
    return finish(figure, title, source=source, legend=legend)


def edge_distances(own: np.ndarray, other: np.ndarray, spacing: Sequence[float] = (1.0, 1.0)) -> np.ndarray:
    """Return the distance of each of `own`'s boundary pixels to the nearest one of `other`, two boolean masks (H, W);
    NaN away from `own`'s boundary, and everywhere with one of them empty.
    """
    edges = [mask & ~binary_erosion(mask) for mask in (own, other)]
    if not all(edge.any() for edge in edges):
        return np.full(own.shape, np.nan)
    return np.where(edges[0], distance_transform_edt(~edges[1], sampling=spacing), np.nan)


def _around_farthest(distances: np.ndarray) -> tuple[slice, slice]:
    """Give the rows and columns around the farthest boundary pixel, a window of CLOSE of the slice's rows."""
    sides = [min(round(CLOSE * distances.shape[0]), size) for size in distances.shape]
    middle = np.unravel_index(np.argmax(np.nan_to_num(distances, nan=-1.0)), distances.shape)
    starts = [
        int(np.clip(at - side // 2, 0, size - side))
        for at, side, size in zip(middle, sides, distances.shape, strict=True)
    ]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns


def _cumulative(axes: Axes, boundary: Boundary, unit: str) -> list[Line2D]:
    """Draw the share of each side's boundary within a distance; return the legend's entries."""
    axes.set(title="Share of the boundary within a distance", xlabel=f"distance, {unit}", ylim=(0, 103))
    axes.set_ylabel("share of boundary pixels, %")
    if not boundary.pixels:
        axes.text(0.5, 0.5, "no distances: a mask is empty", transform=axes.transAxes, ha="center")
        return []
    for name, values in (("prediction", boundary.from_prediction), ("reference", boundary.from_reference)):
        share = 100 * np.arange(len(values) + 1) / len(values)
        axes.step(np.concatenate([[0], np.sort(values)]), share, where="post", color=SIDES[name])
        axes.plot(
            np.quantile(values, HAUSDORFF_QUANTILE), 100 * HAUSDORFF_QUANTILE, "o", color=SIDES[name], markersize=9
        )
    axes.axhline(100 * HAUSDORFF_QUANTILE, **DOTTED)
    axes.axvline(boundary.asd, color="#000000", linestyle="--", linewidth=1.5)
    axes.axvline(TOLERANCE, color="#009E73", linestyle=":", linewidth=2)
    axes.set_xlim(left=0)
    lines = [
        Line2D([], [], color=colour, marker="o", label=f"from the {name} (dot: 95 %)") for name, colour in SIDES.items()
    ]
    mean = Line2D([], [], color="#000000", linestyle="--", linewidth=1.5, label="ASD: mean")
    tolerance = Line2D([], [], color="#009E73", linestyle=":", label=f"NSD: up to {TOLERANCE:g} {unit}")
    return [*lines, mean, tolerance]


def _colours() -> mpl.colors.Colormap:
    return mpl.colormaps["cool"].with_extremes(over=FARTHEST, bad=(0, 0, 0, 0))
