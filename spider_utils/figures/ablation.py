"""Figures of the ablation: what each change adds to the reference arm and what it costs, paired by patient."""

from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.bootstrap import drawn_over
from spider_utils.figures.forest import forest, with_interval
from spider_utils.figures.style import LINE_COLOURS, finish, name_cells, new_figure, point_entry
from spider_utils.studies.paired import BETTER, LEVEL, differs

KINDS = ("network", "input", "loss", "augmentation", "training", "combined")  # groups, from above; others after them
PANELS = {"dice": "Foreground Dice", "hd95": "HD95", "asd": "ASD"}
DIGITS = {"dice": 3, "hd95": 1, "asd": 2}
BETTER_COLOUR, WORSE_COLOUR, COST_COLOUR = LINE_COLOURS[0], LINE_COLOURS[1], "#999999"
FAR = 8.0  # times the median of the rows' reach; a row that reaches farther is told at the edge, not drawn
LINE = 42  # characters of an arm's name in a line
HEAD = "head"  # stands in `arm_rows` for a group's heading


def ablation_arms(paired: pd.DataFrame, cost: pd.DataFrame, *, source: str) -> Figure:
    """Every arm beside the reference arm on one slide: Dice, HD95 and ASD with intervals, and multiply-adds.

    `paired` and `cost`: the tables of `studies.paired.paired_table` and `studies.cost.cost_table`. Arms stand in groups
    of their kind, the highest gain in Dice first. Filled points show a difference (`studies.paired.differs`).
    """
    rows = arm_rows(paired)
    figure, axes = new_figure(1, 4, size=(13.0, 7.3), sharey=True, gridspec_kw={"width_ratios": (3, 3, 3, 1.6)})
    for panel, metric in zip(axes[0], PANELS, strict=False):
        difference_panel(panel, rows, paired[paired["metric"] == metric].set_index("arm"))
    costs(axes[0, 3], rows, cost.set_index("arm")["multiply_adds_ratio"])
    name_rows(axes[0, 0], rows)
    base, patients = cost.set_index("arm")["title"][paired["reference"].iloc[0]], int(paired["n"].max())
    legend = [
        point_entry("better", BETTER_COLOUR),
        point_entry("worse", WORSE_COLOUR),
        point_entry(f"filled: interval without 0, p < {LEVEL} (Wilcoxon, Holm)", "#000000"),
        point_entry("hollow: not", "#000000", markerfacecolor="white"),
        Line2D([], [], color="#000000", label=f"95 % interval over {drawn_over(paired)}"),
    ]
    title = f"What each change adds to “{base}”: {patients} patients, each held out once"
    return finish(figure, title, source=source, legend=legend)


def ablation_by_class(differences: pd.DataFrame, paired: pd.DataFrame, *, source: str) -> Figure:
    """What each arm adds to the pooled Dice of each class after the last epoch, as a table of colours.

    `differences` is the table of `studies.compare.difference_table`, `paired` gives arms, titles and kinds. Numbers
    whose interval holds 0 are grey. The colours end at the 90th percentile, because of bad arms.
    """
    rows = [(arm, title) for arm, title in arm_rows(paired) if arm != HEAD]
    last = differences[(differences["epoch"] == differences["epoch"].max()) & (differences["aggregation"] == "pooled")]
    table = last.set_index(["arm", "class"])
    figure, ((axes,),) = new_figure(size=(10.0, 6.4))
    gains = np.array([[table.loc[(arm, name), "difference"] for name in FOREGROUND] for arm, _ in rows], float)
    limit = max(float(np.nanquantile(np.abs(gains), 0.9)), 1e-6)
    picture = axes.imshow(gains, cmap="RdBu", norm=Normalize(-limit, limit), aspect="auto")
    for y, (arm, _) in enumerate(rows):
        for x, name in enumerate(FOREGROUND):
            row = table.loc[(arm, name)]
            sure = row["ci_low"] > 0 or row["ci_high"] < 0
            dark = abs(row["difference"]) > 0.6 * limit
            colour = "white" if dark else "black" if sure else "#666666"
            weight = "bold" if sure else "normal"
            axes.text(x, y, f"{row['difference']:+.3f}", ha="center", va="center", color=colour, fontweight=weight)
    name_cells(axes, [title for _, title in rows], FOREGROUND)
    figure.colorbar(picture, ax=axes, extend="both", label="Difference in pooled Dice")
    return finish(figure, "What each change adds by class (bold: the 95 % interval leaves out 0)", source=source)


def patient_pairs(patients: pd.DataFrame, paired: pd.DataFrame, cost: pd.DataFrame, *, source: str) -> Figure:
    """Two arms patient by patient: Dice and HD95 of each patient with both, worst patient of the reference arm first.

    Tables as in `ablation_arms`, with one arm beside the reference; `patients` is that of `paired.patient_table`.
    """
    reference, arm = paired["reference"].iloc[0], paired["arm"].iloc[0]
    titles = cost.set_index("arm")["title"]
    wide = patients.groupby(["patient", "arm"])[["dice", "hd95"]].mean().unstack("arm")
    wide = wide.sort_values(("dice", reference), ascending=False)
    figure, axes = new_figure(1, 2, size=(13.0, 8.2), grid="x", sharey=True)
    y = np.arange(len(wide))
    for panel, metric in zip(axes[0], ("dice", "hd95"), strict=True):
        before, after = wide[(metric, reference)], wide[(metric, arm)]
        gain = BETTER[metric] * (after - before) > 0
        colours = np.where(gain, BETTER_COLOUR, WORSE_COLOUR)
        panel.hlines(y, before, after, colors=colours, linewidth=2)
        panel.scatter(before, y, s=36, facecolor="white", edgecolor=colours, zorder=3)
        panel.scatter(after, y, s=36, color=colours, zorder=3)
        row = paired[paired["metric"] == metric].iloc[0]
        value, low, high = row[["difference", "ci_low", "ci_high"]]
        told = with_interval(value, low, high, f"+.{DIGITS[metric]}f")
        unit = "" if row["unit"] == "ratio" else f", {row['unit']}"
        panel.set(title=f"{PANELS[metric]}{unit}: mean difference {told}", xlabel=f"{PANELS[metric]}{unit}")
    axes[0, 0].set_yticks(y, [str(patient) for patient in wide.index], fontsize=9)
    axes[0, 0].set_ylabel("Patient")
    legend = [
        point_entry(titles[reference], "#000000", markerfacecolor="white"),
        point_entry(titles[arm], "#000000"),
        Line2D([], [], color=BETTER_COLOUR, linewidth=2, label="better"),
        Line2D([], [], color=WORSE_COLOUR, linewidth=2, label="worse"),
    ]
    title = f"{len(wide)} patients, none of them known to the network that segments it"
    return finish(figure, title, source=source, legend=legend)


