"""One process at a time: locks of folders, which the operating system takes back when their holder dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import read_json, write_json

LOCK_FILE = ".lock"  # stays in the folder; only a running process holds it
WAIT = 10.0  # seconds: workers of a process that was killed need some to end


@contextmanager
def alone(folder: Path | str, work: str, wait: float | None = None, name: str = LOCK_FILE) -> Iterator[None]:
    """Hold a folder's lock, so that no other process does the same `work` there; the folder is made where it is none.

    One process may hold it several times. Raises SpiderError when another one holds it for `wait` seconds (WAIT).
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name, is_singleton=True)
    try:
        lock.acquire(timeout=WAIT if wait is None else wait)
    except Timeout:
        raise SpiderError(
            f"{folder}: another process is at work there ({work}); wait until it has ended, or take another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def add_to_json(path: Path, more: dict[str, Any]) -> None:
    """Add to a JSON file what this process has to say, and leave what others have said meanwhile."""
    with alone(path.parent, f"writing {path.name}"):
        write_json(path, read_json(path) | more)
