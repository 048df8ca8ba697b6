"""The check of a data set: every planted fault is found in one pass, and nothing else."""

import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.check import dataset as check_module
from spider_utils.data.check.dataset import CHECKS, check_dataset, run_checks
from spider_utils.data.check.findings import Finding, as_text, in_order, summary, write_findings
from spider_utils.data.check.overview import Listed
from spider_utils.data.check.volumes import implausible_plane, implausible_spacing, not_sagittal
from spider_utils.data.geometry import spider_geometries
from spider_utils.data.spider import read_overview
from spider_utils.data.volumes import read_volume
from tests.helpers.dicom_series import write_dicom
from tests.helpers.phantoms import kept_phantom

LABELS = (0, 1, 2, 3, 100, 201, 202, 203)
PLACES = {kind: f"{kind}/{{}}.mha" for kind in ("images", "masks")}


def image_of(seed: int, spacing=(3.3, 0.6, 0.7), degrees=0.0) -> sitk.Image:
    """A sagittal volume of 6 slices of 90 x 110 pixels, noise of its own; turned by degrees about the long axis."""
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(0, 500, (90, 110, 6)).astype(np.int16))
    image.SetSpacing(spacing)
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, 0, float(np.radians(degrees))).GetMatrix())
    return image


def mask_of(image: sitk.Image, labels=LABELS, kind=np.uint16) -> sitk.Image:
    values = np.array(labels, kind)
    mask = sitk.GetImageFromArray(values[np.arange(90 * 110 * 6).reshape(90, 110, 6) % len(values)])
    mask.CopyInformation(image)
    return mask


def changed(image: sitk.Image, **geometry) -> sitk.Image:
    image = sitk.Image(image)
    for name, values in geometry.items():
        getattr(image, f"Set{name}")(values)
    return image


def with_value(image: sitk.Image, value: float) -> sitk.Image:
    """The same volume in floating point with one value at its first voxel."""
    image = sitk.Cast(image, sitk.sitkFloat32)
    image[0, 0, 0] = value
    return image


