"""One DICOM series, a folder with a file for each slice, read as a volume."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.headers.header import MOST_VOXELS, check_axes, check_name, check_spacing, refusal

MAGIC = b"DICM"
MAGIC_OFFSET = 128  # bytes; DICOM part 10
FIRST_GROUP = b"\x02\x00"  # it tells how the others are stored
SUFFIXES = (".dcm", ".ima")  # of files that lack these four letters
DIRECTORY = "DICOMDIR"  # a medium's table of contents, by its standard name
COSINE_TOLERANCE = 1e-3  # between the slices of one series
STEP_TOLERANCE = 0.05  # of the slice spacing: how far a slice may lie from its place behind the one before
SHOWN = 4  # series, or values, named in a message
# What may tell images at one place apart, by its tag: they make volumes of their own.
MARKS = {
    "0018|0081": "echo times",
    "0018|0086": "echo numbers",
    "0008|0008": "image types",
    "0020|0100": "time points",
    "0020|0012": "acquisitions",
}
SLOPE, INTERCEPT = "0028|1053", "0028|1052"
PIXEL_DATA = b"\xe0\x7f\x10\x00"  # the tag 7fe0|0010
SYNTAX, SYNTAX_BYTES = b"\x02\x00\x10\x00UI", 2048  # the tag 0002|0010, and where it lies at the latest
NATIVE = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # transfer syntaxes with plain pixels
DEFLATED = "1.2.840.10008.1.2.1.99"  # inflated as a whole, without a bound


@dataclass(frozen=True)
class _Slice:
    """What one file's header says."""

    path: Path
    series: str  # Series Instance UID
    description: str
    size: tuple[int, ...]  # columns, rows, frames
    position: np.ndarray  # (3,) mm, the centre of its first pixel in the patient
    axes: np.ndarray  # (2, 3) cosines: where columns run to, where rows run to
    pixel_mm: np.ndarray  # (2,) between rows, between columns
    kind: int  # of its values, slope and intercept applied, as SimpleITK numbers the types
    marks: dict[str, str]  # the values of MARKS


def dicom_files(folder: Path) -> list[Path]:
    """Return a folder's DICOM files by name; hidden files, DICOMDIR and files of other kinds are left out."""
    return sorted(path for path in folder.iterdir() if _is_dicom(path))


def read_dicom(folder: Path) -> sitk.Image:
    """Read the one series of a folder, its slices ordered by their places in the patient.

    Where slope and intercept make values of another type in some slices, all are read as float64. Raises SpiderError in
    one line when there is no series or more than one, a file cannot be read, contradicts its length or says no position
    or pixel size, and when the slices differ in size or orientation or do not lie evenly one behind the other (a slice
    is missing or there twice, or there are several images at each place).
    """
    slices = [_read_header(path) for path in dicom_files(folder)]
    _check_one_series(folder, slices)
    _check_alike(folder, slices)
    normal = np.cross(*slices[0].axes)
    slices.sort(key=lambda one: float(one.position @ normal))
    _check_one_image_a_place(folder, slices, normal)
    _check_even(folder, slices, normal)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(one.path) for one in slices])
    if len({one.kind for one in slices}) > 1:
        reader.SetOutputPixelType(sitk.sitkFloat64)  # else ITK forces all into the first one's type
    try:
        volume = reader.Execute()
    except RuntimeError as error:
        raise SpiderError(
            f"{folder}: expected a DICOM series, found voxels that cannot be read; export it again"
        ) from error
    check_spacing(folder, np.array(volume.GetSpacing()))
    check_axes(folder, np.array(volume.GetDirection()).reshape(3, 3))
    return volume


def _is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == DIRECTORY or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(MAGIC_OFFSET + len(MAGIC))
    except OSError:
        start = b""  # it is refused by name when it is read
    return start[MAGIC_OFFSET:] == MAGIC or path.suffix.lower() in SUFFIXES


