"""Figures of the studies: what a leaky split is worth, and what each choice is worth, with intervals over patients."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.bootstrap import drawn_over
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.figures.forest import forest, intervals, with_interval
from spider_utils.figures.painting import paint_classes, show_slice
from spider_utils.figures.style import (
    CLASS_COLOURS,
    DOTTED,
    LINE_COLOURS,
    class_patches,
    finish,
    new_figure,
    point_entry,
)

LEAKY_COLOUR, HONEST_COLOUR, PLAIN_COLOUR = LINE_COLOURS[1], LINE_COLOURS[0], LINE_COLOURS[3]
NEAR = 0.3  # Dice; a line farther below the best is not drawn to scale
LEAKY = "LEAKY"  # what the titles of leaky arms hold
PAPER_TABLE_DICE = float(
    PAPER_TABLE[(PAPER_TABLE["sequence"] == "T2_SPACE") & PAPER_TABLE["class"].isin(FOREGROUND)]["dice"].mean()
)


def leakage(tables: dict[str, pd.DataFrame], *, source: str) -> Figure:
    """The leakage experiment on one slide: pooled foreground Dice of every arm beside copied masks and the paper's
    number; Dice over training length; Dice by the distance to the nearest training slice.

    `tables`: dice, copying, neighbours and ceiling of the study "leakage" (spider_utils.studies.leakage).
    """
    figure, _ = new_figure(size=(13.0, 7.3))
    figure.clear()
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1))
    paper = PAPER_TABLE_DICE if source == "released" else None
    points(left.subplots(), score_lines(tables), paper, drawn_over(tables["dice"]))
    above, below = right.subplots(2, 1)
    training_length(above, _foreground(tables["dice"]))
    by_distance(below, _foreground(tables["neighbours"]), dict(_titles(tables["dice"])))
    legend = [
        point_entry("slices of one patient on both sides", LEAKY_COLOUR, size=6),
        point_entry("patients never seen in training", HONEST_COLOUR, size=6),
        point_entry("no network: a mask is copied, or reduced", PLAIN_COLOUR, "s", size=6),
    ]
    title = "The same network, steps and slices: who is in the test set makes the score"
    return finish(figure, title, source=source, legend=legend, bold=True)


def score_lines(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the lines of the leakage figure, best first: title, value, ci_low, ci_high, network (bool)."""
    arms = _foreground(tables["dice"])
    arms = arms[arms["epoch"] == arms["epoch"].max()].assign(network=True)
    copied = tables["copying"].query("`class` == 'foreground' and aggregation == 'pooled' and metric == 'dice'")
    leaky = copied["split"].str.contains(LEAKY)
    ends = copied["folds"].isin([copied["folds"].min(), copied["folds"].max()])
    copied = copied[(copied["sequence"] == "all") & ((leaky & ends) | (copied["folds"] == copied["folds"].max()))]
    titles = [
        f"nearest slice's mask (LEAKY), {100 - 100 / row.folds:.0f} / {100 / row.folds:.0f} split"
        if LEAKY in row.split
        else "another patient's mask"
        for row in copied.itertuples()
    ]
    copied = copied.assign(title=titles, network=False)
    reduced = _foreground(tables["ceiling"])
    reduced = reduced.assign(title="the reference itself, at " + reduced["size"], network=False)
    columns = ["title", "value", "ci_low", "ci_high", "network"]
    return pd.concat([arms[columns], copied[columns], reduced[columns]]).sort_values(
        "value", ascending=False, ignore_index=True
    )


