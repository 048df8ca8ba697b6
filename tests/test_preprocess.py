"""Preprocessing: intensities, sizes and filters against hand-made volumes; the same series from any storage order."""

import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.errors import SpiderError
from spider_utils.labels import class_pixels
from spider_utils.preprocess import (
    PreprocessSettings,
    choose_slices,
    make_store,
    preprocess_stack,
    resampled_grid,
    resize_stack,
    scale_intensity,
)
from spider_utils.series import SliceStack
from spider_utils.sources import find_series
from spider_utils.store import open_store

SMALL = PreprocessSettings(store_height=64, store_width=32)


def make_folder(folder, patients=3, orientation="LPS", scale=1.0):
    """A SPIDER-format folder of small volumes with all classes in the middle slices, stored in an orientation."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for patient in range(1, patients + 1):
        rng = np.random.default_rng(patient)
        labels = np.zeros((40, 30, 8), np.uint8)  # z, y, x: x is left-right
        labels[5:15, 5:15, 2:7] = 1
        labels[15:18, 5:15, 2:6] = 201
        labels[18:28, 5:15, 1:7] = 2
        labels[5:28, 18:22, 3:6] = 100
        pixels = (scale * (labels * 3.0 + rng.normal(0, 5, labels.shape))).astype(np.float32)
        for kind, array in (("images", pixels), ("masks", labels)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((4.0, 1.0, 1.5))
            sitk.WriteImage(sitk.DICOMOrient(volume, orientation), folder / kind / f"{patient}_t2.mha", True)
    return folder


def test_slice_minmax_uses_the_whole_range_of_every_slice():
    image = np.stack([np.linspace(3, 9, 12), np.linspace(-100, 500, 12)]).reshape(2, 3, 4).astype(np.float32)
    scaled = scale_intensity(image, "slice_minmax")
    expected = np.rint(np.linspace(0, 255, 12)).reshape(3, 4)
    np.testing.assert_array_equal(scaled, [expected, expected])


def test_a_constant_slice_is_black_and_not_an_error():
    assert scale_intensity(np.full((1, 2, 2), 7.0, np.float32), "slice_minmax").max() == 0


def test_volume_percentiles_keep_slices_comparable_and_ignore_a_single_bright_pixel():
    image = np.tile(np.linspace(0, 100, 1000, dtype=np.float32), (2, 1)).reshape(2, 20, 50)
    image[1] *= 0.5
    image[0, 0, 0] = 1e6
    scaled = scale_intensity(image, "volume_percentile").astype(float)
    assert scaled[0, 0, 0] == 255
    assert scaled[0, 10:].mean() == pytest.approx(2 * scaled[1, 10:].mean(), rel=0.03)


def test_stretch_maps_the_borders_to_the_borders():
    stack = np.zeros((1, 40, 20), np.float32)
    stack[:, 20:] = 100
    out = resize_stack(stack, (1.0, 1.0), (80, 60), "stretch", nearest=False)[0]
    assert out.shape == (80, 60)
    assert (out[:39] == 0).all() and (out[41:] == 100).all()


def test_grey_values_between_two_pixels_are_rounded_and_not_cut_off():
    stack = np.array([[[10, 11]]], np.uint8)
    wide = resize_stack(np.repeat(stack, 4, axis=1), (1.0, 1.0), (4, 8), "stretch", nearest=False)
    assert wide.dtype == np.uint8
    assert wide[0, 0].tolist() == [10, 10, 10, 10, 11, 11, 11, 11]  # 10, 10, 10.125, 10.375, 10.625, ...


def test_pad_keeps_the_aspect_and_centres():
    stack = np.full((1, 40, 40), 9, np.uint8)  # 80 mm high, 40 mm wide
    out = resize_stack(stack, (2.0, 1.0), (80, 80), "pad", nearest=True)[0]
    rows, columns = np.flatnonzero(out.any(axis=1)), np.flatnonzero(out.any(axis=0))
    assert (rows[0], rows[-1]) == (0, 79)
    assert (columns[0], columns[-1]) == (20, 59)
    assert resampled_grid((40, 40), (2.0, 1.0), (80, 80), "pad") == (1.0, 1.0)


def test_stored_pixel_size_is_field_of_view_over_pixels():
    assert resampled_grid((40, 30), (1.5, 1.0), (64, 32), "stretch") == (40 * 1.5 / 64, 30 / 32)


def test_masks_get_no_new_labels_whatever_the_size():
    mask = np.random.default_rng(0).choice([0, 1, 3], (2, 33, 21)).astype(np.uint8)
    for size in ((64, 32), (17, 50)):
        assert set(np.unique(resize_stack(mask, (1.0, 0.7), size, "stretch", nearest=True))) <= {0, 1, 3}


def test_resizing_agrees_with_torch_on_a_random_slice():
    torch = pytest.importorskip("torch")
    slices = np.random.default_rng(1).random((1, 24, 36)).astype(np.float32)
    ours = resize_stack(slices, (0.8, 0.5), (48, 90), "stretch", nearest=False)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(slices)[None], size=(48, 90), mode="bilinear")[0]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_slices_are_chosen_by_the_number_of_classes_and_the_reason_is_said():
    pixels = np.array([[90, 5, 3, 2], [95, 5, 0, 0], [90, 5, 0, 5]])
    kept, reasons = choose_slices(pixels, 4)
    assert kept.tolist() == [True, False, False]
    assert reasons == ("kept", "no canal / discs", "no canal")
    assert choose_slices(pixels, 3)[0].tolist() == [True, False, True]


def test_class_pixels_by_hand():
    assert class_pixels(np.array([[[0, 1], [1, 3]], [[2, 2], [2, 2]]])).tolist() == [[1, 2, 0, 1], [0, 0, 4, 0]]


def test_every_storage_order_gives_the_same_store_pixel_for_pixel(tmp_path):
    stores = []
    for code in ("LPS", "RAI", "PIL", "ASR", "IPL"):
        series = find_series("spider", make_folder(tmp_path / code, patients=1, orientation=code))
        stores.append(make_store(series, SMALL, tmp_path / f"store_{code}"))
    for store in stores[1:]:
        np.testing.assert_array_equal(store.images, stores[0].images)
        np.testing.assert_array_equal(store.masks, stores[0].masks)
        assert store.table.equals(stores[0].table)


def test_store_holds_what_the_audit_kept(tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data"))
    store = make_store(series, SMALL, tmp_path / "store")
    audit = store.audit
    assert len(audit) == 3 * 8 and int(audit["kept"].sum()) == len(store) == 3 * 3
    assert audit[audit["kept"]].groupby("series")["slice_index"].nunique().tolist() == [3, 3, 3]
    assert (audit.loc[~audit["kept"], "reason"].str.startswith("no ")).all()
    np.testing.assert_array_equal(
        class_pixels(store.masks), store.table[["n_background", "n_vertebrae", "n_canal", "n_discs"]]
    )
    assert store.images.dtype == store.masks.dtype == np.uint8
    assert isinstance(store.images, np.memmap) and not store.images.flags.writeable
    assert store.table["pixel_mm_row"].unique().tolist() == [40 * 1.5 / 64]
    assert not (tmp_path / "store" / "parts").exists()


def test_a_store_that_is_cut_off_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    series = find_series("spider", make_folder(tmp_path / "data"))
    whole = make_store(series, SMALL, tmp_path / "whole")
    from spider_utils import preprocess

    calls = []

    def failing(one):
        calls.append(one.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(one)

    read = preprocess.read_stack
    monkeypatch.setattr(preprocess, "read_stack", failing)
    with pytest.raises(KeyboardInterrupt):
        make_store(series, SMALL, tmp_path / "cut")
    with pytest.raises(SpiderError, match="not complete"):
        open_store(tmp_path / "cut")
    store = make_store(series, SMALL, tmp_path / "cut")
    assert calls == ["1_t2", "2_t2", "3_t2", "3_t2"]
    np.testing.assert_array_equal(store.images, whole.images)


def test_other_settings_or_other_data_than_the_store_was_made_with_are_refused(tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data"))
    make_store(series, SMALL, tmp_path / "store")
    with pytest.raises(SpiderError, match="intensity = slice_minmax, now asked for volume_percentile"):
        other = PreprocessSettings(store_height=64, store_width=32, intensity="volume_percentile")
        make_store(series, other, tmp_path / "store")
    others = find_series("spider", make_folder(tmp_path / "others", scale=2.0))
    with pytest.raises(SpiderError, match="other data"):
        make_store(others, SMALL, tmp_path / "store")


def test_a_changed_subset_is_noticed(tmp_path):
    data = make_folder(tmp_path / "data")
    make_store(find_series("spider", data), SMALL, tmp_path / "store")
    (data / "overview.csv").write_text("new_file_name,subset\n1_t2,training\n2_t2,training\n3_t2,validation\n")
    with pytest.raises(SpiderError, match="other subsets"):
        make_store(find_series("spider", data), SMALL, tmp_path / "store")


def test_a_damaged_store_is_named(tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data"))
    make_store(series, SMALL, tmp_path / "store")
    masks = tmp_path / "store" / "masks.npy"
    masks.write_bytes(masks.read_bytes()[:200])
    with pytest.raises(SpiderError, match="cut off"):
        open_store(tmp_path / "store")
    masks.unlink()
    with pytest.raises(SpiderError, match="masks.npy"):
        open_store(tmp_path / "store")


def test_without_masks_nothing_is_kept_and_the_audit_says_so(tmp_path):
    stack = SliceStack(np.random.rand(2, 8, 8).astype(np.float32), None, (1.0, 1.0), 4.0, np.arange(2), "spider")
    done = preprocess_stack(stack, SMALL)
    assert not done.kept.any() and done.reasons == ("no mask", "no mask")


@pytest.mark.parametrize(
    "values",
    [{"intensity": "zscore"}, {"geometry": "crop"}, {"store_height": 8}, {"min_classes": 5}, {"min_classes": 0}],
)
def test_bad_settings_are_named(values):
    with pytest.raises(SpiderError, match="expected"):
        PreprocessSettings(**values)


def test_real_slices_of_another_size_reach_the_store(shared_data, tmp_path):
    series = [one for one in find_series("released", shared_data / "released_t2_space") if one.patient in (81, 5)]
    store = make_store(series, PreprocessSettings(), tmp_path)
    assert store.images.shape == (18 + 25, 640, 512)
    assert store.table["pixel_mm_row"].isna().all()
    # 512 x 620 became 512 x 640: the classes' shares must not change by it
    from spider_utils.sources import read_stack

    shares = class_pixels(read_stack(series[1]).classes()) / (620 * 512)
    np.testing.assert_allclose(class_pixels(store.masks[18:]) / (640 * 512), shares, atol=2e-4)
