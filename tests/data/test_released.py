"""The released PNG slices: grouping, order, sizes and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.released import OFFICIAL_VALIDATION, find_released_series, read_released_stack

CODES = np.array([0, 76, 150, 29], np.uint8)


def write_slice(folder: Path, patient: int, number: int, shape=(6, 5), mode="L", mask=True) -> None:
    """One image whose pixels tell its slice, and a mask with all four codes."""
    name = f"{patient}_t2_SPACE_slice{number}.png"
    pixels = (np.arange(shape[0] * shape[1]).reshape(shape) + number).astype(np.uint8)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(folder / "images" / name)
    if mask:
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(CODES[pixels % 4]).save(folder / "masks" / name)


def test_slices_are_ordered_by_number_and_patients_by_number(tmp_path):
    for number in (9, 100, 10):
        write_slice(tmp_path, 12, number)
    write_slice(tmp_path, 2, 50, mode="RGBA")
    write_slice(tmp_path, 11, 50)
    two, eleven, twelve = find_released_series(tmp_path)
    assert (two.patient, eleven.patient, twelve.patient) == (2, 11, 12)
    assert (two.subset, eleven.subset, twelve.subset) == ("training", "validation", "training")
    assert (twelve.name, twelve.sequence, twelve.coding) == ("12_t2_SPACE", "T2_SPACE", "grey")
    stack = read_released_stack(twelve)
    np.testing.assert_array_equal(stack.index, [9, 10, 100])
    np.testing.assert_array_equal(stack.image[:, 0, 0], [9, 10, 100])
    assert stack.image.dtype == np.float32 and stack.labels.dtype == np.uint16
    assert stack.pixel_mm is None and stack.slice_mm is None
    np.testing.assert_array_equal(stack.classes(), stack.image.astype(int) % 4)
    np.testing.assert_array_equal(read_released_stack(two).image[0, 0], [50, 51, 52, 53, 54])


def test_a_copy_of_the_authors_repository_is_found(tmp_path):
    write_slice(tmp_path / "Data" / "t2_SPACE", 12, 9)
    assert find_released_series(tmp_path) == find_released_series(tmp_path / "Data" / "t2_SPACE")


def test_a_set_without_masks_is_unlabelled(tmp_path):
    write_slice(tmp_path, 12, 9, mask=False)
    assert read_released_stack(find_released_series(tmp_path)[0]).labels is None


def test_folder_errors_name_what_is_missing(tmp_path):
    with pytest.raises(SpiderError, match="absent.*no such folder"):
        find_released_series(tmp_path / "absent")
    with pytest.raises(SpiderError, match="images/"):
        find_released_series(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(SpiderError, match="PNG"):
        find_released_series(tmp_path)


def test_image_without_mask_and_foreign_name_are_refused_by_name(tmp_path):
    write_slice(tmp_path, 12, 9)
    write_slice(tmp_path, 12, 10, mask=False)
    with pytest.raises(SpiderError, match="12_t2_SPACE_slice10.png: expected its mask"):
        find_released_series(tmp_path)
    (tmp_path / "images" / "photo.png").write_bytes(b"")
    with pytest.raises(SpiderError, match="photo.png"):
        find_released_series(tmp_path)


def test_slices_of_different_size_are_refused_by_name(tmp_path):
    write_slice(tmp_path, 12, 9)
    write_slice(tmp_path, 12, 10, shape=(7, 5))
    with pytest.raises(SpiderError, match="slice10.png: expected 5 x 6 pixels.*found 5 x 7"):
        read_released_stack(find_released_series(tmp_path)[0])


def test_a_mask_of_other_size_is_refused_by_name(tmp_path):
    write_slice(tmp_path, 12, 9)
    path = tmp_path / "masks" / "12_t2_SPACE_slice9.png"
    Image.fromarray(np.zeros((6, 4), np.uint8)).save(path)
    with pytest.raises(SpiderError, match="masks/12_t2_SPACE_slice9.png: expected 5 x 6 pixels.*found 4 x 6"):
        read_released_stack(find_released_series(tmp_path)[0])


@pytest.mark.parametrize("keep", [0, 20, -30])
def test_a_truncated_png_is_refused_by_name(tmp_path, keep):
    write_slice(tmp_path, 12, 9, shape=(60, 50))
    path = tmp_path / "images" / "12_t2_SPACE_slice9.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SpiderError, match="slice9.png.*cannot be read") as caught:
        read_released_stack(find_released_series(tmp_path)[0])
    assert "\n" not in str(caught.value)


def test_colour_sixteen_bits_and_unknown_codes_are_refused_by_name(tmp_path):
    write_slice(tmp_path, 12, 9)
    series = find_released_series(tmp_path)[0]
    Image.fromarray(np.full((6, 5), 77, np.uint8)).save(series.mask_files[0])
    with pytest.raises(SpiderError, match="masks/12_t2_SPACE_slice9.png.*77"):
        read_released_stack(series)
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(series.image_files[0])
    with pytest.raises(SpiderError, match="images/12_t2_SPACE_slice9.png.*8-bit"):
        read_released_stack(series)
    Image.new("RGB", (5, 6), (200, 10, 10)).save(series.image_files[0])
    with pytest.raises(SpiderError, match="images/12_t2_SPACE_slice9.png.*equal colour channels"):
        read_released_stack(series)


def test_official_validation_is_what_the_overview_says(shared_data):
    overview = pd.read_csv(shared_data / "spider_metadata" / "overview.csv")
    space = overview[overview["new_file_name"].str.endswith("_t2_SPACE") & (overview["subset"] == "validation")]
    patients = sorted(int(name.split("_")[0]) for name in space["new_file_name"])
    assert patients == sorted(OFFICIAL_VALIDATION)


def test_real_slices_are_all_found(shared_data):
    found = find_released_series(shared_data / "released_t2_space")
    assert len(found) == 30
    assert sum(len(series.image_files) for series in found) == 622
    assert sum(len(series.mask_files) for series in found) == 622
    assert {series.subset for series in found} == {"training"}


def test_real_stacks_have_their_size_and_pose(shared_data):
    found = {series.patient: series for series in find_released_series(shared_data / "released_t2_space")}
    stack = read_released_stack(found[81])
    assert stack.image.shape[1:] == (620, 512)
    np.testing.assert_array_equal(np.diff(stack.index), 1)
    rgba = next(one for one in found.values() if Image.open(one.image_files[0]).mode == "RGBA")
    stack = read_released_stack(rgba)
    assert stack.image.shape[1:] == (640, 512)
    with Image.open(rgba.image_files[0]) as picture:
        np.testing.assert_array_equal(stack.image[0], np.asarray(picture.getchannel("G")))
    middle = stack.classes()[len(stack.index) // 2]
    # anterior left: vertebrae and discs lie left of the canal; the sacrum (unlabelled) leaves the lower rows empty
    canal_row = np.nonzero((middle == 2).any(1))[0][50]
    assert np.nonzero(middle[canal_row] == 1)[0].min() < np.nonzero(middle[canal_row] == 2)[0].min()
    assert np.nonzero(middle == 3)[1].mean() < np.nonzero(middle == 2)[1].mean()
    assert (middle[-20:] == 1).sum() < (middle[:20] == 1).sum()
