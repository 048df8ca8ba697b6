"""Threads: as many as cores are free, never more than torch or the user allows, and one beside work of its kind."""

import subprocess
import sys
from types import SimpleNamespace

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
    ("shares", "cores", "free"),
    [
        ({"idle": 98.0}, 2, 2),
        ({"idle": 50.0}, 2, 1),  # one busy process
        ({"idle": 2.0}, 2, 0),
        ({"idle": 2.0, "nice": 48.0}, 2, 1),  # a busy one, and one that gives way
        ({"idle": 70.0, "iowait": 5.0}, 16, 12),
    ],
)
def test_what_is_idle_or_gives_way_is_free(shares, cores, free, monkeypatch):
    monkeypatch.setattr(module.psutil, "cpu_times_percent", lambda interval: SimpleNamespace(**shares))
    monkeypatch.setattr(module.psutil, "cpu_count", lambda: cores)
    assert free_cores() == free


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
