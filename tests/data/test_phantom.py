"""The synthetic spines: SPIDER's format and numbers, repeatable voxels, findings that can be seen in the images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.geometry import Geometry, spider_geometries
from spider_utils.data.phantom import ORIENTATIONS, make_phantom, phantom_series, phantom_subset, reorient
from spider_utils.data.phantom.acquisition import acquire, draw_protocol
from spider_utils.data.phantom.anatomy import make_anatomy
from tests.helpers.phantoms import kept_phantom

SEQUENCE_OF_STEM = {"t1": "T1", "t2": "T2", "t2_SPACE": "T2_SPACE"}


@pytest.fixture(scope="session")
def phantom_set(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantom_set")
    make_phantom(folder, patients=3, seed=0, workers=2)
    return folder


def in_pose(image: sitk.Image) -> np.ndarray:
    """Axes: slices right to left, rows superior to inferior, columns anterior to posterior."""
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, "PIL"))


def places(mask: sitk.Image, label: int) -> np.ndarray:
    """Patient coordinates (n, 3) in mm of all voxels with a label."""
    voxels = np.argwhere(sitk.GetArrayViewFromImage(mask) == label)[:, ::-1]
    direction = np.array(mask.GetDirection()).reshape(3, 3)
    return np.array(mask.GetOrigin()) + voxels * mask.GetSpacing() @ direction.T


def series_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "images").iterdir())


def test_set_has_spider_layout(phantom_set):
    expected = ["1_t1", "1_t2", "1_t2_SPACE", "2_t1", "2_t2", "3_t1", "3_t2", "3_t2_SPACE"]
    assert series_names(phantom_set) == expected
    assert sorted(path.stem for path in (phantom_set / "masks").iterdir()) == expected
    overview = pd.read_csv(phantom_set / "overview.csv")
    assert sorted(overview["new_file_name"]) == expected
    assert set(overview["Manufacturer"]) == {"phantom"}
    assert not list(phantom_set.rglob(".*part*"))


def test_tables_have_spiders_columns(phantom_set, shared_data):
    for name in ("overview.csv", "radiological_gradings.csv"):
        real = pd.read_csv(shared_data / "spider_metadata" / name, nrows=1)
        assert list(pd.read_csv(phantom_set / name).columns) == list(real.columns)


def test_image_and_mask_share_geometry_and_are_integers(phantom_set):
    for name in series_names(phantom_set):
        image = sitk.ReadImage(str(phantom_set / "images" / f"{name}.mha"))
        mask = sitk.ReadImage(str(phantom_set / "masks" / f"{name}.mha"))
        assert image.GetPixelID() == sitk.sitkInt16 and mask.GetPixelID() == sitk.sitkUInt8
        for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(image, part)() == getattr(mask, part)()
        assert sitk.GetArrayViewFromImage(image).min() >= 0


def test_files_equal_series_made_in_memory(phantom_set):
    """Neither the number of patients nor the number of processes changes a voxel."""
    for name in ("2_t1", "3_t2_SPACE"):
        patient, stem = name.split("_", 1)
        image, mask = kept_phantom(int(patient), SEQUENCE_OF_STEM[stem], 0)
        for kind, volume in (("images", image), ("masks", mask)):
            stored = sitk.ReadImage(str(phantom_set / kind / f"{name}.mha"))
            assert sitk.GetArrayFromImage(stored).tobytes() == sitk.GetArrayFromImage(volume).tobytes()
            assert stored.GetSize() == volume.GetSize()
            assert np.allclose(stored.GetDirection(), volume.GetDirection(), atol=1e-9)


def test_seed_changes_the_patient():
    one, other = make_anatomy(2, 0), make_anatomy(2, 1)
    assert one.scale != other.scale
    assert make_anatomy(2, 0).conus_mm == one.conus_mm


def test_labels_run_upwards_and_the_canal_lies_behind(phantom_set):
    overview = pd.read_csv(phantom_set / "overview.csv").set_index("new_file_name")
    for name in series_names(phantom_set):
        mask = sitk.ReadImage(str(phantom_set / "masks" / f"{name}.mha"))
        labels = set(np.unique(sitk.GetArrayViewFromImage(mask)).tolist()) - {0}
        vertebrae = sorted(label for label in labels if label < 100)
        discs = sorted(label for label in labels if label > 200)
        assert labels == {100, *vertebrae, *discs}
        assert vertebrae == list(range(1, len(vertebrae) + 1)) and 5 <= len(vertebrae) <= 8
        assert discs == list(range(201, 201 + len(discs))) and len(discs) - len(vertebrae) in (0, 1)
        assert (overview.num_vertebrae[name], overview.num_discs[name]) == (len(vertebrae), len(discs))
        heights = {label: places(mask, label)[:, 2].mean() for label in labels}
        for label in vertebrae:
            assert heights[200 + label] < heights[label]
            assert label == 1 or heights[label - 1] < heights[200 + label]
        canal = places(mask, 100)
        for disc in discs:
            centre = places(mask, disc).mean(axis=0)
            beside = canal[np.abs(canal[:, 2] - centre[2]) < 3]
            assert beside[:, 1].mean() > centre[1] + 10  # LPS: y grows to posterior


def test_gradings_have_one_row_for_every_disc(phantom_set):
    overview = pd.read_csv(phantom_set / "overview.csv")
    gradings = pd.read_csv(phantom_set / "radiological_gradings.csv")
    patients = overview["new_file_name"].str.split("_").str[0].astype(int)
    for patient, discs in overview.groupby(patients)["num_discs"]:
        assert discs.nunique() == 1
        assert gradings.loc[gradings["Patient"] == patient, "IVD label"].tolist() == list(range(1, discs.iloc[0] + 1))
    assert gradings["Pfirrman grade"].between(1, 5).all() and gradings["Modic"].between(0, 3).all()
    assert gradings.drop(columns=["Patient", "IVD label", "Modic", "Pfirrman grade"]).isin([0, 1]).all(axis=None)


def real_series(shared_data: Path) -> pd.DataFrame:
    """SPIDER's table by series, and by series the shape and spacing of slices, rows and columns in mm."""
    table = pd.read_csv(shared_data / "spider_metadata" / "series_geometry.csv").set_index("series")
    for series, row in table.iterrows():
        order = "zyx" if row.slice_axis_in_array == 0 else "xzy"
        table.loc[series, ["slices", "rows", "columns"]] = [row[axis] for axis in order]
        table.loc[series, ["slice_mm", "row_mm", "column_mm"]] = [row[f"s{axis}"] for axis in order]
    return table