def _read_header(path: Path) -> _Slice:
    check_name(path)
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
    pixel_mm = _numbers(reader, "0028|0030", 2)
    if pixel_mm is None or not (pixel_mm > 0).all():
        found = _text(reader, "0028|0030") or "none"
        raise refusal(path, "the size of its pixels in mm (PixelSpacing)", found, "export the series again")
    for tag, name in ((SLOPE, "RescaleSlope"), (INTERCEPT, "RescaleIntercept")):
        value = _numbers(reader, tag, 1)
        if reader.HasMetaDataKey(tag) and (value is None or (tag == SLOPE and value[0] == 0)):
            raise refusal(path, f"a number as {name}", _text(reader, tag) or "none", "export the series again")
    _check_pixels(path, reader)
    number, name = (_text(reader, tag) for tag in ("0020|0011", "0008|103e"))
    return _Slice(
        path=path,
        series=_text(reader, "0020|000e"),
        description=" ".join(text for text in (number, name) if text),
        size=reader.GetSize(),
        position=position,
        axes=axes.reshape(2, 3),
        pixel_mm=pixel_mm,
        kind=reader.GetPixelIDValue(),
        marks={tag: _text(reader, tag) for tag in MARKS},
    )


def _check_pixels(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse a slice with inverted grey values, and one whose plain pixels are not as many as its size tells of."""
    content = path.read_bytes()
    colours, syntax = _text(reader, "0028|0004"), _transfer_syntax(content)
    start = content[MAGIC_OFFSET:][: len(MAGIC) + 2]
    if start.startswith(MAGIC) and start != MAGIC + FIRST_GROUP:
        raise refusal(path, "the group 0002 behind 'DICM'", "another", "export the series again")
    if colours != "MONOCHROME2":
        raise refusal(path, "grey values from dark to bright (MONOCHROME2)", colours or "none", "convert it")
    if syntax == DEFLATED:
        raise refusal(path, "pixels that are plain or compressed", "a file that is deflated as a whole", "convert it")
    bits = int(_text(reader, "0028|0100") or 0)
    count = math.prod(reader.GetSize()) * bits // 8
    lengths = _pixel_bytes(content) if syntax in NATIVE else []
    if syntax in NATIVE and not {count, count + count % 2} & set(lengths):
        size = " x ".join(map(str, reader.GetSize()))
        found = " or ".join(map(str, lengths)) or "none"
        raise refusal(path, f"{count} bytes of pixels, as its size {size} says", found, "export it again")


def _transfer_syntax(content: bytes) -> str:
    """Return how a file's pixels are stored, as its first group says in explicit little endian; "" without that group.

    DICOM part 10, section 7.1.
    """
    start = content.find(SYNTAX, MAGIC_OFFSET, SYNTAX_BYTES)
    if start < 0:
        return ""
    value = start + len(SYNTAX) + 2
    length = int.from_bytes(content[value - 2 : value], "little")
    return content[value : value + length].decode("latin-1").strip("\0 ")


def _pixel_bytes(content: bytes) -> list[int]:
    """Return the lengths of all that may be pixels in a file: implicit, or explicit as OB or OW, little endian."""
    lengths, start = [], content.find(PIXEL_DATA)
    while start >= 0:
        value = start + (12 if content[start + 4 : start + 6] in (b"OB", b"OW", b"UN") else 8)
        length = int.from_bytes(content[value - 4 : value], "little")
        if value + length <= len(content):
            lengths.append(length)
        start = content.find(PIXEL_DATA, start + 1)
    return lengths


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
    if math.prod(first.size) * len(slices) > MOST_VOXELS:
        found = f"{' x '.join(map(str, first.size))} in {len(slices)} files"
        raise refusal(folder, f"at most {MOST_VOXELS} voxels", found, "keep the slices of one stack")
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
        if not np.allclose(one.pixel_mm, first.pixel_mm, rtol=COSINE_TOLERANCE, atol=0):
            sizes = " and ".join(" x ".join(f"{mm:g}" for mm in other.pixel_mm) for other in (first, one))
            found = f"{sizes} mm in {first.path.name} and {one.path.name}"
            raise refusal(folder, "pixels of one size", found, "keep the slices of one stack")


def _check_one_image_a_place(folder: Path, slices: Sequence[_Slice], normal: np.ndarray) -> None:
    """Refuse a folder with several images at each place, and say what tells them apart: two echoes, for one."""
    places = Counter(round(float(one.position @ normal), 3) for one in slices)
    if len(places) == len(slices):
        return
    for tag, name in MARKS.items():
        values = Counter(one.marks[tag] for one in slices)
        if len(values) > 1 and max(values.values()) <= len(places):
            listed = ", ".join(f"{value or 'none'} ({count} files)" for value, count in list(values.items())[:SHOWN])
            found = f"{len(slices)} files at {len(places)} places, of {len(values)} {name}: {listed}"
            raise refusal(folder, "one image at each place", found, "put each into a folder of its own")


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
