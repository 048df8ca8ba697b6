"""Arms of a study beside each other: pooled and mean Dice with intervals over patients, and paired differences.

Everything starts from the counts of overlap (`count_overlap`; those of `harness.run_study` have arm, seed, fold and
epoch, too). Patients are drawn with replacement, the same ones for all arms, so that a difference of arms is paired
by patient. Seeds are taken together: their counts are added up, their slices' Dice averaged.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.metrics import confusion, dice
from spider_utils.evaluate.scores import draw_patients

PLACE = ["series", "patient", "sequence", "slice_index"]
AGGREGATIONS = ("pooled", "slices", "patients")
REPLICATES, SEED = 1000, 0


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


def dice_table(counts: pd.DataFrame, keys: tuple[str, ...] = ("arm", "epoch")) -> pd.DataFrame:
    """Return Dice of every group of `keys`, aggregation and class, "foreground" among them, with 95 % intervals.

    Columns: the keys, aggregation, class, value, ci_low, ci_high, patients, slices.
    """
    rows = []
    for key, part in counts.groupby(list(keys), sort=False):
        sizes = {"patients": part["patient"].nunique(), "slices": part.groupby(["series", "slice_index"]).ngroups}
        for aggregation in AGGREGATIONS:
            for name, values in replicated_dice(part, aggregation).items():
                low, high = interval(values)
                row = dict(zip(keys, key, strict=True)) | {"aggregation": aggregation, "class": name}
                rows.append(row | {"value": values[0], "ci_low": low, "ci_high": high} | sizes)
    return pd.DataFrame(rows)


def difference_table(counts: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return how far each arm's Dice lies above the reference arm's, as `dice_table` does, at every common epoch."""
    rows = []
    for epoch, part in counts.groupby("epoch", sort=True):
        arms = dict(list(part.groupby("arm", sort=False)))
        if reference not in arms:
            continue
        for aggregation in AGGREGATIONS:
            base = replicated_dice(arms[reference], aggregation)
            for arm, own in arms.items():
                if arm == reference:
                    continue
                for name, values in replicated_dice(own, aggregation).items():
                    gain = values - base[name]
                    low, high = interval(gain)
                    row = {"arm": arm, "reference": reference, "epoch": epoch, "aggregation": aggregation}
                    row |= {"class": name, "difference": gain[0], "ci_low": low, "ci_high": high}
                    rows.append(row | {"patients": part["patient"].nunique()})
    return pd.DataFrame(rows)


def replicated_dice(counts: pd.DataFrame, aggregation: str) -> dict[str, np.ndarray]:
    """Return the Dice of each class and "foreground" for every draw of patients; the first value has each of them once.

    `counts` has the columns patient, class, tp, fp, fn. Aggregations as in `spider_utils.evaluate.scores`.
    """
    patients = np.sort(counts["patient"].unique())
    weights = np.vstack([np.ones((1, len(patients)), np.int64), draw_patients(len(patients), REPLICATES, SEED)])
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
                means = by_patient["dice"].mean().reindex(patients)
                values[name] = (weights @ means.fillna(0).to_numpy()) / (weights @ means.notna().to_numpy())
    values["foreground"] = np.mean([values[name] for name in FOREGROUND], axis=0)
    return values


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of replicated values, whose first is the value itself."""
    if len(values) < 2 or np.isnan(values[1:]).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return float(low), float(high)
