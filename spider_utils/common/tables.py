"""CSV tables: a user's is read, or said what it is instead; ours hold no formula for a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path

FORMULA = re.compile(r"[=+\-@\t\r]")  # how a cell begins that a spreadsheet computes; OWASP, "CSV injection"
# How files begin that are saved under the name of a CSV.
STARTS = {
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook", b"\x1f\x8b": "a gzip file",
}  # fmt: skip
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
SAVE = "save it as CSV with commas in UTF-8"


def read_csv(path: Path, needed: Iterable[str] = (), **options: Any) -> pd.DataFrame:
    """Read a user's table with pandas' `options`; blanks around names and texts are removed.

    Raises SpiderError, saying what it is, on another encoding or separator than UTF-8 and commas, on rows that are
    longer or shorter than the first one, and where a column is named twice or a `needed` one is missing.
    """
    rows = _rows(path, _text(path))
    names = [name.strip() for name in rows[0]] if rows else []
    for name in names:
        if names.count(name) > 1:
            raise SpiderError(f"{path}: expected a column {name!r}, found {names.count(name)}; take one away")
    for name in needed:
        if name not in names:
            raise SpiderError(f"{path}: expected a column {name!r}, found {', '.join(names[:5]) or 'none'}; mend it")
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    table = pd.read_csv(io.StringIO(text.getvalue()), **options)
    table.columns = pd.Index(names)
    return table.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)


def write_csv(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table for people, atomically and without its index; of names that begin like a formula see `defused`."""
    texts = {name: column.map(defused) for name, column in table.items() if not is_numeric_dtype(column)}
    with atomic_path(path) as temporary:
        table.assign(**texts).to_csv(temporary, index=False, errors="backslashreplace")


def defused(cell: Any) -> Any:
    """Return a cell, with an apostrophe before a text that a spreadsheet would compute ("=1+1.mha")."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def fused(cell: Any) -> Any:
    """Return the cell that `defused` was given."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and FORMULA.match(cell[1:]) else cell


def _text(path: Path) -> str:
    content = path.read_bytes()
    for start, kind in STARTS.items():
        if content.startswith(start):
            raise SpiderError(f"{path}: expected a CSV table, found {kind}; {SAVE}")
    if b"\0" in content:
        raise SpiderError(f"{path}: expected a CSV table, found bytes of zero (UTF-16, or no text); {SAVE}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpiderError(
            f"{path}: expected a CSV table in UTF-8, found other letters in line {line}; {SAVE}"
        ) from error


def _rows(path: Path, text: str) -> list[list[str]]:
    """Return the cells of a table, a list a line, empty lines left out."""
    first = text.strip().partition("\n")[0]
    for letter, name in SEPARATORS.items():
        if first.count(letter) > first.count(","):
            raise SpiderError(f"{path}: expected a CSV table with commas, found {name}; {SAVE}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row and len(row) != len(rows[0] if rows else row):
                raise SpiderError(
                    f"{path}: expected {len(rows[0])} cells in line {reader.line_num}, found {len(row)}; mend it"
                )
            rows += [row] if row else []
    except csv.Error as error:
        raise SpiderError(f"{path}: expected a CSV table, found {error} in line {reader.line_num}; mend it") from error
    if not rows:
        raise SpiderError(f"{path}: expected a CSV table, found an empty file; fetch it again")
    return rows
