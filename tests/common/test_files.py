"""Files are complete or absent, what killed processes leave is swept, and what cannot be written is known before."""

import os
import subprocess
import sys

import numpy as np
import pytest

from spider_utils.__main__ import main
from spider_utils.common import files
from spider_utils.common.errors import SpiderError
from spider_utils.common.files import MACHINE, atomic_path, refuse_unwritable, write_text
from spider_utils.common.mapped import new_memory_map

DIES = """
import os, sys
from spider_utils.common.files import atomic_path
with atomic_path(sys.argv[1]) as path:
    path.write_text("half")
    os._exit(1)
"""


def test_what_a_killed_process_left_is_swept_by_the_next_one(tmp_path):
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "b.mha")], check=False)
    assert [path.name.partition(".part.")[2] for path in tmp_path.iterdir()] == ["b.mha"]
    mine = tmp_path / f".{os.getpid()}-{MACHINE}.part.c.csv"  # of a process that lives
    others = tmp_path / ".1-elsewhere.part.d.csv"  # of another machine, where it may live
    for path in (mine, others):
        path.write_text("half")
    files._sweep.cache_clear()
    write_text(tmp_path / "a.csv", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.csv", mine.name, others.name])


@pytest.mark.parametrize("name", ["a" * 251 + ".mha", "é" * 125 + ".mha", "scan.nii.gz"])
def test_a_name_as_long_as_may_be_can_be_written(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.name.endswith(name[-4:]) and temporary.name.startswith(".")
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nothing_is_left_of_an_error(tmp_path):
    with pytest.raises(OSError, match="full"), atomic_path(tmp_path / "a.csv") as temporary:
        temporary.write_text("half")
        raise OSError("full")
    assert not list(tmp_path.iterdir())


def test_the_room_of_a_memory_map_is_taken_at_once(tmp_path):
    new_memory_map(tmp_path / "a.npy", np.uint8, (64, 128, 128))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 64 * 128 * 128
    assert np.load(tmp_path / "a.npy", mmap_mode="r").shape == (64, 128, 128)


def test_what_cannot_be_written_is_refused_and_nothing_is_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    refuse_unwritable(tmp_path / "new" / "deep")
    refuse_unwritable(tmp_path / "file", is_file=True)
    refuse_unwritable(tmp_path)
    for path, is_file, message in (
        ("file", False, "expected a folder to write to, found that .*file is a file; name another"),
        ("file/out", False, "expected a folder to write to, found that .*file is a file"),
        ("file/out.csv", True, "expected a folder to write to, found that .*file is a file"),
        ("", True, "expected a file to write to, found that .* is a folder"),
    ):
        with pytest.raises(SpiderError, match=message):
            refuse_unwritable(tmp_path / path, is_file=is_file)
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(SpiderError, match="new: expected a place to write to, found that .* is read-only; change"):
        refuse_unwritable(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "line",
    [
        ["phantom", "--out", "file"],
        ["download", "--source", "released", "--out", "file/x"],
        ["check", ".", "--out", "."],
        ["run", "--source", "phantom", "--profile", "smoke", "--out", "file"],
        ["study", "leakage", "--out", "file"],
        ["predict", "--input", ".", "--output", "file/x"],
        ["score", "--prediction", ".", "--reference", ".", "--out", "."],
        ["carry", "--labelled", ".", "--images", ".", "--out", "file"],
    ],
)
def test_every_command_says_before_the_work_that_it_cannot_write(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(line) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {line[-1]}: expected a ") and "name another" in told and told.count("\n") == 1
