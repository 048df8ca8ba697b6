"""Grey PNG slices: which files of a folder are some, their numbers, and their values."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from spider_utils.common.errors import SpiderError

NUMBERED = re.compile(r"(.*?)(\d+)\.png", re.IGNORECASE)  # a slice's series, and its number in it
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
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

    Raises SpiderError on a file that is cut off, is no PNG or is in colour.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            picture.load()
            if picture.mode in SIXTEEN_BIT:
                return np.asarray(picture)
            if picture.mode in ("1", "L", "LA"):
                return np.asarray(picture.convert("L"))
            colours = np.asarray(picture.convert("RGB"))
    except UNREADABLE as error:
        raise SpiderError(f"{path}: expected a PNG slice, found a file that cannot be read; fetch it again") from error
    if not (colours == colours[..., :1]).all():
        raise SpiderError(f"{path}: expected a grey slice (equal colour channels), found a colour; store it as grey")
    return colours[..., 0]
