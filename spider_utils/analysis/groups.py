"""Dice by groups of slices: class, patient, place, size, scanner.

A patient's value is the mean over its slices in the group, the group's value the mean over its patients, with the 95 %
percentile bootstrap interval over them (NaN for one patient). "foreground" is the mean of the three classes.
"""

import numpy as np
import pandas as pd

from spider_utils.analysis.unseen import Unseen
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.bootstrap import estimate
from spider_utils.evaluate.overlap import count_overlap, patients_with, replicated_dice
from spider_utils.evaluate.scores import lateral_position

THIRDS = ("first third", "middle third", "last third")
QUARTERS = ("1 smallest", "2", "3", "4 largest")
SCANNER = {"maker": "Manufacturer", "field": "MagneticFieldStrength"}  # columns of overview.csv
UNKNOWN = "not stated"


def group_table(unseen: Unseen, overview: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return group, value, class, dice, ci_low, ci_high, patients and slices (that have the class in either mask).

    Groups: all, sequence, patient, lateral (thirds of a series' slices, in their order; which side is the patient's
    right the released slices do not tell), size (quarters of the slices by the class's reference pixels, for each class
    of its own) and, with SPIDER's overview, maker and field (strength).
    """
    counts = count_overlap(unseen.reference, unseen.prediction, unseen.table)
    counts = counts[counts["class"].isin(FOREGROUND)].reset_index(drop=True)
    counts = counts.assign(all="all", lateral=_thirds(counts), size=_quarters(counts))
    groups = ["all", "sequence", "patient", "lateral", "size"]
    if overview is not None:
        for name, values in scanners(unseen.table, overview).items():
            counts[name] = counts["series"].map(values)
            groups.append(name)
    return pd.concat([_rows(counts, group) for group in groups], ignore_index=True)


def scanners(table: pd.DataFrame, overview: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the scanner's maker and field strength of every series, by series: {"maker": ..., "field": ...}."""
    known = overview.drop_duplicates("new_file_name").set_index("new_file_name")
    found = {}
    for name, column in SCANNER.items():
        cells = known[column].reindex(table["series"].unique())
        unit = " T" if name == "field" else ""
        found[name] = {series: UNKNOWN if pd.isna(cell) else f"{cell}{unit}" for series, cell in cells.items()}
    return found


def _rows(counts: pd.DataFrame, group: str) -> pd.DataFrame:
    rows = []
    for value, part in counts.groupby(group, sort=True, observed=True):
        there, having = part[part[["tp", "fp", "fn"]].sum(axis=1) > 0], patients_with(part)
        for name, values in replicated_dice(part)["patients"].items():
            if name == CLASSES[0]:
                continue
            own = there if name == "foreground" else there[there["class"] == name]
            sizes = {"patients": own["patient"].nunique(), "slices": own.groupby(["series", "slice_index"]).ngroups}
            row = {"group": group, "value": str(value), "class": name}
            rows.append(row | estimate("dice", values, having[name]) | sizes)
    return pd.DataFrame(rows)


def _thirds(counts: pd.DataFrame) -> pd.Categorical:
    position = lateral_position(counts)
    return pd.Categorical.from_codes(np.digitize(position, (-1 / 3, 1 / 3)), THIRDS)


def _quarters(counts: pd.DataFrame) -> pd.Series:
    """Return each row's quarter among the slices of its class by reference pixels; slices without the class: none."""
    pixels = (counts["tp"] + counts["fn"]).where(lambda count: count > 0)
    rank = pixels.groupby(counts["class"]).rank(pct=True, method="first")
    return pd.cut(rank, (0, 0.25, 0.5, 0.75, 1), labels=QUARTERS)
