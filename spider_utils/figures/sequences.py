"""Figures of the studies that compare sequences: scores on T1, T2 and T2 SPACE, the worst slices, and resolution."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.metrics import class_counts, confusion, dice
from spider_utils.figures.forest import intervals
from spider_utils.figures.painting import foreground_box, paint_classes, show_slice
from spider_utils.figures.style import (
    FOREGROUND_COLOUR,
    LINE_COLOURS,
    SCORE_COLOURS,
    SCORED,
    class_patches,
    finish,
    new_figure,
    point_entry,
    spoken,
)
from spider_utils.studies.resolution import OUTER
from spider_utils.studies.sequences import CANAL, NO_CANAL, NOT_MET, Segmented

GROUPS = {  # rows of the scores, from above: sequence and slices
    ("T2_SPACE", CANAL): "T2 SPACE",
    ("T1", CANAL): "T1 with canal",
    ("T2", CANAL): "T2 with canal",
    ("T2", NO_CANAL): "T2 without canal",
}
WORST = 3  # slices of each kind
MARKERS = "os^D"


def sequence_scores(summary: pd.DataFrame, *, source: str) -> Figure:
    """Pooled Dice of each class by sequence and slices, of patients that the networks have not met, a mark a network.

    `summary`: of `studies.sequences`.
    """
    rows = summary.query("aggregation == 'pooled' and metric == 'dice'")
    rows = rows[rows["patients"] == NOT_MET]
    networks = list(dict.fromkeys(summary["network"]))
    groups = [key for key in GROUPS if ((rows["sequence"] == key[0]) & (rows["slices"] == key[1])).any()]
    figure, (panels,) = new_figure(1, len(SCORED), grid="x", sharex=True, sharey=True)
    shifts = 0.16 * (np.arange(len(networks)) - (len(networks) - 1) / 2)
    for axes, name in zip(panels, SCORED, strict=True):
        for network, shift, marker in zip(networks, shifts, MARKERS, strict=False):
            own = rows[(rows["class"] == name) & (rows["network"] == network)].set_index(["sequence", "slices"])
            for y, key in enumerate(groups):
                if key in own.index:
                    ends = own.loc[key, ["value", "ci_low", "ci_high"]].astype(float)
                    look: dict[str, Any] = {"fmt": marker, "markersize": 7, "color": _network_colour(networks, network)}
                    intervals(axes, y + shift, *ends, lying=True, **look)
        axes.set(title=name, xlabel="Dice, pixels pooled")
    counts = rows[rows["class"] == "vertebrae"].groupby(["sequence", "slices"])["n"].max()
    panels[0].set_yticks(range(len(groups)), [f"{GROUPS[key]}\n({counts[key]:.0f} slices)" for key in groups])
    panels[0].set_ylim(len(groups) - 0.5, -0.5)
    panels[0].set_xlim(right=1)
    legend = [
        point_entry(network, _network_colour(networks, network), marker)
        for network, marker in zip(networks, MARKERS, strict=False)
    ]
    title = "Patients that the network has not met (95 % intervals over patients)"
    return finish(figure, title, source=source, legend=legend)


def slice_dice(case: Segmented) -> float:
    """Return the mean Dice of the foreground classes that are in the reference or the prediction of a slice."""
    counts = class_counts(confusion(case.reference[None], case.prediction[None]))[:, 1:]
    return float(np.nanmean(dice(*counts)))


def worst_pairs(cases: Sequence[Segmented], met: set[int], *, source: str) -> Figure:
    """A network's worst slices with the canal and without it, worst first: image, reference and prediction, in their
    true proportions.

    `met`: patients that are not shown, since the network knows them.
    """
    known = sorted((slice_dice(case), number) for number, case in enumerate(cases) if case.patient not in met)
    seen = [CLASSES.index("canal") in case.reference for case in cases]
    chosen = [
        (score, cases[number])
        for canal in (True, False)
        for score, number in [place for place in known if seen[place[1]] == canal][:WORST]
    ]
    figure, grid = new_figure(3, len(chosen), size=(10, 6.9))
    for column, (score, case) in zip(grid.T, chosen, strict=True):
        box = foreground_box(case.reference, case.prediction, margin=len(case.image) // 9)
        row_mm, col_mm = case.pixel_mm or (1.0, 1.0)
        pictures = [case.image, *(paint_classes(case.image, mask) for mask in (case.reference, case.prediction))]
        for axes, picture in zip(column, pictures, strict=True):
            show_slice(axes, picture[box], aspect=row_mm / col_mm)
        title = f"{spoken(case.sequence)}, patient {case.patient}\nslice {case.slice_index}\nDice {score:.2f}"
        column[0].set_title(title, fontsize=10)
    for axes, name in zip(grid[:, 0], ("image", "reference", "prediction"), strict=True):
        axes.text(-0.08, 0.5, name, transform=axes.transAxes, rotation=90, ha="right", va="center", fontsize=12)
    title = f"The worst slices of {chosen[0][1].network}: with the canal, and without it"
    return finish(figure, title, source=source, legend=class_patches(FOREGROUND))


def resolution(table: pd.DataFrame, steps: pd.DataFrame, *, source: str) -> Figure:
    """Dice of T2 SPACE as coarse as T2 beside T1 and T2 themselves, and what each step from one to the other changes.

    `table` and `steps`: of `studies.resolution`.
    """
    figure, ((left, right),) = new_figure(1, 2, grid="x", width_ratios=[1.35, 1])
    shown = table[table["class"].isin(("foreground", OUTER))]
    groups = list(dict.fromkeys(shown["group"]))
    for name, shift, colour in (("foreground", -0.15, FOREGROUND_COLOUR), (OUTER, 0.15, SCORE_COLOURS["vertebrae"])):
        own = shown[shown["class"] == name]
        places = np.array([groups.index(group) for group in own["group"]]) + shift
        _lying(left, places, own, "value", colour)
    patients = shown.groupby("group", sort=False)["patients"].first()
    left.set_yticks(range(len(groups)), [f"{group} ({patients[group]})" for group in groups], fontsize=10)
    left.set(ylim=(len(groups) - 0.5, -0.5), title="Dice, pixels pooled")
    names = list(dict.fromkeys(steps["step"]))
    for name, shift, colour in (("foreground", -0.12, FOREGROUND_COLOUR), (OUTER, 0.12, SCORE_COLOURS["vertebrae"])):
        own = steps[steps["class"] == name]
        _lying(right, np.array([names.index(step) for step in own["step"]]) + shift, own, "difference", colour)
    right.axvline(0, color="#666666", linewidth=1, linestyle="--")
    right.set_yticks(range(len(names)), [name.replace(" and ", "\nand ").replace("l p", "l\np") for name in names])
    right.set(ylim=(max(len(names), 1) - 0.5, -0.5), title="What each step changes")
    legend = [
        point_entry("mean of three classes", FOREGROUND_COLOUR),
        point_entry("mean of vertebrae and discs", SCORE_COLOURS["vertebrae"]),
    ]
    title = "Is it resolution? Patients that no network has met (95 % intervals)"
    return finish(figure, title, source=source, legend=legend)


def _lying(axes: Axes, places: np.ndarray, rows: pd.DataFrame, name: str, colour: str) -> None:
    if len(rows):
        ends = (rows[column].to_numpy() for column in (name, "ci_low", "ci_high"))
        intervals(axes, places, *ends, lying=True, color=colour, markersize=7)


def _network_colour(networks: list[str], network: str) -> str:
    return LINE_COLOURS[networks.index(network) % len(LINE_COLOURS)]
