"""What an output folder tells of its label maps: volumes.csv, a row each; prediction.json, what each was made from."""

import hashlib
from pathlib import Path

import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import file_digest, read_json, write_json
from spider_utils.common.locks import alone
from spider_utils.common.tables import fused, write_csv

SUMMARY_FILE, NOTE_FILE = "volumes.csv", "prediction.json"


def input_digest(path: Path) -> str:
    """Return the SHA-256 of a volume's file, or of all files of its folder and their names."""
    if path.is_file():
        return file_digest(path)
    files = sorted(file for file in path.iterdir() if file.is_file())
    return hashlib.sha256("".join(f"{file.name} {file_digest(file)}\n" for file in files).encode()).hexdigest()


def is_kept(target: Path, made_from: dict) -> bool:
    """Tell whether a label map is there, unchanged, has its row in volumes.csv and was made from this."""
    made = read_json(target.parent / NOTE_FILE).get(target.name)
    if made is None or target.name not in read_rows(target.parent) or not target.is_file():
        return False
    return made == made_from | {"label_map": file_digest(target)}


def note(target: Path, row: dict[str, object] | None, made_from: dict | None = None) -> None:
    """Write a label map's row into volumes.csv and what it was made from into prediction.json; None takes them out.

    Both are read again before, since another process may have written those of other label maps.
    """
    output, name = target.parent, target.name
    with alone(output, f"writing {SUMMARY_FILE}"):
        rows, made = read_rows(output), read_json(output / NOTE_FILE)
        rows.pop(name, None)
        made.pop(name, None)
        if row is not None and made_from is not None:
            rows[name] = {"label_map": name} | row
            made[name] = made_from | {"label_map": file_digest(target)}
        table = pd.DataFrame(list(rows.values()), columns=None if rows else ["label_map"])
        write_csv(table.sort_values("label_map"), output / SUMMARY_FILE)
        write_json(output / NOTE_FILE, made)


def read_rows(output: Path) -> dict[str, dict]:
    """Return the rows of volumes.csv by label map, {} where there is none. Raises SpiderError on another table."""
    path = output / SUMMARY_FILE
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str) if path.is_file() else pd.DataFrame()
    except ValueError as error:  # pandas' own errors and those of UTF-8 are such
        raise SpiderError(f"{path}: expected a table, found a damaged one; remove it") from error
    if len(table) and "label_map" not in table:
        raise SpiderError(f"{path}: expected the column label_map, found {', '.join(table)}; name another --output")
    return {row["label_map"]: row for row in table.map(fused).to_dict("records")}