def sampled_as(overview: pd.DataFrame, name: str) -> str:
    """The series of SPIDER whose grid a phantom has."""
    return overview.SeriesDescription[name].removeprefix("synthetic, grid of ")


def test_grids_are_those_of_spiders_series(phantom_set, shared_data):
    """Field of view, ratio of the spacings and place of the slice axis are real, of a series of the same sequence;
    only T2 SPACE has fewer slices.
    """
    real = real_series(shared_data)
    overview = pd.read_csv(phantom_set / "overview.csv").set_index("new_file_name")
    drawn = {}
    for name in series_names(phantom_set):
        like = drawn[name] = sampled_as(overview, name)
        assert like.split("_", 1)[1] == name.split("_", 1)[1]
        row, image = real.loc[like], sitk.ReadImage(str(phantom_set / "images" / f"{name}.mha"))
        posed = sitk.DICOMOrient(image, "PIL")
        count, step = np.array(posed.GetSize())[::-1], np.array(posed.GetSpacing())[::-1]
        real_count = row[["slices", "rows", "columns"]].to_numpy(float)
        real_step = row[["slice_mm", "row_mm", "column_mm"]].to_numpy(float)
        assert 0.97 < count[1] * count[2] / 57_600 < 1.03
        np.testing.assert_allclose(count * step, real_count * real_step, rtol=1e-9)
        factor = step / real_step
        assert factor[1] == pytest.approx(factor[2], rel=0.02) and factor[1] > 1
        assert factor[0] == pytest.approx(factor[1] if name.endswith("SPACE") else 1, rel=0.02)
        code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
        axes = "".join("X" if letter in "LR" else "Y" if letter in "AP" else "Z" for letter in code)
        assert axes == {0: "YZX", 2: "XYZ"}[row.slice_axis_in_array]
    assert len(set(drawn.values())) == len(drawn)


