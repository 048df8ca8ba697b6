"""What a check of a data set finds: a problem each, as a table and as text."""

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.tables import write_csv

ERROR = "error"  # the series cannot be used, or a score would be wrong
WARNING = "warning"  # it can be used, and should be looked at
INDENT = " " * 9


@dataclass(frozen=True)
class Finding:
    """One problem of a data set."""

    severity: str  # ERROR or WARNING
    where: str  # the file, or the table's row
    problem: str  # what was expected and what was found
    remedy: str


def finding_of(error: SpiderError, path: Path, root: Path) -> Finding:
    """Turn an error about `path` into a finding; where it names a file inside `path`, so does the finding."""
    name, _, text = str(error).partition(": expected ")
    problem, _, remedy = text.rpartition("; ")
    named = Path(name) if name.startswith(str(path)) else path
    return Finding(ERROR, place(named, root), f"expected {problem}", remedy)


def place(path: Path, root: Path) -> str:
    """Return how a finding names a file of the folder `root`."""
    return printable(path.name if path == root else path.relative_to(root).as_posix())


def printable(name: str) -> str:
    """Return a file's name as text that can be printed and written, even where it is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts 2_t1 before 10_t1."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings: errors first, then by their place and their problem."""
    return sorted(findings, key=lambda one: (one.severity != ERROR, natural(one.where), one.problem))


def count(findings: Iterable[Finding], severity: str) -> int:
    """Return how many findings there are of one severity."""
    return sum(one.severity == severity for one in findings)


def as_text(findings: Iterable[Finding]) -> str:
    """Return three lines for each finding: severity and place, the problem, the remedy."""
    lines = [
        f"{one.severity:{len(INDENT)}}{one.where}\n{INDENT}{one.problem}\n{INDENT}-> {one.remedy}" for one in findings
    ]
    return "\n".join(lines)


def summary(findings: list[Finding], series: int) -> str:
    """Return the last line of a check, e.g. "2 errors, 1 warning in 14 series"."""
    numbers = ((count(findings, severity), severity) for severity in (ERROR, WARNING))
    return (
        ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in numbers) + f" in {series} series"
    )


def write_findings(findings: Iterable[Finding], path: Path | str) -> None:
    """Write a CSV with the columns severity, where, problem and remedy, a row each. Raises SpiderError if it cannot."""
    table = pd.DataFrame([asdict(one) for one in findings], columns=[field.name for field in fields(Finding)])
    try:
        write_csv(table, path)
    except OSError as error:
        raise SpiderError(
            f"{path}: expected to write the findings there, found {error.strerror}; give another"
        ) from error
