"""Headers of text: MetaImage (itk.org/Wiki/MetaIO/Documentation) and NRRD (teem.sourceforge.net/nrrd/format.html)."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from spider_utils.data.headers.header import DIMENSIONS, Header, Place, check_spacing, refusal, unreadable

TEXT_BYTES = 1 << 20  # in which the end of a header is looked for

MHA_ALIASES = {
    "Position": "Offset",
    "Origin": "Offset",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
MHA_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
MHA_PLAIN = {  # what is read as if it were not there: any other value is refused
    "HeaderSize": ("0",),
    "ElementToIntensityFunctionSlope": ("1",),
    "ElementToIntensityFunctionOffset": ("0",),
    "DistanceUnits": ("mm", "?"),
}
NRRD_TYPES = {
    "i1": "signed char, int8, int8_t", "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t", "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t", "f4": "float", "f8": "double",
}  # fmt: skip
NRRD_CODES = {name: code for code, names in NRRD_TYPES.items() for name in names.split(", ")}
NRRD_ALIASES = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
NRRD_PLAIN = {"line skip": ("0",), "byte skip": ("0",), "space units": ('"mm" "mm" "mm"',)}
NRRD_SPACES = {  # how their axes run in LPS
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
WHOLE = re.compile(r"\d{1,9}", re.ASCII)
VECTOR = re.compile(r"\([^(),]+,[^(),]+,[^(),]+\)")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def read_mha(path: Path) -> Header:
    """Read the header of a MetaImage file with its voxels. Raises SpiderError on what is missing or cannot be true."""
    fields, head_bytes = _mha_fields(path)
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise refusal(path, "the voxels inside the file", "none", "store it as one MHA file")
    _check_dimensions(
        path, fields.get("NDims", ""), fields.get("DimSize", ""), fields.get("ElementNumberOfChannels", "1")
    )
    _check_plain(path, fields, MHA_PLAIN)
    if not _is_true(path, fields, "BinaryData"):
        raise refusal(path, "binary voxels", "BinaryData = False", "store it as binary")
    code = MHA_TYPES.get(fields.get("ElementType", ""))
    if code is None:
        raise refusal(path, f"an ElementType of {', '.join(MHA_TYPES)}", fields.get("ElementType", "none"))
    big = code[1] != "1" and _is_true(path, fields, "BinaryDataByteOrderMSB")
    packed = "CompressedData" in fields and _is_true(path, fields, "CompressedData")
    if packed:
        _check_packed_bytes(path, fields.get("CompressedDataSize"), path.stat().st_size - head_bytes)
    if "ElementSpacing" not in fields and "ElementSize" in fields:
        fields["ElementSpacing"] = fields["ElementSize"]
    matrix = _numbers(path, fields, "TransformMatrix", DIMENSIONS**2).reshape(DIMENSIONS, DIMENSIONS)
    place = Place("TransformMatrix", _numbers(path, fields, "Offset", DIMENSIONS), matrix.T)
    return Header(
        size=_size(fields["DimSize"]),
        stored=np.dtype((">" if big else "<") + code),
        packing="zlib" if packed else "",
        begin=head_bytes,
        spacing=_numbers(path, fields, "ElementSpacing", DIMENSIONS),
        places=(place,),
    )


def read_nrrd(path: Path) -> Header:
    """Read the header of a NRRD file with its voxels. Raises SpiderError on what is missing or cannot be true."""
    fields, head_bytes = _nrrd_fields(path)
    _check_dimensions(path, fields.get("dimension", ""), fields.get("sizes", ""))
    _check_plain(path, fields, NRRD_PLAIN)
    code = NRRD_CODES.get(fields.get("type", ""))
    if code is None:
        raise refusal(path, "numbers of 8 to 64 bits (type)", fields.get("type", "none"))
    endian = fields.get("endian", "none")
    if code[1] != "1" and endian not in ("little", "big"):
        raise refusal(path, "its byte order (endian), little or big", endian)
    encoding = fields.get("encoding", "none")
    if encoding not in ("raw", "gzip", "gz"):
        raise refusal(path, "the encoding raw or gzip", encoding, "convert it")
    flips = NRRD_SPACES.get(fields.get("space", ""))
    if flips is None or "none" in fields.get("space directions", "none"):
        found = fields.get("space", "none") if flips is None else "no directions"
        what = "an orientation (space LPS, RAS or LAS, and its directions)"
        raise refusal(path, what, found, "convert it anew")
    steps = _vectors(path, fields, "space directions", DIMENSIONS).T * np.array(flips)[:, None]
    spacing = np.linalg.norm(steps, axis=0)
    check_spacing(path, spacing)
    place = Place("space directions", _vectors(path, fields, "space origin", 1)[0] * flips, steps / spacing)
    return Header(
        size=_size(fields["sizes"]),
        stored=np.dtype((">" if endian == "big" else "<") + code),
        packing="" if encoding == "raw" else "gzip",
        begin=head_bytes,
        spacing=spacing,
        places=(place,),
    )


def _mha_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of a MetaImage header by their usual names, and its length in bytes."""
    fields: dict[str, str] = {}
    head = _head(path, b"NDims")
    for line, end in _lines(head):
        key, _, value = re.sub(r"\s*[=:]\s*", "\n", line, count=1).partition("\n")
        _add(path, fields, MHA_ALIASES.get(key, key), value)
        if key == "ElementDataFile":
            return fields, end
    raise unreadable(path, head)


