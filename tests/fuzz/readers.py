"""Independent readers: what a file says to somebody else."""

import struct
import zlib
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom

MET = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
}  # fmt: skip
LPS = np.diag([-1.0, -1.0, 1.0])  # from RAS, and back


def read_mha(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (D, H, W), and the matrix (3, 4) from voxel numbers, columns first, to LPS in mm."""
    start, _, rest = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    told = dict(line.split(" = ", 1) for line in start.decode("latin-1").splitlines() if " = " in line)
    size = [int(one) for one in told["DimSize"].split()]
    raw = zlib.decompress(rest) if told.get("CompressedData", "False").lower() in ("true", "1", "t") else rest
    order = ">" if told.get("BinaryDataByteOrderMSB", told.get("ElementByteOrderMSB", "False"))[:1] in "TtYy1" else "<"
    voxels = np.frombuffer(raw, order + MET[told["ElementType"]]).reshape(size[::-1])
    axes = np.array(told["TransformMatrix"].split(), float).reshape(3, 3).T
    spacing = np.array(told.get("ElementSpacing", told.get("ElementSize", "")).split(), float)
    origin = np.array(told.get("Offset", told.get("Position", told.get("Origin", ""))).split(), float)
    return voxels, np.column_stack([axes * spacing, origin])


def read_nifti(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same, once for each of qform and sform that is told."""
    image = nibabel.load(path)
    voxels = np.asanyarray(image.dataobj)
    voxels = voxels.reshape(voxels.shape[:3]).T
    places = [form(coded=True) for form in (image.header.get_sform, image.header.get_qform)]
    return [(voxels, LPS @ place[:3]) for place, code in places if place is not None and code > 0]


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    voxels, header = nrrd.read(str(path))
    place = np.column_stack([np.array(header["space directions"], float).T, header["space origin"]])
    signs = {"left-posterior-superior": np.eye(3), "lps": np.eye(3), "right-anterior-superior": LPS, "ras": LPS}
    signs |= {"left-anterior-superior": np.diag([1.0, -1.0, 1.0]), "las": np.diag([1.0, -1.0, 1.0])}
    return voxels.T, signs[header["space"].lower()] @ place


def read_dicom(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    found = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    columns, rows = np.array(found[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(columns, rows)
    found.sort(key=lambda one: np.array(one.ImagePositionPatient, float) @ normal)
    slices = [
        one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0)) for one in found
    ]
    places = np.array([one.ImagePositionPatient for one in found], float)
    step = (places[-1] - places[0]) / max(1, len(places) - 1)
    row_mm, column_mm = np.array(found[0].PixelSpacing, float)
    return np.stack(slices), np.column_stack([columns * column_mm, rows * row_mm, step, places[0]])


def read_png(path: Path) -> np.ndarray:
    """Pixels of a PNG without interlacing and palette, (H, W) or (H, W, channels); PNG (Third Edition), chapter 9."""
    content, place, data = path.read_bytes(), 8, b""
    inflated = zlib.decompressobj()
    while not inflated.eof:  # with its own checksum; what comes behind is no pixel
        size, name = struct.unpack_from(">I4s", content, place)
        chunk = content[place + 8 : place + 8 + size]
        assert zlib.crc32(name + chunk) == struct.unpack_from(">I", content, place + 8 + size)[0]
        if name == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunk)
        data += inflated.decompress(chunk) if name == b"IDAT" else b""
        place += size + 12
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    assert interlace == 0
    line, step = (width * depth * channels + 7) // 8, max(1, depth * channels // 8)
    raw = np.frombuffer(data, np.uint8)[: height * (line + 1)].reshape(height, line + 1)
    rows = np.zeros((height + 1, line + step), np.int64)
    for number, (kind, *values) in enumerate(raw.tolist(), start=1):
        for x, value in enumerate(values, start=step):
            left, up, corner = rows[number, x - step], rows[number - 1, x], rows[number - 1, x - step]
            rows[number, x] = (value + (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]) % 256
    pixels = rows[1:, step:].astype(np.uint8)
    if depth == 16:
        found = pixels.reshape(-1).view(">u2").astype(int)
    elif depth == 8:
        found = pixels.reshape(-1).astype(int)
    else:
        every = np.unpackbits(pixels, axis=1).reshape(height, -1, depth) @ (1 << np.arange(depth)[::-1])
        found = (every[:, :width] * (255 // (2**depth - 1))).reshape(-1)
    return found.reshape(height, width, channels)[..., 0] if channels in (1, 2) else found.reshape(height, width, -1)


def _paeth(left: int, up: int, corner: int) -> int:
    away = [abs(left + up - corner - one) for one in (left, up, corner)]
    return (left, up, corner)[away.index(min(away))]


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    import json

    content = path.read_bytes()
    size = struct.unpack_from("<Q", content)[0]
    data = content[8 + size :]
    told = {name: one for name, one in json.loads(content[8 : 8 + size]).items() if name != "__metadata__"}
    assert sum(one["data_offsets"][1] - one["data_offsets"][0] for one in told.values()) == len(data)
    kinds = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "F64": "<f8"}
    return {
        name: np.frombuffer(data[slice(*one["data_offsets"])], kinds[one["dtype"]]).reshape(one["shape"])
        for name, one in told.items()
    }
