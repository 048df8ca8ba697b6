"""The stored voxels of a volume file, counted: not fewer and not more than its header says, and inflated no further."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spider_utils.data.headers.header import Header, refusal

CHUNK_BYTES = 1 << 20


def check_voxels(path: Path, header: Header) -> None:
    """Count the stored bytes of the voxels. Raises SpiderError when they are not those that the header tells of."""
    expected, found = header.stream_bytes, 0
    if header.packing:
        for chunk in unpacked(path, header):
            found += len(chunk)
            if found > expected:
                break
    else:
        found = path.stat().st_size - header.begin
    if found > expected:
        remedy = "its size, its type or their start is wrong: mend its header"
        raise refusal(path, f"{expected} bytes of voxels, as its header says", "more", remedy)
    if found < expected:
        raise refusal(path, f"{expected} bytes of voxels", str(found), "it is truncated, fetch it again")


def unpacked(path: Path, header: Header) -> Iterator[bytes]:
    """Yield what follows `header.begin`, unpacked, in pieces of at most CHUNK_BYTES, its checksum tested.

    gzip may come in several parts, with zeros behind. Raises SpiderError on damaged and on cut streams.
    """
    with path.open("rb") as file:
        file.seek(header.begin)
        yield from (
            _inflated(path, file, header.packing) if header.packing else iter(lambda: file.read(CHUNK_BYTES), b"")
        )


def stored_values(path: Path, header: Header) -> Iterator[np.ndarray]:
    """Yield the voxels as they are stored, (n,) of the header's type, in pieces."""
    skip, rest = header.skip, b""
    for chunk in unpacked(path, header):
        part = rest + chunk[skip:]
        skip -= min(skip, len(chunk))
        whole = len(part) - len(part) % header.stored.itemsize
        yield np.frombuffer(part[:whole], header.stored)
        rest = part[whole:]


def _inflated(path: Path, file: BinaryIO, packing: str) -> Iterator[bytes]:
    inflate, data = None, b""
    while True:
        data = data or file.read(CHUNK_BYTES)
        inflate = inflate or zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # tells zlib from gzip
        try:
            chunk = inflate.decompress(data, CHUNK_BYTES)
        except zlib.error as error:
            raise refusal(path, f"{packing}-compressed voxels", "damaged ones", "fetch it again") from error
        yield chunk
        if inflate.eof:
            data = inflate.unused_data.lstrip(b"\0") or _behind_zeros(file)
            if not data:
                return
            if packing == "zlib":
                raise refusal(path, "nothing behind the compressed voxels", "more", "fetch it again")
            inflate = None
        elif not data and not chunk:
            raise refusal(path, f"a whole {packing} stream", "a part", "it is truncated, fetch it again")
        else:
            data = inflate.unconsumed_tail


def _behind_zeros(file: BinaryIO) -> bytes:
    """Read on to the first piece that holds more than zeros; b"" at the end of the file."""
    while (data := file.read(CHUNK_BYTES)) and not (data := data.lstrip(b"\0")):
        pass
    return data
