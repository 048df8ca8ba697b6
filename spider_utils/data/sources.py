"""The sources of data, each listed once: where its series are, how they are read and where its data come from.

Nothing heavy is imported before a source is used, so that the command line can list them at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spider_utils.common.errors import SpiderError

if TYPE_CHECKING:
    from spider_utils.data.series import Series, SliceStack

FINGERPRINT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Source:
    """One source of data. `make` and `fetch` put its data into a folder; a source may have one of them or none."""

    name: str
    note: str  # the attribution that every picture of its data bears
    find: Callable[[Path | str], tuple[Series, ...]]  # lists the series of a folder
    read: Callable[[Series], SliceStack]  # reads one of them
    make: Callable[..., None] | None = None  # synthesises them: folder, number of patients, seed
    fetch: Callable[[Path | str], None] | None = None  # fetches them from where they are published


def imported(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports one of spider_utils.data when it is called, and hands everything on to it."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(import_module(f"spider_utils.data.{module}"), name)(*arguments, **options)

    return call


FIND_SPIDER, READ_SPIDER = imported("spider", "find_spider_series"), imported("spider", "read_spider_stack")
SOURCES = {
    "phantom": Source(
        name="phantom",
        note="Synthetic phantom",
        find=FIND_SPIDER,
        read=READ_SPIDER,
        make=imported("phantom", "make_phantom"),
    ),
    "released": Source(
        name="released",
        note="MRI: SPIDER (van der Graaf et al. 2024), CC BY 4.0; slices as released by Ahmed et al. 2025",
        find=imported("released", "find_released_series"),
        read=imported("released", "read_released_stack"),
        fetch=imported("download", "download_released"),
    ),
    "spider": Source(
        name="spider",
        note="MRI: SPIDER (van der Graaf et al. 2024), CC BY 4.0",
        find=FIND_SPIDER,
        read=READ_SPIDER,
        fetch=imported("download", "download_spider"),
    ),
}


def get_source(name: str) -> Source:
    """Return a source by its name. Raises SpiderError on an unknown one."""
    if name not in SOURCES:
        raise SpiderError(f"source: expected one of {', '.join(SOURCES)}, found {name!r}; choose one of them")
    return SOURCES[name]


def provide(source: str, folder: Path | str) -> None:
    """Make or fetch the data of a source into a folder. Raises SpiderError where it has no way to do so."""
    bring = get_source(source).make or get_source(source).fetch
    if bring is None:
        raise SpiderError(f"source {source}: expected the folder of its data, found none; name it with --data-dir")
    bring(folder)


def find_series(source: str, data_dir: Path | str) -> tuple[Series, ...]:
    """List the series of a data folder; `source` is one of SOURCES. Raises SpiderError on an unknown one."""
    return tuple(replace(one, source=source) for one in get_source(source).find(data_dir))


def read_stack(series: Series) -> SliceStack:
    """Read a series as slices in the common pose. Raises SpiderError like the reader of its source."""
    return get_source(series.source).read(series)


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
