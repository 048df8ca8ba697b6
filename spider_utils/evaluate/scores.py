"""From slices to tables: a score for every slice and class, three ways to aggregate them, intervals over patients.

Aggregations. `slices` is the mean over slices. `patients` is the mean over patients of each patient's own mean over
slices. `pooled` takes all slices as one set: overlap from summed pixel counts (so that Dice = F1 = 2 IoU / (1 + IoU)
holds for each class), ASD as the mean over all boundary distances, HD95 as the larger of the two directions' 95th
percentiles over all distances, NSD from summed contour lengths. A score that is not defined for a slice (see
`evaluate.metrics`) does not count in a mean; `missed` is the share of slices with the class in exactly one of the
two masks, which ASD and HD95 leave out. `foreground` is the plain mean of the aggregated value of the three foreground
classes. Distances in mm and in pixels are never put into one number.
"""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.metrics import (
    OVERLAP,
    TOLERANCES,
    Boundary,
    boundary_distances,
    counted_quantile,
    overlap_counts,
)

SCORE_FILE, DISTANCE_FILE = "slice_scores.csv", "slice_distances.csv"
AGGREGATIONS = ("slices", "patients", "pooled")
RATIO = "ratio"  # the unit of the scores that need no pixel size
COUNTED = (*OVERLAP, "missed")
MEASURED = ("asd", "hd95", "nsd_1", "nsd_2")
POOLED_TERMS = {  # pooled value = sum of the first column / sum of the second
    "asd": ("distance_sum", "boundary_pixels"),
    "nsd_1": ("within_1", "boundary_length"),
    "nsd_2": ("within_2", "boundary_length"),
}
COLUMNS = ["split", "sequence", "class", "aggregation", "metric", "unit", "value", "ci_low", "ci_high", "n"]
TITLES = {"dice": "Dice", "iou": "IoU", "precision": "Precision", "recall": "Recall", "f1": "F1", "missed": "Missed"}
TITLES |= {"asd": "ASD", "hd95": "HD95", "nsd_1": "NSD at 1", "nsd_2": "NSD at 2"}

# Ahmed et al. 2025, Table 2: validation data, split, tolerance of the NSD and unit of the ASD not stated.
PAPER_TABLE = pd.read_csv(
    StringIO("""sequence,class,iou,dice,asd,nsd,precision,recall,f1
T2_SPACE,background,.9906,.9950,.0543,.9951,.9951,.9955,.9953
T2_SPACE,discs,.9476,.9688,.0288,.9994,.9684,.9778,.9731
T2_SPACE,vertebrae,.9461,.9712,.0464,.9944,.9745,.9701,.9723
T2_SPACE,canal,.9501,.9671,.0361,.9963,.9761,.9727,.9744
T1,background,.9891,.9893,.0578,.9901,.9899,.9921,.9917
T1,discs,.9378,.9592,.0389,.9954,.9556,.9696,.9663
T1,vertebrae,.9367,.9634,.0489,.9912,.9711,.9697,.9678
T1,canal,.9445,.9628,.0372,.9893,.9711,.9692,.9725
T2,background,.9867,.9877,.0533,.9921,.9856,.9933,.9867
T2,discs,.9317,.9527,.0401,.9934,.9524,.9658,.9650
T2,vertebrae,.9331,.9647,.0488,.9919,.9703,.9671,.9666
T2,canal,.9439,.9625,.0371,.9856,.9689,.9697,.9709
""")
)


