"""Fetch real data: the released slices from GitHub and SPIDER from Zenodo, checked file by file.

Both can be called again: what is complete is not fetched twice, and after an interruption SPIDER's archives go on.
"""

import csv
import hashlib
import logging
import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pooch
import requests
from tqdm.auto import tqdm

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.progress import progress
from spider_utils.data.spider import GRADINGS, OVERVIEW, read_gradings, read_overview

RELEASED_COMMIT = "d032ac0771ab509176dec8bf41511f7874e9c353"
RELEASED_URL = f"https://github.com/istiak769/Lumbar-Spine-MRI-Segmentation/archive/{RELEASED_COMMIT}.zip"
RELEASED_ARCHIVE = f"Lumbar-Spine-MRI-Segmentation-{RELEASED_COMMIT}.zip"
RELEASED_FOLDER = "Data/t2_SPACE"
MANIFEST = Path(__file__).with_name("released_manifest.csv")

SPIDER_URL = "https://zenodo.org/records/10159290/files"
SPIDER_TABLES = {OVERVIEW: read_overview, GRADINGS: read_gradings}  # Zenodo's checksums of these are not known to us
SPIDER_ARCHIVES = {  # SHA-256 of each archive; its volumes go to the folder of the same name
    "masks.zip": "13a6e25a8c0d74f507e16ebb2edafc277ceeaf2598474f1fed24fdf59cb7f18f",
    "images.zip": "a54cba2905284ff6cc9999f1dd0e4d871c8487187db7cd4b068484eac2f50f17",
}
EXTRACTED = "download.json"  # which archives were extracted, and the size of every file that came out
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)  # encrypted, or packed unlike any
CHUNK = 1 << 16  # bytes at a time, so as much as a broken connection can lose
TIMEOUT_S = (10, 60)  # to connect, and between two pieces of an answer


@dataclass(frozen=True)
class ReleasedFile:
    """One released PNG: its place below the data folder, its size in bytes and its git blob id (SHA-1)."""

    path: str
    size: int
    blob: str


def read_manifest(path: Path | str = MANIFEST) -> tuple[ReleasedFile, ...]:
    """Read the manifest of the released files: one row a slice, with size and git blob id of its image and mask."""
    files = []
    with Path(path).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = f"{int(row['patient'])}_t2_SPACE_slice{int(row['slice'])}.png"
            files.append(ReleasedFile(f"images/{name}", int(row["image_bytes"]), row["image_sha1"]))
            files.append(ReleasedFile(f"masks/{name}", int(row["mask_bytes"]), row["mask_sha1"]))
    return tuple(files)


