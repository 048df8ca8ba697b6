"""Scores of whole volumes: the four classes of two label maps compared in 3D, in mm."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.metrics import TOLERANCES, boundary_distances, dice, iou, overlap_counts
from spider_utils.evaluate.scores import RATIO

MM = "mm"  # the unit of ASD and HD95, and of the NSD's tolerances


def score_classes(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> pd.DataFrame:
    """Score class maps (D, H, W) uint8 against each other in 3D; spacing of (slices, rows, columns) in mm.

    Returns the long table class, metric, unit, value: dice, iou, hd95, asd, nsd_1 and nsd_2 of each foreground class,
    as `metrics` defines them, empty masks included. `foreground` is the plain mean of the three classes, NaN where one
    of them has no value. Raises SpiderError where the shapes differ or the spacing is not positive.
    """
    values = {}
    for name in FOREGROUND:
        truth, found = (classes == CLASSES.index(name) for classes in (reference, prediction))
        counts, boundary = overlap_counts(truth, found), boundary_distances(truth, found, spacing)
        values[name] = {("dice", RATIO): float(dice(*counts)), ("iou", RATIO): float(iou(*counts))}
        values[name] |= {("hd95", MM): boundary.hd95, ("asd", MM): boundary.asd}
        values[name] |= {
            (f"nsd_{tolerance:g}", MM): nsd for tolerance, nsd in zip(TOLERANCES, boundary.nsd, strict=True)
        }
    values["foreground"] = {
        measure: float(np.mean([values[name][measure] for name in FOREGROUND])) for measure in values[FOREGROUND[0]]
    }
    rows = [(name, *measure, value) for name, measures in values.items() for measure, value in measures.items()]
    return pd.DataFrame(rows, columns=["class", "metric", "unit", "value"])
