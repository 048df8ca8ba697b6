"""From slices to tables: a score for every slice and class, three ways to aggregate them, intervals over patients.

Aggregations. `slices` is the mean over slices. `patients` is the mean over patients of each patient's own mean over
slices. `pooled` takes all slices as one set: overlap from summed pixel counts (so that Dice = F1 = 2 IoU / (1 + IoU)
holds for each class), ASD as the mean over all boundary distances, HD95 as the larger of the two directions' 95th
percentiles over all distances, NSD from summed contour lengths. A score that is not defined for a slice (see
`evaluate.metrics`) does not count in a mean; `missed` is the share of slices with the class in exactly one of the
two masks, which ASD and HD95 leave out. `foreground` is the plain mean of the aggregated value of the three foreground
classes. Distances in mm and in pixels are never put into one number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.bootstrap import REPLICATES, SEED, estimate, patient_weights, seeds_of, weighted_mean
from spider_utils.evaluate.boundaries import Boundary, boundary_distances, counted_quantile
from spider_utils.evaluate.metrics import COUNTS, DISTANCES, MEAN, MM, PX, RATIO, Metric, overlap_counts, split_metrics

SCORE_FILE, DISTANCE_FILE = "slice_scores.csv", "slice_distances.csv"
AGGREGATIONS = ("slices", "patients", "pooled")
COLUMNS = ["split", "sequence", "class", "aggregation", "metric", "unit", "value", "ci_low", "ci_high", "n"]

DISTANCE_COLUMNS = ("row", "direction", "distance", "count")


@dataclass(frozen=True)
class SliceScores:
    """Scores of every slice and class, and the distances they were made from.

    `table` has a row for a slice and class: series, patient, sequence, slice_index, class, tp, fp, fn, dice, iou,
    precision, recall, f1, missed, unit ("mm" or "px", of what follows), asd, hd95, nsd_1, nsd_2, distance_sum,
    boundary_pixels, boundary_length, within_1, within_2. `distances` counts equal boundary distances: row (in `table`),
    direction ("prediction" or "reference": whose pixel it starts from), distance, count. Where networks of several
    seeds have segmented the slices, `table` has the column seed and a row for each of them.
    """

    table: pd.DataFrame
    distances: pd.DataFrame


def score_slices(reference: np.ndarray, prediction: np.ndarray, table: pd.DataFrame) -> SliceScores:
    """Score class maps (n, H, W) uint8 against each other, slice by slice.

    `table` holds the n slices' rows of the slice store, in the order of the arrays. A slice is measured in mm where
    the table knows its pixel size and in pixels where it does not. Raises SpiderError where the three do not fit.
    """
    if not reference.shape == prediction.shape == (len(table), *reference.shape[1:]):
        raise SpiderError(
            f"scores: expected reference and prediction of one shape with {len(table)} slices, as the table has, "
            f"found {reference.shape} and {prediction.shape}; give the rows that were predicted, at full resolution"
        )
    counted, measured = split_metrics()
    rows: list[dict] = []
    distances: list[tuple[np.ndarray, ...]] = []
    slices = progress(table.itertuples(), total=len(table), desc="scoring slices", unit="slice")
    for number, row in enumerate(slices):
        known = bool(np.isfinite([row.pixel_mm_row, row.pixel_mm_col]).all())
        spacing = (row.pixel_mm_row, row.pixel_mm_col) if known else (1.0, 1.0)
        place = {name: getattr(row, name) for name in ("series", "patient", "sequence", "slice_index")}
        for label, name in enumerate(CLASSES):
            truth, found = reference[number] == label, prediction[number] == label
            counts, boundary = overlap_counts(truth, found), boundary_distances(truth, found, spacing)
            distances.extend(_distance_counts(len(rows), boundary))
            row = place | {"class": name} | dict(zip(COUNTS, counts, strict=True))
            row |= {metric.name: metric.of_slice(counts, boundary) for metric in counted}
            row |= {"unit": MM if known else PX}
            row |= {metric.name: metric.of_slice(counts, boundary) for metric in measured}
            rows.append(row | boundary.sums)
    columns = map(np.concatenate, zip(*distances, strict=True))
    return SliceScores(pd.DataFrame(rows), pd.DataFrame(dict(zip(DISTANCE_COLUMNS, columns, strict=True))))


def summarise(scores: SliceScores, split: str, replicates: int = REPLICATES, seed: int = SEED) -> pd.DataFrame:
    """Aggregate slice scores to the long table COLUMNS: for each sequence and "all", class, aggregation and metric.

    ci_low and ci_high are the percentile bootstrap 95 % interval over patients (Efron 1979): patients are drawn with
    replacement, each with all its slices; a replicate without a defined value is left out; with one patient the
    interval is NaN. n counts the slices (patients for `patients`) that have a value, for `foreground` the largest n of
    its classes. The unit is "ratio", or "mm" / "px" of the distance or of the NSD's tolerance. Several seeds are taken
    together and drawn like the patients (see `bootstrap.patient_weights`); a slice counts once in n.
    """
    table = scores.table
    counted, measured = split_metrics()
    summary = []
    for sequence in [*sorted(table["sequence"].unique()), "all"]:
        chosen = table if sequence == "all" else table[table["sequence"] == sequence]
        groups = [(RATIO, counted, chosen)]
        groups += [(unit, measured, part) for unit, part in chosen.groupby("unit")]
        for unit, metrics, part in groups:
            for row in _aggregate(part, scores.distances, metrics, replicates, seed):
                summary.append({"split": split, "sequence": sequence, "unit": unit} | row)
    return pd.DataFrame(summary)[COLUMNS]


def lateral_position(table: pd.DataFrame) -> pd.Series:
    """Return where each row's slice lies within its series' slices: -1 first, 0 middle, 1 last.

    `table` has the columns series and slice_index; a series of one slice is at 0.
    """
    index = table.groupby("series")["slice_index"]
    first, last = index.transform("min"), index.transform("max")
    half = ((last - first) / 2).where(last > first, 1.0)
    return ((table["slice_index"] - (first + last) / 2) / half).rename("lateral_position")


def write_scores(scores: SliceScores, folder: Path | str) -> None:
    """Write slice_scores.csv and slice_distances.csv into `folder`."""
    write_metrics(scores.distances, Path(folder) / DISTANCE_FILE)
    write_metrics(scores.table, Path(folder) / SCORE_FILE)


def read_scores(folder: Path | str) -> SliceScores:
    """Read what `write_scores` wrote. Raises SpiderError where a file is missing."""
    tables = []
    for path in (Path(folder) / SCORE_FILE, Path(folder) / DISTANCE_FILE):
        if not path.is_file():
            raise SpiderError(f"{path}: expected the slice scores, found no such file; score the slices first")
        tables.append(pd.read_csv(path))
    return SliceScores(*tables)


def join_scores(parts: list[SliceScores]) -> SliceScores:
    """Lay scores of different slices into one table."""
    tables, distances, before = [], [], 0
    for part in parts:
        tables.append(part.table)
        distances.append(part.distances.assign(row=part.distances["row"] + before))
        before += len(part.table)
    return SliceScores(pd.concat(tables, ignore_index=True), pd.concat(distances, ignore_index=True))


def write_metrics(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV without its index, atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _distance_counts(row: int, boundary: Boundary) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the columns row, direction, distance and count of each direction of a boundary."""
    for direction, side in (("prediction", boundary.from_prediction), ("reference", boundary.from_reference)):
        values, counts = np.unique(side, return_counts=True)
        yield np.full(len(values), row), np.full(len(values), direction, object), values.astype(float), counts


