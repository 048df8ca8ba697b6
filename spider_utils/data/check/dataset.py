"""One pass over a data set that finds every problem at once, before a training meets the first of them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.check.findings import ERROR, WARNING, Finding, finding_of, in_order, natural, place
from spider_utils.data.check.overview import check_overview
from spider_utils.data.check.volumes import check_image, check_labels, discs_of, mask_geometry, vertebrae_of
from spider_utils.data.pose import to_pose
from spider_utils.data.spider import FILE_NAME, GRADINGS, OVERVIEW, read_gradings, read_overview
from spider_utils.data.volumes import find_volumes, read_volume, volume_name


@dataclass
class _Pass:
    """What a pass over the folder `root` has found so far."""

    root: Path
    findings: list[Finding] = field(default_factory=list)
    seen: dict[bytes, str] = field(default_factory=dict)  # digest of an image's voxels -> where they were first met
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)  # a mask's numbers of vertebrae and of discs


def check_dataset(data_dir: Path | str) -> tuple[list[Finding], int]:
    """Find every problem of a folder and return the findings, errors first, and the number of series.

    `data_dir` is laid out like SPIDER (images/ and, where there are, masks/, overview.csv and
    radiological_gradings.csv), with volumes of any format that can be read; or it is a plain folder of volumes, which
    have no masks. Every file is read once, one series at a time. Raises SpiderError when there is no image to check.
    """
    root = Path(data_dir)
    laid_out = (root / "images").is_dir()
    images = _by_name(find_volumes(root / "images" if laid_out else root))
    state = _Pass(root)
    masks = _find_masks(state) if laid_out else {}
    names = sorted({*images, *masks}, key=natural)
    for name in progress(names, desc="check", unit="series"):
        image = _check_images(state, images.get(name, []))
        _check_masks(state, name, image, masks.get(name, []))
    if laid_out:
        _check_names(state, [path for paths in images.values() for path in paths])
        _check_pairs(state, images, masks)
        _check_tables(state, sorted(images, key=natural))
    return in_order(state.findings), len(names)


def _by_name(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group the files of a folder by the name of their volume; one name may come in several formats."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(volume_name(path), []).append(path)
    return groups


def _find_masks(state: _Pass) -> dict[str, list[Path]]:
    folder = state.root / "masks"
    if not folder.is_dir():
        return {}
    try:
        return _by_name(find_volumes(folder))
    except SpiderError as error:
        state.findings.append(finding_of(error, folder, state.root))
        return {}


def _read(state: _Pass, path: Path) -> sitk.Image | None:
    """Read a volume, or note why it cannot be."""
    try:
        return read_volume(path)
    except SpiderError as error:
        state.findings.append(finding_of(error, path, state.root))
    except OSError as error:
        problem = f"expected a file that can be read, found {error.strerror}"
        state.findings.append(Finding(ERROR, place(path, state.root), problem, "check its permissions"))
    return None


def _check_images(state: _Pass, paths: list[Path]) -> sitk.Image | None:
    """Check the image files of one series and return the first that can be read."""
    _check_formats(state, paths)
    first = None
    for path in paths:
        image = _read(state, path)
        if image is None:
            continue
        where = place(path, state.root)
        state.findings += check_image(where, image)
        if first is None:
            first = image
            _check_copy(state, where, image)
    return first


def _check_masks(state: _Pass, name: str, image: sitk.Image | None, paths: list[Path]) -> None:
    _check_formats(state, paths)
    for path in paths:
        mask = _read(state, path)
        if mask is None:
            continue
        where = place(path, state.root)
        if image is not None:
            state.findings += mask_geometry(where, image, mask)
        values = np.unique(sitk.GetArrayViewFromImage(mask))
        state.findings += check_labels(where, values)
        labels = {int(value) for value in values if value > 0}
        state.counts.setdefault(name, (len(vertebrae_of(labels)), len(discs_of(labels))))


def _check_formats(state: _Pass, paths: list[Path]) -> None:
    if len(paths) > 1:
        others = " and ".join(path.name for path in paths[1:])
        problem = f"expected one file for a series, found {others} too"
        state.findings.append(Finding(ERROR, place(paths[0], state.root), problem, "keep one of them"))


def _check_copy(state: _Pass, where: str, image: sitk.Image) -> None:
    """Look for voxels that came under another name before, in whatever type or order they are stored."""
    voxels = sitk.GetArrayFromImage(sitk.Cast(to_pose(image), sitk.sitkFloat32))
    if voxels.min() == voxels.max():
        return
    digest = hashlib.sha256(str(voxels.shape).encode())
    digest.update(voxels)
    first = state.seen.setdefault(digest.digest(), where)
    if first != where:
        problem = f"expected an image of its own, found the voxels of {first}"
        state.findings.append(Finding(ERROR, where, problem, "remove one of the two"))


def _check_names(state: _Pass, paths: list[Path]) -> None:
    for path in paths:
        if FILE_NAME.fullmatch(path.name) is None:
            problem = "expected a name like 12_t2_SPACE.mha (patient, then t1, t2 or t2_SPACE), found another"
            state.findings.append(
                Finding(WARNING, place(path, state.root), problem, "rename or convert it: a training reads no other")
            )


def _check_pairs(state: _Pass, images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> None:
    """Look for masks without image, and for images without mask unless the whole set has no masks folder."""
    lone = [masks[name] for name in masks if name not in images]
    if (state.root / "masks").is_dir():
        lone += [images[name] for name in images if name not in masks]
    for paths in lone:
        kind, other = ("mask", "image") if paths[0].parent.name == "masks" else ("image", "mask")
        problem = f"expected its {other} in {other}s/, found none"
        state.findings.append(
            Finding(ERROR, place(paths[0], state.root), problem, f"add the {other} or remove the {kind}")
        )


def _check_tables(state: _Pass, images: list[str]) -> None:
    for name, read in ((OVERVIEW, read_overview), (GRADINGS, read_gradings)):
        path = state.root / name
        if not path.is_file():
            continue
        try:
            table = read(state.root)
        except SpiderError as error:
            state.findings.append(finding_of(error, path, state.root))
            continue
        if name == OVERVIEW:
            state.findings += check_overview(table, images, state.counts)
