"""APTA against direct labels, slice by slice, on volumes made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import FOREGROUND
from spider_utils.data.preprocess import stored_masks
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import find_series, read_stack
from spider_utils.data.survey import compare_labels

SETTINGS = PreprocessSettings(store_height=64, store_width=64)


@pytest.fixture
def series(tmp_path):
    """One series of 64 x 64 pixels, stored at that size, so that nothing is interpolated."""
    labels = np.zeros((64, 64, 5), np.uint8)  # z upwards, y, x: x is left-right
    labels[30:45, 10:30, 0:3], labels[45:50, 10:30, 1:3], labels[20:50, 40:48, 1] = 1, 201, 100
    labels[20:35, 10:30, 3], labels[40:55, 10:30, 3] = 1, 2
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(labels), tmp_path / kind / "7_t2.mha")
    return find_series("spider", tmp_path)


def test_what_is_kept_lost_and_invented(series):
    table = compare_labels(series, SETTINGS).set_index("slice_index")
    assert table["foreground"].tolist() == [300, 300 + 100 + 240, 400, 600, 0]
    assert table["enough_direct"].tolist() == [False, True, False, False, False]
    assert table["enough_apta"].tolist() == [False, True, False, False, False]
    # Slice 1 has all classes; pass 3's preference for the right shifts edges, no more than that.
    assert table.loc[1, ["dice_vertebrae", "dice_canal", "dice_discs"]].min() > 0.9
    assert 0 < table.loc[1, "changed"] < 64
    # Vertebrae alone become discs (slice 0), or canal and discs (slice 3): without red these turn red, black stays.
    assert table["painted_red"].tolist() == [True, False, False, True, False]
    assert table.loc[[0, 3], "changed"].max() < 64 and table.loc[[0, 3], "dice_vertebrae"].min() > 0.9
    assert np.isnan(table.loc[2, "dice_canal"]) and table.loc[4, "changed"] == 0
    assert not table[[name for name in table if name.startswith("lost_")]].any(axis=None)


@pytest.mark.filterwarnings("error")
def test_the_dice_of_both_is_counted_pixel_by_pixel(series):
    table = compare_labels(series, SETTINGS)
    assert (table["series"] == "7_t2").all() and (table["patient"] == 7).all() and (table["sequence"] == "T2").all()
    stack = read_stack(series[0])
    both = [stored_masks(stack, replace(SETTINGS, labels=labels)) for labels in ("direct", "apta")]
    for index, row in table.iterrows():
        pixels = list(zip(*(masks[index].ravel().tolist() for masks in both), strict=True))
        assert row["changed"] == sum(direct != apta for direct, apta in pixels)
        for label, name in enumerate(FOREGROUND, start=1):
            direct, apta = (sum(pixel[side] == label for pixel in pixels) for side in (0, 1))
            common = 2 * pixels.count((label, label)) / (direct + apta) if direct + apta else np.nan
            assert row[f"dice_{name}"] == pytest.approx(common, nan_ok=True)


def test_a_lone_pixel_is_a_class_that_apta_loses(tmp_path):
    labels = np.zeros((64, 64, 1), np.uint8)
    labels[30:45, 10:30], labels[20:50, 40:48], labels[10, 10] = 1, 100, 201
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(labels), tmp_path / kind / "7_t2.mha")
    (row,) = compare_labels(find_series("spider", tmp_path), SETTINGS).to_dict("records")
    assert row["enough_direct"] and not row["enough_apta"] and row["dice_discs"] == 0
    assert [row[f"lost_{name}"] for name in FOREGROUND] == [False, False, True]
    assert not any(row[f"invented_{name}"] for name in FOREGROUND) and not row["painted_red"]


def test_interpolation_rims_discs_with_canal(series):
    table = compare_labels(series, PreprocessSettings(store_height=160, store_width=160)).set_index("slice_index")
    assert table["invented_canal"].tolist() == [False, False, True, False, False]
    assert table.loc[2, "enough_apta"] and not table.loc[2, "enough_direct"]


def test_the_setting_for_labels_makes_no_difference_here(series):
    either = PreprocessSettings(store_height=64, store_width=64, labels="apta")
    assert compare_labels(series, either).equals(compare_labels(series, SETTINGS))


def test_several_series_are_numbered_through(series):
    twice = compare_labels([series[0], replace(series[0], name="8_t2", patient=8)], SETTINGS)
    assert twice.index.tolist() == list(range(10)) and twice["patient"].tolist() == [7] * 5 + [8] * 5
    without = compare_labels([series[0], replace(series[0], mask_files=())], SETTINGS)
    assert without.equals(compare_labels(series, SETTINGS))


def test_released_masks_cannot_be_compared(shared_data):
    released = find_series("released", shared_data / "released_t2_space")[:1]
    with pytest.raises(SpiderError, match="as in the released slices"):
        compare_labels(released, SETTINGS)
