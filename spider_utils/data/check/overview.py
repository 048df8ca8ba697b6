"""What can be wrong with overview.csv, alone and beside the files. Every check returns what it finds."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from spider_utils.data.check.findings import ERROR, WARNING, Finding, printable
from spider_utils.data.spider import OVERVIEW, SUBSETS

STRUCTURES = ("num_vertebrae", "num_discs")


@dataclass(frozen=True)
class Listed:
    """The overview beside the files."""

    table: pd.DataFrame  # as `spider.read_overview` gives it, texts in new_file_name and subset
    images: Collection[str]  # the names of the series that have an image
    counts: Mapping[str, tuple[int, int]]  # the numbers of vertebrae and discs in each mask, by name

    @classmethod
    def of(cls, table: pd.DataFrame, images: Collection[str], counts: Mapping[str, tuple[int, int]]) -> "Listed":
        """Fill the gaps of the table with empty texts."""
        texts = {"new_file_name": table["new_file_name"].fillna("").astype(str), "subset": table["subset"].fillna("")}
        return cls(table.assign(**texts), images, counts)


def rows_without_files(listed: Listed) -> list[Finding]:
    problem = "expected its image in images/, found none"
    return [
        Finding(WARNING, _row(name), problem, "add the image or remove the row")
        for name in dict.fromkeys(listed.table["new_file_name"])
        if name not in listed.images
    ]


def files_without_rows(listed: Listed) -> list[Finding]:
    problem = "expected a row for this image, found none; its subset is unknown"
    names = set(listed.table["new_file_name"])
    return [Finding(WARNING, _row(name), problem, "add the row") for name in listed.images if name not in names]


def duplicate_rows(listed: Listed) -> list[Finding]:
    rows = listed.table["new_file_name"].value_counts()
    return [
        Finding(ERROR, _row(name), f"expected one row, found {number}", "remove all but one")
        for name, number in rows[rows > 1].items()
    ]


def unknown_subsets(listed: Listed) -> list[Finding]:
    return [
        Finding(ERROR, _row(name), f"expected the subset training, validation or nothing, found {subset!r}", "mend it")
        for name, subset in zip(listed.table["new_file_name"], listed.table["subset"], strict=True)
        if subset not in SUBSETS
    ]


def patients_in_both_subsets(listed: Listed) -> list[Finding]:
    """Look for patients in both subsets, which makes scores on the validation subset worthless."""
    patients = listed.table["new_file_name"].str.extract(r"^(\d+)_", expand=False)
    subsets = listed.table["subset"].groupby(patients).agg(lambda subset: {"training", "validation"} <= set(subset))
    problem = "expected a patient in one subset, found series in training and in validation"
    return [
        Finding(ERROR, f"{OVERVIEW}: patient {patient}", problem, "move all of the patient's series to one subset")
        for patient in subsets[subsets].index
    ]


def counts_unlike_masks(listed: Listed) -> list[Finding]:
    found = []
    for column, place in zip(STRUCTURES, (0, 1), strict=True):
        if column not in listed.table.columns:
            continue
        stated = pd.to_numeric(listed.table[column], errors="coerce")
        for name, number in zip(listed.table["new_file_name"], stated, strict=True):
            if name in listed.counts and pd.notna(number) and number != listed.counts[name][place]:
                problem = f"expected {column} as in the mask, {listed.counts[name][place]}, found {number:g}"
                found.append(Finding(WARNING, _row(name), problem, "mend the row or the mask"))
    return found


def _row(name: str) -> str:
    return f"{OVERVIEW}: {printable(name)}"
