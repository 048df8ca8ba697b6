"""Score tables for people: values with their intervals, beside the paper's, and a summary in a few lines."""

import numpy as np
import pandas as pd

from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.metrics import LENGTH, METRICS
from spider_utils.evaluate.paper import PAPER_TABLE


def score_table(
    summary: pd.DataFrame,
    aggregation: str = "pooled",
    metrics: tuple[str, ...] = ("dice", "iou", "hd95", "asd", "nsd_1"),
    sequence: str = "all",
) -> pd.DataFrame:
    """Return a wide table for reading, classes in rows: "0.912 [0.890, 0.930]"; `summary` holds one split."""
    chosen = summary[(summary["aggregation"] == aggregation) & (summary["sequence"] == sequence)]
    columns = {}
    for metric in metrics:
        for unit, part in chosen[chosen["metric"] == metric].groupby("unit"):
            columns[METRICS[metric].heading(unit)] = part.set_index("class").apply(_with_interval, axis=1)
    return pd.DataFrame(columns).reindex([*FOREGROUND, "foreground", "background"]).fillna("-").rename_axis("class")


def beside_paper(summary: pd.DataFrame, aggregation: str = "pooled") -> pd.DataFrame:
    """Put our scores beside PAPER_TABLE: sequence, class, metric, unit, ours, ci_low, ci_high, paper, difference.

    The difference is ours - paper. The paper's NSD stands beside ours at tolerance 1 and its ASD beside ours in its
    unit, though the paper states neither tolerance nor unit: those two differences compare unlike things.
    """
    paper = PAPER_TABLE.melt(["sequence", "class"], var_name="metric", value_name="paper").replace({"nsd": "nsd_1"})
    ours = summary[summary["aggregation"] == aggregation].rename(columns={"value": "ours"})
    ours = ours[["sequence", "class", "metric", "unit", "ours", "ci_low", "ci_high"]]
    both = ours.merge(paper, on=["sequence", "class", "metric"], how="inner")
    return both.assign(difference=both["ours"] - both["paper"])


def summary_lines(summary: pd.DataFrame) -> list[str]:
    """Return the five lines that end a run: a head, the three foreground classes and their mean, from pooled pixels."""
    table = score_table(summary, metrics=("dice", "iou", "hd95")).loc[[*FOREGROUND, "foreground"]]
    table["IoU"] = table["IoU"].str.split(" ").str[0]
    table = table.rename(columns={"Dice": "Dice pooled [95 % CI]"}).reset_index()
    return _aligned(table)


def sequence_lines(summary: pd.DataFrame) -> list[str]:
    """Return the lines that tell sequences apart, pooled Dice of each class: a head and a line a sequence; of one
    sequence none.
    """
    sequences = sorted(set(summary["sequence"]) - {"all"})
    if len(sequences) < 2:
        return []
    dice = {name: score_table(summary, metrics=("dice",), sequence=name)["Dice"] for name in sequences}
    table = pd.DataFrame(dice).T[[*FOREGROUND, "foreground"]].rename_axis("Dice pooled [95 % CI]").reset_index()
    return _aligned(table)


def _aligned(table: pd.DataFrame) -> list[str]:
    """Return a table of texts as lines, its columns one below the other."""
    columns = [[title, *table[title]] for title in table.columns]
    widths = [max(len(cell) for cell in column) for column in columns]
    padded = [[f"{cell:<{width}}" for cell in column] for column, width in zip(columns, widths, strict=True)]
    return [" | ".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def _with_interval(row: pd.Series) -> str:
    if np.isnan(row["value"]):
        return "-"
    digits = 2 if METRICS[row["metric"]].kind == LENGTH else 3
    value, low, high = (f"{row[name]:.{digits}f}" for name in ("value", "ci_low", "ci_high"))
    return value if np.isnan(row["ci_low"]) else f"{value} [{low}, {high}]"
