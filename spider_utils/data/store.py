"""The slice store: all kept slices of a data set in two memory-mapped arrays, and one table that says what each of
them is.

A folder with `images.npy` and `masks.npy` (uint8, (N, H, W)), `slices.csv` (row number = position in the arrays),
`audit.csv` (one row for every slice of every series, kept or not) and `store.json`, which is written last: without it
the store is not complete.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.mapped import new_memory_map
from spider_utils.common.parameters import refuse_other
from spider_utils.data.labels import CLASSES
from spider_utils.data.series import SEQUENCES, SUBSETS

STORE_FILE = "store.json"
COUNTS = [f"n_{name}" for name in CLASSES]
TEXTS: dict[str, tuple[str, ...]] = {"series": (), "sequence": SEQUENCES, "subset": SUBSETS}  # columns of the tables
WHOLE, SPACINGS = ("patient", "slice_index", *COUNTS), ("pixel_mm_row", "pixel_mm_col")  # columns of numbers
TOLD = [*TEXTS, *WHOLE]  # columns that stand in both tables, and alike
SIDES = ("store_height", "store_width")
REMEDY = "delete the store and make it again"
KEEPS = "keeps_"  # the audit's columns that say what each named filter would keep begin so
AUDIT_ONLY = ("classes_present", "kept", "reason")
# Versions of the preprocessing, and the settings whose content each of them has changed: one more is added when a store
# comes out another with its settings the same (tests/data/test_preprocess.py compares).
VERSIONS = {2: {("intensity", "volume_percentile"), ("labels", "apta")}}
FORMERLY = {"labels": "direct", "slice_filter": "none", "preprocessing_version": 1}  # where a store does not name them


@dataclass(frozen=True)
class SliceStore:
    """An opened store. The arrays are read-only memory maps."""

    path: Path
    images: np.ndarray  # (N, H, W) uint8
    masks: np.ndarray  # (N, H, W) uint8, classes 0..3
    table: (
        pd.DataFrame
    )  # a row a slice: series, patient, sequence, subset, slice_index, pixel_mm_row, pixel_mm_col, n_<class>
    audit: pd.DataFrame  # a row for every slice, dropped ones too
    info: dict  # preprocessing settings, data fingerprint, counts

    def __len__(self) -> int:
        return len(self.table)

    def subset(self, kept: pd.Series | np.ndarray) -> "SliceStore":
        """Return the store of some slices, `kept` (N,) bool; the audit is that of their series."""
        kept = np.asarray(kept)
        if kept.all():
            return self
        table = self.table[kept].reset_index(drop=True)
        audit = self.audit[self.audit["series"].isin(table["series"])].reset_index(drop=True)
        return replace(self, images=self.images[kept], masks=self.masks[kept], table=table, audit=audit)


def open_store(folder: Path | str) -> SliceStore:
    """Open a store, memory-mapped.

    Raises SpiderError when a file is missing or cannot be read, when masks hold another class or other pixels than the
    table tells of, and when the files do not belong together.
    """
    folder = Path(folder)
    for name in (STORE_FILE, "images.npy", "masks.npy", "slices.csv", "audit.csv"):
        if not (folder / name).is_file():
            raise SpiderError(
                f"{folder / name}: not found; the slice store is not complete, make it again (notebook 02)"
            )
    info = read_store_info(folder)
    images, masks = (_open_array(folder / name) for name in ("images.npy", "masks.npy"))
    table, audit = (_read_table(folder / name) for name in ("slices.csv", "audit.csv"))
    if images.shape != masks.shape or len(table) != len(images):
        raise SpiderError(
            f"{folder}: expected as many images, masks and rows, of one size, found images {images.shape}, masks "
            f"{masks.shape} and {len(table)} rows; {REMEDY}"
        )
    made = info["preprocess"]
    stored = tuple(made.get(name, side) for name, side in zip(SIDES, images.shape[1:], strict=True))
    if stored != images.shape[1:]:
        raise SpiderError(
            f"{folder}: expected slices of {stored[0]} x {stored[1]} pixels as {STORE_FILE} says, found "
            f"{images.shape[1]} x {images.shape[2]}; {REMEDY}"
        )
    masks_file = folder / "masks.npy"
    counts = _pixels(masks_file, masks_file.stat().st_mtime_ns)
    full = counts.sum(axis=1) == masks[0].size if len(masks) else np.ones(0, bool)
    if not full.all():
        found = int(masks[int(full.argmin())].max())
        raise SpiderError(f"{masks_file}: expected the classes 0 to {len(CLASSES) - 1}, found {found}; {REMEDY}")
    other = np.argwhere(table[COUNTS].to_numpy() != counts)
    if len(other):
        row, number = other[0]
        raise SpiderError(
            f"{folder / 'slices.csv'}: expected {counts[row, number]} pixels as {COUNTS[number]} of row {row}, as its "
            f"mask has, found {table[COUNTS[number]].iloc[row]}; {REMEDY}"
        )
    if audit["kept"].dtype != bool or not audit.loc[audit["kept"], TOLD].reset_index(drop=True).equals(table[TOLD]):
        raise SpiderError(
            f"{folder / 'audit.csv'}: expected the rows of slices.csv as those it keeps, found others; {REMEDY}"
        )
    return SliceStore(folder, images, masks, table, audit, info)


def read_store_info(folder: Path) -> dict:
    """Return what store.json says of a store, {} where there is none. Raises SpiderError where it is another file."""
    path = folder / STORE_FILE
    info = read_json(path)
    kinds = {"preprocess": dict, "fingerprint": str}
    if path.is_file() and not all(isinstance(info.get(name), kind) for name, kind in kinds.items()):
        raise SpiderError(f"{path}: expected {' and '.join(kinds)}, found another file; {REMEDY}")
    return info


def _open_array(path: Path) -> np.ndarray:
    """Map slices (N, H, W) uint8. Raises SpiderError where the file is cut off, damaged or holds something else."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy reads the header as Python, and a damaged one fails in any way
        raise SpiderError(f"{path}: is cut off or damaged; {REMEDY}") from error
    if array.dtype != np.uint8 or array.ndim != 3:
        raise SpiderError(f"{path}: expected slices (N, H, W) uint8, found {array.shape} {array.dtype}; {REMEDY}")
    return array