def write(volume: sitk.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(volume, str(path), useCompression=True)


def write_clean(root: Path, names: list[str]) -> None:
    """Write a series for each name, all different, and the overview that belongs to them."""
    for seed, name in enumerate(names):
        image = image_of(seed)
        write(image, root / "images" / f"{name}.mha")
        write(mask_of(image), root / "masks" / f"{name}.mha")
    write_overview(root, [(name, 3, 3, "training") for name in names])


def write_overview(root: Path, rows: list[tuple]) -> None:
    table = pd.DataFrame(rows, columns=["new_file_name", "num_vertebrae", "num_discs", "subset"])
    table.to_csv(root / "overview.csv", index=False)


def plant_volume_faults(root: Path) -> dict[tuple[str, str], str]:
    """Spoil the series 1_t1 to 12_t2 in a fault each; return what is to be found where."""
    image = image_of(500)
    planted = {}

    def plant(kind: str, name: str, volume: sitk.Image, problem: str, severity="error") -> None:
        write(volume, root / kind / f"{name}.mha")
        planted[severity, PLACES[kind].format(name)] = problem

    def spoil(kind: str, name: str, content, problem: str) -> None:
        path = root / kind / f"{name}.mha"
        path.write_bytes(content(path.read_bytes()))
        planted["error", PLACES[kind].format(name)] = problem

    def own(name: str) -> sitk.Image:
        return sitk.ReadImage(str(root / "images" / f"{name}.mha"))

    spoil("images", "1_t1", lambda content: b"no header", "found a header that cannot be read")
    spoil("images", "1_t2", lambda content: content[:-30], "bytes of compressed voxels, found ")
    spoil(
        "masks",
        "2_t1",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "zlib-compressed voxels, found damaged",
    )
    plant("images", "2_t2", sitk.JoinSeries([image, image]), "expected a 3D volume")
    plant("images", "3_t1", sitk.Compose(image, image), "one value a voxel, found 6 x 110 x 90 with 2")
    plant("images", "3_t2", with_value(image, np.nan), "found 1 that are NaN or infinite")
    plant("images", "4_t1", image * 0 + 7, "expected an image with contrast, found 7 in every voxel")
    axial = changed(image_of(501), Spacing=(0.6, 0.6, 4.0))
    write(mask_of(axial), root / "masks" / "4_t2.mha")
    plant("images", "4_t2", axial, "expected sagittal slices, found axial ones (0.6 x 0.6 x 4 mm)")
    oblique = image_of(502, degrees=40)
    write(mask_of(oblique), root / "masks" / "5_t1.mha")
    plant("images", "5_t1", oblique, "within 30 degrees of sagittal, found 40 degrees", "warning")
    plant("masks", "5_t2", mask_of(image)[:, :109, :], "the size of its image, (6, 110, 90), found (6, 109, 90)")
    plant("masks", "6_t1", changed(mask_of(image), Spacing=(3.3, 0.6, 0.8)), "expected the spacing of its image")
    plant("masks", "6_t2", changed(mask_of(image), Origin=(0, 0, 1)), "the origin of its image, (0, 0, 0)")
    turned = (1, 0, 0, 0, -1, 0, 0, 0, 1)
    plant("masks", "7_t1", changed(mask_of(image), Direction=turned), "the direction of its image")
    plant("masks", "7_t2", mask_of(image, (*LABELS, 57000)), "0, 1..125 or 201..225, found 57000")
    plant("masks", "8_t1", mask_of(image, (0,)), "expected labels, found background alone")
    gap = (0, 1, 2, 4, 100, 201, 202)
    plant("masks", "8_t2", mask_of(image, gap), "vertebrae 1 to 4 without a gap, found no 3", "warning")
    gap = (0, 1, 2, 3, 100, 201, 203)
    plant("masks", "9_t1", mask_of(image, gap), "discs 201 to 203 without a gap, found no 202", "warning")
    lone = (0, 1, 2, 3, 100, 201, 202, 203, 204, 205)
    plant("masks", "9_t2", mask_of(image, lone), "expected vertebra 5 above disc 205, found none", "warning")
    plant("masks", "10_t1", mask_of(image, (0, 1, 2, 3, 201, 202, 203)), "the spinal canal, label 100", "warning")
    copy = sitk.DICOMOrient(sitk.Cast(own("8_t1"), sitk.sitkFloat32), "SAR")
    write(sitk.DICOMOrient(mask_of(own("8_t1")), "SAR"), root / "masks" / "10_t2.mha")
    plant("images", "10_t2", copy, "an image of its own, found the voxels of images/8_t1.mha")
    small, apart = image_of(503, spacing=(3.3, 0.6, 2.5)), image_of(504, spacing=(12.0, 0.6, 0.6))
    write(mask_of(small), root / "masks" / "11_t1.mha")
    plant("images", "11_t1", small, "pixels of 0.05 to 2 mm, found 2.5 x 0.6 mm", "warning")
    write(mask_of(apart), root / "masks" / "11_t2.mha")
    plant("images", "11_t2", apart, "slices at most 10 mm apart, found 12 mm", "warning")
    return planted


def plant_missing_files(root: Path) -> dict[tuple[str, str], str]:
    (root / "images" / "12_t1.mha").unlink()
    (root / "masks" / "12_t2.mha").unlink()
    image = sitk.ReadImage(str(root / "images" / "13_t1.mha"))
    write(image, root / "images" / "13_t1.nii.gz")
    write(image_of(600), root / "images" / "knee.mha")
    write(mask_of(image_of(600)), root / "masks" / "knee.mha")
    return {
        ("error", "masks/12_t1.mha"): "expected its image in images/, found none",
        ("error", "images/12_t2.mha"): "expected its mask in masks/, found none",
        ("error", "images/13_t1.mha"): "one file for a series, found 13_t1.nii.gz too",
        ("warning", "images/13_t1.nii.gz"): "expected a name like 12_t2_SPACE.mha",
        ("warning", "images/knee.mha"): "expected a name like 12_t2_SPACE.mha",
    }


def plant_table_faults(root: Path, rows: dict[str, tuple]) -> dict[tuple[str, str], str]:
    rows |= {"8_t1": (0, 0, "training"), "8_t2": (3, 2, "training"), "9_t1": (3, 2, "training")}
    rows |= {"9_t2": (3, 5, "training"), "13_t2": (5, 3, "training"), "14_t1": (3, 1, "training")}
    rows |= {"14_t2": (3, 3, "trainig"), "15_t2": (3, 3, "validation"), "99_t1": (7, 7, "training")}
    del rows["12_t1"], rows["16_t1"]
    rows["knee"] = (3, 3, "training")
    write_overview(root, [(name, *row) for name, row in rows.items()] + [("16_t2", 3, 3, "training")])
    return {
        ("warning", "overview.csv: 99_t1"): "expected its image in images/, found none",
        ("warning", "overview.csv: 16_t1"): "expected a row for this image, found none",
        ("error", "overview.csv: 16_t2"): "expected one row, found 2",
        ("error", "overview.csv: 14_t2"): "the subset training, validation or nothing, found 'trainig'",
        ("error", "overview.csv: patient 15"): "series in training and in validation",
        ("warning", "overview.csv: 13_t2"): "num_vertebrae as in the mask, 3, found 5",
        ("warning", "overview.csv: 14_t1"): "num_discs as in the mask, 3, found 1",
    }


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> tuple[Path, dict[tuple[str, str], str]]:
    """A set with about thirty faults, and each as (severity, place) -> words of the problem."""
    root = tmp_path_factory.mktemp("faulty")
    names = [f"{patient}_{kind}" for patient in range(1, 17) for kind in ("t1", "t2")]
    write_clean(root, names)
    planted = plant_volume_faults(root) | plant_missing_files(root)
    return root, planted | plant_table_faults(root, {name: (3, 3, "training") for name in names})


def test_one_pass_finds_every_planted_fault_and_nothing_else(faulty):
    root, planted = faulty
    findings, series = check_dataset(root)
    found = {(one.severity, one.where): one.problem for one in findings}
    assert found.keys() == planted.keys() and len(findings) == len(planted) >= 30
    for place, problem in planted.items():
        assert problem in found[place]
    assert series == 33  # 16 patients with two each, and the knee
    for one in findings:
        assert one.problem.startswith("expected ") and ", found " in one.problem
        assert one.remedy and not one.remedy.startswith("expected") and "\n" not in one.problem + one.remedy


def test_the_command_lists_them_errors_first_writes_a_csv_and_exits_with_1(faulty, tmp_path, capsys):
    root, planted = faulty
    assert main(["check", str(root), "--out", str(tmp_path / "problems.csv")]) == 1
    lines = capsys.readouterr().out.splitlines()
    errors = sum(severity == "error" for severity, _ in planted)
    assert lines[-1] == f"{errors} errors, {len(planted) - errors} warnings in 33 series"
    heads = [line.split(maxsplit=1) for line in lines[:-1:3]]
    assert [severity for severity, _ in heads] == ["error"] * errors + ["warning"] * (len(planted) - errors)
    order = [place for severity, place in heads if severity == "error" and place.startswith("images/")]
    assert order.index("images/2_t2.mha") < order.index("images/10_t2.mha")
    table = pd.read_csv(tmp_path / "problems.csv")
    assert list(table.columns) == ["severity", "where", "problem", "remedy"]
    assert {tuple(row) for row in table[["severity", "where"]].to_numpy()} == planted.keys()


def test_every_file_is_read_once(faulty, monkeypatch):
    root, _ = faulty
    read = []
    monkeypatch.setattr(check_module, "read_apart", lambda path: read.append(path) or read_volume(path))
    check_dataset(root)
    files = [path for kind in ("images", "masks") for path in (root / kind).iterdir()]
    assert sorted(read) == sorted(files)


def test_a_clean_set_gives_nothing_and_exit_status_0(tmp_path, capsys):
    write_clean(tmp_path, ["1_t1", "1_t2_SPACE", "2_t2"])
    assert main(["check", str(tmp_path), "--out", str(tmp_path / "problems.csv")]) == 0
    assert capsys.readouterr().out == "0 errors, 0 warnings in 3 series\n"
    assert (tmp_path / "problems.csv").read_text() == "severity,where,problem,remedy\n"
    (tmp_path / "overview.csv").unlink()
    assert check_dataset(tmp_path) == ([], 3)


def test_warnings_alone_exit_with_0(tmp_path, capsys):
    write_clean(tmp_path, ["1_t1"])
    write(mask_of(image_of(0), (0, 1, 2, 3, 201, 202, 203)), tmp_path / "masks" / "1_t1.mha")
    assert main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "warning  masks/1_t1.mha",
        "         expected the spinal canal, label 100, found none",
        "         -> check whether it was drawn",
        "0 errors, 1 warning in 1 series",
    ]


