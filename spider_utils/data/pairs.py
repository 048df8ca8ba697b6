"""Pairs of 2D sagittal slices and masks in a plain folder, with a table that says what each of them is.

DIR/images/*.png   grey slices of 8 or 16 bits and any size, head up, front at the left
DIR/masks/*.png    masks of the same names and sizes, values 0 background, 1 vertebrae, 2 canal, 3 discs
DIR/slices.csv     a row a slice: file, patient, sequence (T1, T2 or T2_SPACE), and where they are known
    subset         training or validation
    slice_index    number of the slice in its series; without it nobody's neighbour
    row_mm, col_mm spacing of rows and of columns in mm, which distances are then measured in
    slice_distance_mm  of neighbouring slices
    mask_from      reference, or what else has made the mask: such masks may be learnt from, and are never scored
    series         name of the series, where a patient has several of a sequence
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.tables import read_csv
from spider_utils.data.png import png_files
from spider_utils.data.released import read_png_stack
from spider_utils.data.series import REFERENCE, SEQUENCES, STEMS, SUBSETS, Series, SliceStack

TABLE = "slices.csv"
NEEDED = ("file", "patient", "sequence")
NUMBERS = ("slice_index", "row_mm", "col_mm", "slice_distance_mm")


def find_pairs(data_dir: Path | str) -> tuple[Series, ...]:
    """List the series of a folder of pairs, by patient and sequence, each one's slices by their number.

    Without masks/ the set is unlabelled. Raises SpiderError on a missing folder or table, a column or value that is
    missing or makes no sense, an image without its row or its mask, a row without its image, slices of one series that
    differ in pixel size, and a series that has one slice number twice.
    """
    folder = Path(data_dir)
    table = read_table(folder / TABLE)
    images = {path.name: path for path in png_files(folder / "images")} if (folder / "images").is_dir() else {}
    for name in images.keys() - set(table["file"]):
        raise SpiderError(
            f"{images[name]}: expected a row for it in {folder / TABLE}, found none; say there whose slice it is"
        )
    labelled = (folder / "masks").is_dir()
    for name in table["file"]:
        if name not in images:
            raise SpiderError(f"{folder / TABLE}: {name}: expected {folder / 'images' / name}, found none; mend either")
        if labelled and not (folder / "masks" / name).is_file():
            raise SpiderError(
                f"{images[name]}: expected its mask at {folder / 'masks' / name}, found none; add it or take the image "
                f"and its row away"
            )
    found = [
        _series(str(name), rows.sort_values("slice_index", kind="stable"), folder, labelled)
        for name, rows in table.groupby("series", sort=False)
    ]
    return tuple(sorted(found, key=lambda one: (one.patient, SEQUENCES.index(one.sequence), one.name)))


def read_pairs(series: Series) -> SliceStack:
    """Read a series of pairs. Raises SpiderError as `released.read_png_stack`."""
    return read_png_stack(series)


def read_table(path: Path) -> pd.DataFrame:
    """Read slices.csv with all its columns, each with its type; what is left out is "" or NaN.

    Raises SpiderError, with the row's file named, where something is missing or makes no sense.
    """
    if not path.is_file():
        raise SpiderError(f"{path}: expected the table of slices, found no file; write one, a row for every PNG file")
    table = read_csv(path, NEEDED, dtype=str, keep_default_na=False)
    if table.empty:
        raise SpiderError(f"{path}: expected a row for every PNG file, found no row; add them")
    for column in ("subset", "mask_from", "series", *NUMBERS):
        table[column] = table.get(column, "")
    for row in table.itertuples():
        _check_row(path, row)
    twice = table["file"][table["file"].duplicated()]
    for name in twice:
        raise SpiderError(f"{path}: {name}: expected one row, found two; take one away")
    table = table.astype({"patient": int})
    table[list(NUMBERS)] = table[list(NUMBERS)].replace("", "nan").astype(float)
    table["mask_from"] = table["mask_from"].replace("", REFERENCE)
    table["series"] = [row.series or _usual_name(row) for row in table.itertuples()]
    # Where no number is told, numbers leave a gap, so that no slice passes for another's neighbour.
    order = table.groupby("series").cumcount() * 2
    untold = table.groupby("series")["slice_index"].transform(lambda numbers: numbers.isna().any())
    return table.assign(slice_index=table["slice_index"].where(~untold, order).astype(int))


def _usual_name(row: Any) -> str:
    made = "" if row.mask_from == REFERENCE else f"_{row.mask_from}"
    return f"{row.patient}_{STEMS[row.sequence]}{made}"


def _check_row(path: Path, row: Any) -> None:
    """Raise SpiderError on a cell of the table that makes no sense."""

    def refuse(column: str, expected: str, found: Any) -> None:
        raise SpiderError(
            f"{path}: {row.file or 'a row without file'}: {column}: expected {expected}, found '{found}'; mend it"
        )

    if not row.file or Path(row.file).name != row.file:
        refuse("file", "the name of a PNG file in images/", row.file)
    if not row.patient.isdecimal():
        refuse("patient", "a whole number", row.patient)
    if row.sequence not in SEQUENCES:
        refuse("sequence", f"one of {', '.join(SEQUENCES)}", row.sequence)
    if row.subset not in SUBSETS:
        refuse("subset", "training, validation or nothing", row.subset)
    if row.slice_index and not row.slice_index.isdecimal():
        refuse("slice_index", "a whole number or nothing", row.slice_index)
    for column in NUMBERS[1:]:
        text = getattr(row, column)
        if text and not _is_length(text):
            refuse(column, "a positive number of mm or nothing", text)
    if bool(row.row_mm) != bool(row.col_mm):
        refuse("row_mm and col_mm", "both or none", row.row_mm or row.col_mm)


def _is_length(text: str) -> bool:
    try:
        return 0 < float(text) < np.inf
    except ValueError:
        return False


def _series(name: str, rows: pd.DataFrame, folder: Path, labelled: bool) -> Series:
    """Make the series of these rows of the table, which have their numbers in order."""

    def shared(columns: Iterable[str]) -> tuple:
        values = rows[list(columns)].drop_duplicates()
        if len(values) > 1:
            raise SpiderError(
                f"{folder / TABLE}: series {name}: expected one {' and '.join(columns)}, found "
                f"{values.to_numpy().tolist()}; mend it, or tell series apart in a column 'series'"
            )
        return tuple(values.iloc[0])

    patient, sequence, subset, mask_from = shared(("patient", "sequence", "subset", "mask_from"))
    row_mm, col_mm, slice_mm = shared(("row_mm", "col_mm", "slice_distance_mm"))
    if rows["slice_index"].duplicated().any():
        number = rows["slice_index"][rows["slice_index"].duplicated()].iloc[0]
        raise SpiderError(f"{folder / TABLE}: series {name}: expected a number for each slice, found {number} twice")
    return Series(
        name=name,
        patient=int(patient),
        sequence=sequence,
        subset=subset,
        image_files=tuple(folder / "images" / file for file in rows["file"]),
        mask_files=tuple(folder / "masks" / file for file in rows["file"]) if labelled else (),
        coding="classes",
        mask_from=mask_from,
        index=tuple(int(number) for number in rows["slice_index"]),
        pixel_mm=None if np.isnan(row_mm) else (float(row_mm), float(col_mm)),
        slice_mm=None if np.isnan(slice_mm) else float(slice_mm),
    )
