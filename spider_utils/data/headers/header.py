"""What a volume file's header says, read without ITK before ITK sees the file, and what can be wrong with it.

ITK believes a header that contradicts its file, and some headers and file names end its process.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError

MOST_VOXELS = 2**28  # 1 GiB in float32, as a volume is segmented; SPIDER's largest has 2**26
MOST_BYTES = 4 * MOST_VOXELS
LARGEST = 1e30  # of a voxel's value: float32, in which slices are scaled, has room for differences of such
COSINE_TOLERANCE = 1e-2  # of an axis' length and of the cosine between two axes
READ_TOLERANCE = 1e-3  # between a place as ITK reads it and as the header says, in mm and of a cosine
SUFFIX_OF = {"NRRD": ".nrrd", "MetaImage": ".mha", "NIfTI": ".nii"}
DIMENSIONS = 3


@dataclass(frozen=True)
class Place:
    """Where a volume lies, by one of its header's statements."""

    name: str
    origin: np.ndarray  # (3,) mm, LPS
    direction: np.ndarray  # (3, 3) cosines, LPS: a column for each axis, fastest first


@dataclass(frozen=True)
class Header:
    """What a header says, checked."""

    size: tuple[int, ...]  # columns, rows, slices: fastest axis first
    stored: np.dtype  # of a voxel in the file, with its byte order
    packing: str  # of the voxels: "", zlib or gzip
    begin: int  # bytes of the file before the voxels, or before what is packed
    spacing: np.ndarray  # (3,) mm
    places: tuple[Place, ...]  # of NIfTI two where it has a qform and a sform
    skip: int = 0  # bytes before the voxels in what is packed
    scale: tuple[float, float] = (1.0, 0.0)  # slope and intercept of a voxel's value
    apart_mm: float = 0.0  # how far apart its places put a voxel at most

    @property
    def stream_bytes(self) -> int:
        """How many bytes there are to be from `begin` on, unpacked."""
        return self.skip + math.prod(self.size) * self.stored.itemsize


def refusal(path: Path, expected: str, found: str, remedy: str = "mend its header") -> SpiderError:
    """Return the error that says what was expected of a file, what was found in it and how to mend it."""
    return SpiderError(f"{path}: expected {expected}, found {found}; {remedy}")


def unreadable(path: Path, start: bytes, why: str = "") -> SpiderError:
    """Return the error of a file that does not begin like one of its name; it says what the file is, where known."""
    suffix = "".join(path.suffixes[-2:]) if path.name.lower().endswith(".gz") else path.suffix
    kind = _kind(start)
    if not why and suffix.lower().startswith(SUFFIX_OF.get(kind, " ")):
        kind = ""  # it is what its name says, and yet cannot be read
    known = f" ({', '.join(filter(None, (kind and f'it is {kind}', why)))})" if kind or why else ""
    remedy = "name it so or convert it" if kind else "fetch it again"
    return refusal(path, f"a {suffix} volume", f"a header that cannot be read{known}", remedy)


def check_name(path: Path) -> None:
    """Raise SpiderError on a path that is not UTF-8, which ends ITK's process."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if shown != str(path):
        raise SpiderError(f"{shown}: expected a name in UTF-8, found other bytes; rename it")


def check_header(path: Path, header: Header) -> None:
    """Raise SpiderError when a size is beyond reason, a spacing not above 0 or axes are not at right angles."""
    if not 0 < math.prod(header.size) <= MOST_VOXELS:
        size = " x ".join(map(str, header.size))
        raise refusal(path, f"1 to {MOST_VOXELS} voxels", size, "mend its header, or cut the volume to the spine")
    voxel_bytes = math.prod(header.size) * header.stored.itemsize
    if voxel_bytes > MOST_BYTES:
        raise refusal(path, f"at most {MOST_BYTES} bytes of voxels", str(voxel_bytes), "store it as float32 or int16")
    check_spacing(path, header.spacing)
    for place in header.places:
        check_axes(path, place.direction)


def check_spacing(path: Path, spacing: np.ndarray) -> None:
    """Raise SpiderError unless all spacings are above 0."""
    if not (np.isfinite(spacing) & (spacing > 0)).all():
        raise refusal(path, "spacings above 0 mm", " x ".join(f"{value:g}" for value in spacing))


def check_axes(path: Path, direction: np.ndarray) -> None:
    """Raise SpiderError unless direction cosines (3, 3) are at right angles, but for rounding."""
    if not np.allclose(direction.T @ direction, np.eye(DIMENSIONS), rtol=0, atol=COSINE_TOLERANCE):
        found = ", ".join(f"{value:.4g}" for value in direction.ravel())
        raise refusal(path, "three axes at right angles", f"the direction cosines {found}")


def check_values(path: Path, parts: Iterable[np.ndarray]) -> None:
    """Raise SpiderError where voxels of floating point, given part by part, are NaN, infinite or beyond reason."""
    wrong = sum(int((~((part >= -LARGEST) & (part <= LARGEST))).sum()) for part in parts)
    if wrong:
        found = f"{wrong} that are NaN or infinite, or larger"
        raise refusal(path, f"voxels within {LARGEST:g} of 0", found, "mend or remove it")


def place_as_read(path: Path, header: Header, reader: sitk.ImageFileReader) -> Place:
    """Return the one of a header's places that ITK takes. Raises SpiderError when ITK reads another size, spacing or
    place out of the header.
    """
    if (reader.GetSize(), reader.GetNumberOfComponents()) != (header.size, 1):
        found = f"{reader.GetSize()} with {reader.GetNumberOfComponents()}"
        raise refusal(path, f"one meaning of its header, the size {header.size}", f"{found}, too", "convert it anew")
    spacing, origin = np.array(reader.GetSpacing()), np.array(reader.GetOrigin())
    direction = np.array(reader.GetDirection()).reshape(DIMENSIONS, DIMENSIONS)
    if np.allclose(spacing, header.spacing, rtol=READ_TOLERANCE, atol=0):
        off = [
            max(np.abs(origin - place.origin).max(), np.abs(direction - place.direction).max())
            for place in header.places
        ]
        if min(off) < READ_TOLERANCE:
            return header.places[int(np.argmin(off))]
    raise refusal(path, "one meaning of its header", "that ITK reads another spacing or place in it", "convert it anew")


def _kind(start: bytes) -> str:
    """Name the kind of a file by its first bytes; "" where they tell nothing."""
    if start[:2] == b"\x1f\x8b":
        return "compressed with gzip"
    if start[:4] == b"NRRD":
        return "NRRD"
    if start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2"):
        return "NIfTI"
    if start[128:132] == b"DICM":
        return "DICOM"
    return "MetaImage" if b"NDims" in start[:1000] and b"DimSize" in start[:1000] else ""
