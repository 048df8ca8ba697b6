"""Values with their 95 % intervals: as points on an axis, by class, and in rows below one another (a forest plot)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spider_utils.figures.style import SCORE_COLOURS, point_entry

PAPER_SHIFT = 0.22  # the paper's marker stands beside ours, so that neither covers the other
PAPER_COLOUR = "#000000"


def intervals(axes: Axes, places, values, low, high, *, lying: bool = False, **look) -> None:
    """Draw values at their places, with intervals from `low` to `high`, which need not be symmetric.

    All are numbers or (n,) arrays; an interval that is NaN, as for one patient, has no length. `lying`: values run
    along x. `look` goes to matplotlib's errorbar.
    """
    ends = np.stack([np.subtract(values, low), np.subtract(high, values)]).reshape(2, -1)
    spread = np.nan_to_num(ends).clip(0)
    look = {"fmt": "o", "markersize": 9, "capsize": 4} | look
    if lying:
        axes.errorbar(values, places, xerr=spread, **look)
    else:
        axes.errorbar(places, values, yerr=spread, **look)


def class_points(axes: Axes, rows: pd.DataFrame, names: Sequence[str], shift: float = 0, marker: str = "o") -> None:
    """Draw value, ci_low and ci_high of each class at 0, 1, ... + `shift`; `rows` by class."""
    axes.set(xlim=(-0.5, len(names) - 0.5))
    for x, name in enumerate(names):
        told, look = rows.loc[name], {"fmt": marker, "markersize": 10, "capsize": 5, "linewidth": 2}
        intervals(axes, x + shift, told["value"], told["ci_low"], told["ci_high"], color=SCORE_COLOURS[name], **look)


def paper_points(axes: Axes, paper: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw the paper's value of each class that it gives beside ours: an open diamond. `paper`: class and value."""
    theirs = paper.set_index("class")["value"]
    known = [(x + PAPER_SHIFT, theirs[name]) for x, name in enumerate(names) if name in theirs]
    if known:
        axes.plot(*np.transpose(known), "D", markerfacecolor="none", color=PAPER_COLOUR, markersize=9)


def score_entries(ours: str, paper: str = "") -> list[Line2D]:
    """Give the legend's entries for `class_points` and, where it is named, for `paper_points`."""
    entries = [point_entry(ours, "#444444", size=9, linestyle="-")]
    return entries + ([point_entry(paper, PAPER_COLOUR, "D", 9, markerfacecolor="none")] if paper else [])


def with_interval(value: float, low: float, high: float, form: str) -> str:
    """Write a number with its interval, where that is known: "0.82 [0.72, 0.88]"."""
    return f"{value:{form}}" if np.isnan(low) else f"{value:{form}} [{low:{form}}, {high:{form}}]"


def forest(axes: Axes, rows: pd.DataFrame, form: str = "", told: Mapping | None = None, **look) -> None:
    """Draw one row a line, from above: title, value, ci_low, ci_high, colour, and where they are there marker and face.

    `form`: how the value is written above its point; without it, it is not. `told`: how that text looks, `look` the
    points. What is NaN is not drawn.
    """
    for y, row in enumerate(rows.itertuples()):
        if not np.isfinite(row.value):
            continue
        own = {"fmt": getattr(row, "marker", "o"), "markerfacecolor": getattr(row, "face", row.colour)}
        intervals(axes, y, row.value, row.ci_low, row.ci_high, lying=True, color=row.colour, **own, **look)
        if form:
            tell(axes, row.value, y, form, color=row.colour, **(told or {}))
    axes.set_yticks(range(len(rows)), rows["title"])
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.grid(axis="x", alpha=0.3)


def tell(axes: Axes, value: float, y: float, form: str, above: float = 9, **look) -> None:
    """Write a value `above` points over its row."""
    axes.annotate(f"{value:{form}}", (value, y), (0, above), textcoords="offset points", ha="center", **look)