def points(axes: Axes, lines: pd.DataFrame, paper: float | None, drawn: str) -> None:
    """Draw one row a line with its interval, and the paper's number as a vertical line.

    What lies far below all others is told at the left edge, so that the others can be told apart.
    """
    near = lines[lines["value"] > lines["value"].max() - NEAR]
    low, high = near["ci_low"].min(), max([near["ci_high"].max(), paper or 0])
    margin = 0.12 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    colours = np.where(lines["network"], lines["title"].map(_colour), PLAIN_COLOUR)
    lines = lines.assign(colour=colours, marker=np.where(lines["network"], "o", "s"))
    far = lines.drop(near.index)
    for row in far.itertuples():
        text = f"◄ {with_interval(row.value, row.ci_low, row.ci_high, '.3f')}"
        axes.annotate(
            text, (low - margin, row.Index), (6, 0), textcoords="offset points", va="center", color=row.colour
        )
    titles = lines["title"].str.replace(", ", ",\n")
    forest(axes, lines.assign(title=titles, value=lines["value"].drop(far.index)), ".3f")
    if paper is not None:
        axes.axvline(paper, color="#000000", linestyle=":", zorder=0)
        axes.annotate(
            f"paper {paper:.3f}",
            (paper, len(lines) - 0.6),
            (-5, 0),
            textcoords="offset points",
            ha="right",
            va="bottom",
        )
    axes.set(xlabel=f"Foreground Dice, all pixels pooled (95 % intervals over {drawn})", title="All held-out slices")


def training_length(axes: Axes, dice: pd.DataFrame) -> None:
    """Draw Dice over the epochs that were scored, one line an arm."""
    for (title, part), marker in zip(dice.groupby("title", sort=False), "osD^v<>*", strict=False):
        part = part.sort_values("epoch")
        strong = "augmentation" in title
        style: dict[str, Any] = {"linestyle": "--" if strong else "-"}
        style |= {"markerfacecolor": "white" if strong else _colour(title)}
        axes.plot(part["epoch"], part["value"], marker=marker, color=_colour(title), label=title, **style)
    top = dice["value"].max()
    dashed = " (dashed: strong augmentation)" if dice["title"].str.contains("augmentation").any() else ""
    axes.set(xlabel="Epochs", ylabel="Dice", title=f"Over training length{dashed}")
    axes.set_xticks(sorted(dice["epoch"].unique()))
    axes.set_ylim(max(0, dice.query("epoch > epoch.min()")["value"].min() - 0.06), min(1, top + 0.02))
    axes.grid(axis="y", alpha=0.3)


def by_distance(axes: Axes, neighbours: pd.DataFrame, titles: dict[str, str]) -> None:
    """Draw Dice by the distance to the nearest training slice, and of the same slices where their patient is unseen."""
    chosen = neighbours[~neighbours["arm"].map(titles).str.contains("augmentation")]
    for shift, (arm, part) in zip((-0.05, 0.05), chosen.groupby("arm", sort=False), strict=False):
        part = part.sort_values("distance")
        ends = part["value"], part["ci_low"], part["ci_high"]
        intervals(axes, part["distance"] + shift, *ends, fmt="o-", markersize=6, color=_colour(titles[arm]))
    labels = chosen.groupby("distance")["slices"].first()
    far = labels.index.max()
    names = [f"{d}{' or more' if d == far else ''}\n({n} slices)" for d, n in labels.items()]
    axes.set_xticks(labels.index, names)
    axes.set(xlabel="Slices to the nearest training slice of the patient", ylabel="Dice", title="By distance")
    axes.grid(axis="y", alpha=0.3)


def differences(table: pd.DataFrame, dice: pd.DataFrame, *, source: str, aggregation: str = "pooled") -> Figure:
    """How far each arm's foreground Dice lies above the reference arm's at the last epoch, paired by patient."""
    titles = dict(_titles(dice))
    last = table[(table["epoch"] == table["epoch"].max()) & (table["aggregation"] == aggregation)]
    chosen = last[last["class"] == "foreground"].sort_values("difference", ascending=False, ignore_index=True)
    chosen = chosen.rename(columns={"difference": "value"}).assign(title=chosen["arm"].map(titles))
    figure, ((axes,),) = new_figure()
    forest(axes, chosen.assign(colour=chosen["title"].map(_colour)), "+.3f")
    axes.axvline(0, color="#000000", linewidth=1, zorder=0)
    base = titles[chosen["reference"].iloc[0]]
    axes.set_xlabel(f"Foreground Dice minus that of: {base}\n(pooled; 95 % intervals over {drawn_over(table)}, paired)")
    patients = int(chosen["patients"].iloc[0])
    return finish(figure, f"One thing changed at a time, {patients} patients, each held out once", source=source)


