"""The slice store: all kept slices of a data set in two memory-mapped arrays, and one table that says what each of
them is.

A folder with `images.npy` and `masks.npy` (uint8, (N, H, W)), `slices.csv` (row number = position in the arrays),
`audit.csv` (one row for every slice of every series, kept or not) and `store.json`, which is written last: without it
the store is not complete.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, write_json
from spider_utils.common.mapped import new_memory_map
from spider_utils.common.parameters import refuse_other
from spider_utils.data.labels import CLASSES

COUNTS = [f"n_{name}" for name in CLASSES]
KEEPS = "keeps_"  # the audit's columns that say what each named filter would keep begin so
AUDIT_ONLY = ("classes_present", "kept", "reason")
BEFORE_THE_OPTION = {"labels": "direct", "slice_filter": "none"}  # how stores were made that do not name them yet


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
    """Open a store, memory-mapped. Raises SpiderError when a file is missing or the files do not belong together."""
    folder = Path(folder)
    files = {name: folder / name for name in ("store.json", "images.npy", "masks.npy", "slices.csv", "audit.csv")}
    for path in files.values():
        if not path.is_file():
            raise SpiderError(f"{path}: not found; the slice store is not complete, make it again (notebook 02)")
    try:
        images, masks = (
            np.load(files[name], mmap_mode="r", allow_pickle=False) for name in ("images.npy", "masks.npy")
        )
    except (ValueError, EOFError, OSError) as error:
        raise SpiderError(
            f"{folder}: images.npy or masks.npy is cut off ({error}); delete the store, make it again"
        ) from error
    table = pd.read_csv(files["slices.csv"], keep_default_na=False, na_values=["nan"])
    if not len(table) == len(images) == len(masks):
        raise SpiderError(
            f"{folder}: {len(images)} images, {len(masks)} masks, {len(table)} rows; delete the store and make it again"
        )
    audit = pd.read_csv(files["audit.csv"], keep_default_na=False, na_values=["nan"])
    return SliceStore(folder, images, masks, table, audit, json.loads(files["store.json"].read_text(encoding="utf-8")))


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


def refuse_other_store(found: dict, wanted: dict, folder: Path) -> None:
    """Raise SpiderError when a store was made from other data or with other settings."""
    if found["fingerprint"] != wanted["fingerprint"]:
        raise SpiderError(f"{folder}: made from other data; take another run folder, or delete this one")
    made_with, remedy = BEFORE_THE_OPTION | found["preprocess"], "take another run folder or delete the store"
    refuse_other(made_with, wanted["preprocess"], f"{folder}: made", remedy)


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
    write_json(folder / "store.json", info | {"slices": count, "series": len(parts), "audited": len(audit)})
