"""Volumes: what the network is shown of them, hand-computed, and what comes back, in all orientations; what the command
writes where, what is said of the rest, and that nothing is done twice.

The network of most tests is a ruler, as in test_slices: a pixel's class is told by its brightness.
"""

import json
import math
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import four_classes
from spider_utils.data.phantom.acquisition import ORIENTATIONS, reorient
from spider_utils.data.pose import from_pose, to_pose
from spider_utils.data.volumes import read_volume
from spider_utils.masks.levels import number_structures
from spider_utils.predict import network as networks
from spider_utils.predict import volumes as predict_volumes
from spider_utils.predict.network import ReadyNetwork, VolumeSettings, read_volume_settings
from spider_utils.predict.segment import inside
from spider_utils.predict.volumes import neighbours_at, predict_classes, prepare_slices, slice_field
from spider_utils.predict.volumes import predict_volumes as predict_all
from spider_utils.studies.roundtrip import Extent, PerfectNetwork, roundtrip, same_grid, sampled_phantom, tilted
from tests.helpers.phantoms import kept_phantom
from tests.predict.test_slices import Ruler

SHAPE = (5, 64, 32)  # of the volume in the common pose; its slices have the network's size
SPACING = (3.0, 0.5, 0.75)
PERCENTILES = (0, 1, *range(10, 100, 10), 95, 99, 100)
LANDMARKS = (200.0,) * 14


def ruler(model=None, neighbours=0, **description) -> ReadyNetwork:
    model = model or Ruler(neighbours)
    told = {"description": description, "weights": Path("ruler")}
    return ReadyNetwork(model, torch.device("cpu"), SHAPE[1:], neighbours, **told)


def classes_at_random(seed: int = 0, shape=SHAPE) -> np.ndarray:
    """Blocks of classes 0..3; the first column holds all of them, so that every slice has the full range of greys."""
    coarse = np.random.default_rng(seed).integers(0, 4, (shape[0], shape[1] // 4, shape[2] // 4))
    classes = np.kron(coarse, np.ones((1, 4, 4))).astype(np.uint8)
    classes[:, :4, 0] = [0, 1, 2, 3]
    return classes


def volume_of(classes: np.ndarray, scale=lambda grey: grey) -> sitk.Image:
    """A volume in the common pose whose brightness tells its classes."""
    image = sitk.GetImageFromArray(scale(classes.astype(np.int16) * 85))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((4.0, -7.0, 11.0))
    image.SetDirection(
        (0, 0, 1, 1, 0, 0, 0, -1, 0)
    )  # columns to the posterior, rows to the inferior, slices to the left
    return image


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_every_orientation_comes_back_on_its_own_grid(code):
    classes = classes_at_random()
    straight = volume_of(classes)
    volume = reorient(straight, code)
    found, spacing = predict_classes(volume, ruler())
    np.testing.assert_array_equal(found, classes)
    assert spacing == pytest.approx(SPACING)
    back = from_pose(found, volume)
    assert same_grid(back, volume)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back) * 85, sitk.GetArrayFromImage(volume))


def test_standardised_intensities_undo_another_scale():
    classes = classes_at_random(1)
    landmarks = tuple(np.percentile(classes[classes > 0] * 85.0, PERCENTILES))
    volume = volume_of(classes, lambda grey: 300 + 2 * grey)
    found, _ = predict_classes(volume, ruler(), VolumeSettings(landmarks))
    np.testing.assert_array_equal(found, classes)


def test_a_wider_field_is_black_around_the_slice_and_is_cut_off_again():
    classes = np.zeros(SHAPE, np.uint8)
    classes[:, 20:44, 6:18] = 3
    settings = VolumeSettings(field_mm=64.0)  # 128 rows of 0.5 mm, 85 columns of 0.75 mm
    found, _ = predict_classes(volume_of(classes), ruler(), settings)
    assert found.shape == SHAPE and (found[:, 22:42, 9:15] == 3).all()
    assert (found[:, :18] == 0).all() and (found[:, 46:] == 0).all() and (found[:, :, 21:] == 0).all()
    noise = np.random.default_rng(0).integers(100, 255, SHAPE)
    shown = prepare_slices(noise, (128, 85), ruler(), VolumeSettings(LANDMARKS, 64.0))
    rows, columns = (np.flatnonzero((shown == 0).all(axis=0).all(axis=axis)) for axis in (1, 0))
    assert shown.shape == SHAPE  # its edges are one pixel soft
    assert len(rows) == pytest.approx(32, abs=2) and len(columns) == pytest.approx(32 - 32 * 32 / 85, abs=2)