def _foreground(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["class"] == "foreground") & (table["aggregation"] == "pooled")]


def _titles(dice: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return dice[["arm", "title"]].drop_duplicates().itertuples(index=False, name=None)


def _colour(title: str) -> str:
    return LEAKY_COLOUR if LEAKY in title else HONEST_COLOUR


def roundtrip(summary: pd.DataFrame, *, source: str) -> Figure:
    """What a perfect network loses on the way over slices of its own size: Dice of each class, a panel a series.

    `summary`: the table roundtrip_summary of the study "roundtrip".
    """
    series = list(dict.fromkeys(summary["series"]))
    figure, axes = new_figure(1, len(series), size=(11.0, 5.6), grid="y", sharey=True)
    for panel, name in zip(axes[0], series, strict=True):
        part = summary[summary["series"] == name].reset_index(drop=True)
        for label in FOREGROUND:
            panel.plot(part.index, part[label], "o", markersize=9, color=CLASS_COLOURS[label], label=label)
        ticks = [f"{row.network_size}\n{'' if row.network_size == 'own' else row.answer}" for row in part.itertuples()]
        panel.set_xticks(part.index, ticks, rotation=60, ha="right", rotation_mode="anchor", fontsize=10)
        panel.set_title(f"{name}\n{part['spacing_mm'].iloc[0]} mm", fontsize=12)
        panel.axhline(0.99, **DOTTED)
        panel.set_xlim(-0.5, len(part) - 0.5)
    axes[0, 0].set_ylabel("Dice in 3D with the reference")
    title = "A perfect network's volumes: what the slices' size alone costs"
    return finish(figure, title, source=source, legend=class_patches(), bold=True)


def bodies(cases: list, table: pd.DataFrame, *, source: str) -> Figure:
    """Volumes of another site: the middle slice with each scale of intensities, and each body's share called vertebra.

    `cases` and `table`: of `studies.bodies`; drawn is the network of the cases. A row a volume.
    """
    table = table[table["network"] == cases[0].network]
    names, ways = (list(dict.fromkeys(table[column])) for column in ("volume", "intensities"))
    figure, axes = new_figure(
        len(names), len(ways) + 1, size=(12.0, 4.4 * len(names)), width_ratios=[1] * len(ways) + [1.25]
    )
    for row, name in zip(axes, names, strict=True):
        own = {case.intensities: case for case in cases if case.name == name}
        for panel, way in zip(row, ways, strict=False):
            case = own[way]
            middle = int(np.median(np.flatnonzero((case.bodies > 0).any(axis=(1, 2)))))
            picture = paint_classes(case.image[middle], case.classes[middle])
            share = table.query("volume == @name and intensities == @way")["vertebrae"].mean()
            show_slice(panel, picture, f"{name}\n{way}: {share:.2f}", aspect=case.spacing[1] / case.spacing[2])
        body_shares(row[-1], table[table["volume"] == name], ways)
    title = "T2 TSE of another site: what share of each vertebral body is found"
    return finish(figure, title, source=source, legend=class_patches(), bold=True)


def body_shares(axes: Axes, table: pd.DataFrame, ways: list[str]) -> None:
    """Draw each body's share called vertebra, a line for each scale of intensities; bodies by their number."""
    for way, colour, marker in zip(ways, (LEAKY_COLOUR, HONEST_COLOUR), "os", strict=True):
        part = table[table["intensities"] == way]
        axes.plot(part["body"], part["vertebrae"], marker=marker, color=colour, label=way)
    axes.set(ylim=(0, 1.02), xlabel="number of the body in the label map", ylabel="share called vertebra")
    axes.set_xticks(sorted(table["body"].unique()))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="best")
