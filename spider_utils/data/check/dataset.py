"""One pass over a data set that finds every problem at once, before a training meets the first of them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from spider_utils.common.errors import SpiderError, in_a_batch
from spider_utils.common.progress import progress
from spider_utils.data.apart import read_apart
from spider_utils.data.check import files, overview, volumes
from spider_utils.data.check.findings import ERROR, Finding, finding_of, in_order, natural, place
from spider_utils.data.spider import GRADINGS, OVERVIEW, read_gradings, read_overview
from spider_utils.data.volumes import find_volumes, volume_name

# Every check, by what it looks at; each returns what it finds. Another one is added here and nowhere else.
CHECKS: dict[str, tuple[Callable[..., list[Finding]], ...]] = {
    "image": (  # (where, sitk.Image)
        volumes.no_contrast,
        volumes.not_sagittal,
        volumes.implausible_spacing,
        volumes.implausible_plane,
        volumes.doubtful_header,
    ),
    "mask": (  # (where, volumes.Mask)
        volumes.other_geometry,
        volumes.unknown_labels,
        volumes.empty_mask,
        volumes.gap_in_vertebrae,
        volumes.gap_in_discs,
        volumes.disc_without_vertebra,
        volumes.no_canal,
    ),
    "files": (files.several_formats, files.copied_images),  # (files.Files)
    "laid out": (files.foreign_names, files.lone_files),  # (files.Files) of a folder like SPIDER's
    "overview": (  # (overview.Listed)
        overview.rows_without_files,
        overview.files_without_rows,
        overview.duplicate_rows,
        overview.unknown_subsets,
        overview.patients_in_both_subsets,
        overview.counts_unlike_masks,
    ),
}


def check_dataset(data_dir: Path | str) -> tuple[list[Finding], int]:
    """Find every problem of a folder and return the findings, errors first, and the number of series.

    `data_dir` is laid out like SPIDER (images/ and, where there are, masks/, overview.csv and
    radiological_gradings.csv), with volumes of any format that can be read; or it is a plain folder of volumes, which
    have no masks. Every file is read once, one series at a time. Raises SpiderError when there is no image to check.
    """
    root = Path(data_dir)
    laid_out = (root / "images").is_dir()
    found: list[Finding] = []
    seen = files.Files(root, images=_by_name(find_volumes(root / "images" if laid_out else root)))
    if laid_out and (root / "masks").is_dir():
        seen.masks = _tried(found, root, root / "masks", lambda folder: _by_name(find_volumes(folder))) or {}
    names = sorted({*seen.images, *seen.masks}, key=natural)
    for name in progress(names, desc="check", unit="series"):
        try:
            _check_series(found, seen, name)
        except Exception as error:  # of one series: the rest go on
            problem = f"expected a series that can be checked, found {in_a_batch(name, error)}"
            found.append(Finding(ERROR, name, problem, "look at its files"))
    found += run_checks("files", seen)
    if laid_out:
        found += run_checks("laid out", seen)
        _check_tables(found, seen)
    return in_order(found), len(names)


def run_checks(kind: str, *looked_at: Any) -> list[Finding]:
    """Return what the checks of one kind find."""
    return [finding for check in CHECKS[kind] for finding in check(*looked_at)]


def _by_name(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group the files of a folder by the name of their volume; one name may come in several formats."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(volume_name(path), []).append(path)
    return groups


def _tried(found: list[Finding], root: Path, path: Path, read: Callable[[Path], Any]) -> Any:
    """Read a path, or note why that cannot be and return None."""
    try:
        return read(path)
    except SpiderError as error:
        found.append(finding_of(error, path, root))
    except OSError as error:
        problem = f"expected a file that can be read, found {error.strerror}"
        found.append(Finding(ERROR, place(path, root), problem, "check its permissions"))
    return None


def _check_series(found: list[Finding], seen: files.Files, name: str) -> None:
    """Read the images and then the masks of one series, and note what is wrong with them."""
    first: sitk.Image | None = None  # of its images that can be read: what its masks lie on
    for path in seen.images.get(name, []):
        image = _tried(found, seen.root, path, read_apart)
        if image is None:
            continue
        where = place(path, seen.root)
        found += run_checks("image", where, image)
        if first is None:
            first = image
            seen.digests[where] = files.voxel_digest(image)
    for path in seen.masks.get(name, []):
        read = _tried(found, seen.root, path, read_apart)
        if read is not None:
            mask = volumes.Mask.of(read, first)
            found += run_checks("mask", place(path, seen.root), mask)
            seen.counts.setdefault(name, (len(mask.vertebrae), len(mask.discs)))


def _check_tables(found: list[Finding], seen: files.Files) -> None:
    readers = {OVERVIEW: read_overview, GRADINGS: read_gradings}
    tables = {}
    for name in readers:
        if (seen.root / name).is_file():
            tables[name] = _tried(found, seen.root, seen.root / name, lambda path: readers[path.name](path.parent))
    if tables.get(OVERVIEW) is not None:
        images = sorted(seen.images, key=natural)
        found += run_checks("overview", overview.Listed.of(tables[OVERVIEW], images, seen.counts))
