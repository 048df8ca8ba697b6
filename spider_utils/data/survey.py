"""Tables of one pass over a data set: what each series holds, and what both ways of labelling make of its slices."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from spider_utils.common.progress import progress
from spider_utils.data.apta import apta_stages
from spider_utils.data.labels import FOREGROUND, class_pixels
from spider_utils.data.preprocess import apta_greys, stored_masks
from spider_utils.data.series import Series
from spider_utils.data.settings import PreprocessSettings
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


def compare_labels(series: Sequence[Series], settings: PreprocessSettings) -> pd.DataFrame:
    """Label every slice both ways, "direct" and "apta", at the stored size, and return a row a slice.

    Columns: series, patient, sequence, slice_index; foreground (pixels of it in the direct labels), changed (pixels
    that differ), dice_<class> of both (NaN where neither has the class), lost_<class> (direct has it, APTA does not),
    invented_<class> (the other way round), painted_red (pass 6 has turned canal and discs into vertebrae),
    enough_direct and enough_apta (the slice holds min_classes classes). Series without a mask are left out. Raises
    SpiderError for released masks, which APTA has made already.
    """
    labelled = [one for one in series if one.mask_files]
    return pd.concat([_compare(one, settings) for one in progress(labelled, desc="labels")], ignore_index=True)


def summarise_labels(compared: pd.DataFrame) -> pd.DataFrame:
    """Give the headline numbers of `compare_labels`: measure, value, n (slices).

    The first five are of the slices with enough classes in the direct labels; Dice are means over slices.
    """
    whole = compared[compared["enough_direct"]]
    rows = [("changed pixels / foreground", whole["changed"].sum() / whole["foreground"].sum(), len(whole))]
    rows += [(f"Dice {name}", whole[f"dice_{name}"].mean(), len(whole)) for name in FOREGROUND]
    rows.append(("canals lost", whole["lost_canal"].sum(), len(whole)))
    for name in ("lost_canal", "invented_canal", "painted_red", "enough_direct", "enough_apta"):
        rows.append((f"all slices: {name}", compared[name].sum(), len(compared)))
    return pd.DataFrame(rows, columns=["measure", "value", "n"])


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
    classes = stack.classes()
    counts = np.zeros(len(COUNTS), int) if classes is None else class_pixels(classes).sum(axis=0)
    return row | {"labels": " ".join(map(str, labels))} | dict(zip(COUNTS, counts.tolist(), strict=True))


def _compare(series: Series, settings: PreprocessSettings) -> pd.DataFrame:
    stack = read_stack(series)
    direct = stored_masks(stack, replace(settings, labels="direct"))
    before, apta = (np.stack(two) for two in zip(*map(_last_passes, apta_greys(stack, settings)), strict=True))
    pixels, found = class_pixels(direct), class_pixels(apta)
    rows = pd.DataFrame({"slice_index": stack.index})
    rows = rows.assign(series=series.name, patient=series.patient, sequence=series.sequence)
    rows["foreground"] = pixels[:, 1:].sum(axis=1)
    rows["changed"] = (direct != apta).sum(axis=(1, 2))
    for number, name in enumerate(FOREGROUND, start=1):
        both = ((direct == number) & (apta == number)).sum(axis=(1, 2))
        either = pixels[:, number] + found[:, number]
        rows[f"dice_{name}"] = np.divide(2 * both, either, out=np.full(len(either), np.nan), where=either > 0)
        rows[f"lost_{name}"] = (pixels[:, number] > 0) & (found[:, number] == 0)
        rows[f"invented_{name}"] = (pixels[:, number] == 0) & (found[:, number] > 0)
    rows["painted_red"] = (before != apta).any(axis=(1, 2))
    rows["enough_direct"] = (pixels > 0).sum(axis=1) >= settings.min_classes
    rows["enough_apta"] = (found > 0).sum(axis=1) >= settings.min_classes
    first = ["series", "patient", "sequence", "slice_index"]
    return rows[first + [name for name in rows if name not in first]]


def _last_passes(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes before and after APTA's last pass, (H, W) uint8 each."""
    (_, before), (_, after) = apta_stages(grey)[-2:]
    return before, after
