"""One DICOM series, a folder with a file for each slice, read as a volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError

MAGIC = b"DICM"
MAGIC_OFFSET = 128  # bytes; DICOM part 10
SUFFIXES = (".dcm", ".ima")  # of files that lack these four letters
DIRECTORY = "DICOMDIR"  # a medium's table of contents, by its standard name
COSINE_TOLERANCE = 1e-3  # between the slices of one series
STEP_TOLERANCE = 0.05  # of the slice spacing: how far a slice may lie from its place behind the one before
SHOWN = 4  # series named in a message


@dataclass(frozen=True)
class _Slice:
    """What one file's header says."""

    path: Path
    series: str  # Series Instance UID
    description: str
    size: tuple[int, ...]  # columns, rows, frames
    position: np.ndarray  # (3,) mm, the centre of its first pixel in the patient
    axes: np.ndarray  # (2, 3) cosines: where columns run to, where rows run to


def dicom_files(folder: Path) -> list[Path]:
    """Return a folder's DICOM files by name; hidden files, DICOMDIR and files of other kinds are left out."""
    return sorted(path for path in folder.iterdir() if _is_dicom(path))


def read_dicom(folder: Path) -> sitk.Image:
    """Read the one series of a folder, its slices ordered by their places in the patient.

    Raises SpiderError in one line when there is no series or more than one, a file cannot be read or says no position,
    and when the slices differ in size or orientation or do not lie evenly one behind the other (a slice is missing or
    there twice).
    """
    slices = [_read_header(path) for path in dicom_files(folder)]
    _check_one_series(folder, slices)
    _check_alike(folder, slices)
    normal = np.cross(*slices[0].axes)
    slices.sort(key=lambda one: float(one.position @ normal))
    _check_even(folder, slices, normal)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(one.path) for one in slices])
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise SpiderError(
            f"{folder}: expected a DICOM series, found voxels that cannot be read; export it again"
        ) from error


def _is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == DIRECTORY or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(MAGIC_OFFSET + len(MAGIC))
    return start[MAGIC_OFFSET:] == MAGIC or path.suffix.lower() in SUFFIXES


def _read_header(path: Path) -> _Slice:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise SpiderError(
            f"{path}: expected a DICOM slice, found a file that is none or is truncated; export it again or remove it"
        ) from error
    if reader.GetNumberOfComponents() != 1:
        raise SpiderError(
            f"{path}: expected one value a pixel, found {reader.GetNumberOfComponents()} (a colour picture); remove it"
        )
    position = _numbers(reader, "0020|0032", 3)
    axes = _numbers(reader, "0020|0037", 6)
    if position is None or axes is None:
        raise SpiderError(
            f"{path}: expected one slice with its position and orientation in the patient, found none "
            "(not a slice, or a file of many frames); remove it, or convert the series to NIfTI"
        )
    number, name = (_text(reader, tag) for tag in ("0020|0011", "0008|103e"))
    return _Slice(
        path=path,
        series=_text(reader, "0020|000e"),
        description=" ".join(text for text in (number, name) if text),
        size=reader.GetSize(),
        position=position,
        axes=axes.reshape(2, 3),
    )


def _text(reader: sitk.ImageFileReader, tag: str) -> str:
    return reader.GetMetaData(tag).strip("\0 ") if reader.HasMetaDataKey(tag) else ""


def _numbers(reader: sitk.ImageFileReader, tag: str, count: int) -> np.ndarray | None:
    try:
        values = np.array([float(text) for text in _text(reader, tag).split("\\")])
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _check_one_series(folder: Path, slices: Sequence[_Slice]) -> None:
    if not slices:
        raise SpiderError(f"{folder}: expected the slices of a DICOM series, found none; check the path")
    members: dict[str, list[_Slice]] = {}
    for one in slices:
        members.setdefault(one.series, []).append(one)
    if len(members) > 1:
        listed = [f"{group[0].description or uid} ({len(group)} files)" for uid, group in members.items()]
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        raise SpiderError(
            f"{folder}: expected one DICOM series, found {len(members)}: {', '.join(listed[:SHOWN])}{more}; "
            "put each into a folder of its own"
        )


def _check_alike(folder: Path, slices: Sequence[_Slice]) -> None:
    first = slices[0]
    for one in slices:
        if one.size != first.size or one.size[2:] not in ((), (1,)):
            sizes = " and ".join(" x ".join(map(str, other.size)) for other in (first, one))
            raise SpiderError(
                f"{folder}: expected slices of one size, found {sizes} in {first.path.name} and {one.path.name}; "
                "keep the slices of one stack"
            )
        if not np.allclose(one.axes, first.axes, rtol=0, atol=COSINE_TOLERANCE):
            raise SpiderError(
                f"{folder}: expected slices of one orientation, found two in {first.path.name} and {one.path.name}; "
                "keep the slices of one stack"
            )


def _check_even(folder: Path, slices: Sequence[_Slice], normal: np.ndarray) -> None:
    """Refuse a stack whose slices, ordered along `normal`, are not equally far apart or not right behind each other."""
    if len(slices) == 1:
        return
    steps = np.diff([one.position for one in slices], axis=0)
    spacing = float(np.median(steps @ normal))
    even = np.linalg.norm(steps - spacing * normal, axis=1) < STEP_TOLERANCE * spacing
    if not even.all():
        number = int(even.argmin())
        step = float(np.linalg.norm(steps[number]))
        raise SpiderError(
            f"{folder}: expected {len(slices)} slices {spacing:.4g} mm apart, one right behind the other, found "
            f"{slices[number + 1].path.name} {step:.4g} mm from {slices[number].path.name}; a slice is missing, "
            "there twice or of another stack, export the series again"
        )
