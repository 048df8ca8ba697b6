"""Grey PNG files: what is read is what is there, and a header that lies about it is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.png import ADAM7, read_grey, stored_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 11))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows: bytes, high: int = 12, wide: int = 11, depth: int = 8, interlaced: int = 0) -> bytes:
    """A grey PNG of these rows, each with its filter's byte before it."""
    header = struct.pack(">IIBBBBB", wide, high, depth, 0, 0, 0, interlaced)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def plain(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16", "P"])
def test_what_pillow_writes_is_whole(tmp_path, mode):
    grey = Image.fromarray(PIXELS.astype(np.uint16 if mode == "I;16" else np.uint8))
    (grey if mode in ("L", "I;16") else grey.convert(mode)).save(tmp_path / "a.png")
    wanted, found = stored_bytes((tmp_path / "a.png").read_bytes())
    assert wanted == found
    expected = (PIXELS > 127) * 255 if mode == "1" else PIXELS
    if mode != "1":  # which Pillow dithers
        np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), expected)


def test_an_interlaced_picture_is_counted_by_its_parts(tmp_path):
    parts = [PIXELS[top::down, left::right] for left, top, right, down in ADAM7]
    content = png(b"".join(plain(part) for part in parts if part.size), interlaced=1)
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), PIXELS)
    assert stored_bytes(png(b"", 8, 8, interlaced=1))[0] == 2 + 2 + 3 + 2 * 3 + 2 * 5 + 4 * 5 + 4 * 9


@pytest.mark.parametrize("high", [1, 11, 13, 268])
def test_a_height_that_is_not_the_data_s_is_refused(tmp_path, high):
    (tmp_path / "a.png").write_bytes(png(plain(PIXELS), high))
    with pytest.raises(SpiderError, match="a.png: expected a PNG slice, found a file that cannot be read; fetch"):
        read_grey(tmp_path / "a.png")


def test_a_picture_that_would_fill_the_memory_is_refused_by_its_size(tmp_path):
    """8193 x 8193 pixels, all there, in 70 kB."""
    (tmp_path / "a.png").write_bytes(png(bytes(8193 * 8194), 8193, 8193))
    with pytest.raises(SpiderError, match="expected a slice of at most 67108864 pixels, found 8193 x 8193; mend it"):
        read_grey(tmp_path / "a.png")


def test_colours_without_their_palette_are_refused(tmp_path):
    content = png(plain(PIXELS))
    header = struct.pack(">IIBBBBB", 11, 12, 8, 3, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(content[:8] + chunk(b"IHDR", header) + content[33:])
    with pytest.raises(SpiderError, match="cannot be read"):
        read_grey(tmp_path / "a.png")


def test_pixels_with_another_checksum_are_refused(tmp_path):
    content = bytearray(png(plain(PIXELS)))
    content[-14] ^= 1  # of IDAT's checksum
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SpiderError, match="cannot be read"):
        read_grey(tmp_path / "a.png")