def test_the_packages_table_is_spiders(shared_data):
    real = real_series(shared_data)
    listed = {one.like: one for geometries in spider_geometries().values() for one in geometries}
    assert set(listed) == set(real.index) and len(listed) == 360
    for series, row in real.iterrows():
        assert listed[series].shape == (row.slices, row.rows, row.columns)
        assert listed[series].spacing_mm == (row.slice_mm, row.row_mm, row.column_mm)
        assert listed[series].slices_first == (row.slice_axis_in_array == 0)
    assert {name: len(geometries) for name, geometries in spider_geometries().items()} == {
        "T1": 158, "T2": 172, "T2_SPACE": 30,
    }  # fmt: skip
    assert sum(one.slices_first for one in listed.values()) == 50


def test_the_overview_states_the_spacings(phantom_set):
    overview = pd.read_csv(phantom_set / "overview.csv").set_index("new_file_name")
    for name in series_names(phantom_set):
        image = sitk.ReadImage(str(phantom_set / "images" / f"{name}.mha"))
        column, row, between = sitk.DICOMOrient(image, "PIL").GetSpacing()
        np.testing.assert_allclose(json.loads(overview.PixelSpacing[name]), [row, column], rtol=1e-12)
        assert overview.SpacingBetweenSlices[name] == pytest.approx(between, rel=1e-12)
        assert overview.SliceThickness[name] == pytest.approx(0.9 * between, abs=0.005)


def test_without_a_cap_a_series_has_spiders_own_grid():
    """Patient 2's T1 is like 90_t1, a small one; the coarse one shows the same patient in the same field of view."""
    full, coarse = (phantom_series(2, "T1", 0, most_pixels=pixels)[1] for pixels in (0, 20_000))
    assert full.GetDirection() == coarse.GetDirection()
    posed = sitk.DICOMOrient(full, "PIL")
    assert posed.GetSize() == (320, 254, 19)
    np.testing.assert_allclose(posed.GetSpacing(), [0.8125, 1.034666, 4.757060], atol=1e-6)
    fine = sitk.Resample(full, coarse, sitk.Transform(), sitk.sitkNearestNeighbor)
    fine, seen = sitk.GetArrayFromImage(fine), sitk.GetArrayFromImage(coarse)
    assert (fine == seen).mean() > 0.99
    for label in set(np.unique(seen)) - {0}:
        assert 2 * ((fine == label) & (seen == label)).sum() > 0.85 * ((fine == label).sum() + (seen == label).sum())


def test_a_body_is_as_high_in_mm_whatever_the_pixels():
    """L3 of one patient, on the most anisotropic grids there are: rows finer than columns, columns finer than rows, and
    square pixels. Height and depth are taken along the body's own axes, through its middle.
    """
    anatomy = make_anatomy(1, 0)
    body = anatomy.vertebrae[2]
    measured = {}
    for like in ("186_t2", "67_t2", "110_t2"):
        geometry = next(one for one in spider_geometries()["T2"] if one.like == like).coarser(57_600, False)
        geometry = replace(geometry, shape=(5, *geometry.shape[1:]))
        protocol = replace(draw_protocol(anatomy, "T2", np.random.default_rng(0), 0), geometry=geometry)
        mask = acquire(anatomy, "T2", 0, protocol).mask
        steps = np.arange(-40, 40, 0.1)
        inside = {}
        for name, axis in (("height", 2), ("depth", 1)):
            line = body.frame.to_patient(np.eye(3)[axis] * steps[:, None])
            found = [mask[mask.TransformPhysicalPointToIndex(point.tolist())] == body.label for point in line]
            inside[name] = 0.1 * sum(np.array(found)[np.abs(steps) < {"height": 18, "depth": 19}[name]])
        measured[like] = inside
    rows_finest = measured["186_t2"]
    assert rows_finest["height"] == pytest.approx(measured["110_t2"]["height"], abs=1.5)
    assert rows_finest["height"] == pytest.approx(measured["67_t2"]["height"], abs=1.5)
    for one in measured.values():
        assert one["height"] == pytest.approx(body.shape.h - 2 * body.shape.hollow, abs=1.5)
        assert one["depth"] == pytest.approx(measured["110_t2"]["depth"], abs=3.0)


def test_subsets_are_by_patient(phantom_set):
    overview = pd.read_csv(phantom_set / "overview.csv")
    subset = dict(zip(overview["new_file_name"], overview["subset"], strict=True))
    assert {name: subset[name] for name in ("1_t1", "1_t2", "1_t2_SPACE", "2_t1", "2_t2")} == dict.fromkeys(
        ("1_t1", "1_t2", "1_t2_SPACE", "2_t1", "2_t2"), "training"
    )
    assert subset["3_t1"] == subset["3_t2"] == subset["3_t2_SPACE"] == "validation"


