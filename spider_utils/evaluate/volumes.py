"""Scores of whole volumes: the four classes of two label maps compared in 3D, in mm."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.evaluate.metrics import METRICS, MM, overlap_counts

VOLUME_METRICS = ("dice", "iou", "hd95", "asd", "nsd_1", "nsd_2")


def score_classes(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> pd.DataFrame:
    """Score class maps (D, H, W) uint8 against each other in 3D; spacing of (slices, rows, columns) in mm.

    Returns the long table class, metric, unit, value: VOLUME_METRICS of each foreground class, as `metrics` defines
    them, empty masks included. `foreground` is the plain mean of the three classes, NaN where one of them has no value.
    Raises SpiderError where the shapes differ or the spacing is not positive.
    """
    values = {}
    for name in FOREGROUND:
        truth, found = (classes == CLASSES.index(name) for classes in (reference, prediction))
        counts, boundary = overlap_counts(truth, found), boundary_distances(truth, found, spacing)
        values[name] = [METRICS[metric].of_slice(counts, boundary) for metric in VOLUME_METRICS]
    values["foreground"] = np.mean(list(values.values()), axis=0).tolist()
    rows = [
        (name, metric, METRICS[metric].unit(MM), value)
        for name, own in values.items()
        for metric, value in zip(VOLUME_METRICS, own, strict=True)
    ]
    return pd.DataFrame(rows, columns=["class", "metric", "unit", "value"])
