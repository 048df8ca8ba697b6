"""What `python -m spider_utils carry` does: labels from T2 SPACE to the same patients' unlabelled T1 and T2 slices.

DIR/images/     the slices that passed the gate, the head up, as they were otherwise
DIR/masks/      the masks carried over to them, classes 0..3
DIR/slices.csv  a row each: source `pairs` reads the folder
DIR/carried.csv a row for every slice, passed or not: what it was registered to, how well, and why it was left out
"""

from pathlib import Path

import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import write_text
from spider_utils.common.progress import progress
from spider_utils.data.carry import PixelMm, carry_mask, complaints, head_gap
from spider_utils.data.geometry import find_geometry
from spider_utils.data.labels import classes_from_grey
from spider_utils.data.png import png_files, read_grey
from spider_utils.data.released import find_released_series, read_released_stack
from spider_utils.predict.slices import write_mask
from spider_utils.studies.counting import FILE_NAME


def carry_labels(labelled: Path | str, images: Path | str, out: Path | str) -> pd.DataFrame:
    """Carry labels over to every slice `<patient>_<t1|t2>.png` of a patient with T2 SPACE; return carried.csv's rows.

    Raises SpiderError on a folder without such slices, a series that is not in SPIDER's training subset, and what
    `read_released_stack` refuses.
    """
    out = Path(out)
    if (out / "images").is_dir():
        raise SpiderError(f"{out / 'images'}: expected no folder yet, found one; name another --out or take it away")
    known = {series.patient: series for series in find_released_series(labelled)}
    rows = []
    for path, patient, sequence in progress(find_unlabelled(images, set(known)), desc="carry", unit="slice"):
        stack = read_released_stack(known[patient])
        if stack.labels is None:
            raise SpiderError(f"{labelled}: expected masks/ beside images/, found none; there is nothing to carry over")
        image = read_grey(path)
        pixel_mm, middle = plane(f"{patient}_{sequence}", image.shape)
        masks = classes_from_grey(stack.labels)
        carried = carry_mask(image, pixel_mm, stack.image, masks, plane(f"{patient}_t2_SPACE", masks.shape[1:])[0])
        why = complaints(carried, len(masks), pixel_mm)
        name = f"{path.stem}_carried.png"
        rows.append(
            {
                "file": name, "patient": patient, "sequence": sequence.upper(), "subset": known[patient].subset,
                "slice_index": middle, "row_mm": pixel_mm[0], "col_mm": pixel_mm[1], "mask_from": "carried",
                "t2_space_slice": int(stack.index[carried.slice_row]), "metric": carried.metric,
                "least_stretch": carried.stretch[0], "most_stretch": carried.stretch[1], "degrees": carried.degrees,
                "down_mm": carried.shift_mm[0], "right_mm": carried.shift_mm[1],
                "head_gap_mm": head_gap(carried, pixel_mm), "covered": carried.covered.mean(),
                "stored_head_up": not carried.flipped, "passed": not why, "why_not": " ".join(why),
            }
        )  # fmt: skip
        if not why:
            write_mask(image[::-1] if carried.flipped else image, out / "images" / name)
            write_mask(carried.mask, out / "masks" / name)
    table = pd.DataFrame(rows)
    write_text(out / "carried.csv", table.round(4).to_csv(index=False))
    pairs = table.loc[table["passed"], :"mask_from"]
    write_text(out / "slices.csv", pairs.round(4).to_csv(index=False))
    return table


def find_unlabelled(folder: Path | str, patients: set[int]) -> list[tuple[Path, int, str]]:
    """List the unlabelled slices of these patients: file, patient, t1 or t2. Raises SpiderError where there is none."""
    folder, found = Path(folder), []
    for path in png_files(folder) if folder.is_dir() else []:
        match = FILE_NAME.fullmatch(path.name)
        if match and int(match[1]) in patients:
            found.append((path, int(match[1]), match[2]))
    if not found:
        raise SpiderError(
            f"{folder}: expected slices such as 12_t1.png of patients with T2 SPACE, found none; check it"
        )
    return sorted(found, key=lambda one: (one[1], one[2]))


def plane(series: str, shape: tuple[int, int]) -> tuple[PixelMm, int]:
    """Return the pixel size (row, column) in mm of a series' slice stored as (H, W), and its middle slice's number.

    Raises SpiderError on a series that is not in SPIDER's table, which holds its training subset.
    """
    known = find_geometry(series)
    if known is None:
        raise SpiderError(f"{series}: expected a series of SPIDER's training subset, found none; leave the slice out")
    return known.stored_mm(shape), known.shape[0] // 2