def test_a_quarter_of_the_patients_is_held_out():
    held_out = [patient for patient in range(1, 41) if phantom_subset(patient, 40) == "validation"]
    assert len(held_out) == 10 and {patient % 2 for patient in held_out} == {0, 1}
    assert [phantom_subset(patient, 2) for patient in (1, 2)] == ["training", "validation"]
    assert phantom_subset(1, 1) == "training"


def test_series_of_a_set_are_stored_in_different_orientations(phantom_set):
    codes, sides = set(), set()
    for name in series_names(phantom_set):
        image = sitk.ReadImage(str(phantom_set / "images" / f"{name}.mha"))
        codes.add(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection()))
        sides |= set(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection()))
        assert in_pose(image).shape[0] == min(image.GetSize())  # fewest samples from right to left
    assert len(codes) >= 4 and sides == set("LRAPIS")


def test_reorient_moves_voxels_but_not_the_patient():
    image, _ = kept_phantom(2, "T1", 0)
    image = image[2:12, 5:200:3, 4:290:3] if image.GetSize()[0] < 20 else image[::3, ::3, ::3]
    assert len(set(ORIENTATIONS)) == 48
    first, pose = image.TransformIndexToPhysicalPoint((2, 3, 1)), in_pose(image)
    layouts = set()
    for code in ORIENTATIONS:
        stored = reorient(image, code)
        assert sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(stored.GetDirection()) == code
        assert stored[stored.TransformPhysicalPointToIndex(first)] == image[2, 3, 1]
        assert np.array_equal(in_pose(stored), pose)
        layouts.add(sitk.GetArrayViewFromImage(stored).tobytes())
    assert len(layouts) == 48
    with pytest.raises(SpiderError, match="three letters"):
        reorient(image, "LRA")


def test_sacrum_is_drawn_but_not_labelled():
    image, mask = kept_phantom(2, "T2", 0)
    for sacral in make_anatomy(2, 0).sacrum[:2]:
        middle = image.TransformPhysicalPointToIndex(sacral.frame.origin.tolist())
        assert mask[middle] == 0
        lumbar = make_anatomy(2, 0).vertebrae[0].frame.origin.tolist()
        ratio = image[middle] / image[image.TransformPhysicalPointToIndex(lumbar)]
        assert 0.4 < ratio < 2.5 and mask[mask.TransformPhysicalPointToIndex(lumbar)] == 1


