"""Arms of a study on several sequences: what each scores and gains, sequence by sequence, paired by patient."""

import pandas as pd
from matplotlib.figure import Figure

from spider_utils.figures.forest import forest, with_interval
from spider_utils.figures.style import LINE_COLOURS, SCORE_COLOURS, finish, found_in, new_figure, point_entry, spoken
from spider_utils.studies.by_sequence import CANAL, EVERY, LATERAL

POSITIONS = (EVERY, CANAL, LATERAL)
SHOWN = (("T1", EVERY), ("T2", CANAL), ("T2", EVERY), ("T2_SPACE", EVERY))  # a panel each
SURE, UNSURE = LINE_COLOURS[0], "#999999"


def sequence_gains(by_sequence: pd.DataFrame, differences: pd.DataFrame, *, source: str) -> Figure:
    """What each arm adds to the pooled foreground Dice of the reference arm, a panel for each group of slices.

    The tables are those of `studies.by_sequence.sequence_tables`, with a column title in the first.
    """
    told = by_sequence.query("aggregation == 'pooled' and `class` == 'foreground'")
    gains = differences.query("aggregation == 'pooled' and `class` == 'foreground'")
    titles = told.drop_duplicates("arm").set_index("arm")["title"]
    reference = gains["reference"].iloc[0]
    groups = [group for group in SHOWN if len(pick(told, *group))]
    figure, axes = new_figure(1, len(groups), size=(13.0, 4.6), sharey=True)
    for panel, group in zip(axes[0], groups, strict=True):
        rows = pick(gains, *group).rename(columns={"difference": "value"})
        leaves_out_0 = (rows["ci_low"] > 0) | (rows["ci_high"] < 0)
        rows = rows.assign(title=rows["arm"].map(titles), colour=leaves_out_0.map({True: SURE, False: UNSURE}))
        forest(panel, rows, "+.3f")
        panel.axvline(0, color="#000000", linewidth=1)
        panel.margins(x=0.25)
        base = pick(told, *group).set_index("arm").loc[reference]
        value = with_interval(base["value"], base["ci_low"], base["ci_high"], ".3f")
        many = f"{base['slices']} slices of {base['patients']} patients"
        panel.set_title(f"{spoken(group[0])}, {group[1]}\n{many}\n{value}")
        panel.set_xlabel("Difference in Dice")
    legend = [point_entry("the 95 % interval leaves out 0", SURE), point_entry("it holds 0", UNSURE)]
    return finish(figure, f"Foreground Dice beside “{titles[reference]}”", source=source, legend=legend)


def sequence_scores(by_sequence: pd.DataFrame, *, source: str) -> Figure:
    """What one arm scores on each sequence: pooled Dice of each class with intervals, a panel for each position."""
    told = by_sequence[by_sequence["aggregation"] == "pooled"]
    positions = found_in(told["position"], POSITIONS)
    figure, axes = new_figure(1, len(positions), size=(12.0, 6.6), sharex=True, grid="x")
    names = [name for name in SCORE_COLOURS if name != "background"]
    for panel, position in zip(axes[0], positions, strict=True):
        own = told[told["position"] == position]
        rows = [
            row | {"title": f"{spoken(row['sequence'])}: {name}", "colour": SCORE_COLOURS[name]}
            for sequence in own["sequence"].unique()
            for name in names
            for row in own.query("sequence == @sequence and `class` == @name").to_dict("records")
        ]
        forest(panel, pd.DataFrame(rows), ".3f")
        panel.set(title=position, xlabel="Dice")
    return finish(figure, f"Unseen patients: {told['title'].iloc[0]}", source=source)


def pick(table: pd.DataFrame, sequence: str, position: str) -> pd.DataFrame:
    """Return the rows of one group of slices."""
    return table[(table["sequence"] == sequence) & (table["position"] == position)]