@dataclass(frozen=True)
class SliceScores:
    """Scores of every slice and class, and the distances they were made from.

    `table` has a row for a slice and class: series, patient, sequence, slice_index, class, tp, fp, fn, dice, iou,
    precision, recall, f1, missed, unit ("mm" or "px", of what follows), asd, hd95, nsd_1, nsd_2, distance_sum,
    boundary_pixels, boundary_length, within_1, within_2. `distances` counts equal boundary distances: row (in `table`),
    direction ("prediction" or "reference": whose pixel it starts from), distance, count.
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
    rows, distances = [], []
    slices = progress(table.itertuples(), total=len(table), desc="scoring slices", unit="slice")
    for number, row in enumerate(slices):
        known = bool(np.isfinite([row.pixel_mm_row, row.pixel_mm_col]).all())
        spacing = (row.pixel_mm_row, row.pixel_mm_col) if known else (1.0, 1.0)
        place = {name: getattr(row, name) for name in ("series", "patient", "sequence", "slice_index")}
        for label, name in enumerate(CLASSES):
            truth, found = reference[number] == label, prediction[number] == label
            boundary = boundary_distances(truth, found, spacing)
            distances.append(_distance_counts(len(rows), boundary))
            measured = {"unit": "mm" if known else "px"} | _boundary_scores(boundary)
            rows.append(place | {"class": name} | _overlap_scores(truth, found) | measured)
    return SliceScores(pd.DataFrame(rows), pd.concat(distances, ignore_index=True))


def summarise(scores: SliceScores, split: str, replicates: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Aggregate slice scores to the long table COLUMNS: for each sequence and "all", class, aggregation and metric.

    ci_low and ci_high are the percentile bootstrap 95 % interval over patients (Efron 1979): patients are drawn with
    replacement, each with all its slices; a replicate without a defined value is left out; with one patient the
    interval is NaN. n counts the slices (patients for `patients`) that have a value, for `foreground` the largest n of
    its classes. The unit is "ratio", or "mm" / "px" of the distance or of the NSD's tolerance.
    """
    table = scores.table
    summary = []
    for sequence in [*sorted(table["sequence"].unique()), "all"]:
        chosen = table if sequence == "all" else table[table["sequence"] == sequence]
        groups = [(RATIO, COUNTED, chosen)]
        groups += [(unit, MEASURED, part) for unit, part in chosen.groupby("unit")]
        for unit, metrics, part in groups:
            for row in _aggregate(part, scores.distances, metrics, replicates, seed):
                summary.append({"split": split, "sequence": sequence, "unit": unit} | row)
    return pd.DataFrame(summary)[COLUMNS]


def draw_patients(patients: int, replicates: int, seed: int) -> np.ndarray:
    """Return how often each patient is drawn, (replicates, patients) int64; every row sums to `patients`."""
    drawn = np.random.default_rng(seed).integers(0, patients, (replicates, patients))
    return np.stack([np.bincount(row, minlength=patients) for row in drawn])


def lateral_position(table: pd.DataFrame) -> pd.Series:
    """Return where each row's slice lies within its series' slices: -1 first, 0 middle, 1 last.

    `table` has the columns series and slice_index; a series of one slice is at 0.
    """
    index = table.groupby("series")["slice_index"]
    first, last = index.transform("min"), index.transform("max")
    half = ((last - first) / 2).where(last > first, 1.0)
    return ((table["slice_index"] - (first + last) / 2) / half).rename("lateral_position")


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
            columns[_title(metric, unit)] = part.set_index("class").apply(_with_interval, axis=1)
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
    columns = [[title, *table[title]] for title in table.columns]
    widths = [max(len(cell) for cell in column) for column in columns]
    padded = [[f"{cell:<{width}}" for cell in column] for column, width in zip(columns, widths, strict=True)]
    return [" | ".join(cells).rstrip() for cells in zip(*padded, strict=True)]


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


def write_metrics(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV without its index, atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _overlap_scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    counts = overlap_counts(truth, found)
    scores = dict(zip(("tp", "fp", "fn"), counts, strict=True))
    scores |= {name: float(ratio(*counts)) for name, ratio in OVERLAP.items()}
    return scores | {"missed": float(truth.any() != found.any()) if sum(counts) else float("nan")}


def _boundary_scores(boundary: Boundary) -> dict[str, float]:
    scores = {"asd": boundary.asd, "hd95": boundary.hd95}
    scores |= {f"nsd_{tolerance:g}": nsd for tolerance, nsd in zip(TOLERANCES, boundary.nsd, strict=True)}
    scores |= {"distance_sum": boundary.distance_sum, "boundary_pixels": boundary.pixels}
    scores |= {"boundary_length": boundary.length}
    return scores | {f"within_{tolerance:g}": part for tolerance, part in zip(TOLERANCES, boundary.within, strict=True)}


def _distance_counts(row: int, boundary: Boundary) -> pd.DataFrame:
    parts = []
    for direction, distances in (("prediction", boundary.from_prediction), ("reference", boundary.from_reference)):
        values, counts = np.unique(distances, return_counts=True)
        columns = {"row": row, "direction": direction, "distance": values.astype(float), "count": counts}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts)


