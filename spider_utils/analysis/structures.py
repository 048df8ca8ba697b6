"""Every single vertebra and disc: is it found, and what does its disease do to that?

The slices of a series are stacked and SPIDER's numbers given to the reference's structures (see `levels`). Where the
slices do not tell their spacing it is SPIDER's own (see `data.geometry`), or of a series that is not in its table that
of overview.csv: square pixels of PixelSpacing, slices SpacingBetweenSlices apart. It is used for numbering and for
neighbourhoods only. The prediction of a structure is what is predicted of its class nearest to it of all that are
numbered, and no farther than REACH.
"""

import ast

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.analysis.unseen import Unseen
from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.geometry import find_geometry
from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.metrics import COUNTS, METRICS, overlap_counts
from spider_utils.masks.levels import DISC_LABEL, number_structures
from spider_utils.masks.measures import structure_name

REACH = 8.0  # mm
COLUMNS = "series patient structure number level slices pixels tp fp fn dice recall precision".split()
STRUCTURES = {"vertebra": ("vertebrae", 0), "disc": ("discs", DISC_LABEL)}  # class, and what its numbers begin after


def structure_table(unseen: Unseen, overview: pd.DataFrame, gradings: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a row for every numbered vertebra and disc of every series, with its grading.

    Columns: series, patient, structure ("vertebra" or "disc"), number (1 is L5, and L5/S1, upwards), level (its name),
    slices (that show it in the reference), pixels (of the reference), tp, fp, fn, dice, recall, precision, and the
    columns of the gradings: a disc's own; a vertebra's are those of the disc below it. Ungraded structures have NaN.
    Raises SpiderError where the spacing is not known.
    """
    rows = []
    groups = unseen.table.groupby("series", sort=False)
    for series, part in progress(groups, total=groups.ngroups, desc="structures", unit="series"):
        order = part.sort_values("slice_index").index.to_numpy()
        spacing = stack_spacing(part, unseen.reference.shape[1:], overview)
        reference, prediction = (np.stack([array[n] for n in order]) for array in (unseen.reference, unseen.prediction))
        numbered = number_structures(reference, spacing).labels
        place = {"series": series, "patient": part["patient"].iloc[0]}
        for structure, (name, start) in STRUCTURES.items():
            label = CLASSES.index(name)
            numbers = np.where(reference == label, numbered, 0)
            for row in _structure_rows(numbers, prediction == label, spacing, start):
                rows.append(place | {"structure": structure} | row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    if gradings is None:
        return table
    known = gradings.rename(columns={"Patient": "patient", "IVD label": "number"})
    known = known.drop_duplicates(["patient", "number"])
    return table.merge(known, on=["patient", "number"], how="left")


def stack_spacing(part: pd.DataFrame, shape: tuple[int, int], overview: pd.DataFrame) -> tuple[float, float, float]:
    """Return the spacing (slice, row, column) in mm of a series' slices (H, W); `part`: its rows of the slice table.

    Raises SpiderError where overview.csv has no row for the series, or does not tell a spacing that is needed.
    """
    series = part["series"].iloc[0]
    rows = overview[overview["new_file_name"] == series]
    if rows.empty:
        raise SpiderError(f"overview.csv: expected a row for {series}, found none; give the overview of these series")
    cells, steps = rows.iloc[0], np.diff(np.sort(part["slice_index"].to_numpy()))
    apart = cells.get("SpacingBetweenSlices")
    apart = cells.get("SliceThickness") if pd.isna(apart) else apart
    row_mm, column_mm = part[["pixel_mm_row", "pixel_mm_col"]].iloc[0]
    known = find_geometry(series)
    if np.isnan(row_mm) and known:
        apart, (row_mm, column_mm) = known.spacing_mm[0], known.stored_mm(shape)
    elif np.isnan(row_mm):
        text = cells.get("PixelSpacing")
        row_mm = column_mm = np.nan if pd.isna(text) else float(ast.literal_eval(text)[0])
    found = float(apart) * (float(np.median(steps)) if steps.size else 1.0), float(row_mm), float(column_mm)
    if not all(step > 0 for step in found):
        raise SpiderError(f"overview.csv: expected the spacing of {series}, found {found} mm; add it")
    return found


def _structure_rows(
    numbers: np.ndarray, found: np.ndarray, spacing: tuple[float, float, float], start: int
) -> list[dict]:
    """Count each structure's overlap; `numbers` (D, H, W): the reference's numbers, 0 elsewhere, `found`: its class."""
    if not numbers.any():
        return []
    margin = [int(np.ceil(REACH / step)) for step in spacing]
    held = ndimage.find_objects((numbers > 0).view(np.uint8))[0]
    box = tuple(slice(max(0, side.start - more), side.stop + more) for side, more in zip(held, margin, strict=True))
    numbers, found = numbers[box], found[box]
    distance, nearest = ndimage.distance_transform_edt(numbers == 0, sampling=spacing, return_indices=True)
    assigned = np.where(found & (distance <= REACH), numbers[tuple(nearest)], 0)
    rows = []
    for number in np.unique(numbers[numbers > 0]):
        reference = numbers == number
        counts = overlap_counts(reference, assigned == number)
        row = {
            "number": int(number) - start,
            "level": structure_name(int(number)),
            "slices": int(reference.any(axis=(1, 2)).sum()),
            "pixels": int(np.count_nonzero(reference)),
        }
        row |= dict(zip(COUNTS, counts, strict=True))
        rows.append(row | {name: float(METRICS[name].measure(*counts)) for name in ("dice", "recall", "precision")})
    return rows
