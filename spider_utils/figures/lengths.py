"""Training length: Dice on unseen patients over the epochs, and each arm's difference to the reference arm."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spider_utils.evaluate.bootstrap import drawn_over
from spider_utils.figures.forest import intervals
from spider_utils.figures.style import DOTTED, LINE_COLOURS, finish, new_figure, point_entry

PLAIN_COLOUR, SURE_COLOUR = "#777777", LINE_COLOURS[0]
COLUMNS = 3  # of panels, one an arm


def training_lengths(dice: pd.DataFrame, differences: pd.DataFrame, *, source: str) -> Figure:
    """Foreground Dice of the reference arm over the epochs, then a panel an arm: how far it lies above the reference.

    `dice` and `differences`: the tables of `studies.compare.dice_table` (with a column title) and `difference_table`.
    Filled points have an interval without 0.
    """
    dice, differences = (
        table.query("aggregation == 'pooled' and `class` == 'foreground'") for table in (dice, differences)
    )
    titles, reference = dict(zip(dice["arm"], dice["title"], strict=True)), differences["reference"].iloc[0]
    arms = list(dict.fromkeys(differences["arm"]))
    figure, axes = new_figure(-(-(len(arms) + 1) // COLUMNS), COLUMNS, size=(13.0, 7.3), grid="y", sharex=True)
    panels = list(axes.flat)
    base = dice[dice["arm"] == reference].sort_values("epoch")
    intervals(panels[0], *(base[name] for name in ("epoch", "value", "ci_low", "ci_high")), fmt="o-", color="#000000")
    panels[0].set_title(f"Reference: {wrapped(titles[reference])}", fontsize=11)
    panels[0].set_ylabel("Dice")
    lowest, highest = differences["ci_low"].min(), differences["ci_high"].max()
    for panel, arm in zip(panels[1:], arms, strict=False):
        difference_curve(panel, differences[differences["arm"] == arm])
        panel.set_title(wrapped(titles[arm]), fontsize=11)
        panel.set_ylim(lowest - 0.002, highest + 0.002)
    for panel in panels[len(arms) + 1 :]:
        panel.set_axis_off()
    for panel in panels[: len(arms) + 1]:
        panel.set_xticks(sorted(base["epoch"]))
        panel.tick_params(labelbottom=True)
    for panel in panels[max(0, len(arms) + 1 - COLUMNS) : len(arms) + 1]:
        panel.set_xlabel("Epochs")
    legend = [
        point_entry("above or below the reference: interval without 0", SURE_COLOUR),
        point_entry("no difference shown", PLAIN_COLOUR, markerfacecolor="white"),
    ]
    patients, drawn = int(base["patients"].iloc[0]), drawn_over(dice)
    title = f"Dice over the training, {patients} unseen patients; arms: difference to it (95 % intervals over {drawn})"
    return finish(figure, title, source=source, legend=legend)


def difference_curve(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one arm's differences over the epochs, filled where the interval leaves out 0."""
    axes.axhline(0, **DOTTED)
    axes.plot(table["epoch"], table["difference"], color=PLAIN_COLOUR, linewidth=1)
    for row in table.itertuples():
        sure = row.ci_low > 0 or row.ci_high < 0
        colour = SURE_COLOUR if sure else PLAIN_COLOUR
        face = colour if sure else "white"
        look: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 7}
        intervals(axes, row.epoch, row.difference, row.ci_low, row.ci_high, **look)


def wrapped(title: str) -> str:
    """Break a title of several parts into lines after its commas."""
    return title.replace(", ", ",\n") if len(title) > 40 else title
