"""Grey PNG slices: which files of a folder are some, their numbers, and their values."""

import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from spider_utils.common.errors import SpiderError

NUMBERED = re.compile(r"(.*?)(\d+)\.png", re.IGNORECASE)  # a slice's series, and its number in it
UNREADABLE = (OSError, SyntaxError, ValueError, KeyError, struct.error, zlib.error, Image.DecompressionBombError)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of colour
ADAM7 = (  # where an interlaced picture's seven parts begin (column, row) and what lies between their pixels
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
CHUNK_BYTES = 1 << 20
MOST_PIXELS = 2**26  # 16 times those of the largest slice that is stored, see `data.settings`
SIXTEEN_BIT = ("I", "I;16", "I;16B")  # what Pillow calls a grey PNG of 16 bits


def png_files(folder: Path) -> list[Path]:
    """List the PNG files of a folder, hidden ones left out, each series in the order of its slices' numbers."""
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and not path.name.startswith(".")]
    return sorted((path for path in found if path.is_file()), key=lambda path: (*slice_key(path), path.name))


def slice_key(path: Path) -> tuple[str, int]:
    """Return series and number of a slice, by a file name like 12_t2_SPACE_slice61.png; -1 where there is no number."""
    match = NUMBERED.fullmatch(path.name)
    return (match[1], int(match[2])) if match else (path.name, -1)


def read_grey(path: Path) -> np.ndarray:
    """Read a grey PNG as (H, W): uint8, or 16 bits in a wider type. A colour file must have equal channels;
    transparency is not used.

    Raises SpiderError on a file that is cut off or damaged, is no PNG, has fewer or more pixels than it says or is in
    colour.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if math.prod(picture.size) > MOST_PIXELS:
                size = " x ".join(map(str, picture.size))
                raise SpiderError(f"{path}: expected a slice of at most {MOST_PIXELS} pixels, found {size}; mend it")
            wanted, found = stored_bytes(path.read_bytes())
            if wanted != found:
                raise ValueError(f"{found} bytes of pixels, not {wanted}")
            picture.load()
            if picture.mode in SIXTEEN_BIT:
                return np.asarray(picture)
            if picture.mode in ("1", "L", "LA"):
                return np.asarray(picture.convert("L"))
            colours = np.asarray(picture.convert("RGB"))
    except SpiderError:
        raise
    except UNREADABLE as error:
        raise SpiderError(f"{path}: expected a PNG slice, found a file that cannot be read; fetch it again") from error
    if not (colours == colours[..., :1]).all():
        raise SpiderError(f"{path}: expected a grey slice (equal colour channels), found a colour; store it as grey")
    return colours[..., 0]


def stored_bytes(content: bytes) -> tuple[int, int]:
    """Return how many bytes of pixels a PNG says that it has, and how many it has; Pillow shows black for the missing.

    Raises struct.error, zlib.error or ValueError on a damaged one. PNG (Third Edition), chapters 5, 7 and 8.
    """
    inflate, place, found = zlib.decompressobj(), len(SIGNATURE), 0
    if not content.startswith(SIGNATURE + b"\0\0\0\x0dIHDR"):
        raise ValueError("no PNG")
    columns, rows, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, place + 8)
    bits = depth * CHANNELS[colour]
    steps = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(len(range(left, columns, right)), len(range(top, rows, down))) for left, top, right, down in steps]
    needs_palette = colour == 3
    wanted = sum(high * (1 + (wide * bits + 7) // 8) for wide, high in sizes if wide)
    while not inflate.eof and found <= wanted and place < len(content):
        size, name = struct.unpack_from(">I4s", content, place)
        chunk = content[place + 8 : place + 8 + size]
        if zlib.crc32(name + chunk) != struct.unpack_from(">I", content, place + 8 + size)[0]:
            raise ValueError(f"another checksum than that of {name!r}")
        needs_palette = needs_palette and name != b"PLTE"
        if name == b"IDAT" and needs_palette:
            raise ValueError("no palette")
        while name == b"IDAT" and chunk and found <= wanted and not inflate.eof:
            found += len(inflate.decompress(chunk, CHUNK_BYTES))
            chunk = inflate.unconsumed_tail
        place += size + 12
    return wanted, found
