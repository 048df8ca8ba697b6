"""How long the README's two commands take: python -m benchmarks.newcomer [run] [test] [--busy N].

Each is called once in a fresh clone of the last commit, which is set up first; that is not counted. With --busy beside
so many processes that compute without a pause: those that are there already, and as many more as are missing. Written
to results/newcomer.csv, where lines that were not measured this time stay as they were; `python -m benchmarks` shows
them below its table.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.training import busy
from spider_utils.common.files import REPOSITORY
from spider_utils.common.provenance import code_version, device_name
from spider_utils.evaluate.scores import write_metrics
from spider_utils.models.threads import free_cores

TABLE = REPOSITORY / "results" / "newcomer.csv"
COMMANDS = ("run", "test")  # of make
AIM, BESIDE = 360, 3  # seconds alone; times as long beside busy processes
KEYS = ["command", "busy"]
OURS = ("OMP_NUM_THREADS", "SPIDER_STATIC", "PYTHONPATH")  # what a newcomer's shell does not set


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.newcomer", description=str(__doc__).splitlines()[0])
    parser.add_argument("commands", nargs="*", default=[], help=f"{' or '.join(COMMANDS)} (default both)")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute meanwhile (default 0)")
    options = parser.parse_args()
    wanted = options.commands or list(COMMANDS)
    if not set(wanted) <= set(COMMANDS):
        parser.error(f"expected {' or '.join(COMMANDS)}, found {' '.join(wanted)}")
    with tempfile.TemporaryDirectory() as folder:
        measure(wanted, options.busy, REPOSITORY, Path(folder) / "clone", TABLE)
    print(told(pd.read_csv(TABLE)).to_string(index=False))
    return 0


def measure(commands: list[str], others: int, repository: Path, clone: Path, table: Path) -> None:
    """Clone a repository, set it up, and time each command there; a line each goes into the table, at once.

    Raises subprocess.CalledProcessError where a command fails.
    """
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True)
    shell = {name: value for name, value in os.environ.items() if name not in OURS}
    subprocess.run(["make", "setup"], cwd=clone, env=shell, check=True, stdout=subprocess.DEVNULL)
    for command in commands:
        missing = max(0, others - ((os.cpu_count() or 1) - free_cores()))
        with busy(missing):
            start = time.perf_counter()
            subprocess.run(["make", command], cwd=clone, env=shell, check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - start
        line = {"command": command, "busy": others, "seconds": round(seconds), "machine": device_name("cpu")}
        line |= {"python": sys.version.split()[0], "code": str(code_version()["commit"])[:8]}
        known = pd.read_csv(table) if table.is_file() else pd.DataFrame(columns=list(line))
        rows = pd.concat([known, pd.DataFrame([line])]).drop_duplicates(KEYS, keep="last").sort_values(KEYS)
        write_metrics(rows, table)


def told(table: pd.DataFrame) -> pd.DataFrame:
    """Return what was measured, for reading: beside busy processes also how many times as long as alone."""
    alone = table[table["busy"] == 0].set_index("command")["seconds"]
    rows = []
    for one in table.itertuples():
        value, most, aim = one.seconds, AIM, f"{AIM} s"
        if one.busy:
            value, most, aim = (
                one.seconds / alone.get(one.command, math.nan),
                BESIDE,
                f"{BESIDE} times as long as alone",
            )
        met = "" if pd.isna(value) else "yes" if value <= most else "no"
        found = f"{one.seconds:.0f} s" + (f", {value:.2f} times as long" if one.busy and met else "")
        row = {"command": f"make {one.command}", "beside busy processes": one.busy, "found": found, "aim": aim}
        rows.append(row | {"met": met, "machine, code": f"{one.machine}; {one.code}"})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    sys.exit(main())
