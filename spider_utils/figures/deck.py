"""Figures of the presentation: few rows and large letters. A slide's title says what they show, so they have none."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from spider_utils.data.labels import four_classes
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.evaluate.metrics import dice, overlap_counts
from spider_utils.figures.painting import foreground_box, grey_levels, paint_classes, paint_errors, show_slice
from spider_utils.figures.style import (
    CLASS_COLOURS,
    DECK,
    ERROR_COLOURS,
    LINE_COLOURS,
    LINE_STYLES,
    class_patches,
    legend_below,
    new_figure,
    note_source,
)
from spider_utils.figures.surface import VIEWS, distance_fields, render
from spider_utils.figures.volumes import SURFACE_MM

OUR_COLOUR, LEAKY_COLOUR, PLAIN_COLOUR = LINE_COLOURS[0], LINE_COLOURS[1], LINE_COLOURS[3]
UNCLEAR_COLOUR = "#888888"  # of a row whose interval holds 0
SHOWN_VIEWS = {"from the left": "from the left", "vertebrae as glass": "as glass"}  # of surface.VIEWS, and their titles
NARROWEST = 0.6  # of the widest panel: a panel has room for its title
FEW = 6  # rows, whose values are told beside them
DRAWN = (56, 124)  # rows and columns of a drawn shape


def score_rows(
    rows: pd.DataFrame,
    xlabel: str,
    *,
    source: str,
    form: str = ".3f",
    mark: float | None = None,
    legend: Mapping[str, str] | None = None,
) -> Figure:
    """One row a line, from above: title, value, ci_low, ci_high, colour, and paper, the paper's value.

    What is NaN is not drawn. `mark`: where a dotted line stands, such as no difference; `legend`: texts and their
    colours.
    """
    figure, ((axes,),) = new_figure(size=DECK)
    told = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontweight": "bold"}
    for y, row in enumerate(rows.itertuples()):
        if np.isfinite(row.value):
            spread = [[max(row.value - row.ci_low, 0)], [max(row.ci_high - row.value, 0)]]
            axes.errorbar(row.value, y, xerr=spread, fmt="o", color=row.colour, markersize=9, capsize=4)
        if np.isfinite(row.paper):
            axes.plot(row.paper, y, "D", color="#000000", markerfacecolor="white", markersize=9)
        if len(rows) <= FEW:
            for value, colour in ((row.value, row.colour), (row.paper, "#000000")):
                if np.isfinite(value):
                    axes.annotate(f"{value:{form}}", (value, y), (0, 6), color=colour, **told)
    if mark is not None:
        axes.axvline(mark, color="#000000", linestyle=":", linewidth=1.5, zorder=0)
    axes.set_yticks(range(len(rows)), rows["title"], fontsize=12 if len(rows) <= FEW else 10.5)
    axes.set_ylim(len(rows) - 0.5, -0.75)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(xlabel)
    axes.grid(axis="x", alpha=0.3)
    handles = [_entry(text, colour) for text, colour in (legend or {}).items()]
    if handles and rows["paper"].notna().any():
        handles.append(_entry("paper", "#000000", marker="D", markerfacecolor="white"))
    if handles:
        legend_below(figure, handles)
    note_source(figure, source)
    return figure


def pictures(
    panels: Sequence[tuple[str, np.ndarray]],
    *,
    source: str,
    patches: Sequence[Patch] = (),
    aspects: Sequence[float] | None = None,
) -> Figure:
    """Slices side by side, (H, W) grey or (H, W, 3) painted, each under its title; `patches`: the legend's entries.

    `aspects`: row over column spacing of each, where it is not 1.
    """
    aspects = aspects or [1.0] * len(panels)
    widths = [
        picture.shape[1] / (picture.shape[0] * aspect) for (_, picture), aspect in zip(panels, aspects, strict=True)
    ]
    ratios = np.maximum(widths, NARROWEST * max(widths))
    figure, (row,) = new_figure(1, len(panels), size=DECK, width_ratios=ratios)
    figure.get_layout_engine().set(w_pad=0.03, wspace=0)
    for axes, (title, picture), aspect in zip(row, panels, aspects, strict=True):
        show_slice(axes, picture, title, aspect)
    if patches:
        legend_below(figure, list(patches))
    note_source(figure, source)
    return figure


def numbers_to_classes(image: np.ndarray, labels: np.ndarray, *, source: str, aspect: float = 1.0) -> Figure:
    """A slice (H, W) with SPIDER's label numbers in one colour each, and with the four classes that become of them."""
    present = np.unique(labels[labels > 0])
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, len(present)))[:, :3]
    numbered = np.repeat(grey_levels(image)[..., None], 3, axis=2).astype(np.float32)
    for label, colour in zip(present, colours, strict=True):
        numbered[labels == label] = 0.35 * numbered[labels == label] + 0.65 * 255 * colour
    classes = paint_classes(image, four_classes(labels), opacity=0.6)
    panels = [
        ("series", grey_levels(image)),
        (f"{len(present) + 1} label numbers", numbered.round().astype(np.uint8)),
        ("4 classes", classes),
    ]
    patches = [Patch(color=colour, label=name) for name, colour in CLASS_COLOURS.items()]
    return pictures(panels, source=source, patches=patches, aspects=[aspect] * len(panels))


