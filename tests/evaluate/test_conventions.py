"""What label maps hold is decided for a folder: by numbers, by where these lie, or it is asked for; never guessed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.__main__ import main
from spider_utils.data.labels import four_classes
from spider_utils.data.pose import to_pose
from spider_utils.evaluate.conventions import CLASS_MAPS, NUMBERED, convention_of
from tests.evaluate.test_files import write
from tests.helpers.phantoms import kept_phantom

BODIES = np.array([1, 2, 3])


@pytest.fixture(scope="module")
def numbered() -> np.ndarray:
    """A phantom's label map in SPIDER's numbers, (D, H, W) in the common pose."""
    return sitk.GetArrayFromImage(to_pose(kept_phantom(1, "T2", 0)[1])).astype(np.uint8)


def score(tmp_path: Path, prediction: np.ndarray, reference: np.ndarray, *more: str) -> pd.Series | None:
    """Score two label maps; return the values of their table, None where the command has failed."""
    files = write(tmp_path / "P.mha", prediction), write(tmp_path / "R.mha", reference)
    out = tmp_path / "out.csv"
    if main(["score", "--prediction", str(files[0]), "--reference", str(files[1]), "--out", str(out), *more]):
        return None
    table = pd.read_csv(out)
    return table[table["volume"] == "P"].set_index(["score", "structure", "metric"])["value"].sort_index()


def only(labels: np.ndarray, *numbers: int) -> np.ndarray:
    return np.where(np.isin(labels, numbers), labels, 0)


def test_vertebrae_alone_are_no_classes(numbered, tmp_path):
    lower = only(numbered, *BODIES)
    values = score(tmp_path, lower, numbered)
    found = (numbered > 0) & (numbered < 100)
    dice = 2 * (lower > 0).sum() / (found.sum() + (lower > 0).sum())
    assert values["classes", "vertebrae", "dice"] == pytest.approx(dice) and dice < 1
    assert values["classes", "canal", "dice"] == values["classes", "discs", "dice"] == 0
    assert values["challenge", "vertebra 2", "dice"] == 1 and values["challenge", "canal", "detected"] == 0


def test_bodies_in_both_have_neither_canal_nor_discs(numbered, tmp_path):
    lower = only(numbered, *BODIES)
    values = score(tmp_path, lower, lower)
    assert values["classes", "vertebrae", "dice"] == 1
    assert np.isnan(values["classes", "canal"]).all() and np.isnan(values["classes", "discs"]).all()
    assert "canal" not in values["challenge"].index and "discs" not in values["challenge"].index


def test_classes_are_classes(numbered, tmp_path):
    classes = four_classes(numbered)
    assert convention_of(classes) == CLASS_MAPS and convention_of(only(numbered, 2, 3)) == NUMBERED
    for reference in (classes, numbered):
        assert (score(tmp_path, classes, reference)["classes"].xs("dice", level="metric") == 1).all()


def test_what_may_be_either_is_asked_for(numbered, tmp_path, capsys):
    second = only(numbered, 2)  # L4, or a canal
    assert score(tmp_path, second, numbered) is None
    assert (
        "P.mha: expected classes 0..3 or SPIDER's numbers, found values that may be either" in capsys.readouterr().err
    )
    assert 0 < score(tmp_path, second, numbered, "--convention", "spider")["classes", "vertebrae", "dice"] < 1
    assert score(tmp_path, second, numbered, "--convention", "four")["classes", "vertebrae", "dice"] == 0


def test_a_folder_decides_for_its_maps(numbered, tmp_path):
    for name, labels in (("a", numbered), ("b", only(numbered, 2))):
        write(tmp_path / "P" / f"{name}.mha", labels)
        write(tmp_path / "R" / f"{name}.mha", numbered)
    out = tmp_path / "out.csv"
    folders = ["--prediction", str(tmp_path / "P"), "--reference", str(tmp_path / "R")]
    assert main(["score", *folders, "--out", str(out)]) == 0
    table = pd.read_csv(out).set_index(["volume", "score", "structure", "metric"])["value"]
    assert table["b", "challenge", "vertebra 2", "dice"] == 1 and table["b", "classes", "canal", "dice"] == 0


def test_a_folder_of_both_kinds_is_refused(numbered, tmp_path, capsys):
    for name, labels in (("a", four_classes(numbered)), ("b", numbered)):
        write(tmp_path / "P" / f"{name}.mha", labels)
        write(tmp_path / "R" / f"{name}.mha", numbered)
    call = ["score", "--prediction", str(tmp_path / "P"), "--reference", str(tmp_path / "R")]
    call += ["--out", str(tmp_path / "out.csv")]
    assert main(call) == 2
    assert "b.mha: expected classes 0..3 as in " in capsys.readouterr().err
    assert main([*call, "--convention", "four"]) == 0
    means = pd.read_csv(tmp_path / "out.csv").query("volume != 'all' and score == 'classes' and metric == 'dice'")
    assert (means["value"] == 1).all()


@pytest.mark.parametrize("order", [(1, 3, 2), (2, 3, 1), (3, 2, 1)])
def test_classes_in_another_order_are_refused(numbered, tmp_path, capsys, order):
    other = np.array([0, *order], np.uint8)[four_classes(numbered)]
    assert score(tmp_path, other, numbered) is None
    assert "as nnU-Net may number" in capsys.readouterr().err
    values = score(tmp_path, other, numbered, "--convention", "four")
    assert values["classes", "discs", "dice"] < 0.1
