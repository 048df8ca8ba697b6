"""Decompression bombs: files whose headers tell of as many, of far more, or of far fewer bytes than they unpack to."""

import gzip
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache

import nibabel
import numpy as np

SHARE = 0.05  # of the cases of a kind that has some
SMALL, SOUND, GIANT = (12, 8, 3), (128, 128, 64), (2048, 2048, 2048)  # columns, rows, slices of a byte a voxel
BYTES = (12 * 8 * 3, 128 * 128 * 64, 3 << 30)  # that are there, in a few MB at most
BLOCK = 1 << 26
SPACE = "0 0 1 1 0 0 0 -1 0"


@lru_cache(maxsize=1)
def _block() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)


def deflated(size: int) -> bytes:
    """Return so many zeros, deflated, without having them all at a time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return _block() * (size // BLOCK) + packer.compress(bytes(size % BLOCK)) + packer.flush()


def as_zlib(size: int) -> bytes:
    """Return the same as a zlib stream; Adler's checksum of n zeros is n mod 65521, and 1 (RFC 1950)."""
    return b"\x78\xda" + deflated(size) + struct.pack(">I", size % 65521 << 16 | 1)


@lru_cache(maxsize=1)
def _gzip_block() -> bytes:
    return gzip.compress(bytes(BLOCK), 9, mtime=0)


def as_gzip(size: int) -> bytes:
    """Return the same as a gzip file of several parts."""
    return _gzip_block() * (size // BLOCK) + gzip.compress(bytes(size % BLOCK), 9, mtime=0)


def _drawn(rng: np.random.Generator) -> tuple[tuple[int, int, int], int]:
    """Return what is told, (columns, rows, slices), and how many bytes there are."""
    return (SMALL, SOUND, GIANT)[rng.integers(3)], BYTES[rng.integers(3)]


def mha(rng: np.random.Generator) -> bytes:
    size, held = _drawn(rng)
    packed = as_zlib(held)
    lines = ("ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
             "CompressedData = True", f"CompressedDataSize = {len(packed)}", f"TransformMatrix = {SPACE}",
             "Offset = 0 0 0", "ElementSpacing = 0.75 0.5 4", "DimSize = {} {} {}".format(*size),
             "ElementType = MET_UCHAR", "ElementDataFile = LOCAL", "")  # fmt: skip
    return "\n".join(lines).encode() + packed


def nifti(rng: np.random.Generator) -> bytes:
    size, held = _drawn(rng)
    header = nibabel.Nifti1Header()
    header.set_data_shape(size)
    header.set_data_dtype(np.uint8)
    header.set_qform(np.diag([0.75, 0.5, 4.0, 1.0]), 1)
    header.set_sform(np.diag([0.75, 0.5, 4.0, 1.0]), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return gzip.compress(header.binaryblock + bytes(4), 9, mtime=0) + as_gzip(held)


def nrrd(rng: np.random.Generator) -> bytes:
    size, held = _drawn(rng)
    lines = ("NRRD0004", "type: uchar", "dimension: 3", "space: left-posterior-superior",
             "sizes: {} {} {}".format(*size), "space directions: (0.75,0,0) (0,0.5,0) (0,0,4)", "encoding: gzip",
             "endian: little", "space origin: (0,0,0)", "", "")  # fmt: skip
    return "\n".join(lines).encode() + as_gzip(held)


def png(rng: np.random.Generator) -> bytes:
    """A grey picture; each of its rows has one byte more, which tells its filter."""
    side, rows_there = (8, 64, 60_000)[rng.integers(3)], (8, 64, 60_000)[rng.integers(3)]
    header, pixels = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0), as_zlib(rows_there * (side + 1))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def archive(rng: np.random.Generator) -> bytes:
    """A zip whose member may be longer than it says, or is there a thousand times, all in one place."""
    told, held, times = BYTES[rng.integers(2)], BYTES[rng.integers(3)], (1, 1000)[rng.integers(2)]
    name, data = b"images/1_t1.mha", deflated(held)
    both = struct.pack("<HHHHHIIIH", 20, 0, 8, 0, 33, zlib.crc32(bytes(told)), len(data), told, len(name))
    local = b"PK\x03\x04" + both + struct.pack("<H", 0) + name + data
    listed = b"PK\x01\x02" + struct.pack("<H", 20) + both + struct.pack("<HHHHII", 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, times, times, times * len(listed), len(local), 0)
    return local + listed * times + b"PK\x05\x06" + end


BOMBS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "mha": mha, "nii.gz": nifti, "nrrd": nrrd, "png": png, "zip": archive,
}  # fmt: skip