def _aggregate(
    part: pd.DataFrame, distances: pd.DataFrame, metrics: tuple[str, ...], replicates: int, seed: int
) -> list[dict]:
    """Return rows of class, aggregation, metric, value, interval and n for slices of one unit."""
    patients, code = np.unique(part["patient"], return_inverse=True)
    code = pd.Series(code, index=part.index)
    # One row of weights a replicate; the first row, each patient once, gives the value itself.
    weights = np.vstack([np.ones((1, len(patients)), np.int64), draw_patients(len(patients), replicates, seed)])
    rows = []
    for aggregation in AGGREGATIONS:
        for metric in metrics:
            results = {}
            for name in CLASSES:
                table = part[part["class"] == name]
                results[name] = _values(table, distances, aggregation, metric, code[table.index].to_numpy(), weights)
            values, numbers = zip(*(results[name] for name in FOREGROUND), strict=True)
            results["foreground"] = np.mean(values, axis=0), max(numbers)
            for name, (values, n) in results.items():
                low, high = _interval(values[1:], len(patients))
                row = {"class": name, "aggregation": aggregation, "metric": metric}
                rows.append(row | {"value": values[0], "ci_low": low, "ci_high": high, "n": n})
    return rows


def _values(
    table: pd.DataFrame, distances: pd.DataFrame, aggregation: str, metric: str, code: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, int]:
    """Return a metric of one class for every row of patient weights, and n; `code` is each slice's patient column."""

    def patient_sums(column: np.ndarray | pd.Series) -> np.ndarray:
        return np.bincount(code, weights=np.nan_to_num(np.asarray(column, float)), minlength=weights.shape[1])

    defined = table[metric].notna()
    sums, slices = patient_sums(table[metric]), patient_sums(defined)
    with np.errstate(divide="ignore", invalid="ignore"):
        if aggregation == "patients":
            means = np.nan_to_num(sums / slices)
            return (weights @ means) / (weights @ (slices > 0)), int((slices > 0).sum())
        n = int(defined.sum())
        if aggregation == "slices" or metric == "missed":  # the pooled share of slices is their mean
            return (weights @ sums) / (weights @ slices), n
        if metric in OVERLAP:
            return OVERLAP[metric](*(weights @ patient_sums(table[count]) for count in ("tp", "fp", "fn"))), n
        if metric in POOLED_TERMS:
            above, below = (weights @ patient_sums(table[term]) for term in POOLED_TERMS[metric])
            return above / below, n
    return _pooled_hd95(distances, pd.Series(code, index=table.index), weights), n


def _pooled_hd95(distances: pd.DataFrame, code: pd.Series, weights: np.ndarray) -> np.ndarray:
    chosen = distances[distances["row"].isin(code.index)]
    chosen = chosen.assign(patient=code.reindex(chosen["row"]).to_numpy())
    sides = []
    for direction in ("prediction", "reference"):
        side = chosen[chosen["direction"] == direction].groupby(["distance", "patient"], as_index=False)["count"].sum()
        values, patient, counts = (side[name].to_numpy() for name in ("distance", "patient", "count"))
        sides.append([counted_quantile(values, counts * row[patient]) for row in weights])
    return np.max(sides, axis=0)


def _interval(values: np.ndarray, patients: int) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if patients < 2 or not values.size:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _title(metric: str, unit: str) -> str:
    if metric in COUNTED:
        return TITLES[metric]
    return f"{TITLES[metric]} {unit}" if metric in ("nsd_1", "nsd_2") else f"{TITLES[metric]} ({unit})"


def _with_interval(row: pd.Series) -> str:
    if np.isnan(row["value"]):
        return "-"
    digits = 2 if row["metric"] in ("asd", "hd95") else 3
    value, low, high = (f"{row[name]:.{digits}f}" for name in ("value", "ci_low", "ci_high"))
    return value if np.isnan(row["ci_low"]) else f"{value} [{low}, {high}]"
