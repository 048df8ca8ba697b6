"""Figures of notebook 02 on the masks themselves: their conventions, and what copying one to its neighbour scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.metrics import dice, overlap_counts
from spider_utils.figures.forest import class_points, forest, intervals, paper_points, score_entries
from spider_utils.figures.painting import foreground_box, paint_classes, paint_errors, show_slice, show_slices
from spider_utils.figures.style import (
    CLASS_COLOURS,
    LINE_COLOURS,
    SCORE_COLOURS,
    SCORED,
    class_patches,
    error_patches,
    finish,
    new_figure,
    point_entry,
)
from spider_utils.masks.conventions import close_up

CONVENTIONS = {"gap": (LINE_COLOURS[0], "o"), "touching": (LINE_COLOURS[1], "s")}
MOST_NAMES = 42  # more series than this are drawn without their names
COPY_NAMES = {  # of the errors of a copied mask
    "true positive": "same",
    "false positive": "only copied, or another class",
    "false negative": "only its own",
}
COPY_MARGIN = 24  # pixels beside the spine


def reference_audit(
    audit: pd.DataFrame, examples: Sequence[tuple[str, np.ndarray, np.ndarray]], *, source: str
) -> Figure:
    """One row a series, narrowest gap at the top: gap with quartiles, touching contour, islands; examples at the right.

    `audit`: the table of spider_utils.studies.reference; `examples`: (title, slice (H, W), classes), of which the
    first two are shown, a disc close up.
    """
    examples = examples[:2]
    measured = audit.dropna(subset=["gap_median"]).sort_values(["gap_median", "touching"], ascending=[True, False])
    figure, grid = new_figure(len(examples), 4, width_ratios=(2.6, 1.4, 1.4, 2.2))
    spec = grid[0, 0].get_gridspec()
    for axes in grid[:, :3].flat:
        axes.remove()
    gap = figure.add_subplot(spec[:, 0])
    touching, islands = (figure.add_subplot(spec[:, column], sharey=gap) for column in (1, 2))
    for y, row in enumerate(measured.itertuples()):
        colour, marker = CONVENTIONS[row.convention]
        gap.plot((row.gap_q1, row.gap_q3), (y, y), color=colour, linewidth=3, alpha=0.45, solid_capstyle="butt")
        gap.plot(row.gap_median, y, marker, color=colour, markersize=5.5, clip_on=False)
        for axes, value in ((touching, 100 * row.touching), (islands, row.islands)):
            axes.barh(y, value, color=colour, height=0.75)
    names = measured["series"] if measured["patient"].duplicated().any() else measured["patient"]
    few = len(measured) <= MOST_NAMES
    gap.set_yticks(range(len(measured)) if few else [], names if few else [], fontsize=8 if len(measured) > 16 else 10)
    gap.set(ylabel="Patient" if names.name == "patient" else "Series", xlabel="Gap, pixels (bar: quartiles)")
    touching.set_xlabel("Touching, % of\nfacing contour")
    islands.set_xlabel("Islands\na slice")
    gap.set_ylim(len(measured) - 0.4, -0.6)
    for axes in (gap, touching, islands):
        axes.set_xlim(0, None)
        axes.grid(axis="x", alpha=0.3)
        axes.xaxis.label.set_fontsize(11)
    for axes in (touching, islands):
        axes.tick_params(axis="y", length=0, labelleft=False)
    for axes, example in zip(grid[:, 3], examples, strict=True):
        _show_example(axes, *example)
    counts = measured["convention"].value_counts()
    legend = [
        point_entry(f"{name}: {counts[name]} series", colour, marker, size=6)
        for name, (colour, marker) in CONVENTIONS.items()
        if name in counts
    ]
    title = f"The reference's own conventions: {len(measured)} series, from disc to vertebra"
    return finish(figure, title, source=source, legend=[*legend, *class_patches()])


def reference_examples(examples: Sequence[tuple[str, np.ndarray, np.ndarray]], *, source: str) -> Figure:
    """A disc of each slice (title, slice (H, W), classes) close up; three fit on a slide."""
    figure, (row,) = new_figure(1, len(examples), size=(10, 4.6))
    for axes, example in zip(row, examples, strict=True):
        _show_example(axes, *example)
    title = "The series whose references differ most, close up"
    return finish(figure, title, source=source, legend=class_patches())


def copied_mask(
    numbers: tuple[int, int], images: np.ndarray, masks: np.ndarray, *, source: str, aspect: float = 1.0
) -> Figure:
    """The mask of one slice copied to its neighbour, beside the neighbour's own mask, with the Dice of the two.

    `numbers`: of the two slices; `images`, `masks`: (2, H, W), classes 0..3; `aspect`: row over column spacing. The
    title's Dice is the mean of the classes that either mask has; the legend's are those of the classes.
    """
    scores = [
        dice(*overlap_counts(masks[1] == CLASSES.index(name), masks[0] == CLASSES.index(name))) for name in FOREGROUND
    ]
    mean, (first, second) = float(np.nanmean(scores)), numbers
    box = slice(None), foreground_box(*masks, margin=COPY_MARGIN)[1]
    pictures = {
        f"slice {first}\nand its mask": paint_classes(images[0], masks[0]),
        f"slice {second}\nunder that mask": paint_classes(images[1], masks[0]),
        f"slice {second}\nand its own mask": paint_classes(images[1], masks[1]),
        f"both compared\nDice {mean:.2f}": paint_errors(images[1], masks[1], masks[0]),
    }
    figure = show_slices([(title, picture[box]) for title, picture in pictures.items()], aspects=[aspect] * 4)
    copy, compared = figure.axes[1], figure.axes[3]
    compared.title.set_fontweight("bold")
    arrow = {"arrowstyle": "-|>", "linewidth": 3, "color": LINE_COLOURS[1], "mutation_scale": 22}
    place: dict[str, Any] = {"xycoords": copy.transAxes, "textcoords": copy.transAxes, "annotation_clip": False}
    copy.annotate("", (-0.02, 0.5), (-0.34, 0.5), arrowprops=arrow, **place)
    copy.text(-0.18, 0.53, "copied", transform=copy.transAxes, ha="center", color=LINE_COLOURS[1])
    legend = [
        Patch(color=CLASS_COLOURS[name], label=f"{name} {score:.2f}")
        for name, score in zip(FOREGROUND, scores, strict=True)
    ]
    title = f"No network: a mask copied from the neighbouring slice scores a Dice of {mean:.2f}"
    return finish(figure, title, source=source, legend=[*legend, *error_patches(COPY_NAMES)])


def copying_dice(
    scores: pd.DataFrame,
    names: dict[str, str],
    paper: pd.DataFrame | None = None,
    *,
    sequence: str = "all",
    aggregation: str = "pooled",
    source: str,
) -> Figure:
    """Dice by class of masks that were copied, with intervals, one panel a kind of copying, beside the paper's Dice.

    `scores`: the table of spider_utils.studies.copying.copying_table; `names`: its value of `split` to the panel's
    title, in order; `paper`: columns class, metric, value of the sequence to compare with. Each panel has its own
    scale.
    """
    chosen = scores[(scores["metric"] == "dice") & (scores["sequence"] == sequence)]
    chosen = chosen[chosen["aggregation"] == aggregation]
    figure, (row,) = new_figure(1, len(names), grid="y")
    for axes, (split, title) in zip(row, names.items(), strict=True):
        part = chosen[chosen["split"] == split].set_index("class")
        class_points(axes, part, SCORED)
        for x, value in enumerate(part.loc[list(SCORED), "value"]):
            look = {"textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 11}
            axes.annotate(f"{value:.3f}", (x, value), (-8, 0), **look)
        if paper is not None:
            paper_points(axes, paper[paper["metric"] == "dice"], FOREGROUND)
        axes.set_xticks(range(len(SCORED)), [*FOREGROUND, "their mean"])
        axes.set(title=title, xlim=(-0.75, len(SCORED) - 0.5))
        low, high = axes.get_ylim()
        axes.set_ylim(low if low > 0.5 else 0, min(high, 1.0))
    row[0].set_ylabel("Dice")
    beside = "" if paper is None else "paper's network (T2 SPACE, its validation data)"
    legend = score_entries("copied mask, 95 % interval", beside)
    title = "No network, no look at the image: Dice of copied masks (each panel its own scale)"
    return finish(figure, title, source=source, legend=legend)


def dice_by_distance(overlap: pd.DataFrame, *, aggregation: str = "pooled", source: str) -> Figure:
    """Dice between masks of one series against their distance in slices, by class, with intervals over patients.

    `overlap`: the table of spider_utils.studies.copying.neighbour_overlap.
    """
    figure, ((axes,),) = new_figure(grid="y")
    chosen = overlap[overlap["aggregation"] == aggregation]
    for shift, name, marker in zip((-0.06, -0.02, 0.02, 0.06), SCORED, "os^D", strict=True):
        part = chosen[chosen["class"] == name].sort_values("apart")
        ends = part["value"], part["ci_low"], part["ci_high"]
        label = "mean of the three" if name == "foreground" else name
        intervals(axes, part["apart"] + shift, *ends, fmt=f"{marker}-", color=SCORE_COLOURS[name], label=label)
    pairs = chosen.groupby("apart")["pairs"].first()
    axes.set_xticks(pairs.index, [f"{apart}\n({count} pairs)" for apart, count in pairs.items()])
    axes.set(
        xlabel="Slices apart", ylabel="Dice of the two masks", xlim=(pairs.index.min() - 0.4, pairs.index.max() + 0.4)
    )
    title = "How much two masks of one patient overlap (95 % intervals over patients)"
    return finish(figure, title, source=source, legend=axes.get_legend_handles_labels()[0])


def convention_ceiling(neutralised: pd.DataFrame, ideal: pd.DataFrame, *, source: str) -> Figure:
    """Pooled Dice by class: the network's, as it is and with conventions neutralised, and the ideal reader's.

    The tables are those of `studies.ceiling.ceiling_tables`.
    """
    figure, (row,) = new_figure(1, len(SCORED), size=(13.0, 6.0), grid="x", sharey=True)
    parts = {"": neutralised, "ideal reader: ": ideal}
    lines = pd.concat([part.assign(title=start + part["arm"], own=not start) for start, part in parts.items()])
    lines = lines[lines["aggregation"] == "pooled"]
    lines["colour"] = lines["own"].map({True: LINE_COLOURS[0], False: LINE_COLOURS[1]})
    for axes, name in zip(row, SCORED, strict=True):
        forest(axes, lines[lines["class"] == name], ".3f")
        axes.set(title="mean of the three" if name == "foreground" else name, xlabel="Dice")
        axes.margins(x=0.15)
    legend = [
        point_entry("the network, these pixels left out", LINE_COLOURS[0]),
        point_entry("the reference, rewritten as most are drawn", LINE_COLOURS[1]),
    ]
    title = "How much of the error is convention? (95 % intervals over patients)"
    return finish(figure, title, source=source, legend=legend)


def _show_example(axes: Axes, title: str, image: np.ndarray, mask: np.ndarray) -> None:
    box = close_up(mask)
    show_slice(axes, paint_classes(image[box], mask[box], 0.3), title, fontsize=10)
