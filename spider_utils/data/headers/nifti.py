"""The header of a NIfTI-1 file (nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h), and voxels that ITK does not read.

A volume's place stands in it up to twice: as qform (a rotation) and as sform (any affine). Where both are there ITK
takes one of them, other programs the other. Both are kept, and a volume that lies elsewhere by them is told.
"""

import gzip
import itertools
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from spider_utils.data.headers.header import DIMENSIONS, Header, Place, check_axes, check_spacing, refusal, unreadable
from spider_utils.data.headers.stored import unpacked

HEADER_BYTES, NIFTI2_BYTES = 348, 540
LEAST_OFFSET = 352  # the header, and four bytes that tell of extensions
TYPES = {  # datatype -> numpy's code; others hold several numbers a voxel, or more than 64 bits
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
FORM_CODES = range(6)
RIGID = (1, 2)  # of the sform: in the scanner, aligned to another scan; the others are templates, of any affine
UNITS = {1: "metres", 3: "micrometres"}  # 2: mm; 0: not said, taken as mm by everyone
SMALLEST_SLOPE = 1e-12  # below this ITK scales no voxel, other readers do
QUATERNION_TOLERANCE = 1e-5  # of its length: what rounding makes of 1
SCALE_TOLERANCE = 1e-3  # of a spacing: between pixdim and sform
MOST_DEGREES = 45.0  # between the two forms' axes: beyond, they run to different sides of the patient
TO_LPS = np.array([-1.0, -1.0, 1.0])  # from RAS
FORMS = ((76, "4f"), (252, "2h18f"))  # pixdim with the qform's side; both codes, quaternion and offset, sform

Field = Callable[[str, int], tuple]  # gives numbers of a header by their format and place, see `struct`


def read_nifti(path: Path) -> Header:
    """Read the header of a .nii or .nii.gz file. Raises SpiderError on what is missing or cannot be true."""
    packed = _is_packed(path)
    start = _start(path, packed)
    order = _order(start)
    if not order or len(start) < HEADER_BYTES:
        raise _other(path, start)

    def field(kind: str, offset: int) -> tuple:
        return struct.unpack_from(order + kind, start, offset)

    magic = start[344:348]
    if magic != b"n+1\0":
        found = "none (a pair of .hdr and .img)" if magic == b"ni1\0" else f"the letters {magic!r} for 'n+1' (ANALYZE?)"
        raise refusal(path, "a NIfTI-1 header with the voxels behind it", found, "convert it anew")
    size = _check_size(path, field("8h", 40))
    code, bits = field("2h", 70)
    if code not in TYPES:
        raise refusal(path, "a 3D volume with one number of 8 to 64 bits a voxel", f"the datatype {code}", "convert it")
    stored = np.dtype(order + TYPES[code])
    if bits != 8 * stored.itemsize:
        raise refusal(path, f"{8 * stored.itemsize} bits a voxel, as its datatype {code} says", f"bitpix {bits}")
    offset = field("f", 108)[0]
    if not (offset >= LEAST_OFFSET and offset.is_integer()):
        raise refusal(path, f"the voxels from byte {LEAST_OFFSET} or later on", f"vox_offset {offset:g}")
    unit = start[123] & 7
    if unit in UNITS:
        raise refusal(path, "lengths in mm", f"lengths in {UNITS[unit]} (xyzt_units)", "convert it")
    spacing = np.array(field("3f", 80), float)
    check_spacing(path, spacing)
    places, apart_mm = _places(path, spacing, size, field)
    return Header(
        size=size,
        stored=stored,
        packing="gzip" if packed else "",
        begin=0,
        spacing=spacing,
        places=places,
        skip=int(offset),
        scale=_scale(path, *field("2f", 112)),
        apart_mm=apart_mm,
    )


def read_plainly(path: Path, header: Header) -> sitk.Image:
    """Read the voxels as the header tells, scaled ones as float32, and put the volume at its first place."""
    stream = b"".join(unpacked(path, header))
    voxels = np.frombuffer(stream, header.stored, math.prod(header.size), header.skip).reshape(header.size[::-1])
    slope, intercept = header.scale
    voxels = voxels.astype(header.stored.newbyteorder("="))
    if header.scale != (1.0, 0.0):
        voxels = (voxels * slope + intercept).astype(np.float32)
    volume = sitk.GetImageFromArray(voxels)
    place = header.places[0]
    volume.SetSpacing(header.spacing.tolist())
    volume.SetOrigin(place.origin.tolist())
    volume.SetDirection(place.direction.ravel().tolist())
    return volume


def carry_forms(source: Path, target: Path) -> None:
    """Give a written file on another's grid that one's qform and sform, and their codes; SimpleITK writes one place."""
    packed = _is_packed(target)
    content = bytearray(gzip.decompress(target.read_bytes()) if packed else target.read_bytes())
    told = _start(source, _is_packed(source))
    for offset, numbers in FORMS:
        struct.pack_into(
            _order(content) + numbers, content, offset, *struct.unpack_from(_order(told) + numbers, told, offset)
        )
    target.write_bytes(gzip.compress(content, mtime=0) if packed else content)


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _order(start: bytes | bytearray) -> str:
    """Return the byte order of a header as `struct` names it; "" where it is none of NIfTI-1."""
    return next((one for one in "<>" if start[:4] == struct.pack(f"{one}i", HEADER_BYTES)), "")


def _start(path: Path, packed: bool) -> bytes:
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if not packed:
        return start
    if start[:2] != b"\x1f\x8b":
        raise unreadable(path, start, "not compressed with gzip")
    try:
        with gzip.open(path) as file:
            return file.read(HEADER_BYTES)
    except EOFError as error:
        raise refusal(path, "a whole gzip stream", "a part", "it is truncated, fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise refusal(path, "gzip-compressed voxels", "damaged ones", "fetch it again") from error


def _other(path: Path, start: bytes) -> Exception:
    if any(start[:4] == struct.pack(f"{one}i", NIFTI2_BYTES) for one in "<>"):
        return refusal(path, "NIfTI-1", "NIfTI-2", "convert it to NIfTI-1, NRRD or MHA")
    return unreadable(path, start)


def _check_size(path: Path, dim: tuple[int, ...]) -> tuple[int, ...]:
    """Return the first three of a volume's lengths; there may be more axes of length 1."""
    if not 1 <= dim[0] <= 7:
        raise refusal(path, "1 to 7 axes (dim)", str(dim[0]))
    size = dim[1 : dim[0] + 1]
    if len(size) < DIMENSIONS or any(count != 1 for count in size[DIMENSIONS:]):
        found = " x ".join(map(str, size))
        raise refusal(path, "a 3D volume with one value a voxel", found, "convert or remove it")
    return size[:DIMENSIONS]


def _scale(path: Path, slope: float, intercept: float) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0, or NaN as nibabel writes it, stands for none."""
    if (math.isnan(slope) or slope == 0) and (math.isnan(intercept) or intercept == 0):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept) and abs(slope) > SMALLEST_SLOPE):
        raise refusal(path, "a scale of its voxels (scl_slope, scl_inter)", f"{slope:g} and {intercept:g}")
    return slope, intercept


def _places(path: Path, spacing: np.ndarray, size: tuple[int, ...], field: Field) -> tuple[tuple[Place, ...], float]:
    """Return the places in LPS, the qform's first, and how far apart they put a voxel at most, in mm."""
    codes = field("2h", 252)
    if any(code not in FORM_CODES for code in codes):
        raise refusal(path, "form codes of 0 to 5", " and ".join(map(str, codes)))
    if codes == (0, 0):
        raise refusal(path, "an orientation (qform or sform)", "none", "convert the series anew")
    affines = {}  # (3, 4) of a voxel's numbers, RAS
    if codes[0]:
        affines["qform"] = _qform(path, spacing, field)
    if codes[1]:
        affines["sform"] = np.array(field("12f", 280)).reshape(3, 4)
    for name, affine in affines.items():
        if not np.isfinite(affine).all():
            raise refusal(path, f"finite numbers as its {name}", "NaN or infinite ones")
    if codes[1] in RIGID or not codes[0]:
        _check_sform(path, affines["sform"][:, :3], spacing)
    places = [_place(path, name, affine) for name, affine in affines.items()]
    if len(places) == 1:
        return tuple(places), 0.0
    angle = np.degrees(np.arccos(np.clip((places[0].direction * places[1].direction).sum(axis=0).min(), -1, 1)))
    if angle > MOST_DEGREES:
        found = f"axes {angle:.0f} degrees apart"
        raise refusal(path, "one orientation", f"{found} by its qform and its sform", "remove the wrong one")
    corners = np.array([(*ends, 1) for ends in itertools.product(*((0, count - 1) for count in size))])
    apart = np.linalg.norm(corners @ (affines["qform"] - affines["sform"]).T, axis=1)
    return tuple(places), float(apart.max())


def _check_sform(path: Path, steps: np.ndarray, spacing: np.ndarray) -> None:
    """Refuse a sform whose axes have other lengths than pixdim says or are not at right angles, but for rounding."""
    lengths = np.linalg.norm(steps, axis=0)
    check_spacing(path, lengths)
    if not np.allclose(lengths, spacing, rtol=SCALE_TOLERANCE, atol=0):
        found, said = (" x ".join(f"{value:.5g}" for value in values) for values in (lengths, spacing))
        raise refusal(path, f"the spacing {said} mm (pixdim) in its sform", f"{found} mm")
    check_axes(path, steps / lengths)


def _place(path: Path, name: str, affine: np.ndarray) -> Place:
    """Return a place in LPS, its axes brought to right angles where rounding or a shear took them off."""
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    check_spacing(path, lengths)
    left, _, right = np.linalg.svd(affine[:, :3] / lengths)
    return Place(name, TO_LPS * affine[:, 3], TO_LPS[:, None] * (left @ right))


def _qform(path: Path, spacing: np.ndarray, field: Field) -> np.ndarray:
    """Return the qform as an affine (3, 4), RAS: method 2 of nifti1.h."""
    side = field("f", 76)[0]
    b, c, d, *offset = field("6f", 256)
    rest = 1.0 - (b * b + c * c + d * d)
    if side not in (-1.0, 0.0, 1.0) or not rest >= -QUATERNION_TOLERANCE:
        raise refusal(path, "a rotation as its qform", f"the quaternion {b:g}, {c:g}, {d:g} and pixdim[0] {side:g}")
    rotation = Rotation.from_quat((b, c, d, math.sqrt(max(rest, 0.0)))).as_matrix()
    steps = spacing * (1, 1, side or 1.0)
    return np.column_stack([rotation * steps, offset])
