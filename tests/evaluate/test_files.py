"""The command score: pairs of files, what is written and printed, and one line for what cannot be scored."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.__main__ import main
from spider_utils.data.labels import four_classes
from spider_utils.evaluate.challenge import score_structures, summarise_structures
from spider_utils.evaluate.files import ALL, COLUMNS, kind_and_number, score_files
from spider_utils.evaluate.volumes import score_classes

SPACING = (3.0, 2.0, 0.5)  # slices, rows, columns in mm


def spine(shift: int = 0) -> np.ndarray:
    """Two vertebrae, two discs and a canal, moved by some columns."""
    labels = np.zeros((5, 24, 20), np.uint8)
    for label, row in ((2, 1), (202, 7), (1, 12), (201, 18)):
        labels[1:4, row : row + 4, 2 + shift : 8 + shift] = label
    labels[2:4, 2:22, 12 + shift : 15 + shift] = 100
    return labels


def write(path: Path, labels: np.ndarray, origin: tuple[float, ...] = (1.0, 2.0, 3.0)) -> Path:
    path.parent.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(origin)
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))  # rows from the head to the feet
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path, Path]:
    """Predictions and references of two volumes, in different formats, and where the table goes."""
    for name, shift in (("a", 0), ("b", 1)):
        write(tmp_path / "P" / f"{name}.nii.gz", spine(shift))
        write(tmp_path / "R" / f"{name}.mha", spine())
    return tmp_path / "P", tmp_path / "R", tmp_path / "scores" / "out.csv"


def score(prediction: Path, reference: Path, out: Path) -> int:
    return main(["score", "--prediction", str(prediction), "--reference", str(reference), "--out", str(out)])


def test_the_table_holds_the_scores_of_the_arrays(folders, capsys):
    assert score(*folders) == 0
    table = pd.read_csv(folders[2])
    assert list(table.columns) == COLUMNS
    assert table["volume"].unique().tolist() == ["a", "b", ALL]
    assert not table.duplicated(COLUMNS[:4]).any()
    rows = table[table["volume"] == "b"].set_index(["score", "structure", "metric"])["value"]
    for row in score_classes(four_classes(spine()), four_classes(spine(1)), SPACING).itertuples():
        assert rows["classes", row[1], row.metric] == pytest.approx(row.value)
    structures = score_structures(spine(), spine(1), SPACING)
    for row in summarise_structures(structures).itertuples():
        assert rows["challenge", row.kind, row.metric] == pytest.approx(row.value)
    for row in structures[structures["label"] != 100].itertuples():
        assert rows["challenge", kind_and_number(row.label), "dice"] == pytest.approx(row.dice)
        assert rows["challenge", kind_and_number(row.label), "asd"] == pytest.approx(row.asd)
    assert len(rows) == 4 * 6 + 3 * 4 + 4 * 3

    for key, values in table[table["volume"] != ALL].groupby(COLUMNS[1:5])["value"]:
        mean = table[(table["volume"] == ALL) & (table[COLUMNS[1:5]] == list(key)).all(axis=1)]["value"]
        assert mean.tolist() == pytest.approx([values.mean()])
    assert set(table[table["metric"].isin(["asd", "hd95", "nsd_1", "nsd_2"])]["unit"]) == {"mm"}

    printed = capsys.readouterr().out
    dice = f"{(1 + 5 / 6) / 2:.3f}"
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("vertebrae")] == [dice, dice]
    assert "0.920    0.510" in printed and str(folders[2]) in printed


def test_two_files_need_no_common_name(tmp_path):
    prediction, reference = write(tmp_path / "mine.mha", spine(1)), write(tmp_path / "truth.mha", spine())
    assert score(prediction, reference, tmp_path / "out.csv") == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["volume"].unique().tolist() == ["mine", ALL]


def test_a_file_finds_its_reference_in_a_folder(folders, capsys):
    assert score(folders[0] / "b.nii.gz", *folders[1:]) == 0
    assert pd.read_csv(folders[2])["volume"].unique().tolist() == ["b", ALL]
    assert "not scored, as they have no prediction: a" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("numbered", [False, True])
def test_classes_are_scored_by_classes_alone(tmp_path, capsys, numbered):
    reference = write(tmp_path / "R.mha", spine() if numbered else four_classes(spine()))
    prediction = write(tmp_path / "P.mha", four_classes(spine(1)))
    assert score(prediction, reference, tmp_path / "out.csv") == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["score"].unique().tolist() == ["classes"]
    expected = score_classes(four_classes(spine()), four_classes(spine(1)), SPACING)["value"]
    assert table[table["volume"] == "P"]["value"].tolist() == pytest.approx(expected.tolist())
    assert "needs numbered vertebrae and discs in both label maps" in capsys.readouterr().out


def test_an_empty_prediction_misses_every_structure(folders):
    write(folders[0] / "a.nii.gz", 0 * spine())
    assert score(*folders) == 0
    table = pd.read_csv(folders[2]).set_index(["volume", "score", "structure", "metric"])["value"]
    assert table["a", "challenge", "discs", "dice"] == table["a", "challenge", "discs", "detected"] == 0
    assert table[ALL, "challenge", "discs", "dice"] == pytest.approx(table["b", "challenge", "discs", "dice"] / 2)
    assert np.isnan(table["a", "challenge", "discs", "asd"])
    assert table[ALL, "challenge", "discs", "asd"] == table["b", "challenge", "discs", "asd"]


def test_what_cannot_be_scored_is_left_out_and_said(folders, capsys):
    prediction, reference, out = folders
    write(prediction / "other place.mha", spine(), origin=(1.0, 2.0, 4.0))
    write(reference / "other place.mha", spine())
    write(prediction / "no reference.mha", spine())
    write(reference / "no prediction.mha", spine())
    write(prediction / "label.mha", spine() + 150)
    write(reference / "label.mha", spine())
    write(prediction / "size.mha", spine()[:, :-1])
    write(reference / "size.mha", spine())
    torn = write(prediction / "torn.mha", spine())
    torn.write_bytes(torn.read_bytes()[:-20])
    write(reference / "torn.mha", spine())
    assert score(prediction, reference, out) == 1
    lines = capsys.readouterr().err.splitlines()
    said = {name: next(line for line in lines if line.startswith(f"left out: {prediction / name}")) for name in
            ("other place.mha", "no reference.mha", "label.mha", "size.mha", "torn.mha")}  # fmt: skip
    assert (
        f"expected the origin of its reference {reference / 'other place.mha'}, (1, 2, 3), found (1, 2, 4)"
        in (said["other place.mha"])
    )
    assert "expected a reference no reference in" in said["no reference.mha"]
    assert "found 95, 96, as another tool numbers" in said["label.mha"]
    assert "expected the size of its reference" in said["size.mha"]
    assert "truncated" in said["torn.mha"]
    assert "not scored, as they have no prediction: no prediction" in lines
    assert lines[-1] == f"error: {prediction}: 5 of 7 volumes were not scored, see above"
    assert pd.read_csv(out)["volume"].unique().tolist() == ["a", "b", ALL]


def test_nothing_to_score_writes_nothing(folders, capsys):
    prediction, reference, out = folders
    for path in prediction.iterdir():
        path.rename(path.with_name(f"other_{path.name}"))
    assert score(prediction, reference, out) == 1
    assert f"error: {prediction}: 2 of 2 volumes were not scored" in capsys.readouterr().err
    assert not out.exists()


def test_wrong_paths_are_one_line(folders, capsys):
    prediction, reference, out = folders
    assert score(prediction / "c.mha", reference, out) == 2
    write(prediction / "a.mha", spine())
    assert score(prediction, reference, out) == 2
    (prediction / "a.mha").unlink()
    assert score(prediction, reference, prediction) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert "c.mha: expected a volume" in lines[0]
    assert "a.nii.gz: has the same name as" in lines[1]
    assert f"{prediction}: expected a file to write to" in lines[2]


def test_what_is_scored_is_kept_when_the_next_volume_stops_the_run(folders, monkeypatch):
    from spider_utils.evaluate import files as module

    original = module.score_pair

    def interrupted(prediction, *others):
        if prediction.name.startswith("b"):
            raise KeyboardInterrupt
        return original(prediction, *others)

    monkeypatch.setattr(module, "score_pair", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score_files(*folders)
    assert pd.read_csv(folders[2])["volume"].unique().tolist() == ["a", ALL]


@pytest.mark.parametrize(
    ("label", "name"), [(3, "vertebra 3"), (103, "vertebra 3, in part"), (100, "canal"), (201, "disc 1")]
)
def test_names_of_structures(label, name):
    assert kind_and_number(label) == name
