"""Volumes read in a process of their own: a file that the reader dies of is refused by name, and the rest go on.

SimpleITK's C++ ends the whole process on some headers and names, which no `except` can catch.
"""

import faulthandler
import os
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path

import SimpleITK as sitk
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from spider_utils.common.errors import SpiderError, in_a_batch
from spider_utils.data.volumes import read_volume


def begin_reading(path: Path | str) -> Future:
    """Begin to read a volume in another process, which is started once; `read_apart` waits for it."""
    try:
        return _reader().submit(_read, Path(path), os.getcwd())
    except TerminatedWorkerError:  # of a file before
        _reader.cache_clear()
        return _reader().submit(_read, Path(path), os.getcwd())


def read_apart(path: Path | str, begun: Future | None = None) -> sitk.Image:
    """Read a volume like `volumes.read_volume`, in another process, which is started once and again after a death.

    `begun`: what `begin_reading` has given of it. Raises SpiderError like `read_volume`, and for whatever else the file
    does to its reader: an exception, a death, no memory.
    """
    try:
        return (begun or begin_reading(path)).result()
    except TerminatedWorkerError as error:
        _reader.cache_clear()
        if begun:  # it may have been the file before that the process died of
            return read_apart(path)
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
