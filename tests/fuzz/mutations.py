"""How a file is spoilt: seeded, and at times of good appearance, so that it comes past the first check."""

import re
import struct
import zlib

import numpy as np

NUMBERS = ("0", "-1", "nan", "inf", "1e400", "99", "4294967296", "1e-30", "", "017", "12:30", "0.5", "7", "-0.0")
WORDS = ("../x", "/abs", "null", "true", "=1+1", "é", "[1, 2]", "{", "T1", "validation", "a\0b", "x" * 300)


def spoil(content: bytes, rng: np.random.Generator, kind: str) -> bytes:
    """Return a file's bytes with one to three mutations, some of them meant for its kind."""
    for _ in range(rng.integers(1, 4)):
        meant = {"png": chunk_with_its_checksum, "nii": nifti_field, "safetensors": json_header}.get(kind)
        choices = [bits, cut, repeat, insert, swap, number, word]
        if kind in ("mha", "nrrd", "csv", "json", "yaml"):
            choices += [number] * 4 + [word] * 2 + [line, line]
        choices += [last_voxels] if kind in ("mha", "nrrd", "nii") else []
        choices += [meant] * 6 if meant else []
        content = choices[rng.integers(len(choices))](content, rng)
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    """A place, as often as not in the first 400 bytes, where headers are."""
    most = len(content) if rng.random() < 0.5 else min(len(content), 400)
    return int(rng.integers(0, most + 1))


def bits(content: bytes, rng: np.random.Generator) -> bytes:
    spoilt = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if spoilt:
            spoilt[min(_place(content, rng), len(spoilt) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: _place(content, rng)]


def repeat(content: bytes, rng: np.random.Generator) -> bytes:
    start = _place(content, rng)
    return content[:start] + content[start : start + int(rng.integers(1, 200))] + content[start:]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    start = _place(content, rng)
    return content[:start] + rng.bytes(int(rng.integers(1, 64))) + content[start:]


def swap(content: bytes, rng: np.random.Generator) -> bytes:
    """Leave a stretch out."""
    start = _place(content, rng)
    return content[:start] + content[start + int(rng.integers(1, 64)) :]


FLOATS = (float("nan"), float("inf"), float("-inf"), 3e38, -1e30, 1e-40)


def last_voxels(content: bytes, rng: np.random.Generator) -> bytes:
    """Write a number into one of the last 50 voxels of float32, where the file's voxels are such and unpacked."""
    start = len(content) - 4 * int(rng.integers(1, 51))
    return content[:start] + struct.pack("<f", FLOATS[rng.integers(len(FLOATS))]) + content[start + 4 :]


def _instead(content: bytes, pattern: bytes, new: str, rng: np.random.Generator) -> bytes:
    found = list(re.finditer(pattern, content[:4000]))
    if not found:
        return bits(content, rng)
    one = found[rng.integers(len(found))]
    return content[: one.start()] + new.encode() + content[one.end() :]


def number(content: bytes, rng: np.random.Generator) -> bytes:
    return _instead(content, rb"-?\d+(\.\d+)?", NUMBERS[rng.integers(len(NUMBERS))], rng)


def word(content: bytes, rng: np.random.Generator) -> bytes:
    return _instead(content, rb"[A-Za-z_]{3,}", WORDS[rng.integers(len(WORDS))], rng)


def line(content: bytes, rng: np.random.Generator) -> bytes:
    """Take a line of the first 40 away, or put another one's copy in its place."""
    lines = content.split(b"\n", 40)
    one, other = rng.integers(len(lines), size=2)
    if rng.random() < 0.5:
        del lines[one]
    else:
        lines[one] = lines[other]
    return b"\n".join(lines)


def chunk_with_its_checksum(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a byte of PNG's first chunk, the size and kind of its pixels, and mend the chunk's checksum."""
    if len(content) < 33:
        return content
    header = bytearray(content[12:29])
    header[4 + rng.integers(13)] = rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 255])
    return content[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + content[33:]


NIFTI_FIELDS = {  # of NIfTI-1: place and type
    "sizeof_hdr": (0, "i"), "ndim": (40, "h"), "nx": (42, "h"), "ny": (44, "h"), "nz": (46, "h"), "nt": (48, "h"),
    "datatype": (70, "h"), "bitpix": (72, "h"), "qfac": (76, "f"), "dx": (80, "f"), "dy": (84, "f"), "dz": (88, "f"),
    "vox_offset": (108, "f"), "slope": (112, "f"), "inter": (116, "f"), "units": (123, "b"), "qform": (252, "h"),
    "sform": (254, "h"), "qb": (256, "f"), "qx": (268, "f"), "s00": (280, "f"), "s01": (284, "f"), "s03": (292, "f"),
    "magic": (344, "i"),
}  # fmt: skip
NIFTI_VALUES = (0, 1, 2, 3, 4, 8, 16, 64, 256, 512, 1024, 1536, 352, -1, 0.5, 1e30, float("nan"), float("inf"), 1e-9)


def nifti_field(content: bytes, rng: np.random.Generator) -> bytes:
    place, kind = list(NIFTI_FIELDS.values())[rng.integers(len(NIFTI_FIELDS))]
    value = NIFTI_VALUES[rng.integers(len(NIFTI_VALUES))]
    whole = 0 if value != value or abs(value) > 30_000 else int(value)
    if kind == "b":
        whole %= 100
    spoilt = bytearray(content)
    if len(spoilt) >= 348:
        struct.pack_into(f"<{kind}", spoilt, place, value if kind == "f" else whole)
    return bytes(spoilt)


def json_header(content: bytes, rng: np.random.Generator) -> bytes:
    """Change the JSON at the start of a safetensors file, and its length with it."""
    if len(content) < 8:
        return content
    size = struct.unpack_from("<Q", content)[0]
    header = (number if rng.random() < 0.7 else word)(content[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]
