"""Volumes read in another process: as in this one, and a death there is one line here."""

import os
import signal

import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data import apart
from spider_utils.data.apart import begin_reading, read_apart
from spider_utils.data.volumes import read_volume


@pytest.fixture
def volume(tmp_path):
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    image.SetMetaData("a note", "on its header")
    sitk.WriteImage(image, str(tmp_path / "good.mha"))
    return image


def die(path, folder):
    """Stand in for a reader that dies of a file by its name."""
    if path.name == "bad.mha":
        os.kill(os.getpid(), signal.SIGSEGV)
    return sitk.ReadImage(str(path))


def run_out(path):
    raise MemoryError


def starve(path, folder, read=apart._read):
    """Stand in for a reader that finds no memory."""
    apart.read_volume = run_out
    return read(path, folder)


def same(one, other) -> bool:
    keys = [{key: image.GetMetaData(key) for key in image.GetMetaDataKeys()} for image in (one, other)]
    geometry = [(image.GetSpacing(), image.GetOrigin(), image.GetDirection()) for image in (one, other)]
    return (
        keys[0] == keys[1]
        and geometry[0] == geometry[1]
        and (sitk.GetArrayFromImage(one) == sitk.GetArrayFromImage(other)).all()
    )


def test_a_volume_comes_through_as_it_is_by_a_path_from_here(volume, tmp_path, monkeypatch):
    read_apart(tmp_path / "good.mha")  # the other process has started, elsewhere
    monkeypatch.chdir(tmp_path)
    assert same(read_apart("good.mha"), read_volume("good.mha")) and read_volume("good.mha").GetMetaDataKeys()


def test_what_is_refused_there_is_refused_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpiderError, match="^none.mha: expected a volume, found no file; check the path$"):
        read_apart("none.mha")


def test_a_death_is_one_line_and_the_next_volume_is_read(volume, tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "_read", die)
    with pytest.raises(SpiderError, match="bad.mha: expected a volume, found a file that ends the process that reads"):
        read_apart(tmp_path / "bad.mha")
    assert same(read_apart(tmp_path / "good.mha"), read_volume(tmp_path / "good.mha"))


def test_another_error_there_is_one_line_too(volume, tmp_path, monkeypatch):
    apart._reader.cache_clear()  # a process of its own, since it is spoilt
    monkeypatch.setattr(apart, "_read", starve)
    with pytest.raises(SpiderError, match="good.mha: there is too little memory"):
        read_apart(tmp_path / "good.mha")
    apart._reader.cache_clear()


def test_a_reading_that_has_begun_gives_the_volume_also_when_the_process_died_of_the_one_before(
    volume, tmp_path, monkeypatch
):
    (tmp_path / "bad.mha").write_bytes(b"bad")
    monkeypatch.setattr(apart, "_read", die)
    begun = {name: begin_reading(tmp_path / name) for name in ("bad.mha", "good.mha")}
    with pytest.raises(SpiderError, match=r"bad.mha: .* ends the process"):
        read_apart(tmp_path / "bad.mha", begun["bad.mha"])
    assert same(read_apart(tmp_path / "good.mha", begun["good.mha"]), read_volume(tmp_path / "good.mha"))
