"""Figures of the presentation: few rows and large letters. A slide's title says what they show, so they have none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from spider_utils.data.labels import four_classes
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.evaluate.metrics import dice, overlap_counts
from spider_utils.figures.forest import forest, tell
from spider_utils.figures.model import focal_lines
from spider_utils.figures.painting import (
    blend,
    foreground_box,
    grey_levels,
    in_colour,
    paint_classes,
    paint_flat,
    paint_pair,
    show_slices,
)
from spider_utils.figures.style import (
    CLASS_COLOURS,
    DECK,
    ERROR_COLOURS,
    LINE_COLOURS,
    class_patches,
    error_patches,
    finish,
    layout,
    new_figure,
    point_entry,
)
from spider_utils.figures.surface import VIEWS
from spider_utils.figures.volumes import rendered

UNCLEAR_COLOUR = "#888888"  # of a row whose interval holds 0
SHOWN_VIEWS = {"from the left": "from the left", "vertebrae as glass": "as glass"}  # of surface.VIEWS, and their titles
NARROWEST = 0.6  # of the widest panel: a panel has room for its title
LARGE = 13  # points; 18 on a slide
FEW = 6  # rows, whose values are told beside them
DRAWN = (56, 124)  # rows and columns of a drawn shape
SHORT = {"true positive": "right", "false positive": "too much", "false negative": "missed"}  # for a slide


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
    few = len(rows) <= FEW
    told: dict[str, Any] = {"above": 6, "va": "bottom", "fontweight": "bold"}
    forest(axes, rows, form if few else "", told)
    for y, paper in enumerate(rows["paper"]):
        if np.isfinite(paper):
            axes.plot(paper, y, "D", color="#000000", markerfacecolor="white", markersize=9)
            if few:
                tell(axes, paper, y, form, **told)
    if mark is not None:
        axes.axvline(mark, color="#000000", linestyle=":", linewidth=1.5, zorder=0)
    axes.tick_params(axis="y", labelsize=LARGE if few else 10.5)
    axes.set_ylim(len(rows) - 0.5, -0.75)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(xlabel)
    entries = [point_entry(text, colour, size=9) for text, colour in (legend or {}).items()]
    if entries and rows["paper"].notna().any():
        entries.append(point_entry("paper", "#000000", "D", size=9, markerfacecolor="white"))
    return finish(figure, source=source, legend=entries)


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
    figure = show_slices(panels, DECK, aspects=aspects, width_ratios=ratios)
    layout(figure).set(w_pad=0.03, wspace=0)
    return finish(figure, source=source, legend=patches)


def numbers_to_classes(image: np.ndarray, labels: np.ndarray, *, source: str, aspect: float = 1.0) -> Figure:
    """A slice (H, W) with SPIDER's label numbers in one colour each, and with the four classes that become of them."""
    present = np.unique(labels[labels > 0])
    colours = colormaps["turbo"](np.linspace(0.05, 0.95, len(present)))[:, :3]
    numbered = in_colour(image)
    for label, colour in zip(present, colours, strict=True):
        blend(numbered, labels == label, colour, 0.65)
    classes = paint_classes(image, four_classes(labels), opacity=0.6)
    panels = [
        ("series", grey_levels(image)),
        (f"{len(present) + 1} label numbers", numbered.round().astype(np.uint8)),
        ("4 classes", classes),
    ]
    patches = class_patches(tuple(CLASS_COLOURS))
    return pictures(panels, source=source, patches=patches, aspects=[aspect] * len(panels))


def volume_views(image: np.ndarray, classes: np.ndarray, spacing: tuple[float, float, float], *, source: str) -> Figure:
    """A volume (D, H, W) in the common pose and its classes: the middle slice painted, and two views of the surfaces.

    `spacing`: slice, row and column in mm. Surfaces are smoothed, for looking at only (see `surface.distance_fields`).
    """
    middle = len(image) // 2
    box = foreground_box(classes.max(axis=0), margin=20)
    names, views = rendered(classes, spacing, [view for view in VIEWS if view.name in SHOWN_VIEWS])
    panels = [("one slice", paint_classes(image[middle], classes[middle])[box])]
    panels += [(SHOWN_VIEWS[name], _on_white(picture)) for name, picture in views.items()]
    aspects = [spacing[1] / spacing[2], *[1.0] * len(views)]
    return pictures(panels, source=source, patches=class_patches(names), aspects=aspects)


