"""The copying baseline: no network, no look at the image; the prediction for a slice is another slice's mask.

Under a random split of slices nearly every held-out slice has a training slice of the same patient right beside it.
Copying that one's mask scores what mere neighbourhood is worth, so that a network's score under such a split can be
read against it. Under a split by patient there is no such slice; the nearest thing is another patient's mask.

A table of *pairs* says who copies from whom: row (held-out row number of the slice table), donor (row number whose mask
is copied, -1 for none) and distance (slices between the two, NaN where they are not of one series).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from spider_utils.data.labels import FOREGROUND
from spider_utils.data.splits import SplitSettings, make_split
from spider_utils.data.store import SliceStore
from spider_utils.evaluate.bootstrap import REPLICATES
from spider_utils.evaluate.metrics import COUNTS, split_metrics
from spider_utils.evaluate.overlap import count_overlap
from spider_utils.evaluate.scores import SliceScores, lateral_position, score_slices, summarise

NEIGHBOUR, OTHER_PATIENT = "neighbour copied (random_slice, LEAKY)", "other patient copied (patient_kfold)"


def nearest_training_slice(table: pd.DataFrame, train: np.ndarray, held: np.ndarray) -> pd.DataFrame:
    """Pair every held-out slice with the nearest training slice of its series, ties going to the lower slice number.

    `table` has the columns series and slice_index; `train` and `held` are row numbers. Returns row, donor, distance in
    the order of `held`; without a training slice of the series the donor is -1 and the distance NaN.
    """
    train = np.asarray(train, np.intp)
    train = train[np.argsort(table["slice_index"].to_numpy()[train], kind="stable")]
    series, index = table["series"].to_numpy(), table["slice_index"].to_numpy()
    pairs = []
    for row in held:
        donors = train[series[train] == series[row]]
        if donors.size == 0:
            pairs.append((row, -1, np.nan))
            continue
        distance = np.abs(index[donors] - index[row])
        nearest = int(np.argmin(distance))  # the first of equals, so the lower slice number
        pairs.append((row, donors[nearest], float(distance[nearest])))
    return _pairs(pairs)


def other_patients_slice(table: pd.DataFrame, train: np.ndarray, held: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Pair every held-out slice with a slice of another patient, at the nearest relative lateral position.

    For each held-out series one training series of the same sequence and of another patient is drawn by the seed; of
    its training slices the one is taken whose `scores.lateral_position` within the whole table is nearest (ties: the
    lower slice number). Returns row, donor, distance (NaN) in the order of `held`; without such a series the donor is
    -1.
    """
    rng = np.random.default_rng(seed)
    held = np.asarray(held, np.intp)
    position = lateral_position(table).to_numpy()
    training = table.iloc[np.asarray(train, np.intp)]
    donor_of = {}
    for series, part in table.iloc[held].groupby("series", sort=True):
        first = part.iloc[0]
        others = training[(training["sequence"] == first["sequence"]) & (training["patient"] != first["patient"])]
        drawn = rng.choice(sorted(others["series"].unique())) if len(others) else None
        donor_of[series] = others[others["series"] == drawn].sort_values("slice_index").index
    pairs = []
    for row, series in zip(held, table["series"].iloc[held], strict=True):
        donors = donor_of[series]
        away = np.abs(position[donors] - position[row])
        pairs.append((row, donors[int(np.argmin(away))] if len(donors) else -1, np.nan))
    return _pairs(pairs)


