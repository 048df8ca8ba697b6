"""Label maps for volumes: what is written where, what is said of the rest, and that nothing is done twice.

The network of most tests is a ruler, as in test_predict: a pixel's class is told by its brightness.
"""

import os

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import four_classes
from spider_utils.data.phantom import phantom_series
from spider_utils.data.phantom.acquisition import reorient
from spider_utils.data.pose import to_pose
from spider_utils.data.volumes import read_volume
from spider_utils.masks.levels import number_structures
from spider_utils.predict import network
from spider_utils.predict import volumes as predict_volumes
from spider_utils.predict.volumes import predict_volumes as predict_all
from spider_utils.studies.roundtrip import PerfectNetwork, same_grid
from tests.predict.test_slices import Ruler
from tests.predict.test_volume_inference import SHAPE, classes_at_random, volume_of

SIZE = SHAPE[1:]


@pytest.fixture
def use(monkeypatch):
    """Put a network in the place of the one on disk: use(model, **description)."""

    def put(model=None, size=SIZE, **description):
        training = {"model": "ruler", "width": 1, "train_height": size[0], "train_width": size[1]}
        monkeypatch.setattr(network, "load_network", lambda *_: (model, {"training": training} | description))
        return model

    put(Ruler())
    return put


@pytest.fixture
def folder(tmp_path):
    """Three volumes of different formats and orientations, and what they hold."""
    (tmp_path / "in").mkdir()
    truth = {}
    for seed, (name, code) in enumerate({"1_t2.mha": "LPS", "2_t2.nii.gz": "RAS", "3_t2.nrrd": "AIR"}.items()):
        truth[name.split(".")[0]] = classes_at_random(seed)
        sitk.WriteImage(reorient(volume_of(classes_at_random(seed)), code), str(tmp_path / "in" / name))
    return tmp_path / "in", truth


def label_map(path):
    return sitk.GetArrayFromImage(to_pose(read_volume(path)))


def test_every_volume_gets_a_label_map_on_its_own_grid(use, folder, tmp_path):
    source, truth = folder
    done = predict_all(source, tmp_path / "out")
    assert [path.name for path in done.label_maps] == ["1_t2.mha", "2_t2.mha", "3_t2.mha"] and not done.left_out
    for path, volume in zip(done.label_maps, sorted(source.iterdir()), strict=True):
        assert same_grid(read_volume(path), read_volume(volume))
        np.testing.assert_array_equal(label_map(path), truth[path.stem])
        assert read_volume(path).GetPixelID() == sitk.sitkUInt8
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "1_t2.mha", "2_t2.mha", "3_t2.mha", "prediction.json", "volumes.csv",
    ]  # fmt: skip


def test_the_inputs_format_is_kept_on_request(use, folder, tmp_path):
    source, truth = folder
    done = predict_all(source, tmp_path / "out", file_format="input")
    assert [path.name for path in done.label_maps] == ["1_t2.mha", "2_t2.nii.gz", "3_t2.nrrd"]
    for path in done.label_maps:
        np.testing.assert_array_equal(label_map(path), truth[path.name.split(".")[0]])
        found, given = (read_volume(one) for one in (path, source / path.name))
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(found, name)(), getattr(given, name)(), atol=1e-5)


def test_the_table_tells_the_volumes_of_the_classes(use, folder, tmp_path):
    source, truth = folder
    predict_all(source, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "volumes.csv").set_index("label_map")
    voxel_ml = 3.0 * 0.5 * 0.75 / 1000
    for name, classes in truth.items():
        row = table.loc[f"{name}.mha"]
        for label, column in enumerate(("vertebrae_ml", "canal_ml", "discs_ml"), start=1):
            assert row[column] == pytest.approx((classes == label).sum() * voxel_ml, abs=0.006)
        assert row["slices"] == len(classes)


