"""Counts of overlap (tp, fp, fn) by slice and class, and the Dice that any group or draw of patients has by them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.bootstrap import patient_weights, seeds_of, weighted_mean
from spider_utils.evaluate.metrics import COUNTS, class_counts, confusion, dice

PLACE = ["series", "patient", "sequence", "slice_index"]


def count_overlap(
    reference: Iterable[np.ndarray], prediction: Iterable[np.ndarray], table: pd.DataFrame
) -> pd.DataFrame:
    """Count tp, fp and fn of every slice and class of class maps (H, W): the columns of PLACE, class, tp, fp, fn.

    `table` holds the slices' rows of the slice table, in the order of the maps.
    """
    rows = []
    for truth, found, place in zip(reference, prediction, table[PLACE].to_dict("records"), strict=True):
        counts = class_counts(confusion(truth[None], found[None]))
        for name, own in zip(CLASSES, counts.T, strict=True):
            rows.append(place | {"class": name} | dict(zip(COUNTS, own, strict=True)))
    return pd.DataFrame(rows)


def pooled_dice(counts: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the Dice of each foreground class (columns), the pixels of every group of `keys` (rows) pooled."""
    sums = counts.groupby([*keys, "class"], sort=False)[["tp", "fp", "fn"]].sum()
    return pd.Series(dice(*sums.to_numpy().T), sums.index).unstack("class")[list(FOREGROUND)]


def patients_with(counts: pd.DataFrame) -> dict[str, int]:
    """Count the patients that have a Dice of each class, in a mask; of "foreground": of the rarest of its three."""
    there = counts[counts[list(COUNTS)].sum(axis=1) > 0]
    found = there.groupby("class")["patient"].nunique().reindex(CLASSES, fill_value=0).to_dict()
    return found | {"foreground": min(found[name] for name in FOREGROUND)}


def replicated_dice(counts: pd.DataFrame, patients: np.ndarray | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Return the Dice of each class and "foreground" for every draw of patients; the first value has each of them once.

    `counts` has the columns patient, class, tp, fp, fn; with several seeds in a column seed these are drawn, too.
    `patients`: those that are drawn, without it those in `counts`; sets that share it share the draws. The result is by
    aggregation, see `evaluate.scores`, and class.
    """
    patients = np.sort(counts["patient"].unique()) if patients is None else patients
    seeds = seeds_of(counts)
    counts = counts.assign(seed=0) if "seed" not in counts else counts
    pairs = pd.MultiIndex.from_product([patients, seeds])
    weights = patient_weights(len(patients), seeds=len(seeds))
    values: dict[str, dict[str, np.ndarray]] = {"pooled": {}, "slices": {}, "patients": {}}
    for name in CLASSES:
        own = counts[counts["class"] == name]
        by_pair = own.assign(dice=dice(own["tp"], own["fp"], own["fn"])).groupby(["patient", "seed"])
        pixels = by_pair[list(COUNTS)].sum().reindex(pairs, fill_value=0).to_numpy()
        slices = by_pair["dice"].agg(["sum", "count"]).reindex(pairs, fill_value=0).to_numpy()
        means = by_pair["dice"].mean().reindex(pairs).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            values["pooled"][name] = dice(*(weights @ pixels).T)
            values["slices"][name] = np.divide(*(weights @ slices).T)
            values["patients"][name] = weighted_mean(weights, means)
    for by_class in values.values():
        by_class["foreground"] = np.mean([by_class[name] for name in FOREGROUND], axis=0)
    return values
