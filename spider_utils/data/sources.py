"""The three sources of data behind one interface."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from spider_utils.common.errors import SpiderError
from spider_utils.data.released import find_released_series, read_released_stack
from spider_utils.data.series import Series, SliceStack
from spider_utils.data.spider import find_spider_series, read_spider_stack

SOURCES = ("phantom", "released", "spider")
FINGERPRINT_BYTES = 64 * 1024


def find_series(source: str, data_dir: Path | str) -> tuple[Series, ...]:
    """List the series of a data folder; `source` is one of SOURCES. Raises SpiderError on an unknown one."""
    if source not in SOURCES:
        raise SpiderError(f"source: expected one of {', '.join(SOURCES)}, found {source!r}; choose one of them")
    return find_released_series(data_dir) if source == "released" else find_spider_series(data_dir)


def read_stack(series: Series) -> SliceStack:
    """Read a series as slices in the common pose. Raises SpiderError like the reader of its source."""
    return read_released_stack(series) if series.coding == "grey" else read_spider_stack(series)


def fingerprint(series: Iterable[Series]) -> str:
    """Give one hex SHA-256 for a set of series: names, sizes and first 64 KiB of all image and mask files.

    It depends neither on where the folder lies nor on the order of the series.
    """
    return fingerprint_files(path for one in series for path in one.image_files + one.mask_files)


def fingerprint_files(paths: Iterable[Path]) -> str:
    """Give one hex SHA-256 for a set of files: their folders' and own names, sizes and first 64 KiB."""
    files = {(path.parent.name, path.name): path for path in paths}
    digest = hashlib.sha256()
    for (folder, name), path in sorted(files.items()):
        with path.open("rb") as file:
            start = file.read(FINGERPRINT_BYTES)
        digest.update(f"{folder}/{name} {path.stat().st_size}\n".encode())
        digest.update(hashlib.sha256(start).digest())
    return digest.hexdigest()
