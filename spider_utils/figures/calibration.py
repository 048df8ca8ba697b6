"""Figures of trust: reliability curves, uncertainty beside Dice, and what is counted on slices without masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spider_utils.analysis.calibration import BINS, TOP
from spider_utils.analysis.uncertainty import BAND, LOOKED_AT, WORST, tenth
from spider_utils.data.labels import FOREGROUND
from spider_utils.figures.forest import intervals, with_interval
from spider_utils.figures.painting import paint_classes, show_slice
from spider_utils.figures.style import (
    CLASS_COLOURS,
    DOTTED,
    FOREGROUND_COLOUR,
    LINE_COLOURS,
    LINE_STYLES,
    SEQUENCE_COLOURS,
    SEQUENCE_MARKERS,
    class_patches,
    finish,
    new_figure,
    point_entry,
    spoken,
)
from spider_utils.studies.counting import REFERENCE, SHIPPED, SHOWN, UNSEEN, Segmented

REGION_TITLES = {"all": "all pixels", "near": f"within {BAND} pixels of a structure"}
CURVE_COLOURS = {TOP: FOREGROUND_COLOUR} | {name: CLASS_COLOURS[name] for name in FOREGROUND}
CURVE_STYLES = dict(zip(CURVE_COLOURS, ("-", "-", "--", "-."), strict=True))
SCORE_NAMES = {
    "expected_error": "expected Dice",
    "views": "test-time views",
    "entropy": "entropy",
    "place": "place in the series (no network)",
}
EXAMPLES = 2  # slices of each sequence with the largest and the smallest difference
STRUCTURES = ("vertebrae", "discs")


def reliability(curves: pd.DataFrame, summary: pd.DataFrame, *, source: str) -> Figure:
    """Reliability curves over all pixels and near the structures, with intervals over patients.

    `curves`, `summary`: of `analysis.calibration`. A perfect curve is the diagonal. Below, how the pixels are
    shared out over the bins.
    """
    regions = list(REGION_TITLES)
    figure, axes = new_figure(2, len(regions), (10.0, 6.4), "both", height_ratios=[4, 1], sharex=True)
    for column, region in enumerate(regions):
        panel, below = axes[:, column]
        panel.plot([0, 1], [0, 1], **DOTTED)
        ece = summary[summary["region"] == region].set_index("class")["ece"]
        for name, colour in CURVE_COLOURS.items():
            part = curves[(curves["region"] == region) & (curves["class"] == name)]
            look = {"color": colour, "marker": "o", "markersize": 4, "label": f"{name}: ECE {ece[name]:.3f}"}
            panel.plot(part["probability"], part["frequency"], CURVE_STYLES[name], **look)
            if part["ci_low"].notna().any():
                band = part["ci_low"], part["ci_high"]
                panel.fill_between(part["probability"], *band, color=colour, alpha=0.15, linewidth=0)
        panel.set(title=REGION_TITLES[region], xlim=(0, 1), ylim=(0, 1))
        panel.legend(loc="upper left")
        part = curves[(curves["region"] == region) & (curves["class"] == TOP)]
        share = part["pixels"] / part["pixels"].sum()
        below.bar((part["low"] + part["high"]) / 2, share, width=0.9 / BINS, color=FOREGROUND_COLOUR)
        below.set(xlabel="probability", ylim=(0, 1))
    axes[0, 0].set_ylabel("share that is right")
    axes[1, 0].set_ylabel("share of\npixels")
    return finish(figure, "Are the probabilities right? Unseen patients", source=source, bold=True)


def uncertainty(table: pd.DataFrame, summary: pd.DataFrame, *, source: str) -> Figure:
    """Expected beside true Dice of every slice, and how many of the worst slices the least certain ones hold.

    `table`, `summary`: of `analysis.uncertainty`. The worst tenth is marked.
    """
    figure, ((left, right),) = new_figure(1, 2, (11.0, 5.6), "both", width_ratios=[1, 1.1])
    numbers = summary.set_index("score")
    known = table[table[["dice", "expected_error"]].notna().all(axis=1)]
    scatter_dice(left, 1 - known["expected_error"].to_numpy(), known["dice"].to_numpy())
    one = numbers.loc["expected_error"]
    left.set_title(f"Spearman {_told(one, 'spearman')}\nexpected minus true: {one['bias']:+.3f}")
    looking(right, table, numbers)
    return finish(figure, "Does uncertainty find the failures? Unseen patients", source=source, bold=True)


def worst_tenth(dice: np.ndarray) -> np.ndarray:
    """Mark the tenth of the slices with the lowest Dice, (n,) bool."""
    worst = np.zeros(len(dice), bool)
    worst[np.argsort(dice, kind="stable")[: tenth(len(dice), WORST)]] = True
    return worst


def scatter_dice(axes: Axes, expected: np.ndarray, true: np.ndarray) -> None:
    """Draw every slice's expected and true Dice, (n,) each; the worst tenth is marked."""
    worst = worst_tenth(true)
    for chosen, colour, marker, label in (
        (~worst, LINE_COLOURS[0], "o", "slice"),
        (worst, LINE_COLOURS[1], "^", "worst tenth"),
    ):
        axes.scatter(
            expected[chosen], true[chosen], s=18, color=colour, marker=marker, alpha=0.6, linewidths=0, label=label
        )
    low = min(expected.min(), true.min()) - 0.01
    axes.plot([low, 1], [low, 1], label="as expected", **DOTTED)
    axes.set(xlabel="expected Dice (no reference)", ylabel="true Dice of the three classes")
    axes.set(xlim=(low, 1), ylim=(low, 1))
    axes.locator_params(nbins=5)
    axes.legend(loc="upper left")