@lru_cache(maxsize=8)
def _pixels(masks_file: Path, _changed: int) -> np.ndarray:
    """Count the pixels of each class in every mask of a store, (N, 4) int64; a file that is unchanged is read once."""
    masks = _open_array(masks_file)
    return np.array([[np.count_nonzero(one == number) for number in range(len(CLASSES))] for one in masks], np.int64)


def _read_table(path: Path) -> pd.DataFrame:
    """Read slices.csv or audit.csv. Raises SpiderError where a column is missing or holds something else."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=["nan"], dtype=dict.fromkeys(TEXTS, str))
    except ValueError as error:  # pandas' own errors and those of UTF-8 are such
        raise SpiderError(f"{path}: expected a table, found a damaged one; {REMEDY}") from error
    for name in (*TOLD, *SPACINGS, *(("kept",) if path.name == "audit.csv" else ())):
        if name not in table:
            raise SpiderError(f"{path}: expected the column {name}, found {', '.join(table)}; {REMEDY}")
    for name, known in TEXTS.items():
        unknown = set(table[name]) - set(known)
        if known and unknown:
            raise SpiderError(f"{path}: {name}: expected one of {', '.join(known)}, found {unknown.pop()!r}; {REMEDY}")
    for name in WHOLE:
        if table[name].dtype.kind != "i" or (name != "slice_index" and (table[name] < 0).any()):
            raise SpiderError(f"{path}: {name}: expected whole numbers of 0 or more, found others; {REMEDY}")
    for name in SPACINGS:
        if table[name].dtype.kind not in "if" or (table[name] <= 0).any() or np.isinf(table[name]).any():
            raise SpiderError(f"{path}: {name}: expected mm above 0, or nan, found others; {REMEDY}")
    return table


def neighbour_numbers(number: int, neighbours: int, is_there: Callable[[int], bool], step: int = 1) -> list[int]:
    """Return the number of a slice and of the `neighbours` slices on either side of it, lowest first.

    Neighbours lie `step` numbers apart (0: the slice stands for them); for one that is not there, as `is_there` tells
    of a number, stands the next one nearer to the slice, at last the slice itself.
    """
    around = []
    for away in (place * step for place in range(-neighbours, neighbours + 1)):
        nearer = range(number + away, number, 1 if away < 0 else -1)
        around.append(next(filter(is_there, nearer), number))
    return around


def neighbour_rows(table: pd.DataFrame, neighbours: int) -> np.ndarray:
    """Return the rows of every slice and of the `neighbours` slices on either side of it, (N, 1 + 2 neighbours).

    Neighbours are the slices of the same series with the next lower and higher numbers (slice_index - neighbours to
    slice_index + neighbours, in this order), as `neighbour_numbers` finds them.
    """
    keys = list(zip(table["series"], table["slice_index"], strict=True))
    rows_of: dict[str, dict[int, int]] = {}  # of each series, by slice number
    for row, (series, number) in enumerate(keys):
        rows_of.setdefault(series, {})[number] = row
    around = np.empty((len(table), 1 + 2 * neighbours), np.intp)
    for row, (series, number) in enumerate(keys):
        own = rows_of[series]
        around[row] = [own[other] for other in neighbour_numbers(number, neighbours, own.__contains__)]
    return around


def with_version(settings: dict) -> dict:
    """Return preprocessing settings with `preprocessing_version`, that of VERSIONS which gives them their content;
    without it where that is the first, so that what was made then still counts.
    """
    versions = [number for number, changed in VERSIONS.items() if changed & settings.items()]
    return settings | ({"preprocessing_version": max(versions)} if versions else {})


def refuse_other_store(found: dict, settings: dict, folder: Path) -> None:
    """Raise SpiderError when a store, as its `store.json` says, was made with other settings, or with these by an older
    version of the preprocessing.
    """
    made_with, remedy = FORMERLY | found["preprocess"], "take another run folder or delete the store"
    refuse_other(made_with, settings, f"{folder}: made", remedy)
    refuse_other(made_with, with_version(made_with | settings), f"{folder}: made", remedy)


def write_store(parts: list[Path], info: dict, size: tuple[int, int], folder: Path) -> None:
    """Lay the parts (a `.npz` with images and masks, a `.csv` with the audit each) into one store at `folder`.

    Raises SpiderError if no slice is kept.
    """
    # "" is a subset that is not known, "nan" a pixel size that is not known: both must survive the way through CSV
    audit = pd.concat(
        [pd.read_csv(p.with_suffix(".csv"), keep_default_na=False, na_values=["nan"]) for p in parts], ignore_index=True
    )
    count = int(audit["kept"].sum())
    if count == 0:
        raise SpiderError(
            f"{folder}: none of {len(audit)} slices is kept; "
            "lower min_classes, take another slice_filter, or give masks with the images"
        )
    for name in ("images", "masks"):
        with atomic_path(folder / f"{name}.npy") as path:
            array = new_memory_map(path, np.uint8, (count, *size))
            start = 0
            for part in parts:
                with np.load(part, allow_pickle=False) as arrays:
                    slices = arrays[name]
                array[start : start + len(slices)] = slices
                start += len(slices)
            array.flush()
    columns = [name for name in audit if name not in AUDIT_ONLY and not name.startswith(KEEPS)]
    table = audit.loc[audit["kept"], columns]
    for name, rows in (("audit", audit), ("slices", table)):
        with atomic_path(folder / f"{name}.csv") as path:
            rows.to_csv(path, index=False, na_rep="nan")
    write_json(folder / STORE_FILE, info | {"slices": count, "series": len(parts), "audited": len(audit)})