def test_no_grid_of_spiders_own_is_odd():
    """Among them pixels of 0.077 x 0.73 mm, slices 9.6 mm apart, and T2 SPACE."""
    for one in (geometry for geometries in spider_geometries().values() for geometry in geometries):
        slice_mm, row_mm, column_mm = one.spacing_mm
        _, rows, columns = one.shape
        image = sitk.Image([1, columns, rows], sitk.sitkUInt8)  # its axes run to the left, to posterior and up
        image.SetSpacing((slice_mm, column_mm, row_mm))
        assert implausible_spacing(one.like, image) == not_sagittal(one.like, image) == []
        assert implausible_plane(one.like, image) == []


@pytest.mark.parametrize(
    ("spacing", "found"),
    [
        ((3.3, 0.6, 15 / 90), "found 15 mm high and 66 mm wide"),
        ((60.0, 0.6, 3000 / 90), "found 3000 mm high and 66 mm wide"),
        ((3.3, 0.06, 0.6), "found 54 mm high and 6.6 mm wide"),
    ],
)
def test_a_sagittal_plane_that_no_scan_has_is_an_error(tmp_path, spacing, found):
    """Told in cm, in tenths of a mm, or as a crop; along the patient, whatever the order of the axes."""
    for code in ("LPS", "ASL"):
        write(sitk.DICOMOrient(image_of(1, spacing), code), tmp_path / "a.mha")
        findings, _ = check_dataset(tmp_path)
        errors = [one.problem for one in findings if one.severity == "error"]
        assert len(errors) == 1 and errors[0] == f"expected a sagittal plane of 50 to 1000 mm, {found}"