def arm_rows(paired: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the figure's rows from above, (arm, title): each kind's heading (HEAD, kind), then its arms, best first.

    Arms without a kind come last, under "other" where there are kinds, and without a heading where there are none.
    """
    dice = paired[paired["metric"] == "dice"].sort_values("difference", ascending=False, kind="stable")
    dice = dice.assign(kind=dice["kind"].astype(object).fillna(""))
    found = list(dict.fromkeys(dice["kind"]))
    kinds = [*KINDS, *(kind for kind in sorted(found) if kind and kind not in KINDS), ""]
    rows = []
    for kind in (kind for kind in kinds if kind in found):
        part = dice[dice["kind"] == kind]
        if found != [""]:
            rows.append((HEAD, kind or "other"))
        rows += list(part[["arm", "title"]].itertuples(index=False, name=None))
    return rows


def difference_panel(axes: Axes, rows: list[tuple[str, str]], table: pd.DataFrame) -> None:
    """Draw one metric's differences, a row an arm; `table` has the rows of `paired_table` of this metric, by arm.

    The numbers stand at the right. A row that reaches far beyond the others is told at the edge, so that the others
    can be told apart.
    """
    metric, unit = table["metric"].iloc[0], table["unit"].iloc[0]
    digits, sign = DIGITS[metric], BETTER[metric]
    ends = table[["difference", "ci_low", "ci_high"]]
    reach = ends.abs().max(axis=1)
    near = table.index[reach <= FAR * reach.median()]
    drawn = np.append(ends.loc[near].to_numpy(), 0.0)
    low, high = np.nanmin(drawn), np.nanmax(drawn)
    margin = 0.08 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    table = table.reindex([arm for arm, _ in rows]).reset_index()  # headings have no numbers
    gain = sign * table["difference"]
    colours = np.select([gain > 0, gain < 0], [BETTER_COLOUR, WORSE_COLOUR], LINE_COLOURS[3])
    table = table.assign(title=[title for _, title in rows], colour=colours)
    table["sure"] = differs(table)
    table["face"] = table["colour"].where(table["sure"], "white")
    forest(axes, table.assign(value=table["difference"].where(table["arm"].isin(near))), markersize=7, capsize=3)
    for y, row in table[table["difference"].notna()].iterrows():
        if row["arm"] not in near:
            tell_far(axes, y, row, digits)
        tell_right(axes, y, f"{row['difference']:+.{digits}f}", color=row["colour"])
    axes.axvline(0, color="#000000", linewidth=1, zorder=0)
    better = "right" if sign > 0 else "left"
    axes.set(title=PANELS[metric] + (f", {unit}" if unit != "ratio" else ""), xlabel=f"difference (better: {better})")
    axes.locator_params(axis="x", nbins=4)


def tell_right(axes: Axes, y: int, text: str, **look: Any) -> None:
    """Write a row's number at the right of the axes."""
    place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
    axes.annotate(text, (1, y), (3, 0), fontsize=10, **place, **look)


def tell_far(axes: Axes, y: int, row: pd.Series, digits: int) -> None:
    """Write the interval of a row beyond the axis at the edge that it lies behind; bold where it shows a difference."""
    span = f"[{row['ci_low']:+.{digits}f}, {row['ci_high']:+.{digits}f}]"
    below = row["difference"] < 0
    axes.annotate(
        f"◄ {span}" if below else f"{span} ►",
        (0 if below else 1, y),
        (3 if below else -3, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="left" if below else "right",
        va="center",
        fontsize=10,
        color=row["colour"],
        fontweight="bold" if row["sure"] else "normal",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def costs(axes: Axes, rows: list[tuple[str, str]], ratio: pd.Series) -> None:
    """Draw each arm's multiply-adds as a multiple of the reference arm's."""
    for y, (arm, _) in enumerate(rows):
        if arm in ratio.index:
            axes.barh(y, ratio[arm], height=0.55, color=COST_COLOUR)
            tell_right(axes, y, f"{ratio[arm]:.2f}")
    axes.axvline(1, color="#000000", linewidth=1)
    axes.set(title="Multiply-adds", xlabel="x reference")
    axes.grid(axis="x", alpha=0.3)


def name_rows(axes: Axes, rows: list[tuple[str, str]]) -> None:
    """Name the rows at the left: headings in bold, arms below them."""
    axes.set_yticks(range(len(rows)), [title.capitalize() if arm == HEAD else fill(title, LINE) for arm, title in rows])
    for label, (arm, _) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if arm == HEAD else "normal")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    for panel in axes.figure.axes:
        panel.tick_params(axis="y", length=0)
