"""Figures of notebooks 05 and 06: scores beside the paper's, and where the predictions go wrong."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.data.series import SEQUENCES
from spider_utils.evaluate.metrics import METRICS
from spider_utils.figures.forest import class_points, paper_points, score_entries
from spider_utils.figures.painting import foreground_box, paint_pair, show_slice
from spider_utils.figures.style import (
    CLASS_COLOURS,
    FOREGROUND_COLOUR,
    SCORE_COLOURS,
    SCORED,
    SLIDE,
    class_patches,
    error_patches,
    finish,
    found_in,
    layout,
    name_cells,
    new_figure,
    point_entry,
    spoken,
)

AGGREGATIONS = {"slices": "mean over slices", "patients": "mean over patients", "pooled": "all pixels pooled"}


def score_points(
    metrics: pd.DataFrame,
    paper: pd.DataFrame | None = None,
    *,
    metric: str = "dice",
    split: str = "test",
    aggregation: str = "pooled",
    source: str,
) -> Figure:
    """One metric by class with its 95 % interval, one panel a sequence, beside the paper's value (open diamonds).

    `metrics`: the long table (split, sequence, class, aggregation, metric, unit, value, ci_low, ci_high, n); `paper`:
    columns sequence, class, metric, value. The axis does not start at zero, hence points and no bars.
    """
    chosen = _chosen(metrics, split=split, aggregation=aggregation, metric=metric)
    sequences, names = found_in(chosen["sequence"], SEQUENCES) or ["all"], found_in(chosen["class"], SCORED)
    unit = chosen["unit"].iloc[0]
    digits = 2 if unit in ("mm", "px") else 3
    figure, (row,) = new_figure(1, len(sequences), grid="y", sharey=True)
    for axes, sequence in zip(row, sequences, strict=True):
        part = chosen[chosen["sequence"] == sequence].set_index("class")
        class_points(axes, part, names)
        for x, name in enumerate(names):
            place = x, part.loc[name, ["value", "ci_low"]].min()
            text = f"{part.loc[name, 'value']:.{digits}f}"
            axes.annotate(text, place, (0, -6), textcoords="offset points", ha="center", va="top")
        if paper is not None:
            paper_points(axes, paper[(paper["sequence"] == sequence) & (paper["metric"] == metric)], names)
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(sequences) > 1 else {"fontsize": 13}
        axes.set_xticks(range(len(names)), names, **turned)
        axes.set_title(spoken(sequence))
        axes.margins(y=0.12)
    row[0].set_ylabel(_axis_name(metric, unit))
    beside = "" if paper is None else "paper (its own validation data)"
    legend = score_entries("this run, 95 % interval over patients", beside)
    title = f"{METRICS[metric].title} on {split} patients, {AGGREGATIONS[aggregation]}"
    return finish(figure, title, source=source, legend=legend)


def aggregation_compare(
    metrics: pd.DataFrame, *, metric: str = "dice", split: str = "test", sequence: str = "all", source: str
) -> Figure:
    """One metric by class, aggregated in the three ways, each with its 95 % interval over patients."""
    chosen = _chosen(metrics, split=split, sequence=sequence, metric=metric)
    names = found_in(chosen["class"], SCORED)
    figure, ((axes,),) = new_figure(grid="y")
    for shift, aggregation, marker in zip((-0.2, 0, 0.2), AGGREGATIONS, "os^", strict=True):
        class_points(axes, chosen[chosen["aggregation"] == aggregation].set_index("class"), names, shift, marker)
    axes.set_xticks(range(len(names)), names, fontsize=13)
    axes.set_ylabel(_axis_name(metric, chosen["unit"].iloc[0]))
    title = f"The same masks, three averages: {METRICS[metric].title}, {spoken(sequence)}, {split} patients"
    legend = [point_entry(t, "#444444", m, size=9) for m, t in zip("os^", AGGREGATIONS.values(), strict=True)]
    return finish(figure, title, source=source, legend=legend)


def overlay_grid(
    images: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    predictions: Sequence[np.ndarray],
    titles: Sequence[str],
    heading: str,
    *,
    source: str,
) -> Figure:
    """Up to six slices, each cropped to its spine and shown as reference, prediction, and hits and errors.

    A title of one line, such as "12_t2_SPACE, slice 60: Dice 0.91", leaves most room for the slices.
    """
    blocks = 3 if len(images) > 4 else min(len(images), 2)
    rows = -(-len(images) // blocks)
    ratios = ([1, 1, 1, 0.2] * blocks)[:-1]
    figure, grid = new_figure(
        rows, len(ratios), size=SLIDE if blocks == 3 else (10, 3.2 * rows + 1), width_ratios=ratios
    )
    layout(figure).set(w_pad=0.04, wspace=0)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (image, reference, prediction) in enumerate(zip(images, references, predictions, strict=True)):
        row, column = place // blocks, 4 * (place % blocks)
        painted = paint_pair(image, reference, prediction, foreground_box(reference, prediction))
        for axes, (name, picture) in zip(grid[row, column : column + 3], painted.items(), strict=True):
            show_slice(axes, picture)
            axes.text(0.5, -0.02, name, transform=axes.transAxes, ha="center", va="top", fontsize=10)
        grid[row, column + 1].set_title(titles[place], fontsize=11)
    return finish(figure, heading, source=source, legend=class_patches() + error_patches())


def scores_by_patient(scores: pd.DataFrame, *, metric: str = "dice", source: str) -> Figure:
    """One metric by patient and class, patients from the worst to the best foreground mean.

    `scores`: one row a patient and class with patient, class and the metric's column.
    """
    table = scores[scores["class"].isin(FOREGROUND)].pivot_table(index="patient", columns="class", values=metric)
    table = table.loc[table.mean(axis=1).sort_values().index]
    figure, ((axes,),) = new_figure(grid="y")
    for name, marker in zip(FOREGROUND, "os^", strict=True):
        axes.plot(range(len(table)), table[name], marker, color=CLASS_COLOURS[name], markersize=9, label=name)
    axes.plot(range(len(table)), table.mean(axis=1), "D", color=FOREGROUND_COLOUR, label="foreground mean")
    small = len(table) > 30
    axes.set_xticks(range(len(table)), table.index, rotation=90 if len(table) > 14 else 0, fontsize=8 if small else 11)
    axes.set(xlabel="Patient, from worst to best", ylabel=METRICS[metric].title)
    title, legend = f"{METRICS[metric].title} by patient", axes.get_legend_handles_labels()[0]
    return finish(figure, title, source=source, legend=legend)


def confusion_matrix(counts: np.ndarray, *, source: str) -> Figure:
    """Pixels by reference class (rows) and predicted class (columns), (4, 4), each row as percent of its sum."""
    counts = np.asarray(counts, float)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, ((axes,),) = new_figure()
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(share.shape):
        ink = "white" if share[row, column] > 55 else "black"
        axes.text(column, row, f"{share[row, column]:.2f} %", ha="center", va="center", color=ink, fontsize=13)
    name_cells(axes, CLASSES, CLASSES)
    axes.set(xlabel="Predicted class", ylabel="Reference class")
    figure.colorbar(shown, label="Share of the reference class, %")
    return finish(figure, "Where the pixels of each class go", source=source)


def distance_histogram(distances: Mapping[str, np.ndarray], unit: str, *, source: str) -> Figure:
    """Distances of predicted boundaries from the reference by class, in `unit` ("mm" or "px"), with their medians.

    The last bin holds everything above the 99th percentile.
    """
    figure, (row,) = new_figure(1, len(distances), sharey=True, sharex=True)
    top = max(np.percentile(np.concatenate([np.ravel(values) for values in distances.values()]), 99), 1e-6)
    for axes, (name, values) in zip(row, distances.items(), strict=True):
        share, edges = np.histogram(np.minimum(values, top), bins=30, range=(0, top))
        axes.stairs(100 * share / max(share.sum(), 1), edges, fill=True, color=SCORE_COLOURS[name])
        axes.axvline(np.median(values), color="#000000", linestyle="--", label=f"median {np.median(values):.2f} {unit}")
        axes.set(title=name, xlabel=f"Distance, {unit} (last bar: and more)")
        axes.xaxis.label.set_fontsize(11)
        axes.legend(loc="upper right")
    row[0].set_ylabel("Share of boundary, %")
    return finish(figure, "How far predicted boundaries lie from the reference", source=source)


def _chosen(metrics: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    chosen = metrics[np.logical_and.reduce([metrics[column] == value for column, value in wanted.items()])]
    if chosen.empty:
        text = ", ".join(f"{column} {value}" for column, value in wanted.items())
        raise SpiderError(
            f"metrics table: expected rows with {text}, found none; name a split and metric that it holds"
        )
    return chosen


def _axis_name(metric: str, unit: str) -> str:
    return METRICS[metric].title + (f", {unit}" if unit in ("mm", "px") else "")