def _aggregate(
    part: pd.DataFrame, distances: pd.DataFrame, metrics: list[Metric], replicates: int, seed: int
) -> list[dict]:
    """Return rows of class, aggregation, metric, value, interval and n for slices of one unit."""
    patients, code = np.unique(part["patient"], return_inverse=True)
    seeds = seeds_of(part)
    place = np.searchsorted(seeds, part["seed"]) if "seed" in part else 0
    code = pd.Series(code * len(seeds) + place, index=part.index)
    weights = patient_weights(len(patients), replicates, seed, len(seeds))
    rows = []
    for aggregation in AGGREGATIONS:
        for metric in metrics:
            results = {}
            for name in CLASSES:
                table = part[part["class"] == name]
                own = code[table.index].to_numpy()
                results[name] = _values(table, distances, aggregation, metric, own, weights, len(seeds))
            values, numbers, having = zip(*(results[name] for name in FOREGROUND), strict=True)
            results["foreground"] = np.mean(values, axis=0), max(numbers), min(having)
            for name, (values, n, of) in results.items():
                row = {"class": name, "aggregation": aggregation, "metric": metric.name}
                rows.append(row | estimate("value", values, of) | {"n": n})
    return rows


def _values(
    table: pd.DataFrame,
    distances: pd.DataFrame,
    aggregation: str,
    metric: Metric,
    code: np.ndarray,
    weights: np.ndarray,
    seeds: int,
) -> tuple[np.ndarray, int, int]:
    """Return a metric of one class for every row of patient weights, n, and how many patients have a value.

    `code` is each slice's column of the weights.
    """

    def patient_sums(column: np.ndarray | pd.Series) -> np.ndarray:
        return np.bincount(code, weights=np.nan_to_num(np.asarray(column, float)), minlength=weights.shape[1])

    defined = table[metric.name].notna()
    sums, slices = patient_sums(table[metric.name]), patient_sums(defined)
    having = int((slices.reshape(-1, seeds) > 0).any(axis=1).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        if aggregation == "patients":
            return weighted_mean(weights, sums / slices), having, having
        n = int(np.bincount(code[defined] % seeds, minlength=seeds).max())
        if aggregation == "slices" or metric.pooled == MEAN:
            return (weights @ sums) / (weights @ slices), n, having
    if metric.pooled == DISTANCES:
        return _pooled_hd95(distances, pd.Series(code, index=table.index), weights), n, having
    return metric.of_sums(*(weights @ patient_sums(table[column]) for column in metric.pooled)), n, having


def _pooled_hd95(distances: pd.DataFrame, code: pd.Series, weights: np.ndarray) -> np.ndarray:
    chosen = distances[distances["row"].isin(code.index)]
    chosen = chosen.assign(patient=code.reindex(chosen["row"]).to_numpy())
    sides = []
    for direction in ("prediction", "reference"):
        side = chosen[chosen["direction"] == direction].groupby(["distance", "patient"], as_index=False)["count"].sum()
        values, patient, counts = (side[name].to_numpy() for name in ("distance", "patient", "count"))
        sides.append([counted_quantile(values, counts * row[patient]) for row in weights])
    return np.max(sides, axis=0)
