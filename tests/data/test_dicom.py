"""DICOM series whose files differ from each other, or from what they say, beside pydicom's reading of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from spider_utils.common.errors import SpiderError
from spider_utils.data.dicom import read_dicom
from tests.helpers.dicom_series import write_dicom

SLICES = 6


def series(folder: Path, change: Callable[[int, pydicom.Dataset], None]) -> list[pydicom.Dataset]:
    """Write a series of 7 x 8 pixels of noise; `change` is given each slice's number and what its file is to hold."""
    voxels = np.random.default_rng(3).integers(-200, 1000, (SLICES, 8, 7)).astype(np.int16)
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing((0.5, 0.75, 3.3))
    written = []
    for number, path in enumerate(write_dicom(volume, folder)):
        written.append(pydicom.dcmread(path))
        change(number, written[-1])
        written[-1].save_as(path)
    return written


def refusal(folder: Path) -> str:
    with pytest.raises(SpiderError) as caught:
        read_dicom(folder)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(folder))
    return message


def scaled(slopes: list[str], intercepts: list[str]):
    def change(number: int, data: pydicom.Dataset) -> None:
        data.RescaleSlope, data.RescaleIntercept = slopes[number % len(slopes)], intercepts[number % len(intercepts)]

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda number, data: None,
        scaled(["1", "0.01", "2.5"], ["0"]),  # the first slice's values would be whole numbers
        scaled(["1", "300", "30000"], ["0"]),  # and of 16 bits
        scaled(["1"], ["0", "-40000", "70000"]),
        scaled(["0.5", "0.25"], ["3", "-3"]),
        lambda number, data: scaled(["0.5"], ["7"])(number, data) if number % 2 else None,
        lambda number, data: setattr(data, "PixelRepresentation", number % 2),
        lambda number, data: setattr(data.file_meta, "TransferSyntaxUID", ExplicitVRLittleEndian),
    ],
)
def test_every_slice_has_its_own_values(tmp_path, change):
    written = series(tmp_path, change)
    expected = [data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
                for data in written]  # fmt: skip
    found = sitk.GetArrayFromImage(read_dicom(tmp_path))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_slices_alike_keep_their_type(tmp_path):
    series(tmp_path, lambda number, data: None)
    assert read_dicom(tmp_path).GetPixelID() == sitk.sitkInt16


def remove(name: str):
    return lambda number, data: delattr(data, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (scaled(["1", "1", "0"], ["0"]), "IM1002.dcm: expected a number as RescaleSlope, found 0"),
        (remove("PixelSpacing"), "the size of its pixels in mm (PixelSpacing), found none"),
        (lambda number, data: setattr(data, "Rows", 6), "84 bytes of pixels, as its size 7 x 6 x 1 says, found 112"),
        (
            lambda number, data: setattr(data, "Columns", 9),
            "144 bytes of pixels, as its size 9 x 8 x 1 says, found 112",
        ),
        (lambda number, data: setattr(data, "PhotometricInterpretation", "MONOCHROME1"), "found MONOCHROME1"),
        (
            lambda number, data: setattr(data.file_meta, "TransferSyntaxUID", DeflatedExplicitVRLittleEndian),
            "found a file that is deflated as a whole",
        ),
        (
            lambda number, data: setattr(data, "PixelSpacing", [0.75, 0.5 + 0.1 * (number > 3)]),
            "expected pixels of one size, found 0.75 x 0.5 and 0.75 x 0.6 mm in IM1000.dcm and IM1004.dcm",
        ),
    ],
)
def test_what_a_slice_lacks_or_lies_about_is_refused(tmp_path, change, message):
    series(tmp_path, change)
    assert message in refusal(tmp_path)


def test_a_slice_whose_first_group_is_damaged_is_refused(tmp_path):
    """One bit: ITK finds its way, and guesses how the pixels are stored; pydicom refuses them, too."""
    series(tmp_path, lambda number, data: None)
    content = bytearray((tmp_path / "IM1002.dcm").read_bytes())
    content[132] ^= 128
    (tmp_path / "IM1002.dcm").write_bytes(content)
    with pytest.raises(AttributeError, match="Transfer Syntax"):
        pydicom.dcmread(tmp_path / "IM1002.dcm").pixel_array  # noqa: B018
    assert "IM1002.dcm: expected the group 0002 behind 'DICM', found another" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("EchoTime", ("20", "90"), "6 files at 3 places, of 2 echo times: 20 (3 files), 90 (3 files); put each"),
        ("ImageType", ("ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\P"), "of 2 image types: ORIGINAL\\PRIMARY\\M (3 f"),
        ("TemporalPositionIdentifier", ("1", "2"), "of 2 time points: 1 (3 files), 2 (3 files)"),
        ("PatientComments", ("a", "b"), "a slice is missing, there twice or of another stack"),
    ],
)
def test_several_images_at_each_place_are_told_apart(tmp_path, name, values, message):
    def change(number: int, data: pydicom.Dataset) -> None:
        setattr(data, name, values[number % 2])
        data.ImagePositionPatient = [0, 0, 3.3 * (number // 2)]

    series(tmp_path, change)
    assert message in refusal(tmp_path)
