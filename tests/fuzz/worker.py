"""The process that meets the spoilt files: numbers of cases on stdin, a line of JSON for each on stdout."""

import json
import os
import resource
import shutil
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import psutil

MOST_BYTES = 2 << 30  # above what the process holds when it has started
LIMIT_BYTES = 3 << 30  # beyond which it gets none


def run_case(number: int, seed: int, root: Path) -> tuple[str, str]:
    """Meet one case in `root`; return what came of it (one of OUTCOMES) and why."""
    from spider_utils.common.errors import SpiderError, in_one_line
    from tests.fuzz.cases import KINDS

    kind = list(KINDS.values())[number % len(KINDS)]
    case, out = root / "case", root / "case" / "out"
    shutil.rmtree(case, ignore_errors=True)
    out.mkdir(parents=True)
    os.chdir(out)
    path = kind.make(case, np.random.default_rng((seed, number)))
    before, held = listing(root, out), held_bytes(anew=True)
    try:
        found = kind.accept(path, out)
    except SpiderError as error:
        outcome, why = "refused", str(error)
        if "\n" in why or not why or ": " not in why:
            outcome = "traceback"
    except MemoryError as error:
        outcome, why = "memory", repr(error)
    except Exception as error:
        told = in_one_line(error)
        outcome, why = ("refused", told) if told else ("traceback", "".join(traceback.format_exception(error)[-3:]))
    else:
        outcome, why = "equal", ""
    grown = held_bytes() - held
    if outcome == "equal":
        try:
            kind.check(path, found, out)
        except Exception as error:
            outcome, why = "nonsense", f"{type(error).__name__}: {error}"
    if grown > MOST_BYTES:
        outcome, why = "memory", f"{grown} bytes; {why}"
    if listing(root, out) != before:
        outcome, why = "outside", str(sorted(set(listing(root, out)) ^ set(before)))
    return outcome, why


def held_bytes(anew: bool = False) -> int:
    """Return the most bytes of memory that this process has held so far, or since the last time that it was `anew`.

    The kernel counts them, so that memory which a library has asked for and given back is seen; 0 where none does so.
    """
    place = Path("/proc/self")
    if not (place / "clear_refs").exists():
        return 0
    if anew:
        (place / "clear_refs").write_text("5")
    return 1024 * int((place / "status").read_text().partition("VmHWM:")[2].split()[0])


def listing(root: Path, out: Path) -> list[str]:
    """Every file outside the folder that may be written to."""
    places = [*root.rglob("*"), *root.parent.glob("*"), *Path("/tmp").glob("fuzz_escaped*"), *Path("/").glob("abs*")]
    return sorted(str(path) for path in places if out not in (path, *path.parents))


def main() -> None:
    seed, root = int(sys.argv[1]), Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    warnings.simplefilter("ignore")
    import tests.fuzz.cases  # noqa: F401  # before the limit is set

    here = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (here + LIMIT_BYTES, here + LIMIT_BYTES))
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = run_case(int(line), seed, root)
        except Exception as error:
            answer = ("broken", repr(error))  # this program
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
