"""The set-up on Colab, with a stand-in for Colab's own module."""

import os
import sys
from types import ModuleType

import pytest
import torch

from spider_utils.common.errors import SpiderError
from spider_utils.runs import colab


@pytest.fixture
def mounted(monkeypatch, tmp_path):
    """A google.colab whose Drive is a folder of this test; gives the list of places where it was mounted."""
    places = []
    module = ModuleType("google.colab")
    module.drive = ModuleType("google.colab.drive")
    module.drive.mount = places.append
    monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "drive")
    monkeypatch.setenv("SPIDER_RUNS", "before")
    return places


def test_drive_keeps_the_runs(mounted, tmp_path, capsys):
    colab.setup(drive=True, folder="spine")
    runs = tmp_path / "drive" / "MyDrive" / "spine"
    assert mounted == [str(tmp_path / "drive")]
    assert runs.is_dir()
    assert os.environ["SPIDER_RUNS"] == str(runs)
    assert str(runs) in capsys.readouterr().out


def test_a_second_session_finds_the_same_runs(mounted, tmp_path):
    colab.setup(drive=True)
    (tmp_path / "drive" / "MyDrive" / "spider_runs" / "checkpoint").write_text("epoch 3")
    colab.setup(drive=True)
    assert (tmp_path / "drive" / "MyDrive" / "spider_runs" / "checkpoint").read_text() == "epoch 3"


def test_without_drive_nothing_is_mounted(mounted):
    colab.setup()
    assert mounted == []
    assert os.environ["SPIDER_RUNS"] == "before"


def test_the_gpu_is_named(mounted, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    colab.setup()
    assert "GPU: Tesla T4" in capsys.readouterr().out


def test_without_a_gpu_it_says_how_to_get_one(mounted, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    colab.setup()
    assert "Change runtime type" in capsys.readouterr().out


def test_drive_outside_colab_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", None)
    with pytest.raises(SpiderError, match="expected to be on Colab"):
        colab.setup(drive=True)