def git_blob_id(content: bytes) -> str:
    """Return the id that git gives a file: SHA-1 of the header "blob <size>", a zero byte and the content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def download_released(out_dir: Path | str, url: str = RELEASED_URL, manifest: Path | str = MANIFEST) -> None:
    """Put the released slices (1,706 PNG, 180 MB) into OUT/images and OUT/masks.

    One archive of the authors' repository at one commit is fetched: GitHub limits how many single files an address may
    ask for. Only the manifest's files are taken from it, each checked by its git blob id; those already there and right
    are left alone. The archive is removed at the end. Raises SpiderError when the address is not reached or a file is
    missing or differs.
    """
    out_dir = Path(out_dir)
    wanted = [one for one in read_manifest(manifest) if not _is_released_file(out_dir / one.path, one)]
    if not wanted:
        return
    archive = out_dir / RELEASED_ARCHIVE
    if not archive.is_file():
        part = _part_file(archive)
        part.unlink(missing_ok=True)  # GitHub makes its archives anew and does not resume them
        _fetch(url, part, f"fetch it by hand as {archive}")
        os.replace(part, archive)
    try:
        with zipfile.ZipFile(archive) as content:
            members = {_below_top_folder(member.filename): member for member in content.infolist()}
            for one in progress(wanted, desc="released slices", unit="file"):
                _extract_released_file(content, members.get(f"{RELEASED_FOLDER}/{one.path}"), one, out_dir)
    except DAMAGED as error:
        raise SpiderError(f"{archive}: expected a zip archive, found a damaged one; removed, call again") from error
    finally:
        archive.unlink(missing_ok=True)


def download_spider(
    out_dir: Path | str, base_url: str = SPIDER_URL, archives: Mapping[str, str] = SPIDER_ARCHIVES
) -> None:
    """Put SPIDER (447 series, 3.7 GB to fetch) into OUT: both tables, OUT/masks and OUT/images.

    An archive that broke off is fetched from where it stopped, checked by its SHA-256, extracted file by file and then
    removed. Archives that were put into OUT by hand are used. Raises SpiderError when the address is not reached, a
    checksum differs or an archive holds a member that would leave its folder.
    """
    out_dir = Path(out_dir)
    pooch.get_logger().setLevel(logging.WARNING)
    record = out_dir / EXTRACTED
    extracted = read_json(record)
    for name, read_table in SPIDER_TABLES.items():
        if not (out_dir / name).is_file():
            _retrieve(base_url, name, None, out_dir)
            _check_table(out_dir / name, read_table)
    for name, sha256 in archives.items():
        if not _is_extracted(out_dir, name, sha256, extracted.get(name)):
            archive = _retrieve(base_url, name, sha256, out_dir)
            sizes = extract_zip(archive, out_dir / Path(name).stem)
            extracted[name] = {"sha256": sha256, "files": sizes}
            write_json(record, extracted)
            archive.unlink()


def extract_zip(archive: Path, folder: Path) -> dict[str, int]:
    """Extract a zip into `folder`, each file complete or absent; return the size in bytes by path below `folder`.

    A top folder of the same name in the archive is left out (images/1_t1.mha becomes 1_t1.mha). Nothing is written when
    a member is a link or has an absolute path or "..": SpiderError names it.
    """
    sizes = {}
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            places = [_place_in_folder(archive, member, folder.name) for member in members]
            if len(set(places)) < len(places):
                raise zipfile.BadZipFile("two members of one name")
            pairs = list(zip(members, places, strict=True))
            for member, place in progress(pairs, desc=f"extract {archive.name}", unit="file"):
                with content.open(member) as source, atomic_path(folder / place) as temporary:
                    with temporary.open("wb") as target:
                        shutil.copyfileobj(source, target, CHUNK)
                sizes[str(place)] = member.file_size
    except DAMAGED as error:
        raise SpiderError(
            f"{archive}: expected a zip archive, found a damaged one; remove it and call again"
        ) from error
    return sizes


def _is_released_file(path: Path, one: ReleasedFile) -> bool:
    return path.is_file() and path.stat().st_size == one.size and git_blob_id(path.read_bytes()) == one.blob


def _below_top_folder(name: str) -> str:
    return name.partition("/")[2]


def _extract_released_file(
    content: zipfile.ZipFile, member: zipfile.ZipInfo | None, one: ReleasedFile, out_dir: Path
) -> None:
    if member is None:
        raise SpiderError(
            f"{one.path}: expected it in the fetched archive, found none; the address gives another state"
        )
    with content.open(member) as source:  # reads no more than it is asked for, whatever the member holds
        data = source.read(one.size) if member.file_size == one.size else b""
    if git_blob_id(data) != one.blob:
        raise SpiderError(
            f"{one.path}: expected {one.size} bytes with git blob id {one.blob}, found {member.file_size} bytes that "
            "differ; not stored, call again"
        )
    with atomic_path(out_dir / one.path) as temporary:
        temporary.write_bytes(data)


def _is_extracted(out_dir: Path, name: str, sha256: str, entry: dict | None) -> bool:
    """Tell whether this very archive was extracted before and all its files are still there in their size."""
    if entry is None or entry["sha256"] != sha256:
        return False
    folder = out_dir / Path(name).stem
    return all(
        (folder / place).is_file() and (folder / place).stat().st_size == size for place, size in entry["files"].items()
    )


def _retrieve(base_url: str, name: str, sha256: str | None, out_dir: Path) -> Path:
    """Fetch one file of the Zenodo record into `out_dir` with pooch, or use the one that is there and right."""
    target = out_dir / name
    part = _part_file(target)
    if sha256 is None:
        part.unlink(missing_ok=True)
    by_hand = f"fetch {', '.join([*SPIDER_TABLES, *SPIDER_ARCHIVES])} from zenodo.org/records/10159290 into {out_dir}"

    def downloader(url: str, output_file: str, _pooch: pooch.Pooch | None) -> None:
        _fetch(url, part, by_hand)
        os.replace(part, output_file)

    url = f"{base_url}/{name}?download=1"
    try:
        pooch.retrieve(url, sha256 and f"sha256:{sha256}", fname=name, path=out_dir, downloader=downloader)
    except SpiderError:
        raise
    except ValueError as error:  # how pooch reports a checksum that differs; it has removed the file
        raise SpiderError(
            f"{url}: expected a file with SHA-256 {sha256}, found another; removed, call again to fetch it anew"
        ) from error
    return target


def _check_table(path: Path, read_table: Callable[[Path], object]) -> None:
    """Read a fetched table once, since there is no checksum to hold it against, and say so."""
    try:
        read_table(path.parent)
    except SpiderError:
        path.unlink()
        raise
    sha256 = pooch.file_hash(path)
    tqdm.write(f"{path.name}: no published checksum to compare with; read as a table, SHA-256 {sha256}")


def _place_in_folder(archive: Path, member: zipfile.ZipInfo, top: str) -> PurePosixPath:
    """Return a member's path below its folder. Raises SpiderError when it would leave that folder."""
    name = member.filename.replace("\\", "/")
    place = PurePosixPath(name)
    leaves = not place.parts or place.is_absolute() or ".." in place.parts or re.match(r"[A-Za-z]:", name) is not None
    if leaves or stat.S_ISLNK(member.external_attr >> 16):
        raise SpiderError(
            f"{archive}: expected files that stay in their folder, found the member {member.filename!r}; "
            "nothing was extracted, do not use this archive"
        )
    return place.relative_to(top) if place.parts[0] == top else place


def _part_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _fetch(url: str, part: Path, by_hand: str) -> None:
    """Write what `url` gives into `part`, going on after the bytes that are there, with a progress bar."""
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise SpiderError(
            f"{url}: could not be reached; with a network call again, or {by_hand} and call again"
        ) from error
    with response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the part is whole; its checksum tells whether it is right
        if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
            raise SpiderError(
                f"{url}: expected the file, found HTTP status {response.status_code}; call again later, or {by_hand} "
                "and call again"
            )
        if response.status_code == requests.codes.ok:
            have = 0
        _write_answer(response, part, have)


def _write_answer(response: requests.Response, part: Path, have: int) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    name = part.name.removeprefix(".").removesuffix(".part")
    try:
        with (
            part.open("ab" if have else "wb") as file,
            progress(total=total, initial=have, desc=name[:30], unit="B", unit_scale=True) as bar,
        ):
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    except requests.RequestException as error:
        raise SpiderError(
            f"{response.url}: expected {total or 'more'} bytes, found {part.stat().st_size} when the connection broke "
            "off; call again"
        ) from error