@pytest.mark.parametrize(
    ("shape", "pixel_mm", "settings", "made", "expected"),
    [
        ((640, 512), (0.5, 0.5), VolumeSettings(), {}, (640, 512)),
        ((600, 500), (0.5, 0.5), VolumeSettings(field_mm=300.0), {}, (600, 600)),
        ((381, 381), (1.0, 1.0), VolumeSettings(field_mm=300.0), {}, (381, 381)),
        ((201, 257), (1.0, 1.0), VolumeSettings(field_mm=300.0), {}, (300, 300)),
        ((400, 300), (1.0, 0.5), VolumeSettings(field_mm=300.0), {}, (400, 800)),
        # stored at 640 x 512 with one scale: 300 mm / 640 rows = 0.469 mm, 150 mm / 512 columns = 0.293 mm; the larger
        # one counts, so the field is 300 mm x 240 mm
        ((300, 150), (1.0, 1.0), VolumeSettings(), {"geometry": "pad"}, (300, 240)),
    ],
)
def test_the_field_that_the_network_sees(shape, pixel_mm, settings, made, expected):
    preprocess = {"store_height": 640, "store_width": 512} | made
    network = ruler(data={"preprocess": preprocess})
    field = slice_field(shape, pixel_mm, network, settings)
    assert field == expected
    within = inside(shape, field)
    assert np.zeros(field)[within].shape == shape and all(one.start >= 0 for one in within)


@pytest.mark.parametrize(
    ("slice_mm", "trained_mm", "expected"),
    [
        (1.0, 1.0, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]),
        (4.0, 1.0, [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]),  # thick slices: the slice itself
        (0.5, 1.0, [[0, 0, 2], [0, 1, 3], [0, 2, 3], [1, 3, 3]]),
        (4.0, 0.0, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]),
    ],
)
def test_neighbours_lie_as_far_apart_as_in_training(slice_mm, trained_mm, expected):
    np.testing.assert_array_equal(neighbours_at(4, slice_mm, 1, trained_mm), expected)


def test_the_network_sees_its_neighbours_as_channels():
    classes = classes_at_random(3)
    for channel, expected in ((0, classes[[0, 0, 1, 2, 3]]), (2, classes[[1, 2, 3, 4, 4]])):
        network = ruler(Ruler(channel), neighbours=1)
        found, _ = predict_classes(volume_of(classes), network, VolumeSettings(slice_mm=3.0))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ({"field_mm": -1}, "field_mm: expected 0 to 2000, found -1"),
        ({"field_mm": 1e9}, "field_mm: expected 0 to 2000, found 1000000000.0"),
        ({"field_mm": math.nan}, "field_mm: expected 0 to 2000, found nan"),
        ({"slice_mm": "1"}, "slice_mm: expected 0 to 100, found '1'"),
        ({"slice_mm": True}, "slice_mm: expected 0 to 100, found True"),
        ({"body_landmarks": [1, 2]}, "landmarks: expected 14 ascending numbers"),
        ({"body_landmarks": ["17"] * 14}, "landmarks: expected 14 ascending numbers"),
        ({"body_landmarks": [[1]] * 14}, "landmarks: expected 14 ascending numbers"),
        ({"body_landmarks": "x" * 14}, "landmarks: expected 14 ascending numbers"),
        ({"body_landmarks": None}, "landmarks: expected 14 ascending numbers within 0..255, found None"),
        ({"body_landmarks": 5}, "landmarks: expected 14 ascending numbers within 0..255, found 5"),
        ({"landmarks": list(LANDMARKS)}, "unexpected keyword argument 'landmarks'"),  # of whole slices, as once
        ({"size": 3}, "size"),
    ],
)
def test_settings_that_are_not_known_are_refused(volumes, message):
    with pytest.raises(SpiderError, match="ruler.json: volumes: ") as caught:
        read_volume_settings(ruler(volumes=volumes))
    assert message in str(caught.value)


def test_pixels_so_small_that_the_field_would_fill_the_memory_are_refused():
    volume = sitk.GetImageFromArray(np.zeros((3, 12, 8), np.uint8))
    volume.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    volume.SetSpacing((0.001, 0.001, 4.0))
    with pytest.raises(SpiderError, match="at most 67108864 in the 300 x 300 mm .* found pixels of 0.001 x 0.001 mm"):
        predict_classes(volume, ruler(), VolumeSettings(field_mm=300.0))


@pytest.fixture(scope="module")
def t2_space():
    """Six slices of a phantom, sampled like SPIDER's T2 SPACE, over the whole field of view."""
    return sampled_phantom("T2 SPACE", Extent(across_mm=6.0))