def middle_discs_and_bodies(mask: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """The sagittal slice through the middle of the lowest disc as labels, and the pixel size (row, column) in mm."""
    pose = sitk.DICOMOrient(mask, "PIL")
    labels = sitk.GetArrayFromImage(pose)
    middle = int(np.median(np.argwhere(labels == 202)[:, 0]))
    return labels[middle], np.array(pose.GetSpacing()[1::-1])


def test_slip_displaces_the_vertebra_above_forwards():
    """Measured as a reader would: the step of the body's centre along the disc's long axis."""
    graded = make_anatomy(6, 0).discs
    assert graded[1].findings.slip_mm > 6 and not any(graded[n].findings.slip_mm for n in (2, 3, 4))
    labels, pixel = middle_discs_and_bodies(kept_phantom(6, "T2", 0)[1])
    canal_front = np.where((labels == 100).any(axis=1), (labels == 100).argmax(axis=1), labels.shape[1])
    in_front = np.arange(labels.shape[1])[None, :] < canal_front[:, None]
    steps = {}
    for level in (2, 3, 4, 5):
        disc = np.argwhere(labels == 200 + level) * pixel
        axis = np.linalg.svd(disc - disc.mean(axis=0), full_matrices=False)[2][0]
        axis = axis if axis[1] > 0 else -axis  # towards posterior
        above, below = (np.argwhere((labels == n) & in_front).mean(axis=0) * pixel for n in (level, level - 1))
        steps[level] = float((above - below) @ axis)
    assert steps[2] < min(steps[3], steps[4], steps[5]) - 3


def test_worn_nucleus_is_darker_on_t2():
    discs = make_anatomy(1, 0).discs
    assert discs[0].findings.grade >= 4 and discs[1].findings.grade == 1
    image, mask = (in_pose(volume) for volume in kept_phantom(1, "T2", 0))
    middle = int(np.median(np.argwhere(mask == 201)[:, 0]))
    image, mask = image[middle - 2 : middle + 3], mask[middle - 2 : middle + 3]
    nucleus = {disc: np.percentile(image[mask == 200 + disc], 90) / np.median(image[mask == 1]) for disc in (1, 2)}
    assert nucleus[2] > 1.5 * nucleus[1]


def test_stenosis_narrows_the_canal():
    """Patient 2 has a narrow canal at L3/L4 (label 203), beside wide ones at the bodies of L3 and L4."""
    anatomy = make_anatomy(2, 0)
    assert anatomy.discs[2].findings.stenosis < 0.7 and anatomy.discs[2].findings.bulge_mm > 0
    _, mask = kept_phantom(2, "T2_SPACE", 0)
    canal = places(mask, 100)
    area = {}
    for name, height in (("disc", anatomy.discs[2].centre[2]), ("body", anatomy.vertebrae[3].frame.origin[2])):
        area[name] = (np.abs(canal[:, 2] - height) < 3).sum()
    assert area["disc"] < 0.75 * area["body"]


def test_contrast_of_the_sequences():
    """CSF is the dark tissue on T1 and the bright one on T2, against the marrow."""
    for sequence, brighter in (("T1", False), ("T2", True), ("T2_SPACE", True)):
        image, mask = (sitk.GetArrayFromImage(volume) for volume in kept_phantom(2, sequence, 0))
        assert (np.median(image[mask == 100]) > np.median(image[mask == 2])) == brighter


def test_complete_set_is_left_alone_and_a_broken_one_mended(tmp_path):
    small = {"patients": 1, "workers": 1, "most_pixels": 4_000}
    make_phantom(tmp_path, seed=3, **small)
    file = tmp_path / "masks" / "1_t2.mha"
    content, made = file.read_bytes(), file.stat().st_mtime_ns
    make_phantom(tmp_path, seed=3, **small)
    assert file.stat().st_mtime_ns == made
    with pytest.raises(SpiderError, match="made with patients 1, seed 4.* found patients 1, seed 3"):
        make_phantom(tmp_path, seed=4, **small)
    with pytest.raises(SpiderError, match="pixels 0, .* found .* pixels 4000"):
        make_phantom(tmp_path, seed=3, **small | {"most_pixels": 0})
    file.unlink()
    make_phantom(tmp_path, seed=3, **small)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "wrong", [{"patients": 0}, {"patients": 1.5}, {"seed": -1}, {"workers": 0}, {"most_pixels": -1}]
)
def test_bad_parameters_are_named(tmp_path, wrong):
    with pytest.raises(SpiderError, match=next(iter(wrong))):
        make_phantom(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_bad_folders_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(SpiderError, match="found a file"):
        make_phantom(file)
    (tmp_path / "real" / "images").mkdir(parents=True)
    with pytest.raises(SpiderError, match="expected an empty folder, found images"):
        make_phantom(tmp_path / "real")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "phantom.json").write_text("[]")
    with pytest.raises(SpiderError, match="phantom's record"):
        make_phantom(tmp_path / "odd")


def test_a_large_series_is_rendered_in_parts_that_do_not_show(monkeypatch):
    geometry = Geometry("", (6, 70, 60), (4.0, 4.0, 4.0), slices_first=False)
    anatomy = make_anatomy(1, 0)
    protocol = replace(draw_protocol(anatomy, "T2", np.random.default_rng(0), 0), geometry=geometry, noise=0.0)
    whole = acquire(anatomy, "T2", 0, protocol)
    monkeypatch.setattr("spider_utils.data.phantom.acquisition.POINTS", 2 * 3 * 70 * 60)
    parts = acquire(anatomy, "T2", 0, protocol)
    assert np.array_equal(sitk.GetArrayFromImage(whole.mask), sitk.GetArrayFromImage(parts.mask))
    difference = sitk.GetArrayFromImage(whole.image) - sitk.GetArrayFromImage(parts.image)
    assert np.abs(difference).max() <= 1 and sitk.GetArrayFromImage(whole.image).max() > 200


def test_unknown_sequence_is_refused():
    with pytest.raises(SpiderError, match="T1, T2, T2_SPACE"):
        phantom_series(1, "FLAIR", 0)