def looking(axes: Axes, table: pd.DataFrame, numbers: pd.DataFrame) -> None:
    """Draw what share of the worst tenth is found by looking at a share of the slices, least certain first."""
    for name, colour, style in zip(SCORE_NAMES, LINE_COLOURS, LINE_STYLES, strict=True):
        if name not in numbers.index:
            continue
        part = table[table[[name, "dice"]].notna().all(axis=1)]
        worst = worst_tenth(part["dice"].to_numpy())
        order = np.argsort(-part[name].to_numpy(), kind="stable")
        found = np.concatenate([[0], np.cumsum(worst[order]) / worst.sum()])
        label = f"{SCORE_NAMES[name]}: AUROC {_told(numbers.loc[name], 'auroc')}"
        axes.plot(np.linspace(0, 1, len(found)), found, style, color=colour, label=label)
    axes.plot([0, 1], [0, 1], label="by chance", **DOTTED)
    for share in LOOKED_AT:
        axes.axvline(share, color="#999999", linewidth=0.8)
    axes.set(xlabel="share of the slices looked at, least certain first", ylabel="share of the worst tenth found")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right", fontsize=9.5)


def counting(
    cases: Sequence[Segmented], counting: pd.DataFrame, counting_summary: pd.DataFrame, *, source: str
) -> Figure:
    """T1 and T2 slices with the numbers of vertebrae and discs counted and recorded, and how often both agree.

    `cases`, `counting`, `counting_summary`: of `studies.counting`. Of each sequence slices whose
    numbers agree, and those with the largest differences.
    """
    main = counting[(counting["masks"] == SHIPPED) & (counting[list(SHOWN)] == pd.Series(SHOWN)).all(axis=1)]
    pictures = {case.name: case for case in cases if case.is_main}
    names = list(dict.fromkeys(main["sequence"]))
    figure, axes = new_figure(
        len(names), 2 * EXAMPLES + 1, size=(14.0, 3.7 * len(names) + 0.6), width_ratios=[1] * 2 * EXAMPLES + [1.6]
    )
    for row, name in zip(axes, names, strict=True):
        own = main[main["sequence"] == name].reset_index(drop=True)
        off = sum((own[structure] - own[f"recorded_{structure}"]).abs() for structure in STRUCTURES)
        order = off.sort_values(kind="stable").index
        middle = order[(off[order] == 0).to_numpy()][:EXAMPLES] if (off == 0).sum() >= EXAMPLES else order[:EXAMPLES]
        for panel, place in zip(row, [*middle, *order[: -EXAMPLES - 1 : -1]], strict=False):
            told = own.loc[place]
            case = pictures[told["series"]]
            counts = [f"{one} {told[one]} / {told[f'recorded_{one}']}" for one in STRUCTURES]
            title = "\n".join([f"{spoken(name)}, patient {told['patient']}", *counts])
            show_slice(panel, paint_classes(case.image, case.mask), title, fontsize=10.5)
    for panel, structure in zip(axes[:, -1], STRUCTURES, strict=False):
        agreement(panel, counting_summary, structure)
    title = "A network of T2 SPACE on T1 and T2: counted / recorded"
    return finish(figure, title, source=source, legend=class_patches(), bold=True)


def agreement(axes: Axes, summary: pd.DataFrame, structure: str) -> None:
    """Draw the share of slices with the recorded number (filled) and at most one off (open), with intervals."""
    chosen = summary[
        (summary["structure"] == structure)
        & (summary["patients"] == "all")
        & summary["sequence"].isin(SEQUENCE_COLOURS)
    ]
    shown = (chosen[list(SHOWN)] == pd.Series(SHOWN)).all(axis=1) | chosen["masks"].isin((REFERENCE, UNSEEN))
    rows = chosen[shown].reset_index(drop=True)
    for place, row in rows.iterrows():
        colour, marker = SEQUENCE_COLOURS[row["sequence"]], SEQUENCE_MARKERS[row["sequence"]]
        for shift, value, face in ((-0.12, "exact", colour), (0.12, "within_one", "white")):
            ends = row[value], row[f"{value}_low"], row[f"{value}_high"]
            look: dict[str, Any] = {"fmt": marker, "color": colour, "mfc": face, "markersize": 6, "capsize": 3}
            intervals(axes, place + shift, *ends, lying=True, **look)
    axes.set_yticks(
        rows.index, [f"{spoken(row['sequence'])}\n{row['masks']}" for _, row in rows.iterrows()], fontsize=9.5
    )
    axes.set(xlim=(0, 1.02), title=structure, xlabel="share of slices")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    kinds = {"as recorded": FOREGROUND_COLOUR, "at most one off": "white"}
    entries = [point_entry(kind, FOREGROUND_COLOUR, size=6, mfc=face) for kind, face in kinds.items()]
    axes.legend(handles=entries, loc="lower left", fontsize=9.5)


def _told(row: pd.Series, name: str) -> str:
    value, low, high = row[[name, f"{name}_low", f"{name}_high"]]
    return with_interval(value, low, high, ".2f")