def _nrrd_fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of a NRRD header, in small letters, and its length in bytes."""
    fields: dict[str, str] = {}
    head = _head(path, b"NRRD")
    for line, end in _lines(head):
        if not line:
            return fields, end
        key, colon, value = line.lower().partition(": ")
        if colon and not key.startswith("#"):
            _add(path, fields, NRRD_ALIASES.get(key.strip(), key.strip()), value.strip())
        if "data file" in fields:
            raise refusal(path, "the voxels inside the file", "none", "store it as one NRRD file")
    raise unreadable(path, head)


def _head(path: Path, word: bytes) -> bytes:
    """Return the beginning of a file. Raises SpiderError unless it holds a word, as all of its kind do."""
    with path.open("rb") as file:
        head = file.read(TEXT_BYTES)
    if word not in head:
        raise unreadable(path, head)
    return head


def _lines(head: bytes) -> Iterator[tuple[str, int]]:
    """Yield the lines of a header of text, each with its end in the file."""
    end = 0
    while (newline := head.find(b"\n", end)) >= 0:
        line, end = head[end:newline], newline + 1
        yield line.decode("latin-1").strip(), end


def _add(path: Path, fields: dict[str, str], key: str, value: str) -> None:
    if fields.setdefault(key, value) != value:
        raise refusal(path, f"one {key}", f"{fields[key]} and {value}")


def _check_dimensions(path: Path, dimensions: str, sizes: str, channels: str = "1") -> None:
    counts = sizes.split()
    if not dimensions or not sizes:
        raise unreadable(path, b"", f"without {'size' if dimensions else 'dimensions'}")
    if not all(WHOLE.fullmatch(text) for text in counts) or dimensions != str(len(counts)):
        raise refusal(path, f"{dimensions} whole numbers as its size", sizes)
    if len(counts) != DIMENSIONS or channels != "1":
        found = " x ".join(counts) + (f" with {channels}" if channels != "1" else "")
        raise refusal(path, "a 3D volume with one value a voxel", found, "convert or remove it")


def _check_plain(path: Path, fields: dict[str, str], plain: Mapping[str, tuple[str, ...]]) -> None:
    for key, values in plain.items():
        if fields.get(key, values[0]) not in values:
            raise refusal(path, f"{key} {values[0]}", fields[key], "convert it")


def _check_packed_bytes(path: Path, said: str | None, found: int) -> None:
    if said is None or not said.isdecimal():
        raise refusal(path, "the number of compressed bytes (CompressedDataSize)", said or "none", "store it anew")
    if int(said) > found:
        raise refusal(path, f"{said} bytes of compressed voxels", str(found), "it is truncated, fetch it again")
    if int(said) < found:
        raise refusal(path, f"{said} bytes of compressed voxels (CompressedDataSize)", str(found), "store it anew")


def _is_true(path: Path, fields: dict[str, str], key: str) -> bool:
    value = fields.get(key, "none").lower()
    if value not in ("true", "false", "1", "0"):
        raise refusal(path, f"True or False as {key}", value)
    return value in ("true", "1")


def _vectors(path: Path, fields: dict[str, str], key: str, count: int) -> np.ndarray:
    """Return vectors such as (1,0,0) (0,1,0), one a row."""
    texts = fields.get(key, "").split()
    if len(texts) != count or not all(VECTOR.fullmatch(text) for text in texts):
        raise refusal(path, f"{count} vectors of {DIMENSIONS} as {key}", fields.get(key) or "none")
    numbers = {key: re.sub(r"[(),]", " ", fields[key])}
    return _numbers(path, numbers, key, count * DIMENSIONS).reshape(count, DIMENSIONS)


def _numbers(path: Path, fields: dict[str, str], key: str, count: int) -> np.ndarray:
    texts = fields.get(key, "").split()
    if len(texts) != count or not all(NUMBER.fullmatch(text) for text in texts):
        raise refusal(path, f"{count} numbers as {key}", fields.get(key) or "none")
    numbers = np.array([float(text) for text in texts])
    if not np.isfinite(numbers).all():
        raise refusal(path, f"{count} numbers as {key}", fields[key])
    return numbers


def _size(text: str) -> tuple[int, ...]:
    return tuple(int(count) for count in text.split())
