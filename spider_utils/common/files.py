"""Files that are either complete or absent: everything is written beside its place and moved there at the end."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spider_utils.common.errors import SpiderError

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is moved to `path`, on any error it is removed.

    The temporary name ends like `path`, .nii.gz included, since libraries choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
