"""A folder with bad files among the good ones: the good ones are done, each bad one is a named line, exit status 1."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.__main__ import main
from spider_utils.predict import volumes as predict_volumes
from tests.helpers.toy_networks import bright_network

SIZE = (96, 64)  # of a slice
IDENTITY = "1 0 0 0 1 0 0 0 1"
LYING = {  # headers that are not the data's, by what is wrong
    "13_slices_too_few": {"DimSize": "64 96 9"},
    "14_no_voxel": {"DimSize": "0 96 3"},
    "15_nowhere": {"Offset": "nan 0 0"},
    "16_axes": {"NDims": "99"},
}


def classes(seed: int) -> np.ndarray:
    """Blocks of the classes 0..3, (3, 96, 64); each slice has all of them, so that its greys are not stretched."""
    blocks = np.random.default_rng(seed).integers(0, 4, (3, 6, 4))
    blocks[:, 0] = range(4)
    return np.kron(blocks, np.ones((1, 16, 16))).astype(np.uint8)


def sagittal(voxels: np.ndarray) -> sitk.Image:
    """A volume in the common pose: slices to the left, rows to the feet, columns to the back."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.5, 4.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    return image


def write_mha(path: Path, **other: str) -> None:
    voxels = (classes(99) * 85).astype("<i2")
    header = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False", "TransformMatrix": "0 1 0 0 0 -1 1 0 0", "Offset": "0 0 0",
        "ElementSpacing": "1.5 1.5 4", "DimSize": "64 96 3", "ElementType": "MET_SHORT",
    } | other  # fmt: skip
    text = "".join(f"{name} = {value}\n" for name, value in header.items()) + "ElementDataFile = LOCAL\n"
    path.write_bytes(text.encode() + voxels.tobytes())


@pytest.fixture
def folder(tmp_path):
    """Twelve good volumes and eight bad ones; the names of both."""
    source = tmp_path / "volumes"
    source.mkdir()
    for number in range(1, 13):
        suffix = (".mha", ".nii.gz", ".nrrd")[number % 3]
        sitk.WriteImage(sagittal((classes(number) * 85).astype(np.int16)), str(source / f"{number:02}{suffix}"), True)
    for name, header in LYING.items():
        write_mha(source / f"{name}.mha", **header)
    cut = source / "17_cut.nii.gz"
    cut.write_bytes((source / "01.nii.gz").read_bytes()[:-30])
    rotten = bytearray((source / "02.nrrd").read_bytes())
    rotten[-40] ^= 255
    (source / "18_rotten.nrrd").write_bytes(rotten)
    holes = (classes(1) * 85).astype(np.float32)
    holes[1, 2, 3] = np.nan
    sitk.WriteImage(sagittal(holes), str(source / "19_holes.mha"))
    write_mha(source / os.fsdecode(b"20_\xff.mha"))
    return source


def test_a_folder_of_twenty_with_eight_bad_ones(folder, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "bright.safetensors"
    for path in (weights, weights.with_suffix(".json")):
        path.write_bytes(b"")  # their digests decide what is kept
    network = bright_network(SIZE, description={"training": {"model": "ruler", "width": 1}}, weights=weights)
    monkeypatch.setattr(predict_volumes, "ready_network", lambda *_: network)
    out = tmp_path / "out"
    assert main(["predict", "--input", str(folder), "--output", str(out)]) == 1
    told = capsys.readouterr()
    good = [f"{number:02}" for number in range(1, 13)]
    assert sorted(path.stem for path in out.glob("*.mha")) == good
    assert pd.read_csv(out / "volumes.csv")["label_map"].tolist() == [f"{name}.mha" for name in good]
    for number, name in enumerate(good, start=1):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"{name}.mha"))), classes(number))
    lines = [line for line in told.err.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 8
    for number, line in enumerate(lines, start=13):
        name, _, problem = line.removeprefix(f"left out: {folder}/").partition(": ")
        assert name.startswith(f"{number}_") and problem.startswith("expected ") and "; " in problem
    assert "12 of 20 volumes segmented" in told.out and "Traceback" not in told.err
    assert f"error: {folder}: 8 of 20 volumes could not be segmented" in told.err


def test_a_check_of_the_same_folder_names_the_eight(folder, tmp_path, capsys):
    table = tmp_path / "problems.csv"
    assert main(["check", str(folder), "--out", str(table)]) == 1
    found = pd.read_csv(table)
    wrong = found.loc[found["severity"] == "error", "where"]
    assert sorted(int(name.partition("_")[0]) for name in wrong) == list(range(13, 21))
    assert len(capsys.readouterr().out.splitlines()) == 3 * len(found) + 1


def test_a_score_of_twenty_leaves_the_eight_out(folder, tmp_path, capsys):
    truth = tmp_path / "truth"
    truth.mkdir()
    for path in folder.iterdir():
        if path.name < "13":
            sitk.WriteImage(sagittal(classes(int(path.name[:2]))), str(path))
        (truth / path.name).write_bytes(path.read_bytes())
    assert (
        main(["score", "--prediction", str(folder), "--reference", str(truth), "--out", str(tmp_path / "s.csv")]) == 1
    )
    told = capsys.readouterr()
    table = pd.read_csv(tmp_path / "s.csv", dtype={"volume": str})
    dice = table[(table["metric"] == "dice") & (table["volume"] != "all")]
    assert dice["volume"].nunique() == 12 and (dice["value"] == 1).all()
    assert sum(line.startswith("left out: ") for line in told.err.splitlines()) == 8