def volume_views(image: np.ndarray, classes: np.ndarray, spacing: tuple[float, float, float], *, source: str) -> Figure:
    """A volume (D, H, W) in the common pose and its classes: the middle slice painted, and two views of the surfaces.

    `spacing`: slice, row and column in mm. Surfaces are smoothed, for looking at only (see `surface.distance_fields`).
    """
    middle = len(image) // 2
    box = foreground_box(classes.max(axis=0), margin=20)
    fields = distance_fields(classes, spacing)
    colours = {name: to_rgb(CLASS_COLOURS[name]) for name in fields}
    views = [view for view in VIEWS if view.name in SHOWN_VIEWS]
    panels = [("one slice", paint_classes(image[middle], classes[middle])[box])]
    panels += [(SHOWN_VIEWS[view.name], _on_white(render(fields, colours, view, SURFACE_MM))) for view in views]
    aspects = [spacing[1] / spacing[2], *[1.0] * len(views)]
    return pictures(panels, source=source, patches=class_patches(tuple(fields)), aspects=aspects)


def errors(image: np.ndarray, reference: np.ndarray, prediction: np.ndarray, *, source: str) -> Figure:
    """A slice (H, W) cropped to its spine: reference and predicted classes, and hits and errors."""
    box = foreground_box(reference, prediction)
    panels = [
        ("reference", paint_classes(image, reference)[box]),
        ("prediction", paint_classes(image, prediction)[box]),
        ("errors", paint_errors(image, reference, prediction)[box]),
    ]
    return pictures(panels, source=source, patches=_error_patches())


def what_scores_see() -> Figure:
    """A drawn disc against three predictions, with their Dice and HD95 (in pixels): 1 pixel smaller all around, moved
    by 3 pixels, and whole but with an island far away.
    """
    reference = _ellipse(28, 48, 12, 40)
    cases = {
        "1 pixel smaller": _ellipse(28, 48, 11, 39),
        "moved by 3 pixels": np.roll(reference, 3, axis=0),
        "with an island": reference | _ellipse(9, 112, 4, 9),
    }
    figure, axes = new_figure(len(cases), 2, size=DECK, width_ratios=(1.4, 1))
    for (picture, words), (title, prediction) in zip(axes, cases.items(), strict=True):
        picture.imshow(_painted(reference, prediction), interpolation="nearest")
        score = float(dice(*overlap_counts(reference, prediction)))
        far = boundary_distances(reference, prediction).hd95
        words.text(0, 0.5, f"{title}\nDice {score:.3f}\nHD95 {far:.1f} px", va="center", fontsize=12)
        for panel in (picture, words):
            panel.set_axis_off()
    legend_below(figure, _error_patches())
    figure.text(0.99, 0.012, "Drawn shapes", ha="right", va="bottom", fontsize=9.5, color="#555555")
    return figure


def focal_weight(gammas: Sequence[float] = (0, 4)) -> Figure:
    """Focal loss -(1 - p)^gamma log p of one pixel: with gamma 0 it is the cross-entropy (Lin et al. 2017)."""
    p = np.linspace(0.005, 1, 400)
    figure, ((axes,),) = new_figure(size=DECK)
    for gamma, colour, style in zip(gammas, LINE_COLOURS, LINE_STYLES, strict=False):
        label = f"Focal, γ = {gamma:g}" if gamma else "cross-entropy (γ = 0)"
        axes.plot(p, -((1 - p) ** gamma) * np.log(p), style, color=colour, label=label, linewidth=3)
    axes.set(xlabel="probability of the true class", ylabel="loss of one pixel", ylim=(0, 4), xlim=(0, 1))
    axes.annotate("hard pixel", (0.06, 3.6), fontsize=12, ha="left")
    axes.annotate("easy pixel:\nhardly counts", (0.98, 0.35), fontsize=12, ha="right", va="bottom")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize=12)
    return figure


def _error_patches() -> list[Patch]:
    """The entries for hits and errors, in words short enough for a slide."""
    names = {"true positive": "right", "false positive": "too much", "false negative": "missed"}
    return [Patch(color=ERROR_COLOURS[name], label=text) for name, text in names.items()]


def _entry(text: str, colour: str, **look) -> Line2D:
    """One entry of a legend: a point."""
    return Line2D(
        [], [], **{"marker": "o", "linestyle": "none", "markersize": 9, "color": colour, "label": text} | look
    )


def _ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
    """A filled ellipse (H, W) bool with these half axes, in pixels."""
    rows, columns = np.indices(DRAWN)
    return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1


def _on_white(picture: np.ndarray) -> np.ndarray:
    """A rendered picture (H, W, 4) of 0..1 without its empty margins, (H, W, 3) uint8."""
    rows, columns = (np.flatnonzero(picture[..., 3].any(axis=axis)) for axis in (1, 0))
    seen = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    opaque = seen[..., :3] * seen[..., 3:] + 1 - seen[..., 3:]
    return (255 * opaque.clip(0, 1)).round().astype(np.uint8)


def _painted(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Two masks (H, W) bool as a picture: right, too much and missed in their colours, on light grey."""
    picture = np.full((*reference.shape, 3), 238, np.uint8)
    masks = (reference & prediction, prediction & ~reference, reference & ~prediction)
    for mask, colour in zip(masks, ERROR_COLOURS.values(), strict=True):
        picture[mask] = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return picture