def every_slice_once(table: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Pair every slice that the folds of a split test, each in the fold that holds it out: row, donor, distance, fold.

    Where the split leaks, the donor is the nearest training slice of the series; under a split by patient it is
    another patient's slice, drawn by `split_seed`.
    """
    folds = []
    for fold in range(settings.folds):
        split = make_split(table, replace(settings, fold=fold))
        train, held = (split.rows(table, side) for side in ("train", "test"))
        if split.kind == "random_slice":
            pairs = nearest_training_slice(table, train, held)
        else:
            pairs = other_patients_slice(table, train, held, settings.split_seed)
        folds.append(pairs.assign(fold=fold))
    return pd.concat(folds, ignore_index=True)


def slices_apart(table: pd.DataFrame, apart: int) -> pd.DataFrame:
    """Pair every slice with the one of its series whose slice number is `apart` higher: row, donor, distance."""
    place = {key: row for row, key in enumerate(zip(table["series"], table["slice_index"], strict=True))}
    found = ((row, place.get((series, index + apart))) for (series, index), row in place.items())
    return _pairs([(row, donor, float(apart)) for row, donor in found if donor is not None])


def copying_scores(
    masks: np.ndarray, table: pd.DataFrame, pairs: pd.DataFrame, boundaries: bool = False
) -> SliceScores:
    """Score the copied masks against the references, for `scores.summarise`.

    `masks` (N, H, W) uint8 and `table` are a store's. A slice without a donor is predicted as background only, so
    that it scores 0 and stays in the count. With `boundaries` the scores are those of `scores.score_slices` (ASD, HD95,
    NSD: about 50 ms a slice of 640 x 512); without it only overlap is counted (2 ms), and the table has neither
    distances nor a unit.
    """
    if boundaries:
        rows = pairs["row"].to_numpy()
        reference, copied = masks[rows], np.zeros((len(rows), *masks.shape[1:]), np.uint8)
        given = pairs["donor"].to_numpy() >= 0
        copied[given] = masks[pairs["donor"].to_numpy()[given]]
        return score_slices(reference, copied, table.iloc[rows])
    nothing = np.zeros(masks.shape[1:], np.uint8)
    references = (masks[row] for row in pairs["row"])
    copies = (masks[donor] if donor >= 0 else nothing for donor in pairs["donor"])
    return _overlap_scores(count_overlap(references, copies, table.iloc[pairs["row"]]))


def typical_neighbours(masks: np.ndarray, table: pd.DataFrame) -> tuple[int, int] | None:
    """Choose the neighbouring slices whose masks' Dice (mean of the foreground's classes) is the median of all pairs.

    Returns the row numbers of the slice whose mask is copied and of the next one; of an even number of pairs the lower
    of the two in the middle; None where no two slices are neighbours.
    """
    pairs = slices_apart(table, 1)
    if pairs.empty:
        return None
    scores = copying_scores(masks, table, pairs).table
    means = scores[scores["class"].isin(FOREGROUND)].groupby(["series", "slice_index"])["dice"].mean()
    keys = pd.MultiIndex.from_frame(table.iloc[pairs["row"]][["series", "slice_index"]])
    values = means.reindex(keys).to_numpy()  # NaN where neither slice shows a class: sorted last
    chosen = pairs.iloc[np.argsort(values, kind="stable")[max(0, np.isfinite(values).sum() - 1) // 2]]
    return int(chosen["row"]), int(chosen["donor"])


def copying_table(
    store: SliceStore, folds: int = 5, seed: int = 0, boundaries: bool = False, replicates: int = REPLICATES
) -> pd.DataFrame:
    """Score both kinds of copying over all folds: the long table of `scores.summarise`.

    Its column split is NEIGHBOUR (random slices dealt to `folds` parts, so 80 / 20 for five: leaky) or OTHER_PATIENT
    (patients dealt to `folds` parts, or one a patient where there are fewer). SPIDER's validation patients take no
    part, as in every split that is not the official one. Raises SpiderError with less than two other patients.
    """
    summaries = []
    patients = store.table.loc[store.table["subset"] != "validation", "patient"].nunique()
    for name, kind, parts in (
        (NEIGHBOUR, "random_slice", folds),
        (OTHER_PATIENT, "patient_kfold", min(folds, patients)),
    ):
        settings = SplitSettings(split=kind, folds=parts, validation_share=0.0, split_seed=seed)
        pairs = every_slice_once(store.table, settings)
        scores = copying_scores(store.masks, store.table, pairs, boundaries)
        summaries.append(summarise(scores, name, replicates, seed))
    return pd.concat(summaries, ignore_index=True)


def neighbour_overlap(
    masks: np.ndarray, table: pd.DataFrame, apart: Sequence[int] = (1, 2, 3), replicates: int = REPLICATES
) -> pd.DataFrame:
    """Dice between the masks of one series that lie 1, 2, 3 slices apart.

    Returns apart, class ("foreground" is the mean of its three classes), aggregation ("slices": mean over the pairs,
    "patients", "pooled"), value, ci_low, ci_high (95 %, over patients), n (pairs; patients for "patients") and pairs.
    Distances that no series spans are left out.
    """
    parts = []
    for distance in apart:
        pairs = slices_apart(table, distance)
        if len(pairs):
            summary = summarise(copying_scores(masks, table, pairs), "", replicates)
            chosen = summary[(summary["sequence"] == "all") & (summary["metric"] == "dice")]
            parts.append(chosen.assign(apart=distance, pairs=len(pairs)))
    columns = ["apart", "class", "aggregation", "value", "ci_low", "ci_high", "n", "pairs"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _overlap_scores(counts: pd.DataFrame) -> SliceScores:
    """Scores of slices from their counts of overlap; distances are not measured."""
    terms = [counts[name].to_numpy() for name in COUNTS]
    values = {metric.name: metric.measure(*terms) for metric in split_metrics()[0]}
    distances = pd.DataFrame(columns=["row", "direction", "distance", "count"])
    return SliceScores(counts.assign(**values, unit=np.nan), distances)


def _pairs(rows: list[tuple[int, int, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["row", "donor", "distance"])
    return table.astype({"row": np.intp, "donor": np.intp, "distance": float})
