"""What can be wrong with overview.csv, alone and beside the files. Every rule returns what it finds."""

from collections.abc import Collection, Mapping

import pandas as pd

from spider_utils.data.check.findings import ERROR, WARNING, Finding
from spider_utils.data.spider import OVERVIEW, SUBSETS

STRUCTURES = ("num_vertebrae", "num_discs")


def check_overview(
    table: pd.DataFrame, images: Collection[str], counts: Mapping[str, tuple[int, int]]
) -> list[Finding]:
    """Return what is wrong with the table.

    `table`: as `spider.read_overview` gives it; `images`: the names of the series that have an image; `counts`: the
    numbers of vertebrae and discs in each mask, by name.
    """
    table = table.assign(new_file_name=table["new_file_name"].fillna("").astype(str), subset=table["subset"].fillna(""))
    return [
        *rows_without_files(table, images),
        *files_without_rows(table, images),
        *duplicate_rows(table),
        *unknown_subsets(table),
        *patients_in_both_subsets(table),
        *counts_unlike_masks(table, counts),
    ]


def rows_without_files(table: pd.DataFrame, images: Collection[str]) -> list[Finding]:
    problem = "expected its image in images/, found none"
    return [
        Finding(WARNING, _row(name), problem, "add the image or remove the row")
        for name in dict.fromkeys(table["new_file_name"])
        if name not in images
    ]


def files_without_rows(table: pd.DataFrame, images: Collection[str]) -> list[Finding]:
    problem = "expected a row for this image, found none; its subset is unknown"
    listed = set(table["new_file_name"])
    return [Finding(WARNING, _row(name), problem, "add the row") for name in images if name not in listed]


def duplicate_rows(table: pd.DataFrame) -> list[Finding]:
    rows = table["new_file_name"].value_counts()
    return [
        Finding(ERROR, _row(name), f"expected one row, found {number}", "remove all but one")
        for name, number in rows[rows > 1].items()
    ]


def unknown_subsets(table: pd.DataFrame) -> list[Finding]:
    return [
        Finding(ERROR, _row(name), f"expected the subset training, validation or nothing, found {subset!r}", "mend it")
        for name, subset in zip(table["new_file_name"], table["subset"], strict=True)
        if subset not in SUBSETS
    ]


def patients_in_both_subsets(table: pd.DataFrame) -> list[Finding]:
    """Look for patients in both subsets, which makes scores on the validation subset worthless."""
    patients = table["new_file_name"].str.extract(r"^(\d+)_", expand=False)
    subsets = table["subset"].groupby(patients).agg(lambda subset: {"training", "validation"} <= set(subset))
    problem = "expected a patient in one subset, found series in training and in validation"
    return [
        Finding(ERROR, f"{OVERVIEW}: patient {patient}", problem, "move all of the patient's series to one subset")
        for patient in subsets[subsets].index
    ]


def counts_unlike_masks(table: pd.DataFrame, counts: Mapping[str, tuple[int, int]]) -> list[Finding]:
    found = []
    for column, place in zip(STRUCTURES, (0, 1), strict=True):
        if column not in table.columns:
            continue
        stated = pd.to_numeric(table[column], errors="coerce")
        for name, number in zip(table["new_file_name"], stated, strict=True):
            if name in counts and pd.notna(number) and number != counts[name][place]:
                problem = f"expected {column} as in the mask, {counts[name][place]}, found {number:g}"
                found.append(Finding(WARNING, _row(name), problem, "mend the row or the mask"))
    return found


def _row(name: str) -> str:
    return f"{OVERVIEW}: {name}"
