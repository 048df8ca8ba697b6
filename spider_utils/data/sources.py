"""The sources of data, each listed once: where its series are, how they are read and where its data come from.

Several are joined by "+" (`released+pairs`); their folders are then given in the same order, joined by ":" as in PATH.
Nothing heavy is imported before a source is used, so that the command line can list them at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import file_digest

if TYPE_CHECKING:
    from spider_utils.data.series import Series, SliceStack

FORMER_BYTES = 64 * 1024
LARGE_BYTES = 2**20  # of a file that is not read for every fingerprint


@dataclass(frozen=True)
class Source:
    """One source of data. `make` and `fetch` put its data into a folder; a source may have one of them or none."""

    name: str
    note: str  # the attribution that every picture of its data bears
    find: Callable[[Path | str], tuple[Series, ...]]  # lists the series of a folder
    read: Callable[[Series], SliceStack]  # reads one of them
    make: Callable[..., None] | None = None  # synthesises them: folder, number of patients, seed
    fetch: Callable[[Path | str], None] | None = None  # fetches them from where they are published
    home: Path | None = None  # the folder of data that the package itself holds


def imported(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports one of spider_utils.data when it is called, and hands everything on to it."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(import_module(f"spider_utils.data.{module}"), name)(*arguments, **options)

    return call


JOIN = "+"
SPIDER_NOTE = "MRI: SPIDER (van der Graaf et al. 2024), CC BY 4.0"
FIND_SPIDER, READ_SPIDER = imported("spider", "find_spider_series"), imported("spider", "read_spider_stack")
FIND_PAIRS, READ_PAIRS = imported("pairs", "find_pairs"), imported("pairs", "read_pairs")
SOURCES = {
    "sample": Source(
        name="sample",
        note=f"{SPIDER_NOTE}; a sample of its slices, made smaller",
        find=FIND_PAIRS,
        read=READ_PAIRS,
        home=Path(__file__).parent / "sample",
    ),
    "phantom": Source(
        name="phantom",
        note="PHANTOM: synthetic, no patient",
        find=FIND_SPIDER,
        read=READ_SPIDER,
        make=imported("phantom", "make_phantom"),
    ),
    "released": Source(
        name="released",
        note=f"{SPIDER_NOTE}; slices as released by Ahmed et al. 2025",
        find=imported("released", "find_released_series"),
        read=imported("released", "read_released_stack"),
        fetch=imported("download", "download_released"),
    ),
    "pairs": Source(
        name="pairs",
        note=f"{SPIDER_NOTE}, or slices of your own",
        find=FIND_PAIRS,
        read=READ_PAIRS,
    ),
    "spider": Source(
        name="spider",
        note=SPIDER_NOTE,
        find=FIND_SPIDER,
        read=READ_SPIDER,
        fetch=imported("download", "download_spider"),
    ),
}


def get_source(name: str) -> Source:
    """Return a source by its name; several joined by "+" are one. Raises SpiderError on an unknown one."""
    parts = name.split(JOIN)
    for part in parts:
        if part not in SOURCES:
            raise SpiderError(f"source: expected one of {', '.join(SOURCES)}, found {part!r}; choose one of them")
    if len(parts) == 1:
        return SOURCES[name]
    notes = dict.fromkeys(SOURCES[part].note for part in parts)
    return Source(name, "; ".join(notes), find=lambda folder: _find_joined(parts, folder), read=read_stack)


def provide(source: str, folder: Path | str) -> None:
    """Make or fetch the data of a source into a folder. Raises SpiderError where it has no way to do so."""
    bring = get_source(source).make or get_source(source).fetch
    if bring is None:
        raise SpiderError(f"source {source}: expected the folder of its data, found none; name it with --data-dir")
    bring(folder)


def absolute(data_dir: Path | str | None) -> str | None:
    """Return a source's folder as an absolute path, or those of joined sources; None where none is given.

    Raises SpiderError where one is no folder.
    """
    if not data_dir:
        return None
    parts = [Path(part) if part else None for part in str(data_dir).split(os.pathsep)]
    for part in parts:
        if part and not part.is_dir():
            found = "a file" if part.exists() else "nothing"
            raise SpiderError(f"{part}: expected a folder with the data, found {found}; mend --data-dir")
    return os.pathsep.join(str(part.resolve()) if part else "" for part in parts)


def refuse_homeless(source: str, data_dir: Path | str | None) -> None:
    """Raise SpiderError where a source needs a folder and none is named."""
    known = get_source(source)
    if not (data_dir or known.make or known.home):
        fetch = f", or fetch it first: python -m spider_utils download --source {source} --out DIR"
        raise SpiderError(
            f"source {source}: expected the folder of its data, found none; name it with --data-dir"
            f"{fetch if known.fetch else ''}"
        )


def find_series(source: str, data_dir: Path | str) -> tuple[Series, ...]:
    """List the series of a data folder; `source` is one of SOURCES, or several joined (see above).

    Raises SpiderError on an unknown one, and where sources are joined that have a series in common.
    """
    found = get_source(source).find(data_dir)
    return found if JOIN in source else tuple(replace(one, source=source) for one in found)


def _find_joined(parts: list[str], data_dir: Path | str) -> tuple[Series, ...]:
    """List the series of several sources, each in its own folder."""
    folders = str(data_dir).split(os.pathsep)
    if len(folders) != len(parts):
        raise SpiderError(
            f"source {JOIN.join(parts)}: expected {len(parts)} folders joined by '{os.pathsep}', found {data_dir}; "
            "name one for each, in the same order"
        )
    found: dict[str, Series] = {}
    for part, folder in zip(parts, folders, strict=True):
        for one in find_series(part, folder or SOURCES[part].home or folder):
            if one.name in found:
                raise SpiderError(
                    f"{one.image_files[0]}: expected a series that is in one source only, found {one.name} in "
                    f"{found[one.name].image_files[0].parent} too; take it out of one of them"
                )
            found[one.name] = one
    return tuple(found.values())


def read_stack(series: Series) -> SliceStack:
    """Read a series as slices in the common pose. Raises SpiderError like the reader of its source."""
    return get_source(series.source).read(series)


def sample_stack(name: str) -> SliceStack:
    """Read a series of the embedded sample by its name. Raises SpiderError on an unknown one."""
    home = SOURCES["sample"].home
    assert home is not None  # the package holds it
    found = {one.name: one for one in find_series("sample", home)}
    if name not in found:
        raise SpiderError(f"sample: expected one of {', '.join(found)}, found '{name}'; name one of them")
    return read_stack(found[name])


def fingerprint(series: Iterable[Series], former: bool = False) -> str:
    """Give one hex SHA-256 for a set of series: names and content of all image and mask files, and what a table tells
    of them; `former`: as until November 2026, see `fingerprint_files`.

    It depends neither on where the folder lies nor on the order of the series.
    """
    series = list(series)
    files = fingerprint_files((path for one in series for path in one.image_files + one.mask_files), former)
    told = sorted(f"{one.name} {one.mask_from} {one.index} {one.pixel_mm}" for one in series if one.index)
    return hashlib.sha256("\n".join([files, *told]).encode()).hexdigest() if told else files


def fingerprint_files(paths: Iterable[Path], former: bool = False) -> str:
    """Give one hex SHA-256 for a set of files: their folders' and own names, sizes and content.

    `former`: of each file only the first 64 KiB, as fingerprints were until November 2026, those of committed results
    among them. Of files that are no longer both are equal.
    """
    files = {(path.parent.name, path.name): path for path in paths}
    digest = hashlib.sha256()
    for (folder, name), path in sorted(files.items()):
        stat = path.stat()
        digest.update(f"{folder}/{name} {stat.st_size}\n".encode())
        if former:
            content = _start_digest(path)
        elif stat.st_size > LARGE_BYTES:
            content = _digest_once(path, stat.st_size, stat.st_mtime_ns)
        else:
            content = file_digest(path)
        digest.update(bytes.fromhex(content))
    return digest.hexdigest()


def refuse_other_data(found: str, series: Iterable[Series], made: str) -> None:
    """Raise SpiderError where what was `made` was made from data of another fingerprint than these series have."""
    series = list(series)
    if found == fingerprint(series):
        return
    if found == fingerprint(series, former=True):
        raise SpiderError(
            f"{made} by an earlier version, which looked at the first 64 KiB of each file alone, so that it cannot be "
            "told whether from these data; take another folder, or delete this one"
        )
    raise SpiderError(f"{made} from other data; take another folder, or delete this one")


@cache
def _digest_once(path: Path, _size: int, _changed: int) -> str:
    """Return the digest of a file, which is read again when its size or time has changed."""
    return file_digest(path)


def _start_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(FORMER_BYTES)).hexdigest()
