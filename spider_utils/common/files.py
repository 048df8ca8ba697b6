"""Files that are either complete or absent: everything is written beside its place and moved there at the end."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from spider_utils.common.errors import SpiderError

REPOSITORY = Path(__file__).resolve().parents[2]
MACHINE = re.sub(r"[^A-Za-z0-9]", "", platform.node())[:40]
NAME_END = 40  # letters of a file's name that its temporary name ends with: a name may have 255 bytes


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is moved to `path`, on any error it is removed.

    The temporary name ends like `path`, .nii.gz included, since libraries choose a format by it. What killed processes
    have left in the folder is removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent.resolve())
    temporary = path.with_name(f".{os.getpid()}-{MACHINE}.part.{path.name[-NAME_END:]}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@lru_cache
def _sweep(folder: Path) -> None:
    """Remove the temporary files of this machine's processes that live no more; once for each folder, to be quick."""
    for left in folder.glob(f".*-{MACHINE}.part.*"):
        number = left.name[1:].partition("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            left.unlink(missing_ok=True)


def refuse_unwritable(path: Path | str, is_file: bool = False) -> None:
    """Raise SpiderError where a folder, or a file, of this name cannot be made or written into. Nothing is written."""
    place = Path(path).absolute()
    there = next(one for one in (place, *place.parents) if one.exists())
    wanted, found = ("file", "folder") if is_file and there == place else ("folder", "file")
    if there.is_dir() != (wanted == "folder"):
        raise SpiderError(f"{path}: expected a {wanted} to write to, found that {there} is a {found}; name another")
    if not os.access(there, os.W_OK):
        raise SpiderError(
            f"{path}: expected a place to write to, found that {there} is read-only; change its rights or name another"
        )


def file_digest(path: Path | str) -> str:
    """Return the SHA-256 of a file, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path | str) -> dict:
    """Return what a JSON file holds, {} where there is no file. Raises SpiderError where it holds no object."""
    path = Path(path)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SpiderError(f"{path}: expected JSON, found a file that cannot be read ({error}); remove it") from error
    if not isinstance(content, dict):
        raise SpiderError(f"{path}: expected a JSON object, found {type(content).__name__}; remove the file")
    return content