def errors(
    image: np.ndarray,
    reference: np.ndarray,
    prediction: np.ndarray,
    *,
    source: str,
    titles: Sequence[str] = ("reference", "prediction", "errors"),
) -> Figure:
    """A slice (H, W) cropped to its spine: reference and predicted classes, and hits and errors."""
    painted = paint_pair(image, reference, prediction, foreground_box(reference, prediction))
    panels = list(zip(titles, painted.values(), strict=True))
    return pictures(panels, source=source, patches=error_patches(SHORT))


def patient_points(before: np.ndarray, after: np.ndarray, names: tuple[str, str], *, source: str) -> Figure:
    """One point a patient: its score (n,) with one network against its score with another, of the same patients.

    Above the line the second network is better. `names`: of the two networks.
    """
    figure, ((axes,),) = new_figure(size=DECK, grid="both")
    better = after > before
    for rows, colour, text in ((better, LINE_COLOURS[0], "better"), (~better, LINE_COLOURS[1], "not better")):
        axes.plot(before[rows], after[rows], "o", color=colour, markersize=7, label=f"{text}: {rows.sum()}")
    ends = min(before.min(), after.min()) - 0.01, max(before.max(), after.max()) + 0.01
    axes.plot(ends, ends, color="#000000", linewidth=1)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel(f"Dice, {names[0]}", fontsize=LARGE)
    axes.set_ylabel(f"Dice, {names[1]}", fontsize=LARGE)
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize=LARGE)
    axes.legend(loc="lower right", fontsize=LARGE)
    return finish(figure, source=source)


def over_epochs(lines: Mapping[str, pd.DataFrame], *, source: str) -> Figure:
    """Dice over the length of training: a line a table of epoch, value, ci_low, ci_high, by its name."""
    figure, ((axes,),) = new_figure(size=DECK, grid="both")
    for colour, (name, table) in zip((LINE_COLOURS[1], LINE_COLOURS[0]), lines.items(), strict=False):
        table = table.sort_values("epoch")
        axes.fill_between(table["epoch"], table["ci_low"], table["ci_high"], color=colour, alpha=0.25, linewidth=0)
        axes.plot(table["epoch"], table["value"], "o-", color=colour, linewidth=3, label=name)
    axes.set_xlabel("epochs", fontsize=LARGE)
    axes.set_ylabel("Dice (95 % interval)", fontsize=LARGE)
    axes.tick_params(labelsize=LARGE)
    axes.locator_params(nbins=5)
    axes.legend(loc="lower right", fontsize=LARGE)
    return finish(figure, source=source)


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
    finish(figure, legend=error_patches(SHORT))
    figure.text(0.99, 0.012, "Drawn shapes", ha="right", va="bottom", fontsize=9.5, color="#555555")
    return figure


def focal_weight(gammas: Sequence[float] = (0, 4)) -> Figure:
    """Focal loss -(1 - p)^gamma log p of one pixel: with gamma 0 it is the cross-entropy (Lin et al. 2017)."""
    figure, ((axes,),) = new_figure(size=DECK, grid="both")
    focal_lines(axes, {g: f"Focal, γ = {g:g}" if g else "cross-entropy (γ = 0)" for g in gammas}, linewidth=3)
    axes.set(xlabel="probability of the true class", ylabel="loss of one pixel", ylim=(0, 4), xlim=(0, 1))
    axes.annotate("hard pixel", (0.06, 3.6), fontsize=12, ha="left")
    axes.annotate("easy pixel:\nhardly counts", (0.98, 0.35), fontsize=12, ha="right", va="bottom")
    axes.legend(loc="upper right", fontsize=12)
    return figure


def _ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
    """A filled ellipse (H, W) bool with these half axes, in pixels."""
    rows, columns = np.indices(DRAWN)
    return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1


def _on_white(picture: np.ndarray) -> np.ndarray:
    """A rendered picture (H, W, 4) of 0..1 as (H, W, 3) uint8."""
    opaque = picture[..., :3] * picture[..., 3:] + 1 - picture[..., 3:]
    return (255 * opaque.clip(0, 1)).round().astype(np.uint8)


def _painted(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Two masks (H, W) bool as a picture: right, too much and missed in their colours, on light grey."""
    masks = (reference & prediction, prediction & ~reference, reference & ~prediction)
    ground = np.full((*reference.shape, 3), 238, np.uint8)
    return paint_flat(ground, dict(zip(ERROR_COLOURS.values(), masks, strict=True)))
