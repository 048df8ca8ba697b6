"""What the authors' route over grey values does to labels: measured slice by slice against the labels themselves."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES, FOREGROUND, class_pixels
from spider_utils.data.preprocess import PreprocessSettings, stored_masks
from spider_utils.data.series import Series
from spider_utils.data.sources import read_stack


def compare_labels(series: Sequence[Series], settings: PreprocessSettings) -> pd.DataFrame:
    """Label every slice both ways, "direct" and "apta", at the stored size, and return a row a slice.

    Columns: series, patient, sequence, slice_index; foreground (pixels of it in the direct labels), changed (pixels
    that differ), dice_<class> of both (NaN where neither has the class), lost_<class> (direct has it, APTA does not),
    invented_<class> (the other way round), painted_red (pass 6 has made the whole slice vertebrae), enough_direct and
    enough_apta (the slice holds min_classes classes). Series without a mask are left out. Raises SpiderError for
    released masks, which APTA has made already.
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


def _compare(series: Series, settings: PreprocessSettings) -> pd.DataFrame:
    stack = read_stack(series)
    direct, apta = (stored_masks(stack, replace(settings, labels=way)) for way in ("direct", "apta"))
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
    rows["painted_red"] = found[:, CLASSES.index("vertebrae")] == apta[0].size
    rows["enough_direct"] = (pixels > 0).sum(axis=1) >= settings.min_classes
    rows["enough_apta"] = (found > 0).sum(axis=1) >= settings.min_classes
    first = ["series", "patient", "sequence", "slice_index"]
    return rows[first + [name for name in rows if name not in first]]