def test_perfect_slices_come_back_as_they_were(t2_space):
    assert sorted(t2_space[0].GetSpacing()) == [0.46875, 0.46875, 1.0] and 640 in t2_space[0].GetSize()
    scores, same = roundtrip(*t2_space, (0, 0), "shares")
    assert same and set(scores.values()) == {1.0}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_perfect_slices_of_an_oblique_volume_come_back_as_they_were(t2_space, axis):
    image, mask = (tilted(volume, axis, 20.0) for volume in t2_space)
    assert not np.allclose(image.GetDirection(), t2_space[0].GetDirection())
    scores, same = roundtrip(image, mask, (0, 0), "shares")
    assert same and set(scores.values()) == {1.0}


def test_the_papers_slice_size_costs_less_than_a_hundredth(t2_space):
    for answer in ("shares", "nearest"):
        scores, _ = roundtrip(*t2_space, (640, 512), answer)
        assert min(scores.values()) >= 0.99


def test_smaller_slices_cost_more_and_shares_cost_less_than_whole_pixels(t2_space):
    shares, nearest = (roundtrip(*t2_space, (320, 256), answer)[0] for answer in ("shares", "nearest"))
    assert all(0.9 < nearest[name] < shares[name] < 1 for name in shares)


@pytest.fixture
def use(monkeypatch):
    """Put a network in the place of the one on disk: use(model, **description)."""

    def put(model=None, size=SHAPE[1:], **description):
        training = {"model": "ruler", "width": 1, "train_height": size[0], "train_width": size[1]}
        monkeypatch.setattr(networks, "load_network", lambda *_: (model, {"training": training} | description))
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
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".") == [
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
    assert main(["predict", "--input", str(source), "--output", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "2 of 3 volumes segmented" in told.out
    lines = [line for line in told.err.splitlines() if line.startswith(("left out", "error"))]
    assert len(lines) == 2 and "2_t2.nii.gz" in lines[0] and "1 of 3 volumes could not be segmented" in lines[1]
    assert {path.name for path in (tmp_path / "out").glob("*.mha")} == {"1_t2.mha", "3_t2.mha"}


@pytest.fixture
def count(use, folder, tmp_path):
    """Segment the three volumes with the weights w.safetensors, and return how many slices the network was shown."""
    for suffix in ("safetensors", "json"):
        (tmp_path / f"w.{suffix}").write_text("of the first training")
    network = use(Ruler())

    def segment(source=folder[0], **options):
        before = len(network.seen)
        predict_all(source, tmp_path / "out", tmp_path / "w.safetensors", **options)
        return len(network.seen) - before

    return segment


def test_what_is_done_is_not_done_again(count, folder, tmp_path):
    source, _ = folder
    assert count() == 15
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    os.utime(source / "1_t2.mha", (2e9, 2e9))  # a later time is no other volume
    assert count() == 0 and {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == kept


def test_a_changed_volume_is_segmented_again_even_with_an_older_time(count, folder, tmp_path):
    source, _ = folder
    count()
    sitk.WriteImage(volume_of(classes_at_random(7)), str(source / "1_t2.mha"))
    os.utime(source / "1_t2.mha", (1e9, 1e9))  # as a copy that keeps times has it
    assert count() == 5
    np.testing.assert_array_equal(label_map(tmp_path / "out" / "1_t2.mha"), classes_at_random(7))


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_another_network_under_the_same_name_segments_all_again(count, tmp_path, suffix):
    count()
    (tmp_path / f"w.{suffix}").write_text("of the second training")
    assert count() == 15
    assert len(pd.read_csv(tmp_path / "out" / "volumes.csv")) == 3


def test_a_changed_label_map_is_made_again(count, tmp_path):
    count()
    target = tmp_path / "out" / "2_t2.mha"
    made = target.read_bytes()
    target.write_bytes((tmp_path / "out" / "3_t2.mha").read_bytes())
    assert count() == 5 and target.read_bytes() == made


def test_what_another_call_wrote_of_other_volumes_stays(count, folder, tmp_path):
    """One volume by name, then the folder: rows are added, in any order, and the first is not made again."""
    source, _ = folder
    assert count(source / "2_t2.nii.gz") == 5
    assert count() == 10 and count(source / "3_t2.nrrd") == 0
    assert pd.read_csv(tmp_path / "out" / "volumes.csv")["label_map"].tolist() == ["1_t2.mha", "2_t2.mha", "3_t2.mha"]


@pytest.mark.slow
def test_two_processes_lose_no_row(tmp_path):
    """Each writes 20 rows into one folder, one after the other; all are there, in both files."""
    code = (
        "import sys; from pathlib import Path; from spider_utils.predict.volumes import note; "
        "out, who = Path(sys.argv[1]), sys.argv[2]\n"
        "for number in range(20):\n"
        "    target = out / f'{who}{number}.mha'; target.write_text('a map')\n"
        "    note(target, {'slices': number}, {'by': who})"
    )
    (tmp_path / "out").mkdir()
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out"), who]) for who in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    names = sorted(f"{who}{number}.mha" for who in "ab" for number in range(20))
    assert pd.read_csv(tmp_path / "out" / "volumes.csv")["label_map"].tolist() == names
    assert sorted(json.loads((tmp_path / "out" / "prediction.json").read_text())) == names


def test_a_label_map_of_a_volume_that_can_no_longer_be_read_loses_its_row(count, folder, tmp_path):
    source, _ = folder
    count()
    (source / "1_t2.mha").write_bytes(b"")
    done = predict_all(source, tmp_path / "out", tmp_path / "w.safetensors")
    assert done.left_out[source / "1_t2.mha"].endswith("1_t2.mha is of an earlier run")
    assert pd.read_csv(tmp_path / "out" / "volumes.csv")["label_map"].tolist() == ["2_t2.mha", "3_t2.mha"]


def test_volumes_are_not_kept_in_memory(use, folder, tmp_path, monkeypatch):
    """When a volume begins to be read, all but the one before it have been written."""
    source, _ = folder
    for number in range(4, 7):
        shutil.copy(source / "1_t2.mha", source / f"{number}_t2.mha")
    begin, written = predict_volumes.begin_reading, []

    def begin_and_note(path):
        written.append(len(list((tmp_path / "out").glob("*.mha"))) if (tmp_path / "out").exists() else 0)
        return begin(path)

    monkeypatch.setattr(predict_volumes, "begin_reading", begin_and_note)
    predict_all(source, tmp_path / "out")
    assert written == [0, 0, 1, 2, 3, 4]


def test_perfect_slices_of_a_phantom_come_back_numbered(use, tmp_path):
    image, mask = kept_phantom(3, "T2", 0)
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


@pytest.mark.parametrize("labels", ["four", "spider"])
def test_what_is_doubtful_about_a_volume_is_noted(use, tmp_path, labels):
    """A plane of 32 x 24 mm, and a NIfTI file whose sform lies 18 mm off its qform; nothing about the third.

    The label map of the second has both places, too.
    """
    for name, spacing in (("1_t2.mha", SPACING[::-1]), ("2_t2.nii", (2, 2, 4)), ("3_t2.mha", (2, 2, 4))):
        volume = volume_of(classes_at_random(1))
        volume.SetSpacing(spacing)
        sitk.WriteImage(volume, str(tmp_path / name))
    path = tmp_path / "2_t2.nii"
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 292, struct.unpack_from("<f", content, 292)[0] + 18)
    struct.pack_into("<h", content, 254, 2)
    path.write_bytes(content)
    predict_all(tmp_path, tmp_path / "out", labels=labels)
    notes = pd.read_csv(tmp_path / "out" / "volumes.csv", keep_default_na=False)["notes"]
    assert "plane of 50 to 1000 mm, found 32 mm high and 24 mm wide" in notes[0] and "18 mm apart" not in notes[0]
    assert "found qform and sform up to 18 mm apart, taken is the qform" in notes[1] and "plane" not in notes[1]
    assert "plane" not in notes[2] and "apart" not in notes[2] and (labels == "spider" or not notes[2])
    predict_all(path, tmp_path / "both", labels=labels, file_format="input")
    wanted, found = nibabel.load(path), nibabel.load(tmp_path / "both" / "2_t2.nii")
    for form in ("get_qform", "get_sform"):
        for one, other in zip(getattr(found, form)(coded=True), getattr(wanted, form)(coded=True), strict=True):
            np.testing.assert_array_equal(one, other)
    predict_all(tmp_path / "3_t2.mha", tmp_path / "clean", labels="four")
    assert "notes" not in pd.read_csv(tmp_path / "clean" / "volumes.csv").columns


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


def test_black_slices_on_either_side_change_nothing(shared_data):
    volume = read_volume(shared_data / "volumes" / "real_t2_lumbar.nii.gz")
    voxels = sitk.GetArrayFromImage(to_pose(volume))[15:21]
    network, found = networks.ready_network(device="cpu"), []
    for black in (0, 15):
        posed = sitk.GetImageFromArray(np.pad(voxels, ((black, black), (0, 0), (0, 0))))
        posed.SetSpacing(to_pose(volume).GetSpacing())
        posed.SetDirection(to_pose(volume).GetDirection())
        found.append(predict_classes(posed, network)[0])
    assert (found[0] > 0).mean() > 0.05
    np.testing.assert_array_equal(found[1], np.pad(found[0], ((15, 15), (0, 0), (0, 0))))


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