def test_a_header_with_two_places_is_a_warning(tmp_path):
    path = tmp_path / "a.nii"
    write(image_of(1), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 292, struct.unpack_from("<f", content, 292)[0] + 18)  # the sform, to the right
    struct.pack_into("<h", content, 254, 2)
    path.write_bytes(content)
    findings, _ = check_dataset(path)
    assert [(one.severity, one.where) for one in findings] == [("warning", "a.nii")]
    assert "found qform and sform up to 18 mm apart, taken is the qform" in findings[0].problem


def test_a_name_that_is_not_utf_8_is_a_finding_that_can_be_written(tmp_path):
    write_clean(tmp_path / "set", ["1_t1", "2_t1"])
    for kind in ("images", "masks"):
        folder = os.fsencode(tmp_path / "set" / kind)
        os.rename(folder + b"/1_t1.mha", folder + b"/1_t1\xff.mha")
    findings, _ = check_dataset(tmp_path / "set")
    assert ("error", "images/1_t1\\xff.mha") in {(one.severity, one.where) for one in findings}
    write_findings(findings, tmp_path / "problems.csv")
    assert "expected a name in UTF-8" in (tmp_path / "problems.csv").read_text()


def test_a_set_of_the_phantom_is_clean(tmp_path):
    for patient in (1, 2):
        image, mask = kept_phantom(patient, "T1", 0)
        write(image, tmp_path / "images" / f"{patient}_t1.mha")
        write(mask, tmp_path / "masks" / f"{patient}_t1.mha")
    assert check_dataset(tmp_path) == ([], 2)


def test_masks_in_another_format_and_images_in_dicom_are_paired_by_name(tmp_path):
    write_dicom(sitk.DICOMOrient(image_of(1), "PIR"), tmp_path / "images" / "1_t1")
    write(sitk.DICOMOrient(mask_of(image_of(1)), "PIR"), tmp_path / "masks" / "1_t1.nii.gz")
    findings, series = check_dataset(tmp_path)
    assert series == 1
    assert [(one.severity, one.where) for one in findings] == [("warning", "images/1_t1")]  # the name lacks .mha
    slices = sorted((tmp_path / "images" / "1_t1").iterdir())
    slices[2].write_bytes(slices[2].read_bytes()[:-5])
    findings, _ = check_dataset(tmp_path)
    assert findings[0].severity == "error" and findings[0].where == f"images/1_t1/{slices[2].name}"
    slices[2].unlink()
    findings, _ = check_dataset(tmp_path)
    assert findings[0].where == "images/1_t1" and "mm apart" in findings[0].problem


def test_a_plain_folder_or_file_of_volumes_has_no_masks_names_or_tables_to_check(tmp_path):
    write(image_of(1), tmp_path / "anything.nii.gz")
    write(image_of(2), tmp_path / "else.nrrd")
    assert check_dataset(tmp_path) == ([], 2)
    assert check_dataset(tmp_path / "else.nrrd") == ([], 1)
    write(image_of(3) * 0, tmp_path / "black.nii")
    findings, series = check_dataset(tmp_path)
    assert series == 3 and [one.where for one in findings] == ["black.nii"]
    assert [one.where for one in check_dataset(tmp_path / "black.nii")[0]] == ["black.nii"]


