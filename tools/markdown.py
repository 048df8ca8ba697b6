"""Markdown that tools write: tables, cells with their interval, and blocks between markers in a page of words."""

from collections.abc import Iterable

import pandas as pd

from spider_utils.data.labels import FOREGROUND

SHOWN = (*FOREGROUND, "foreground")
PAIRED = {"dice": "+.3f", "hd95": "+.1f", "asd": "+.2f"}  # how differences of these are written
BEGIN, END = "<!-- {name}: begin -->", "<!-- {name}: end -->"


def with_block(text: str, name: str, block: str) -> str:
    """Put a block between its markers in a text. Raises ValueError when the markers are not there."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"


def class_cells(part: pd.DataFrame) -> list[str]:
    """Return a value with its interval for each structure and the foreground, of a table with one row a class."""
    rows = part.set_index("class")
    return [interval(rows.loc[name], "value") for name in SHOWN]


def interval(row: pd.Series | dict, name: str, form: str = ".3f") -> str:
    """Return a row's value and its interval: 0.912 [0.904, 0.921]."""
    return f"{row[name]:{form}} [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def difference_cell(row: pd.Series, form: str) -> str:
    """Return a row's difference, its interval and its p."""
    p = row["p_holm"]
    told = "p < 0.001" if p < 0.001 else f"p {p:.3f}"
    return f"{interval(row, 'difference', form)}, {told}"


def seeds_told(seeds: Iterable[int | str]) -> str:
    """Return "seed 0", or "seeds 0, 1, 2"."""
    each = sorted({int(seed) for seed in seeds})
    return f"seed{'s' * (len(each) > 1)} {', '.join(map(str, each))}"


def markdown_table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table of these cells."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
