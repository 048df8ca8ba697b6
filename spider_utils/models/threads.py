"""How torch computes on a CPU: with as many threads as other processes leave cores free, and with memory that it keeps.

Torch's threads wait for each other at every layer, so that one of them without a core holds up all: beside two busy
processes, two threads on two cores are many times slower than one.
"""

import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

LOOK = 0.1  # seconds that a look at the machine takes
AGAIN = 60.0  # seconds after which it is looked at again
FREE = 0.6  # of a core, and it counts as free
TRIM, MAPPED = -1, -3  # of mallopt(3): how much may lie unused at the heap's end; from what size on memory is mapped
KEPT = {TRIM: 2**31 - 1, MAPPED: 2**30}  # bytes


class Threads:
    """What is known in this process: the most threads there may be, those that were set last, and when."""

    def __init__(self) -> None:
        self.most = torch.get_num_threads()  # torch's own choice, or that of OMP_NUM_THREADS
        self.last, self.looked = self.most, float("-inf")

    def use(self, wanted: int = 0) -> int:
        """Let torch compute with `wanted` threads, or, with 0, with one a free core; return how many.

        Where somebody has set another number meanwhile, that one stays.
        """
        if wanted:
            torch.set_num_threads(wanted)
            self.last = wanted
        elif torch.get_num_threads() == self.last and self.most > 1 and time.monotonic() - self.looked > AGAIN:
            self.last = min(self.most, max(1, free_cores()))
            torch.set_num_threads(self.last)
            self.looked = time.monotonic()
        return torch.get_num_threads()

    def told(self) -> dict[str, int]:
        """Return what there is to say beside a progress bar: the number of threads, where others have the rest."""
        return {"threads": self.last} if self.last < self.most else {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """Compute with one thread, whatever is free: for work that runs beside others of its kind."""
        before, most, last = torch.get_num_threads(), self.most, self.last
        self.most = self.last = 1
        torch.set_num_threads(1)
        try:
            yield
        finally:
            self.most, self.last = most, last
            torch.set_num_threads(before)


def free_cores() -> int:
    """Return how many cores other processes leave free just now; nothing of this one may be running.

    What runs at a lower priority (`nice`) gives way, and so counts as free. Seconds are taken over seconds: psutil's
    shares are too small where all cores together count less than a second.
    """
    before = spare_seconds(psutil.cpu_times())
    start = time.perf_counter()
    time.sleep(LOOK)
    spare = spare_seconds(psutil.cpu_times()) - before
    return int(spare / (time.perf_counter() - start) + 1 - FREE)


def spare_seconds(times: Any) -> float:
    """Return the seconds of all cores, since the system's start, in which they had nothing urgent to do."""
    return times.idle + getattr(times, "nice", 0) + getattr(times, "iowait", 0)  # not on every system


def keep_memory() -> bool:
    """Let this process keep what memory it frees, where the C library is glibc; return whether it does.

    Else every layer of a large slice gets fresh pages from the system and gives them back, and clearing them takes a
    good part of the time (results/benchmarks, predict_memory). The process holds its peak until it ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in KEPT.items())


threads = Threads()
