"""Arrays on disk that are written through memory."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike


def new_memory_map(path: Path, kind: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """Make a .npy file to be written through memory, its room on the disk taken at once.

    Raises OSError where there is none: a disk that fills up under a memory map ends the process (bus error).
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on a Mac
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