def test_one_bad_volume_is_said_so_and_the_rest_go_on(use, folder, tmp_path, capsys):
    source, _ = folder
    broken = source / "2_t2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-40])
    assert main(["predict", "--input", str(source), "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert "2 of 3 volumes segmented" in told.out
    lines = [line for line in told.err.splitlines() if line.startswith(("left out", "error"))]
    assert len(lines) == 2 and "2_t2.nii.gz" in lines[0] and "1 of 3 volumes could not be segmented" in lines[1]
    assert {path.name for path in (tmp_path / "out").glob("*.mha")} == {"1_t2.mha", "3_t2.mha"}


def test_what_is_done_is_not_done_again_unless_something_changed(use, folder, tmp_path):
    source, truth = folder
    network = use(Ruler())
    predict_all(source, tmp_path / "out")
    seen = len(network.seen)
    assert seen == sum(len(classes) for classes in truth.values())
    predict_all(source, tmp_path / "out")
    assert len(network.seen) == seen
    later = (tmp_path / "out" / "1_t2.mha").stat().st_mtime + 10
    os.utime(source / "1_t2.mha", (later, later))
    done = predict_all(source, tmp_path / "out")
    assert len(network.seen) == seen + len(truth["1_t2"]) and len(done.label_maps) == 3
    use(network, best={"epoch": 2})  # another network
    predict_all(source, tmp_path / "out")
    assert len(network.seen) == 2 * seen + len(truth["1_t2"])
    assert len(pd.read_csv(tmp_path / "out" / "volumes.csv")) == 3


def test_volumes_are_not_kept_in_memory(use, folder, tmp_path, monkeypatch):
    """When a volume is read, the one before it has been written."""
    source, _ = folder
    read, written = predict_volumes.read_volume, []

    def read_and_note(path):
        written.append(len(list((tmp_path / "out").glob("*.mha"))) if (tmp_path / "out").exists() else 0)
        return read(path)

    monkeypatch.setattr(predict_volumes, "read_volume", read_and_note)
    predict_all(source, tmp_path / "out")
    assert written == [0, 1, 2]


def test_perfect_slices_of_a_phantom_come_back_numbered(use, tmp_path):
    image, mask = phantom_series(3, "T2", 0)
    reference = sitk.GetArrayFromImage(to_pose(mask))
    classes = four_classes(reference)
    use(PerfectNetwork(classes, classes.shape[1:], "shares"), size=classes.shape[1:])
    sitk.WriteImage(image, str(tmp_path / "3_t2.mha"))
    done = predict_all(tmp_path / "3_t2.mha", tmp_path / "out", labels="spider")
    found = label_map(done.label_maps[0])
    np.testing.assert_array_equal(four_classes(found), np.where(found > 0, classes, 0))
    spacing = to_pose(image).GetSpacing()[::-1]
    np.testing.assert_array_equal(found, number_structures(classes, spacing).labels)
    assert set(np.unique(found)) == set(np.unique(reference)) and (found == reference).mean() > 0.999
    row = pd.read_csv(tmp_path / "out" / "volumes.csv").iloc[0]
    assert row["vertebrae"] == ((np.unique(reference) > 0) & (np.unique(reference) < 100)).sum()
    assert row["discs"] == (np.unique(reference) > 200).sum()


def test_thick_slices_across_the_spine_are_left_out(use, tmp_path):
    image = sitk.Image([32, 32, 6], sitk.sitkInt16)
    image.SetSpacing((0.5, 0.5, 4.0))  # axial
    sitk.WriteImage(image, str(tmp_path / "axial.mha"))
    done = predict_all(tmp_path / "axial.mha", tmp_path / "out")
    assert not done.label_maps
    assert "expected sagittal slices, found axial ones" in done.left_out[tmp_path / "axial.mha"]


def test_two_volumes_of_one_name_and_the_volumes_own_folder_are_refused(use, folder, tmp_path):
    source, _ = folder
    with pytest.raises(SpiderError, match="the label map would overwrite the volume; name another folder"):
        predict_all(source, source)
    (source / "1_t2.nrrd").write_bytes((source / "3_t2.nrrd").read_bytes())
    with pytest.raises(SpiderError, match="1_t2.nrrd: has the same name as .*1_t2.mha; rename one"):
        predict_all(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--labels", "five"], "labels: expected one of four, spider, found 'five'"),
        (["--format", "dicom"], "format: expected one of mha, input, found 'dicom'"),
    ],
)
def test_wrong_choices_are_one_line(use, folder, tmp_path, capsys, extra, message):
    assert main(["predict", "--input", str(folder[0]), "--output", str(tmp_path / "out"), *extra]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_missing_input_is_one_line(tmp_path, capsys):
    assert main(["predict", "--input", str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 2
    expected = "expected a volume, or a folder of volumes or PNG slices, found none; check the path"
    assert capsys.readouterr().err == f"error: {tmp_path / 'none'}: {expected}\n"


def test_a_real_volume_of_another_site_is_segmented_on_its_own_grid(shared_data, tmp_path):
    """A lumbar T2, with the shipped network: plausible amounts of each structure, and numbers in a row."""
    source = shared_data / "volumes" / "real_t2_lumbar.nii.gz"
    done = predict_all(source, tmp_path / "out", device="cpu", labels="spider")
    assert same_grid(read_volume(done.label_maps[0]), read_volume(source))
    row = pd.read_csv(tmp_path / "out" / "volumes.csv").iloc[0]
    assert 60 < row["vertebrae_ml"] < 250 and 15 < row["canal_ml"] < 80 and 8 < row["discs_ml"] < 60
    numbers = np.unique(label_map(done.label_maps[0]))
    vertebrae = numbers[(numbers > 0) & (numbers < 100)]
    assert vertebrae.tolist() == list(range(1, len(vertebrae) + 1)) and 4 <= len(vertebrae) <= 6
