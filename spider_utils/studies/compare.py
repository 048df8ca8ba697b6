"""Arms of a study beside each other: pooled and mean Dice with intervals over patients, and paired differences.

Everything starts from the counts of overlap (`count_overlap`; those of `harness.run_study` have arm, seed, fold and
epoch, too). Patients are drawn with replacement, the same ones for all arms, so that a difference of arms is paired
by patient. Seeds are taken together: their counts are added up, their slices' Dice averaged, and in a draw all arms
have the same ones. With several, a table says how many in its last column, seeds, and its intervals hold how patients
and seeds differ; with one it has no such column, and they hold how patients do.
"""

from itertools import combinations, product

import numpy as np
import pandas as pd

from spider_utils.evaluate.bootstrap import estimate, interval, seeds_of, tell_seeds
from spider_utils.evaluate.overlap import patients_with, replicated_dice


def dice_table(counts: pd.DataFrame, keys: tuple[str, ...] = ("arm", "epoch")) -> pd.DataFrame:
    """Return Dice of every group of `keys`, aggregation and class, "foreground" among them, with 95 % intervals.

    Columns: the keys, aggregation, class, value, ci_low, ci_high, patients, slices.
    """
    rows = []
    for key, part in counts.groupby(list(keys), sort=False):
        sizes = {"patients": part["patient"].nunique(), "slices": part.groupby(["series", "slice_index"]).ngroups}
        sizes |= tell_seeds(len(seeds_of(part)))
        having = patients_with(part)
        for aggregation, by_class in replicated_dice(part).items():
            for name, values in by_class.items():
                row = dict(zip(keys, key, strict=True)) | {"aggregation": aggregation, "class": name}
                rows.append(row | estimate("value", values, having[name]) | sizes)
    return pd.DataFrame(rows)


def at_their_ends(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the counts of each arm's last epoch, all under the highest number, where arms end at different epochs."""
    ends = counts.groupby("arm")["epoch"].transform("max")
    if ends.nunique() == 1:
        return counts
    return counts[counts["epoch"] == ends].assign(epoch=ends.max())


def difference_table(counts: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return how far each arm's Dice lies above the reference arm's, as `dice_table` does, at every common epoch.

    Arms of different lengths are compared at their ends alone.
    """
    rows = []
    for epoch, part in at_their_ends(counts).groupby("epoch", sort=True):
        arms = {arm: replicated_dice(own) for arm, own in part.groupby("arm", sort=False)}
        having = {arm: patients_with(own) for arm, own in part.groupby("arm", sort=False)}
        base = arms.pop(reference, {})  # without it there is nothing to compare with, and no row
        for aggregation, arm in product(base, arms):
            for name, values in arms[arm][aggregation].items():
                row = {"arm": arm, "reference": reference, "epoch": epoch, "aggregation": aggregation, "class": name}
                both = min(having[arm][name], having[reference][name])
                row |= estimate("difference", values - base[aggregation][name], both)
                rows.append(row | {"patients": part["patient"].nunique()} | tell_seeds(len(seeds_of(part))))
    return pd.DataFrame(rows)


def scored_alike_often(counts: pd.DataFrame) -> bool:
    """Tell whether all arms were scored after the same epochs, more than one."""
    epochs = {tuple(sorted(part.unique())) for _, part in counts.groupby("arm")["epoch"]}
    return len(epochs) == 1 and len(epochs.pop()) > 1


def remaining_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return what each arm still gains from a scored epoch to its last one: arm, epoch, remaining, ci_low, ci_high.

    The pooled foreground Dice, with 95 % intervals over patients, and seeds where there are several; the last column,
    patients, and seeds say how many.
    """
    rows = []
    for arm, part in counts.groupby("arm", sort=False):
        last, sizes = part["epoch"].max(), {"patients": part["patient"].nunique()} | tell_seeds(len(seeds_of(part)))
        values, having = _pooled_foreground(part), patients_with(part)["foreground"]
        for epoch in (epoch for epoch in values if epoch < last):
            row = {"arm": arm, "epoch": epoch} | estimate("remaining", values[last] - values[epoch], having)
            rows.append(row | sizes)
    return pd.DataFrame(rows)


def order_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return how far the order of the arms at each scored epoch is that of the last, a row an epoch.

    Columns: epoch; pairs (of arms); same (pairs that lie as they do at the last epoch, by pooled foreground Dice);
    shown (pairs whose difference has a 95 % interval without 0); kept (those of them that the last epoch shows the same
    way) and reversed (those that it shows the other way).
    """
    parts = {arm: _pooled_foreground(part) for arm, part in counts.groupby("arm", sort=False)}
    having, epochs = patients_with(counts)["foreground"], sorted(counts["epoch"].unique())
    signs, sure = {}, {}
    for epoch in epochs:
        gains = [parts[one][epoch] - parts[other][epoch] for one, other in combinations(parts, 2)]
        signs[epoch] = np.sign([gain[0] for gain in gains])
        sure[epoch] = np.array([low > 0 or high < 0 for low, high in (interval(gain, having) for gain in gains)])
    rows = []
    for epoch in epochs:
        same, shown = signs[epoch] == signs[epochs[-1]], sure[epoch]
        row = {"epoch": epoch, "pairs": len(same), "same": same.sum(), "shown": shown.sum()}
        both = shown & sure[epochs[-1]]
        rows.append(row | {"kept": (both & same).sum(), "reversed": (both & ~same).sum()})
    return pd.DataFrame(rows)


def _pooled_foreground(counts: pd.DataFrame) -> dict[int, np.ndarray]:
    """Return the drawn values of one arm's pooled foreground Dice, by epoch."""
    return {epoch: replicated_dice(part)["pooled"]["foreground"] for epoch, part in counts.groupby("epoch")}
