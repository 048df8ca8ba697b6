"""Spoilt files by the thousand: python -m tests.fuzz --cases 10000; a table of what came of them."""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import psutil

from tests.fuzz.cases import KINDS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
OUTCOMES = {
    "equal": "accepted, equal to an independent reader",
    "refused": "refused by name",
    "traceback": "traceback",
    "death": "death",
    "hang": "hang over 10 s",
    "memory": "memory over 2 GB",
    "outside": "wrote outside the folder",
    "nonsense": "accepted nonsense",
}
GOOD = ("equal", "refused")


def run_cases(
    numbers: Iterable[int],
    seed: int,
    root: Path,
    program: Sequence[str] = ("-m", "tests.fuzz.worker"),
    seconds: float = SECONDS,
) -> Iterator[tuple[int, str, str]]:
    """Meet cases one after the other in another process, which is started again when it dies or hangs."""
    worker = None
    for number in numbers:
        if worker is None:
            line = [sys.executable, *program, str(seed), str(root)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
            worker = subprocess.Popen(line, cwd=ROOT, text=True, env=os.environ | {"PYTHONPATH": paths}, **pipes)
            assert json.loads(worker.stdout.readline()) == "ready"
        print(number, file=worker.stdin, flush=True)
        ready = _answers(worker, seconds)
        answer = worker.stdout.readline() if ready else ""
        if answer:
            outcome, why = json.loads(answer)
            assert outcome in OUTCOMES, f"case {number}: {why}"
            yield number, outcome, why
            continue
        yield number, "death" if ready else "hang", ""
        worker.kill()
        worker.wait()
        worker = None
    if worker:
        worker.stdin.close()
        worker.wait()


def _answers(worker: subprocess.Popen, seconds: float) -> bool:
    """Wait until the worker answers or ends; False where it works for so many seconds, or idles for six times as many.

    Its own seconds count, so that a busy machine makes no hang.
    """
    process, waited = psutil.Process(worker.pid), 0.0
    before = process.cpu_times()
    while not select.select([worker.stdout], [], [], 0.5)[0]:
        waited += 0.5
        now = process.cpu_times()
        if now.user + now.system - before.user - before.system > seconds or waited > 6 * seconds:
            return False
    return True


def table_of(found: Iterable[tuple[int, str, str]]) -> pd.DataFrame:
    """Count what came of the cases: a row a kind, a column an outcome."""
    names = list(KINDS)
    counts = pd.DataFrame(0, index=[*names, "all"], columns=list(OUTCOMES))
    for number, outcome, _ in found:
        for name in (names[number % len(names)], "all"):
            counts.loc[name, outcome] += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", metavar="NUMBER", help="these cases, with what was said of them")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        numbers = range(options.cases) if options.only is None else options.only
        for number, outcome, why in run_cases(numbers, options.seed, Path(folder) / "root"):
            found.append((number, outcome, why))
            if outcome not in GOOD or options.only is not None:
                print(f"{number} {list(KINDS)[number % len(KINDS)]}: {outcome}: {why}")
    counts = table_of(found)
    print("| kind |", " | ".join(OUTCOMES.values()), "|")
    print("| --- |", " | ".join("---" for _ in OUTCOMES), "|")
    for name, *numbers in counts.itertuples():
        print(f"| {name} |", " | ".join(map(str, numbers)), "|")
    return 1 if counts.loc["all", [name for name in OUTCOMES if name not in GOOD]].any() else 0


if __name__ == "__main__":
    sys.exit(main())