def test_an_empty_masks_folder_and_a_table_that_cannot_be_read_are_findings(tmp_path):
    write(image_of(1), tmp_path / "images" / "1_t1.mha")
    assert check_dataset(tmp_path) == ([], 1)  # unlabelled
    (tmp_path / "masks").mkdir()
    (tmp_path / "overview.csv").write_text("name,sex\n1_t1,F\n")
    (tmp_path / "radiological_gradings.csv").write_text("")
    findings, _ = check_dataset(tmp_path)
    assert [(one.severity, one.where) for one in findings] == [
        ("error", "images/1_t1.mha"),
        ("error", "masks"),
        ("error", "overview.csv"),
        ("error", "radiological_gradings.csv"),
    ]
    assert "new_file_name" in findings[2].problem


def test_a_file_that_the_system_does_not_give_is_a_finding(tmp_path, monkeypatch):
    write_clean(tmp_path, ["1_t1", "2_t1"])

    def refuse(path):
        if path.name == "1_t1.mha":
            raise PermissionError(13, "Permission denied")
        return read_volume(path)

    monkeypatch.setattr(check_module, "read_apart", refuse)
    findings, series = check_dataset(tmp_path)
    assert series == 2 and [one.where for one in findings] == ["images/1_t1.mha", "masks/1_t1.mha"]
    assert "found Permission denied" in findings[0].problem


def test_nothing_to_check_and_nowhere_to_write_are_one_line(tmp_path, capsys):
    assert main(["check", str(tmp_path / "absent")]) == 2
    (tmp_path / "images").mkdir()
    assert main(["check", str(tmp_path)]) == 2
    write_clean(tmp_path, ["1_t1"])
    assert main(["check", str(tmp_path), "--out", str(tmp_path / "overview.csv" / "problems.csv")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3 and "absent" in errors[0] and "images" in errors[1] and "problems.csv" in errors[2]
    with pytest.raises(SpiderError, match="found nothing"):
        check_dataset(tmp_path / "absent")


def test_partly_visible_vertebrae_count_as_vertebrae(tmp_path):
    write_clean(tmp_path, ["1_t1"])
    labels = (0, 1, 2, 103, 100, 201, 202, 203, 204)  # the third from below is cut, a disc lies above it
    write(mask_of(image_of(0), labels), tmp_path / "masks" / "1_t1.mha")
    write_overview(tmp_path, [("1_t1", 3, 4, "training")])
    assert check_dataset(tmp_path) == ([], 1)


def test_findings_are_sorted_and_counted():
    findings = [Finding(severity, where, "p", "r") for severity, where in (("warning", "a"), ("error", "10"))]
    findings.append(Finding("error", "9", "p", "r"))
    assert [one.where for one in in_order(findings)] == ["9", "10", "a"]
    assert summary(findings, 14) == "2 errors, 1 warning in 14 series"
    assert as_text(findings[:1]) == "warning  a\n         p\n         -> r"


def test_real_scans_are_clean_and_body_masks_lack_the_canal_alone(shared_data, tmp_path):
    volumes = shared_data / "volumes"
    assert check_dataset(volumes) == ([], 5)
    for patient, number in ((1, "02"), (2, "04")):
        for kind, name in (("images", "image"), ("masks", "bodies")):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{patient}_t2.mha").symlink_to(volumes / f"real_t2_tse_{number}_{name}.mha")
    findings, series = check_dataset(tmp_path)
    assert series == 2
    assert [(one.severity, one.where) for one in findings] == [
        ("warning", "masks/1_t2.mha"),
        ("warning", "masks/2_t2.mha"),
    ]
    assert all("spinal canal" in one.problem for one in findings)


def test_spiders_own_overview_is_clean(shared_data):
    table = read_overview(shared_data / "spider_metadata")
    assert run_checks("overview", Listed.of(table, list(table["new_file_name"]), {})) == []
    assert len(run_checks("overview", Listed.of(table, [], {}))) == 447


def test_another_check_is_added_in_one_place(tmp_path, monkeypatch):
    def few_slices(where, image):
        return [Finding("warning", where, f"expected 9 slices, found {image.GetSize()[0]}", "scan again")]

    write_clean(tmp_path, ["1_t1", "2_t1"])
    monkeypatch.setitem(CHECKS, "image", (*CHECKS["image"], few_slices))
    findings, _ = check_dataset(tmp_path)
    assert [(one.where, one.problem) for one in findings] == [
        ("images/1_t1.mha", "expected 9 slices, found 6"),
        ("images/2_t1.mha", "expected 9 slices, found 6"),
    ]
