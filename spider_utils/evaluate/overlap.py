"""Counts of overlap (tp, fp, fn) by slice and class, and the Dice that any group or draw of patients has by them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.bootstrap import patient_weights, weighted_mean
from spider_utils.evaluate.metrics import confusion, dice

PLACE = ["series", "patient", "sequence", "slice_index"]
AGGREGATIONS = ("pooled", "slices", "patients")


def count_overlap(
    reference: Iterable[np.ndarray], prediction: Iterable[np.ndarray], table: pd.DataFrame
) -> pd.DataFrame:
    """Count tp, fp and fn of every slice and class of class maps (H, W): the columns of PLACE, class, tp, fp, fn.

    `table` holds the slices' rows of the slice table, in the order of the maps.
    """
    rows = []
    for truth, found, place in zip(reference, prediction, table[PLACE].to_dict("records"), strict=True):
        pairs = confusion(truth[None], found[None])
        for label, name in enumerate(CLASSES):
            tp = pairs[label, label]
            fp, fn = pairs[:, label].sum() - tp, pairs[label].sum() - tp
            rows.append(place | {"class": name, "tp": tp, "fp": fp, "fn": fn})
    return pd.DataFrame(rows)


def pooled_dice(counts: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the Dice of each foreground class (columns), the pixels of every group of `keys` (rows) pooled."""
    sums = counts.groupby([*keys, "class"], sort=False)[["tp", "fp", "fn"]].sum()
    return pd.Series(dice(*sums.to_numpy().T), sums.index).unstack("class")[list(FOREGROUND)]


def replicated_dice(counts: pd.DataFrame, aggregation: str) -> dict[str, np.ndarray]:
    """Return the Dice of each class and "foreground" for every draw of patients; the first value has each of them once.

    `counts` has the columns patient, class, tp, fp, fn. Aggregations as in `spider_utils.evaluate.scores`.
    """
    patients = np.sort(counts["patient"].unique())
    weights = patient_weights(len(patients))
    values = {}
    for name in CLASSES:
        own = counts[counts["class"] == name]
        own = own.assign(dice=dice(own["tp"], own["fp"], own["fn"]))
        by_patient = own.groupby("patient")
        with np.errstate(divide="ignore", invalid="ignore"):
            if aggregation == "pooled":
                sums = by_patient[["tp", "fp", "fn"]].sum().reindex(patients)
                values[name] = dice(*(weights @ sums.to_numpy()).T)
            elif aggregation == "slices":
                sums = by_patient["dice"].agg(["sum", "count"]).reindex(patients).to_numpy()
                values[name] = np.divide(*(weights @ sums).T)
            else:
                values[name] = weighted_mean(weights, by_patient["dice"].mean().reindex(patients).to_numpy())
    values["foreground"] = np.mean([values[name] for name in FOREGROUND], axis=0)
    return values
