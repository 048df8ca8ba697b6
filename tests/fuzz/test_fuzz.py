"""Five hundred of the spoilt files (`make fuzz` meets ten thousand), and that each bad outcome would be seen."""

import gzip
import subprocess
import sys
import zlib
from contextlib import nullcontext

import numpy as np
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY
from spider_utils.data.png import read_grey
from spider_utils.data.volumes import read_volume
from tests.fuzz.__main__ import GOOD, KINDS, OUTCOMES, run_cases, table_of
from tests.fuzz.bombs import BLOCK, BOMBS, as_gzip, as_zlib

CASES = 500
SEED = 0
PLAYED = """
import os
from pathlib import Path
import numpy as np
import tests.fuzz.cases as cases
from spider_utils.common.errors import SpiderError


def make(folder, rng):
    return folder / "nothing"


def refuse(path, out):
    raise SpiderError("nothing: expected a file, found none; check the path")


def fail(path, out):
    raise KeyError("a bug")


def spin(path, out):
    while True:
        pass


def take(path, out):
    return np.ones(4 << 30, np.uint8)


def write(path, out):
    (out.parent / "elsewhere").write_text("")


def disagree(path, found, out):
    raise AssertionError("another")


def agree(path, found, out):
    pass


accepts = {
    "equal": (lambda path, out: 1, agree), "refused": (refuse, agree), "traceback": (fail, agree),
    "death": (lambda path, out: os.abort(), agree), "hang": (spin, agree),
    "memory": (take, agree), "outside": (write, agree), "nonsense": (lambda path, out: 1, disagree),
}
cases.KINDS.clear()
cases.KINDS.update({name: cases.Kind(make, *both) for name, both in accepts.items()})
from tests.fuzz import worker
worker.main()
"""


@pytest.mark.slow
def test_five_hundred_spoilt_files(tmp_path):
    """No traceback, death, hang, hunger, stray file or nonsense; of every kind some are accepted and some refused."""
    found = list(run_cases(range(CASES), SEED, tmp_path / "root"))
    wrong = [f"{number} {outcome}: {why}" for number, outcome, why in found if outcome not in GOOD]
    assert not wrong, "\n".join(wrong)
    counts = table_of(found)
    assert counts.loc["all"].sum() == CASES and (counts[list(GOOD)] > 0).all(axis=None)


@pytest.mark.slow
def test_every_outcome_is_told_from_the_others(tmp_path):
    """A reader that does it is a row of its own; after each the next case is met."""
    script = tmp_path / "played.py"
    script.write_text(PLAYED)
    found = list(run_cases([*range(len(OUTCOMES)), 0], SEED, tmp_path / "root", program=[str(script)], seconds=4))
    assert [outcome for _, outcome, _ in found] == [*OUTCOMES, "equal"]


def test_memory_that_is_given_back_has_been_seen():
    """In a process of its own, as a network that was used in this one may have let it keep what it frees."""
    code = """
import numpy as np
from tests.fuzz.worker import held_bytes
before = held_bytes(anew=True)
np.ones(200_000_000, np.uint8)
print(before, held_bytes() - before, held_bytes(anew=True) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    before, seen, left = map(int, done.stdout.split())
    if not before:
        pytest.skip("no kernel that counts it")
    assert 150_000_000 < seen < 300_000_000
    assert left < 100_000_000


@pytest.mark.parametrize("size", [0, 1, 70_000, BLOCK + 70_000])
def test_a_bomb_is_a_sound_stream(size):
    assert zlib.decompress(as_zlib(size)) == gzip.decompress(as_gzip(size)) == bytes(size)


@pytest.mark.parametrize("kind", ["mha", "nii.gz", "nrrd", "png"])
def test_of_bombs_the_honest_ones_alone_are_read(tmp_path, kind):
    """What is told and what is there are drawn from three each: two pairs are alike and can be held."""
    outcomes = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        told, held = rng.integers(3), rng.integers(3)
        if (told, held) in outcomes or held == 2:
            continue
        outcomes.add((told, held))
        path = tmp_path / f"a.{kind}"
        path.write_bytes(BOMBS[kind](np.random.default_rng(seed)))
        read = read_grey if kind == "png" else read_volume
        with nullcontext() if told == held else pytest.raises(SpiderError):
            read(path)
    assert len(outcomes) == 6


def test_the_same_seed_spoils_the_same_way(tmp_path):
    """Every kind is spoilt, and alike whenever it is made."""
    for number, (name, kind) in enumerate(KINDS.items()):
        made = []
        for turn in ("one", "two"):
            folder = tmp_path / turn / name.replace(" ", "_")
            folder.mkdir(parents=True)
            kind.make(folder, np.random.default_rng((SEED, number)))
            files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".zip")
            made.append([(path.relative_to(folder), path.stat().st_size) for path in files])
        assert made[0] == made[1]
