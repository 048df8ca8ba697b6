"""Volumes read in a process of their own: a file that the reader dies of is refused by name, and the rest go on.

SimpleITK's C++ ends the whole process on some headers and names, which no `except` can catch.
"""

import faulthandler
import os
from functools import lru_cache
from pathlib import Path

import SimpleITK as sitk
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from spider_utils.common.errors import SpiderError, in_a_batch
from spider_utils.data.volumes import read_volume


def read_apart(path: Path | str) -> sitk.Image:
    """Read a volume like `volumes.read_volume`, in another process, which is started once and again after a death.

    Raises SpiderError like `read_volume`, and for whatever else the file does to its reader: an exception, a death, no
    memory.
    """
    try:
        return _reader().submit(_read, Path(path), os.getcwd()).result()
    except TerminatedWorkerError as error:
        _reader.cache_clear()
        raise SpiderError(
            f"{path}: expected a volume, found a file that ends the process that reads it; convert or remove it"
        ) from error


@lru_cache(maxsize=1)
def _reader() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, initializer=_quieten)


def _quieten() -> None:
    """Let the process die without a word: what the libraries print names no file."""
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _read(path: Path, folder: str) -> sitk.Image:
    """Read a volume by its path, relative to `folder`. Raises SpiderError alone."""
    os.chdir(folder)
    try:
        return read_volume(path)
    except Exception as error:  # of another kind: it may not come through to the other process
        raise SpiderError(in_a_batch(path, error)) from error
