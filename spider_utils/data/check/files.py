"""What can be wrong with the files of a data set beside each other. Every check returns what it finds."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from spider_utils.data.check.findings import ERROR, WARNING, Finding, place, printable
from spider_utils.data.pose import to_pose
from spider_utils.data.spider import FILE_NAME


@dataclass
class Files:
    """The files of the folder `root`, those of a series under its name, and what reading them has told."""

    root: Path
    images: dict[str, list[Path]]
    masks: dict[str, list[Path]] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)  # where an image stands -> what tells its voxels
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)  # a mask's numbers of vertebrae and of discs


def voxel_digest(image: sitk.Image) -> bytes:
    """Return what two images share that have the same voxels, in whatever type or order they are stored; b"" where
    all voxels are one value.
    """
    voxels = sitk.GetArrayFromImage(sitk.Cast(to_pose(image), sitk.sitkFloat32))
    if voxels.min() == voxels.max():
        return b""
    digest = hashlib.sha256(str(voxels.shape).encode())
    digest.update(voxels.data)
    return digest.digest()


def several_formats(files: Files) -> list[Finding]:
    found = []
    for paths in (*files.images.values(), *files.masks.values()):
        if len(paths) > 1:
            others = " and ".join(printable(path.name) for path in paths[1:])
            problem = f"expected one file for a series, found {others} too"
            found.append(Finding(ERROR, place(paths[0], files.root), problem, "keep one of them"))
    return found


def copied_images(files: Files) -> list[Finding]:
    """Look for voxels that came under another name before."""
    found: list[Finding] = []
    first: dict[bytes, str] = {}
    for where, digest in files.digests.items():
        if digest and first.setdefault(digest, where) != where:
            problem = f"expected an image of its own, found the voxels of {first[digest]}"
            found.append(Finding(ERROR, where, problem, "remove one of the two"))
    return found


def foreign_names(files: Files) -> list[Finding]:
    problem = "expected a name like 12_t2_SPACE.mha (patient, then t1, t2 or t2_SPACE), found another"
    return [
        Finding(WARNING, place(path, files.root), problem, "rename or convert it: a training reads no other")
        for paths in files.images.values()
        for path in paths
        if FILE_NAME.fullmatch(path.name) is None
    ]


def lone_files(files: Files) -> list[Finding]:
    """Look for masks without image, and for images without mask unless the whole set has no masks folder."""
    lone = [("mask", "image", paths[0]) for name, paths in files.masks.items() if name not in files.images]
    if (files.root / "masks").is_dir():
        lone += [("image", "mask", paths[0]) for name, paths in files.images.items() if name not in files.masks]
    return [
        Finding(
            ERROR,
            place(path, files.root),
            f"expected its {other} in {other}s/, found none",
            f"add the {other} or remove the {kind}",
        )
        for kind, other, path in lone
    ]
