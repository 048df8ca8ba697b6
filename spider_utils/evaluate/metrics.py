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

from spider_utils.common.errors import SpiderError
from spider_utils.evaluate.boundaries import TOLERANCES, Boundary, as_masks, shapes_differ

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


def f1(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """Return the harmonic mean of precision and recall, which for one set of pixels is the Dice coefficient."""
    return dice(tp, fp, fn)


def missed(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """Return 1 where exactly one of the two masks has a pixel, 0 where both have and NaN where neither has."""
    reference, prediction = np.asarray(tp) + fn > 0, np.asarray(tp) + fp > 0
    return np.where(reference | prediction, (reference != prediction).astype(float), np.nan)


LENGTH, TOLERANCE = "length", "tolerance"  # kinds of scores beside RATIO: a distance, or a share within a distance
MEAN, DISTANCES = "mean", "distances"  # ways to pool beside sums: the mean over slices, the quantile of all distances


@dataclass(frozen=True)
class Metric:
    """One score of a class: of its counts of overlap, or of its boundaries."""

    name: str  # in tables
    title: str  # for people
    of_counts: Callable[[Counts, Counts, Counts], np.ndarray] | None = None  # of tp, fp, fn of any shape
    of_boundary: Callable[[Boundary], float] | None = None
    pooled: tuple[str, ...] | str = MEAN  # or DISTANCES, or the columns whose sums `of_sums` takes
    kind: str = RATIO  # or LENGTH, or TOLERANCE
    higher_is_better: bool = True

    def of_slice(self, counts: tuple[int, int, int], boundary: Boundary) -> float:
        """Return the score of one slice or volume."""
        return float(self.of_counts(*counts)) if self.of_counts else self.of_boundary(boundary)

    def of_sums(self, *sums: Counts) -> np.ndarray:
        """Return the pooled score from the sums of the columns `pooled`: `of_counts`, or the first over the second."""
        return self.of_counts(*sums) if self.of_counts else _ratio(*sums)

    def unit(self, distances: str) -> str:
        """Return the unit in tables, where distances are in MM or in PX."""
        return RATIO if self.kind == RATIO else distances

    def heading(self, unit: str) -> str:
        """Return the title with its unit: "Dice", "HD95 (mm)", "NSD at 1 mm"."""
        return {RATIO: self.title, LENGTH: f"{self.title} ({unit})", TOLERANCE: f"{self.title} {unit}"}[self.kind]


METRICS = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", dice, pooled=COUNTS),
        Metric("iou", "IoU", iou, pooled=COUNTS),
        Metric("precision", "Precision", precision, pooled=COUNTS),
        Metric("recall", "Recall", recall, pooled=COUNTS),
        Metric("f1", "F1", f1, pooled=COUNTS),
        Metric("missed", "Missed", missed, higher_is_better=False),
        Metric(
            "asd",
            "ASD",
            of_boundary=attrgetter("asd"),
            pooled=("distance_sum", "boundary_pixels"),
            kind=LENGTH,
            higher_is_better=False,
        ),
        Metric("hd95", "HD95", of_boundary=attrgetter("hd95"), pooled=DISTANCES, kind=LENGTH, higher_is_better=False),
        *(
            Metric(
                f"nsd_{limit:g}",
                f"NSD at {limit:g}",
                of_boundary=lambda boundary, place=place: boundary.nsd[place],
                pooled=(f"within_{limit:g}", "boundary_length"),
                kind=TOLERANCE,
            )
            for place, limit in enumerate(TOLERANCES)
        ),
    )
}


def counted() -> list[Metric]:
    """Return the metrics of METRICS that follow from counts of overlap."""
    return [metric for metric in METRICS.values() if metric.of_counts]


def measured() -> list[Metric]:
    """Return the metrics of METRICS that need boundaries."""
    return [metric for metric in METRICS.values() if not metric.of_counts]


def pool_boundaries(name: str, boundaries: Sequence[Boundary]) -> float:
    """Return a metric of sums over several slices' boundaries; NaN without any."""
    sums = (sum(boundary.sums[column] for boundary in boundaries) for column in METRICS[name].pooled)
    return float(METRICS[name].of_sums(*sums))


def confusion(reference: np.ndarray, prediction: np.ndarray, classes: int = 4) -> np.ndarray:
    """Count the pixels of every pair of classes in (n, H, W) maps: (classes, classes) int64, the reference in rows."""
    if reference.shape != prediction.shape:
        raise SpiderError(shapes_differ(reference, prediction))
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
