"""Slices with masks drawn by hand, as if networks had segmented them, for the tests of the error analysis."""

import numpy as np
import pandas as pd

from spider_utils.analysis.unseen import Unseen

SHAPE = (640, 200)
BODIES = ((100, 150), (170, 220), (240, 290))  # rows; columns 60 to 110
DISCS = ((154, 166), (224, 236), (294, 306))
CANAL, SPINOUS = (slice(90, 320), slice(120, 135)), (slice(180, 200), slice(145, 165))


def spine() -> np.ndarray:
    """A straight spine, (640, 200): three bodies, a disc under each, 4 rows from both; a canal and one spinous process
    behind them.
    """
    mask = np.zeros(SHAPE, np.uint8)
    for label, structures in ((1, BODIES), (3, DISCS)):
        for first, last in structures:
            mask[first:last, 60:110] = label
    mask[CANAL], mask[SPINOUS] = 2, 1
    return mask


def make_unseen(reference: list[np.ndarray], prediction: list[np.ndarray], patients: list[int] | None = None) -> Unseen:
    """Slices of a series a patient, numbered 50, 51, ... in each; without `patients` all are of patient 1."""
    patients = patients or [1] * len(reference)
    table = pd.DataFrame({"series": [f"{one}_t2_SPACE" for one in patients], "patient": patients})
    table = table.assign(sequence="T2_SPACE", subset="training", pixel_mm_row=np.nan, pixel_mm_col=np.nan, fold=0)
    table = table.assign(slice_index=50 + table.groupby("series").cumcount(), row=range(len(table)))
    arrays = [np.stack(masks) for masks in (reference, prediction)]
    return Unseen(table, arrays[0] * 60, *arrays, np.zeros((len(table), 4, 8, 8), np.float16))
