"""Threads: as many as cores are free, never more than torch or the user allows, and one beside work of its kind."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from spider_utils.models import threads as module
from spider_utils.models.threads import Threads, free_cores


@pytest.fixture
def four():
    """A process that torch gives four threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield Threads()
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("passed", "free"),  # seconds of all cores in a tenth of a second
    [
        ({"idle": 0.20}, 2),  # two idle cores
        ({"idle": 0.10}, 1),  # one busy process
        ({"idle": 0.01}, 0),
        ({"idle": 0.01, "nice": 0.10}, 1),  # a busy one, and one that gives way
        ({"idle": 1.15, "iowait": 0.05}, 12),
    ],
)
def test_what_is_idle_or_gives_way_is_free(passed, free, monkeypatch):
    looks = iter([dict.fromkeys(passed, 1000.0), {name: 1000.0 + value for name, value in passed.items()}])
    clock = iter([50.0, 50.0 + module.LOOK])
    monkeypatch.setattr(module.psutil, "cpu_times", lambda: SimpleNamespace(**next(looks)))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    assert free_cores() == free


def test_what_is_free_on_this_machine_is_counted_in_cores():
    assert 0 <= free_cores() <= 2 * psutil.cpu_count()  # a tick is a tenth of the look


@pytest.mark.parametrize(("free", "threads"), [(0, 1), (3, 3), (16, 4)])
def test_a_thread_for_each_free_core_but_no_more_than_there_were(free, threads, four, monkeypatch):
    monkeypatch.setattr(module, "free_cores", lambda: free)
    assert four.use() == threads == torch.get_num_threads()
    assert four.told() == ({"threads": threads} if threads < 4 else {})


def test_a_number_that_was_asked_for_stays(four, monkeypatch):
    monkeypatch.setattr(module, "free_cores", lambda: 1)
    assert four.use(3) == 3
    torch.set_num_threads(2)  # by the user
    assert four.use() == 2


def test_it_is_looked_again_after_a_while(four, monkeypatch):
    free, clock = [1], [0.0]
    monkeypatch.setattr(module, "free_cores", lambda: free[0])
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    assert four.use() == 1
    free[0] = 4
    assert four.use() == 1
    clock[0] += module.AGAIN + 1
    assert four.use() == 4


def test_work_beside_others_keeps_to_one_thread(four, monkeypatch):
    monkeypatch.setattr(module, "free_cores", lambda: 4)
    with four.one():
        assert four.use() == 1
    assert torch.get_num_threads() == 4 and four.use() == 4


def test_omp_num_threads_is_the_most():
    code = "from spider_utils.models.threads import threads; print(threads.most, threads.use())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_memory_that_is_kept_is_not_fetched_from_the_system_again():
    code = """
import resource, sys, torch
from spider_utils.models.threads import keep_memory
assert sys.argv[1] == "give" or keep_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for number in range(40):
    if number == 20:
        before = faults()
    torch.ones(16 * 2**20)  # 64 MiB, freed at once
print(faults() - before)
"""
    found = [
        int(subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=True).stdout)
        for how in ("give", "keep")
    ]
    assert found[0] >= 20 * 32 and found[1] < found[0] / 10  # pages, 2 MiB each where the system has large ones
