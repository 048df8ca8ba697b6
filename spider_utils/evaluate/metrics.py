"""Scores of one class in one slice or volume: what they are, overlap of two sets of pixels, and how both are pooled.

Empty masks. Where a class is in neither mask, the slice does not count for that class: every score is NaN. Where it is
in exactly one of them, Dice, IoU and NSD are 0, ASD and HD95 are not defined (NaN), precision is NaN without a
predicted pixel and recall is NaN without a reference pixel. How often that happens is reported beside the distances.

METRICS is the one list of scores: tables, units, titles and pooling follow from what it says of each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from spider_utils.evaluate.boundaries import Boundary, as_masks, check_shapes

RATIO, MM, PX = "ratio", "mm", "px"  # units in tables; the last two are those of distances
COUNTS = ("tp", "fp", "fn")  # columns
Counts = np.ndarray | int


def overlap_counts(reference: np.ndarray, prediction: np.ndarray) -> tuple[int, int, int]:
    """Count true positive, false positive and false negative pixels of two boolean masks of equal shape."""
    reference, prediction = as_masks(reference, prediction)
    tp = int(np.count_nonzero(reference & prediction))
    return tp, int(np.count_nonzero(prediction)) - tp, int(np.count_nonzero(reference)) - tp


def dice(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """Return 2 tp / (2 tp + fp + fn) for counts of any shape; NaN where all three are 0."""
    return _ratio(2 * np.asarray(tp), 2 * np.asarray(tp) + fp + fn)


def iou(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """Return the Jaccard index tp / (tp + fp + fn) for counts of any shape; NaN where all three are 0."""
    return _ratio(np.asarray(tp), np.asarray(tp) + fp + fn)


def precision(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """Return tp / (tp + fp) for counts of any shape; NaN where nothing is predicted."""
    return _ratio(np.asarray(tp), np.asarray(tp) + fp)


def recall(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """Return tp / (tp + fn) for counts of any shape; NaN where the reference is empty."""
    return _ratio(np.asarray(tp), np.asarray(tp) + fn)


def missed(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """Return 1 where exactly one of the two masks has a pixel, 0 where both have and NaN where neither has."""
    reference, prediction = np.asarray(tp) + fn > 0, np.asarray(tp) + fp > 0
    return np.where(reference | prediction, (reference != prediction).astype(float), np.nan)


LENGTH, TOLERANCE = "length", "tolerance"  # kinds of scores beside RATIO: a distance, or a share within a distance
MEAN, DISTANCES = "mean", "distances"  # ways to pool beside sums: the mean over slices, the quantile of all distances


@dataclass(frozen=True)
class Metric:
    """One score of a class, of its counts of overlap where the kind is RATIO, else of its boundaries."""

    name: str  # in tables
    title: str  # for people
    measure: Callable[..., np.ndarray | float]  # of tp, fp and fn of any shape, or of a Boundary
    pooled: tuple[str, ...] | str = MEAN  # or DISTANCES, or the columns whose sums `of_sums` takes
    kind: str = RATIO  # or LENGTH, or TOLERANCE
    higher_is_better: bool = True

    def of_slice(self, counts: tuple[int, int, int], boundary: Boundary) -> float:
        """Return the score of one slice or volume."""
        return float(self.measure(*counts)) if self.kind == RATIO else self.measure(boundary)

    def of_sums(self, *sums: Counts) -> np.ndarray:
        """Return the score of the sums of the columns `pooled`: of summed counts, or the first sum over the second."""
        return self.measure(*sums) if self.kind == RATIO else _ratio(*sums)

    def unit(self, distances: str) -> str:
        """Return the unit in tables, where distances are in MM or in PX."""
        return RATIO if self.kind == RATIO else distances

    def heading(self, unit: str) -> str:
        """Return the title with its unit: "Dice", "HD95 (mm)", "NSD at 1 mm"."""
        return {RATIO: self.title, LENGTH: f"{self.title} ({unit})", TOLERANCE: f"{self.title} {unit}"}[self.kind]


METRICS = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", dice, COUNTS),
        Metric("iou", "IoU", iou, COUNTS),
        Metric("precision", "Precision", precision, COUNTS),
        Metric("recall", "Recall", recall, COUNTS),
        Metric("f1", "F1", dice, COUNTS),  # the harmonic mean of precision and recall, for one set of pixels Dice
        Metric("missed", "Missed", missed, MEAN, higher_is_better=False),
        Metric("asd", "ASD", attrgetter("asd"), ("distance_sum", "boundary_pixels"), LENGTH, higher_is_better=False),
        Metric("hd95", "HD95", attrgetter("hd95"), DISTANCES, LENGTH, higher_is_better=False),
        Metric("nsd_1", "NSD at 1", lambda boundary: boundary.nsd[0], ("within_1", "boundary_length"), TOLERANCE),
        Metric("nsd_2", "NSD at 2", lambda boundary: boundary.nsd[1], ("within_2", "boundary_length"), TOLERANCE),
    )
}


def split_metrics() -> tuple[list[Metric], list[Metric]]:
    """Return those of METRICS that follow from counts of overlap, and those that need boundaries."""
    counted = [metric for metric in METRICS.values() if metric.kind == RATIO]
    return counted, [metric for metric in METRICS.values() if metric.kind != RATIO]


def pool_boundaries(name: str, boundaries: Sequence[Boundary]) -> float:
    """Return a metric of sums over several slices' boundaries; NaN without any."""
    sums = (sum(boundary.sums[column] for boundary in boundaries) for column in METRICS[name].pooled)
    return float(METRICS[name].of_sums(*sums))


def confusion(reference: np.ndarray, prediction: np.ndarray, classes: int = 4) -> np.ndarray:
    """Count the pixels of every pair of classes in (n, H, W) maps: (classes, classes) int64, the reference in rows."""
    check_shapes(reference, prediction)
    counts = np.zeros(classes * classes, np.int64)
    for truth, found in zip(reference, prediction, strict=True):
        counts += np.bincount((truth.astype(np.intp) * classes + found).ravel(), minlength=classes * classes)
    return counts.reshape(classes, classes)


def class_counts(pairs: np.ndarray) -> np.ndarray:
    """Return tp, fp and fn (3, classes) of every class, from `confusion` (classes, classes)."""
    tp = np.diag(pairs)
    return np.stack([tp, pairs.sum(axis=0) - tp, pairs.sum(axis=1) - tp])


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, denominator)
