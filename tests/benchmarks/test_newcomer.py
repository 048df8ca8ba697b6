"""The README's two commands, timed in a clone: of a repository whose commands take known times."""

import subprocess

import pandas as pd
import pytest

from benchmarks import newcomer

MAKEFILE = """\
setup:
\t@touch ready
run:
\t@test -f ready && test -z "$$OMP_NUM_THREADS" && sleep 1
test:
\t@exit 3
"""


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "one"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *command], cwd=folder, check=True)
    return folder


def test_a_command_is_timed_in_a_clone_that_is_set_up_and_without_our_settings(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    table = tmp_path / "newcomer.csv"
    newcomer.measure(["run"], 0, repository, tmp_path / "clone", table)
    assert pd.read_csv(table)[["command", "busy", "seconds"]].to_numpy().tolist() == [["run", 0, 1]]
    assert not (repository / "ready").exists()


def test_a_command_that_fails_is_no_time(repository, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        newcomer.measure(["test"], 0, repository, tmp_path / "clone", tmp_path / "newcomer.csv")
    assert not (tmp_path / "newcomer.csv").exists()


@pytest.mark.parametrize(("free", "started"), [(0, 0), (1, 1), (2, 2)])
def test_as_many_busy_processes_are_started_as_are_missing(repository, tmp_path, monkeypatch, free, started):
    seen = []
    real = newcomer.busy
    monkeypatch.setattr(newcomer.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(newcomer, "free_cores", lambda: free)
    monkeypatch.setattr(newcomer, "busy", lambda count: seen.append(count) or real(0))
    newcomer.measure(["run"], 2, repository, tmp_path / "clone", tmp_path / "newcomer.csv")
    assert seen == [started]


def test_what_is_told_by_hand():
    lines = [("run", 0, 300), ("run", 2, 600), ("test", 0, 361), ("test", 2, 1084), ("other", 2, 5)]
    table = pd.DataFrame(lines, columns=["command", "busy", "seconds"]).assign(machine="m", code="c")
    told = newcomer.told(table)
    assert told["met"].tolist() == ["yes", "yes", "no", "no", ""]
    assert told["found"].tolist()[1] == "600 s, 2.00 times as long"
