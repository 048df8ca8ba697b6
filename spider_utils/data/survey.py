"""One pass over a data set: what each series holds, in one table."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from spider_utils.common.progress import progress
from spider_utils.data.labels import class_pixels
from spider_utils.data.series import Series
from spider_utils.data.sources import read_stack
from spider_utils.data.store import COUNTS


def survey(series: Iterable[Series]) -> pd.DataFrame:
    """Read every series and return a row each.

    Columns: series, patient, sequence, subset, slices, height, width (pixels), pixel_mm_row, pixel_mm_col, slice_mm
    (NaN where it is not known), labels (the mask's values as text, "0 1 2 100 201"; "" without a mask), n_<class>
    (pixels; 0 without a mask). Raises SpiderError on a series that cannot be read.
    """
    return pd.DataFrame([_row(one) for one in progress(list(series), desc="survey", unit="series")])


def label_lists(table: pd.DataFrame) -> dict[str, list[int]]:
    """Return each labelled series' mask values, from a survey table."""
    labelled = table[table["labels"] != ""]
    return {
        name: [int(v) for v in text.split()] for name, text in zip(labelled["series"], labelled["labels"], strict=True)
    }


def _row(series: Series) -> dict:
    stack = read_stack(series)
    row_mm, col_mm = stack.pixel_mm or (np.nan, np.nan)
    row = {"series": series.name, "patient": series.patient, "sequence": series.sequence, "subset": series.subset}
    row |= dict(zip(("slices", "height", "width"), stack.image.shape, strict=True))
    row |= {
        "pixel_mm_row": row_mm,
        "pixel_mm_col": col_mm,
        "slice_mm": np.nan if stack.slice_mm is None else stack.slice_mm,
    }
    labels = [] if stack.labels is None else np.unique(stack.labels).tolist()
    counts = np.zeros(len(COUNTS), int) if stack.labels is None else class_pixels(stack.classes()).sum(axis=0)
    return row | {"labels": " ".join(map(str, labels))} | dict(zip(COUNTS, counts.tolist(), strict=True))
