"""What a row of the table is, and how it is measured: ours and a peer's side in one run, in turn, so that a busy
machine slows both; the medians over the runs.
"""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Side = Callable[[], Any] | list[str]  # a function of this process, or a command

FILL_SECONDS = 0.3  # a function that is quicker is called as often as fills this time
FASTER, MORE = "times as fast", "s more"  # peer's seconds over ours, at least the aim; ours less the peer's, at most
# A command is started by a small process: its peak memory, as the system counts it, begins with that of its parent.
LAUNCH = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Skipped(Exception):
    """A row that cannot be measured here, and why."""


@dataclass(frozen=True)
class Bench:
    """Where rows are measured: a folder of their own, a device, and whether at toy size, as the tests do."""

    folder: Path
    device: str = "cpu"
    toy: bool = False

    def sized(self, full: Any, toy: Any) -> Any:
        """Return what is for the full size, or for the toy size."""
        return toy if self.toy else full


@dataclass(frozen=True)
class Pair:
    """The two sides of a row. `equal` says whether what they return is the same, where it has to be."""

    ours: Side
    peer: Side
    equal: Callable[[Any, Any], bool] | None = None
    peer_times: int = 1  # as often the peer's seconds count
    own_clock: bool = False  # the sides return their seconds, of a part of what they do


@dataclass(frozen=True)
class Row:
    """A line of the table: what is timed, beside what, what is aimed at, and what keeps it from there, if known."""

    stage: str
    peer: str
    aim: float | None
    make: Callable[[Bench], Pair]
    unit: str = FASTER
    devices: tuple[str, ...] = ("cpu",)
    limit: str = ""


@dataclass(frozen=True)
class Timing:
    """Seconds of a side in one run, and the peak memory of a command in GB."""

    seconds: float
    peak_gb: float | None = None


def measure(row: Row, bench: Bench, runs: int) -> dict[str, Any]:
    """Measure a row and return its line of the table. Raises Skipped, and AssertionError where the sides differ."""
    pair = row.make(bench)
    both, calls, values = (pair.ours, pair.peer), [], []
    for side in both:  # once before, for caches on disk, libraries and compilers
        start = time.perf_counter()
        values.append(run_command(side) if isinstance(side, list) else side())
        calls.append(max(1, round(FILL_SECONDS / (time.perf_counter() - start))))
    assert pair.equal is None or pair.equal(*values), f"{row.stage}, {row.peer}: the two sides give different values"
    timed = [[timed_side(side, n, pair.own_clock) for side, n in zip(both, calls, strict=True)] for _ in range(runs)]
    ours, peer = ([one.seconds for one in column] for column in zip(*timed, strict=True))
    peer = [seconds * pair.peer_times for seconds in peer]
    compared = [b / a if row.unit == FASTER else a - b for a, b in zip(ours, peer, strict=True)]
    medians = {"ours": statistics.median(ours), "peer": statistics.median(peer), "ratio": statistics.median(compared)}
    peaks = {f"{name}_gb": one.peak_gb for name, one in zip(("ours", "peer"), timed[-1], strict=True)}
    return medians | {"met": is_met(row, medians["ratio"]), "runs": runs} | peaks


def is_met(row: Row, ratio: float) -> str:
    """Return "yes" or "no", or "" where nothing is aimed at."""
    if row.aim is None:
        return ""
    return "yes" if (ratio >= row.aim if row.unit == FASTER else ratio <= row.aim) else "no"


def timed_side(side: Side, calls: int, own_clock: bool) -> Timing:
    """Run a side and return its seconds: of a command once, of a function the mean of so many calls."""
    if isinstance(side, list):
        return run_command(side)
    start = time.perf_counter()
    returned = [side() for _ in range(calls)]
    seconds = sum(returned) if own_clock else time.perf_counter() - start
    return Timing(seconds / calls)


def run_command(command: list[str]) -> Timing:
    """Run a command. Raises CalledProcessError when it fails."""
    done = subprocess.run([sys.executable, "-c", LAUNCH, *command], check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = done.stdout.split()
    return Timing(float(seconds), float(peak) * (1 if platform.system() == "Darwin" else 1024) / 1e9)
