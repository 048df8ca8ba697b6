"""`make gpu` at toy size: packed, unpacked elsewhere and run, cut off and gone on with, and what it brings back."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY, file_digest
from spider_utils.studies import harness, peers
from spider_utils.studies.study_file import load_study
from tests.helpers.small_study import SLICES, make_small_store
from tools import gpu

TIMES = ["seconds_of_last_session", "cpu_minutes", "seconds", "seconds_ratio", "code", "modified"]
TOY = ["run", "--source", "phantom", "--device", "cpu", "--out"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder OUT with a slice store alone."""
    out = tmp_path_factory.mktemp("place") / "gpu"
    out.mkdir()
    make_small_store(out)
    return out


@pytest.fixture(scope="module")
def uncut(place, tmp_path_factory):
    out = shutil.copytree(place, tmp_path_factory.mktemp("uncut") / "gpu")
    assert gpu.main([*TOY, str(out)]) == 0
    return out


def assert_same_tables(out: Path, other: Path) -> None:
    """All tables of two OUT folders hold the same, apart from times and the code's commit."""
    for study in gpu.STUDIES:
        names = {path.name for path in (other / study).glob("*.csv")}
        assert names == {path.name for path in (out / study).glob("*.csv")} and len(names) > 6
        for name in names:
            tables = (
                pd.read_csv(folder / study / name).drop(columns=TIMES, errors="ignore") for folder in (out, other)
            )
            pd.testing.assert_frame_equal(*tables)


def members(out: Path) -> set[str]:
    with tarfile.open(out / "gpu_tables.tar.gz") as content:
        return set(content.getnames())


def test_the_studies_have_the_papers_settings():
    for name, folds, model in (("paper_claim", 10, "author_code"), ("full_size", 5, "paper_text")):
        study = load_study(name)
        assert (study.folds, study.seeds, study.base["model"]) == (folds, (0, 1, 2), model)
        values = [study.base[key] for key in ("train_width", "train_height", "batch_size", "epochs", "width")]
        assert values == [512, 640, 8, 100, 16]


def test_every_slice_is_held_out_once_in_every_arm(uncut):
    for name, arms in (("paper_claim", 2), ("full_size", 2)):
        counts = pd.read_csv(uncut / name / "overlap.csv").query("epoch == 2 and `class` == 'discs'")
        assert len(counts) == arms * gpu.TOY_SEEDS * sum(SLICES)
    assert "LEAKY" in "".join(pd.read_csv(uncut / "paper_claim" / "dice.csv")["title"])
    assert {"gains.csv", "copying.csv"} <= {path.name for path in (uncut / "paper_claim").iterdir()}
    assert "paired.csv" in {path.name for path in (uncut / "full_size").iterdir()}


