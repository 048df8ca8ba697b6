"""The table of timings: python -m benchmarks [--rows NAME ...] [--runs N] [--device cpu|cuda].

Each row is a ratio of this package to a peer, both measured here and now, in turn. Printed, and written to
results/benchmarks.csv and .md, where rows that were not measured this time stay as they were. --rows chooses some, by
a part of their names; --list tells them.
"""

import argparse
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import data, metrics, newcomer, peers, start, training, volumes
from benchmarks.costs import cost_table, dice_table
from benchmarks.rows import Bench, Row, Skipped, measure
from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY, atomic_path, write_text
from spider_utils.common.provenance import code_version, device_name
from spider_utils.models.saved import select_device
from tools.markdown import BEGIN, END, markdown_table

TABLE = REPOSITORY / "results" / "benchmarks.csv"
PAGE = TABLE.with_suffix(".md")
ROWS: dict[str, Row] = training.ROWS | peers.ROWS | data.ROWS | metrics.ROWS | volumes.ROWS | start.ROWS
GOAL = 0.9  # a foreground Dice on unseen patients whose cost is told; aimed at: a third of the paper's
SHOWN = {"stage": 45, "against": 46, "ours": 9, "peer": 9, "ratio": 8, "unit": 14, "aim": 6, "met": 8, "note": 0}
COLUMNS = [
    "row", "stage", "against", "ours", "peer", "ratio", "aim", "met", "unit", "runs", "ours_gb", "peer_gb", "note",
    "device", "machine", "code", "versions",
]  # fmt: skip
VERSIONS = ("torch", "numpy", "scipy", "monai", "SimpleITK", "surface-distance", "nnunetv2")


def main() -> int:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=[""], metavar="NAME", help="whose names contain one of these")
    parser.add_argument("--runs", type=int, default=5, help="how often each side is run (default 5)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="cuda: the rows of training alone")
    parser.add_argument("--list", action="store_true", help="list the rows and measure nothing")
    options = parser.parse_args()
    if options.list:
        print(*(f"{name}: {row.stage}; {row.peer}" for name, row in ROWS.items()), sep="\n")
        return 0
    try:
        select_device(options.device)
    except SpiderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    machine = where_and_with_what(options.device)
    print(as_text(list(SHOWN)))
    for name, row in ROWS.items():
        if options.device in row.devices and any(part in name for part in options.rows):
            found = line(name, row, options.device, options.runs) | machine
            print(as_text([found.get(column) for column in SHOWN]), flush=True)
            write_table(merged([found], TABLE))  # at once, so that a session that ends early keeps it
    write_text(PAGE, as_page(merged([], TABLE)))
    print(f"{machine['machine']}; {machine['versions']}; code {machine['code']}\nTable: {TABLE}")
    return 0


def write_table(table: pd.DataFrame) -> None:
    """Write the table."""
    with atomic_path(TABLE) as path:
        table.to_csv(path, index=False, float_format="%.4g")


def line(name: str, row: Row, device: str, runs: int) -> dict[str, Any]:
    """Measure a row in a folder of its own and return its line; one that is skipped has a note alone."""
    about = {"row": name, "stage": row.stage, "against": row.peer, "aim": row.aim, "unit": row.unit, "device": device}
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(row, Bench(Path(folder), device), runs)
    except Skipped as why:
        return about | {"met": "skipped", "note": str(why)}
    return about | found | {"note": row.limit if found["met"] == "no" else ""}


def where_and_with_what(device: str) -> dict[str, str]:
    """Return the machine, the code and the versions that numbers are measured with."""
    code = code_version()
    found = {name: version_of(name) for name in VERSIONS}
    return {
        "machine": device_name(device),
        "code": str(code["commit"])[:8] + (" with changes" if code["modified"] else ""),
        "versions": ", ".join([f"Python {sys.version.split()[0]}", *(f"{n} {v}" for n, v in found.items() if v)]),
    }


def version_of(name: str) -> str:
    """Return the version of an installed package, "" without it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def merged(lines: list[dict[str, Any]], earlier: Path) -> pd.DataFrame:
    """Return the table of the lines and of those earlier ones that none of them replaces; skipped ones replace none."""
    new = pd.DataFrame(lines, columns=COLUMNS)
    old = pd.read_csv(earlier).to_dict("records") if earlier.is_file() else []
    table = {(one["device"], one["row"]): one for one in old}
    for one in new.to_dict("records"):
        key = one["device"], one["row"]
        if one["met"] != "skipped" or table.get(key, one)["met"] == "skipped":
            table[key] = one
    order = list(ROWS)
    known = sorted((key for key in table if key[1] in order), key=lambda key: (key[0], order.index(key[1])))
    return pd.DataFrame([table[key] for key in known], columns=COLUMNS)


def as_page(table: pd.DataFrame) -> str:
    """Return the table as a page for reading: the aims beside what was measured, and where and with what it was."""
    parts = ["# Beside what one would use instead", "Medians of runs in turn on one machine; written by `make bench`."]
    parts.append(BEGIN.format(name="benchmarks"))
    for device, part in table.groupby("device", sort=False):
        heads = ["stage", "against", "seconds", "its seconds", "ratio", "aim", "met", "why not"]
        rows = [
            [
                row.stage,
                row.against,
                *(number(value) for value in (row.ours, row.peer)),
                f"{number(row.ratio)} {row.unit}",
            ]
            + [number(row.aim), *("" if pd.isna(text) else str(text) for text in (row.met, row.note))]
            for row in part.itertuples()
        ]
        made = part.drop_duplicates(["machine", "versions", "code"])
        parts += [f"## {device}", markdown_table(heads, rows)]
        parts += [f"{row.machine}; {row.versions}; code {row.code}; {row.runs:g} runs." for row in made.itertuples()]
    costs = cost_table(table)
    parts += ["## Whole jobs, computed from these rates", markdown_table(list(costs), costs.to_numpy().tolist())]
    reached = dice_table(GOAL, table)
    parts += [
        f"## A Dice of {GOAL:.2f} on unseen patients (aim: a third of the paper's)",
        markdown_table(list(reached), reached.to_numpy().tolist()),
    ]
    parts.append("Not measured, but computed (`benchmarks/costs.py` says how); empty where no rate was measured.")
    if newcomer.TABLE.is_file():
        measured = newcomer.told(pd.read_csv(newcomer.TABLE))
        parts += [
            "## The README's two commands",
            markdown_table(list(measured), measured.astype(str).to_numpy().tolist()),
        ]
        parts.append("Once each in a fresh clone, its set-up not counted: `python -m benchmarks.newcomer [--busy N]`.")
    return "\n\n".join([*parts, END.format(name="benchmarks")]) + "\n"


def number(value: float) -> str:
    """Write a number with three digits, and nothing where there is none."""
    return "" if pd.isna(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_text(cells: list[Any]) -> str:
    """Return a line of the table for reading."""
    texts = ["" if one is None else f"{one:.3g}" if isinstance(one, float) else str(one) for one in cells]
    return " ".join(text.ljust(width) for text, width in zip(texts, SHOWN.values(), strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