@pytest.mark.slow
def test_what_is_cut_off_goes_on_and_gives_the_same_tables(place, uncut, tmp_path, monkeypatch):
    """Twice, in the midst of a training: before any study is done, and after the first one."""
    monkeypatch.setattr("spider_utils.figures.draw.draw_study", lambda *_: {})  # to be quick
    out = shutil.copytree(place, tmp_path / "gpu")
    for calls, archived in ((5, False), (6, True)):  # two calls a training, four a study
        left = iter(range(calls))

        def cut(*arguments, left=left, original=harness.predict_rows):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return original(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(harness, "predict_rows", cut)
            assert gpu.main([*TOY, str(out)]) == 130
        assert (out / "gpu_tables.tar.gz").is_file() == archived
    assert "gpu/paper_claim/gains.csv" in members(out) and "gpu/full_size/dice.csv" not in members(out)
    notes = {path: path.stat().st_mtime_ns for path in out.glob("*/trainings/*/*/training.json")}
    assert len(notes) == 5  # in eleven calls, of which one was of a training that was cut off
    assert gpu.main([*TOY, str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in notes} == notes
    assert_same_tables(out, uncut)


def test_each_seed_is_done_in_all_studies_before_the_next_and_not_again(place, uncut, tmp_path, monkeypatch):
    """What has a seed's trainings already, as `uncut` has, begins with the next one; the last has all tables."""
    monkeypatch.setattr(gpu, "TOY_SEEDS", 3)
    called: list[tuple[str, str]] = []
    monkeypatch.setattr(gpu, "run_command", lambda name, *_, overrides, **__: called.append((name, overrides["seeds"])))
    assert gpu.main([*TOY, str(shutil.copytree(place, tmp_path / "gpu"))]) == 0
    assert called == [(name, seeds) for seeds in ("0", "0,1", "0,1,2") for name in gpu.STUDIES]
    called.clear()
    assert gpu.main([*TOY, str(shutil.copytree(uncut, tmp_path / "begun", symlinks=True))]) == 0
    assert called == [(name, seeds) for seeds in ("0,1", "0,1,2") for name in gpu.STUDIES]


def test_tables_come_back_without_weights_and_as_they_were(uncut, tmp_path):
    archive = uncut / "gpu_tables.tar.gz"
    assert gpu.main(["unpack", str(archive), str(tmp_path)]) == 0
    files = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.suffix for path in files} == {".csv", ".json", ".png", ".svg"}
    assert all(file_digest(path) == file_digest(uncut.parent / name) for name, path in files.items())
    assert json.loads((tmp_path / "gpu/full_size/provenance.json").read_text())["settings"]["width"] == 2
    assert not any("/trainings/" in name for name in members(uncut))
    gpu.pack_tables(uncut, weights=True)
    assert len([name for name in members(uncut) if name.endswith("best.safetensors")]) == 2 * 2 * 2 * gpu.TOY_SEEDS
    gpu.pack_tables(uncut, weights=False)


def test_an_archive_that_is_changed_or_leaves_its_folder_is_refused(tmp_path, capsys):
    archive, folder = tmp_path / "a.tar.gz", tmp_path / "folder"
    (tmp_path / "table.csv").write_text("a\n1\n")
    gpu.write_archive(archive, {"gpu/table.csv": tmp_path / "table.csv", "../out.csv": tmp_path / "table.csv"})
    assert gpu.main(["unpack", str(archive), str(folder)]) == 2
    assert "expected an archive of this tool, found that '../out.csv' would be extracted" in capsys.readouterr().err
    with tarfile.open(archive, "w:gz") as content:
        content.addfile(tarfile.TarInfo("gpu/table.csv"), io.BytesIO())
    assert gpu.main(["unpack", str(archive), str(folder)]) == 2
    assert "expected the digest in a.tar.gz.sha256, found another" in capsys.readouterr().err
    assert not folder.exists() and not (tmp_path / "out.csv").exists()


def test_without_a_gpu_it_is_refused_in_one_line_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main(["run", "--source", "sample", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: device: expected a CUDA GPU") and told.count("\n") == 1 and "DEVICE=cpu" in told
    assert not (tmp_path / "out").exists()


def test_a_missing_peer_is_named_before_anything_is_trained(place, tmp_path, monkeypatch, capsys):
    out = shutil.copytree(place, tmp_path / "gpu")
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert gpu.main([*TOY, str(out), "--peers", "yes"]) == 2
    assert "peer nnunet: needs the package nnunetv2" in capsys.readouterr().err
    assert not list(out.glob("*/trainings"))


@pytest.fixture
def checkout(tmp_path):
    """A repository of its own with the package and the tools as they are now, all committed."""
    for name in ("spider_utils", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", "weights")
        shutil.copytree(REPOSITORY / name, tmp_path / "checkout" / name, ignore=ignored)
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "all"]):
        gpu.git(tmp_path / "checkout", *words)
    return tmp_path / "checkout"


@pytest.mark.slow
def test_the_archive_unpacks_elsewhere_and_runs(checkout, place, uncut, tmp_path):
    archive, away = tmp_path / "spider_gpu.tar.gz", tmp_path / "away"
    gpu.pack(place, "phantom", None, archive, checkout)
    told = gpu.digest_of(archive).read_text()
    assert told == f"{file_digest(archive)}  spider_gpu.tar.gz\n"
    gpu.unpack(archive, away)
    root = away / "spider_gpu"
    assert not [path for path in root.glob(".git/*") if path.is_file() and str(tmp_path) in path.read_text("latin1")]
    environment = os.environ | {"PYTHONPATH": str(root), "SPIDER_STATIC": "1"}
    command = [sys.executable, "-m", "tools.gpu", "run", "--device", "cpu", "--out", "runs/gpu"]  # its own source
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same_tables(root / "runs" / "gpu", uncut)
    made = json.loads((root / "runs/gpu/paper_claim/provenance.json").read_text())
    assert made["code"]["commit"] == gpu.git(checkout, "rev-parse", "HEAD").strip()
    assert made["code"]["modified"] is False and made["settings"]["source"] == "phantom"


def test_what_is_not_committed_is_not_left_behind_unsaid(checkout, place, tmp_path):
    (checkout / "tools" / "gpu.py").write_text("")
    with pytest.raises(SpiderError, match="expected all changes to be committed"):
        gpu.pack(place, "phantom", None, tmp_path / "a.tar.gz", checkout)
    assert not (tmp_path / "a.tar.gz").exists()
