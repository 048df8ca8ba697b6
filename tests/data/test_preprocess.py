"""Preprocessing: intensities, sizes and filters against hand-made volumes; the same series from any storage order."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data import preprocess
from spider_utils.data.apta import apta
from spider_utils.data.filters import FILTERS
from spider_utils.data.intensity import scale_intensity
from spider_utils.data.labels import class_pixels, four_classes
from spider_utils.data.phantom import make_phantom
from spider_utils.data.preprocess import (
    apta_greys,
    audit,
    choose_slices,
    grey_masks,
    make_store,
    preprocess_stack,
    resampled_grid,
    resize_stack,
    stored_masks,
)
from spider_utils.data.series import SliceStack
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import FORMER_BYTES, SOURCES, find_series, fingerprint, read_stack
from spider_utils.data.store import open_store, with_version
from tests.helpers.apta_reference import apta_images

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


def test_an_audit_alone_is_that_of_the_store(tmp_path):
    make_folder(tmp_path / "data")
    series = find_series("spider", tmp_path / "data")
    store = make_store(series, SMALL, tmp_path / "store")
    pd.testing.assert_frame_equal(audit(series, SMALL), store.audit, check_dtype=False)


def test_a_stacks_aspect_is_row_over_column_spacing():
    blank = np.zeros((1, 2, 2), np.float32)
    assert SliceStack(blank, None, (0.6, 0.4), 3.0, np.arange(1), "spider").aspect == pytest.approx(1.5)
    assert SliceStack(blank, None, None, None, np.arange(1), "classes").aspect == 1


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


def content_digest(series, **settings):
    """Digest what a store of these series would hold, and its audit."""
    digest = hashlib.sha256()
    for one in series:
        stack = read_stack(one)
        done = preprocess_stack(stack, PreprocessSettings(store_height=160, store_width=128, **settings))
        digest.update(done.images.tobytes() + done.masks.tobytes())
        digest.update(preprocess.audit_rows(one, stack.index, done).to_csv(index=False).encode())
    return digest.hexdigest()[:16]


CONTENTS = {  # what each choice gives, and the version of the preprocessing (see store.VERSIONS) that it is of
    ("intensity", "slice_minmax"): (1, "15b810f1132ffa3d"),
    ("intensity", "volume_percentile"): (2, "066122aefc277f66"),
    ("geometry", "pad"): (1, "cc734ab5778854b0"),
    ("labels", "apta"): (2, "bdd27d1be555f2ff"),
}


@pytest.mark.parametrize(("name", "value"), CONTENTS)
def test_what_a_store_holds_changes_with_the_version_of_the_preprocessing_alone(name, value, tmp_path):
    """Hand-made volumes, and three series of the embedded sample, one a sequence, but for APTA: they have no labels."""
    version, content = CONTENTS[name, value]
    series = [*find_series("spider", make_folder(tmp_path))]
    if value != "apta":
        series += {one.sequence: one for one in find_series("sample", SOURCES["sample"].home)}.values()
    assert with_version({name: value}).get("preprocessing_version", 1) == version
    found = content_digest(series, **{name: value})
    assert found == content, (
        f"stores with {name} = {value} come out another: add a version with it to VERSIONS of data/store.py, so that "
        f"older ones are refused, and its number and {found} here"
    )


@pytest.mark.parametrize(("name", "value"), [("intensity", "volume_percentile"), ("labels", "apta")])
def test_a_store_of_an_older_preprocessing_is_refused_where_that_gave_something_else(name, value, tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data", patients=1))
    settings = replace(SMALL, **{name: value})
    store = make_store(series, settings, tmp_path / "store")
    assert store.info["preprocess"]["preprocessing_version"] == 2
    note = tmp_path / "store" / "store.json"
    info = json.loads(note.read_text())
    del info["preprocess"]["preprocessing_version"]
    note.write_text(json.dumps(info))
    with pytest.raises(SpiderError, match="preprocessing_version = 1, now asked for 2; .* or delete the store"):
        make_store(series, settings, tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    assert len(make_store(series, settings, tmp_path / "store")) == len(store)


def test_a_store_whose_content_has_never_changed_names_no_version(tmp_path):
    """So that stores, trainings and results that were made before versions were told still count."""
    series = find_series("spider", make_folder(tmp_path / "data", patients=1))
    assert "preprocessing_version" not in make_store(series, SMALL, tmp_path / "store").info["preprocess"]


def test_data_that_were_known_by_the_start_of_their_files_alone_are_refused_as_that(tmp_path):
    """Until November 2026 a fingerprint was of the first 64 KiB of each file."""
    series = find_series("spider", make_folder(tmp_path / "data", patients=1))
    make_store(series, SMALL, tmp_path / "store")
    note = tmp_path / "store" / "store.json"
    info = json.loads(note.read_text())
    assert info["fingerprint"] == fingerprint(series) == fingerprint(series, former=True)  # small files: still good
    with (tmp_path / "data" / "images" / "1_t2.mha").open("ab") as file:
        file.write(bytes(FORMER_BYTES))
    assert fingerprint(series) != fingerprint(series, former=True)
    note.write_text(json.dumps(info | {"fingerprint": fingerprint(series, former=True)}))
    with pytest.raises(SpiderError, match="store: made by an earlier version, .* first 64 KiB .* take another folder"):
        make_store(series, SMALL, tmp_path / "store")


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
    [
        {"intensity": "zscore"},
        {"geometry": "crop"},
        {"store_height": 8},
        {"min_classes": 5},
        {"min_classes": 0},
        {"labels": "grey"},
        {"slice_filter": "text"},
    ],
)
def test_bad_settings_are_named(values):
    with pytest.raises(SpiderError, match="expected"):
        PreprocessSettings(**values)


def small_stack(label_maps: np.ndarray, coding: str = "spider") -> SliceStack:
    index = np.arange(len(label_maps))
    return SliceStack(label_maps.astype(np.float32), label_maps, (1.0, 1.0), 1.0, index, coding)


def test_grey_masks_by_hand_cut_decimals_off():
    labels = np.array([[[0, 1, 9, 10], [100, 201, 208, 209]], [[0, 1, 2, 3], [0, 0, 0, 4]], [[0] * 4] * 2], np.uint16)
    grey = grey_masks(labels)
    assert grey.dtype == np.uint8
    # 255 / 209 times 1, 9, 10, 100, 201, 208: 1.22, 10.98, 12.20, 122.01, 245.24, 253.78
    assert grey[0].tolist() == [[0, 1, 10, 12], [122, 245, 253, 255]]
    assert grey[1].tolist() == [[0, 63, 127, 191], [0, 0, 0, 255]]  # each slice by its own highest label
    assert grey[2].tolist() == [[0] * 4] * 2


def test_apta_labels_agree_with_direct_ones_but_for_edges_and_small_things():
    labels = np.zeros((1, 60, 60), np.uint16)
    labels[0, 10:22, 10:30], labels[0, 22:28, 10:30], labels[0, 28:40, 10:30], labels[0, 8:45, 36:44] = 2, 202, 1, 100
    stack = small_stack(labels)
    settings = PreprocessSettings(store_height=60, store_width=60, labels="apta")
    found = stored_masks(stack, settings)
    assert found.dtype == np.uint8
    wanted = four_classes(labels)
    np.testing.assert_array_equal(stored_masks(stack, PreprocessSettings(store_height=60, store_width=60)), wanted)
    assert 0 < (found != wanted).sum() < 0.05 * (wanted > 0).sum()  # at this size nothing is interpolated
    np.testing.assert_array_equal(preprocess_stack(stack, settings).masks, found)


def test_apta_equals_the_slow_reference_on_masks_of_a_phantom(tmp_path):
    make_phantom(tmp_path, patients=1, workers=1)
    stack = read_stack(find_series("phantom", tmp_path)[0])
    middle = len(stack.image) // 2
    few = replace(stack, labels=stack.labels[[1, 3, middle]])  # from the side, where pass 6 may act, to the middle
    for size in ((72, 64), (400, 320)):
        settings = PreprocessSettings(store_height=size[0], store_width=size[1], labels="apta")
        for grey in apta_greys(few, settings):
            window = grey[-150:-70, 100:180] if size[0] > 72 else grey
            np.testing.assert_array_equal(apta(window), apta_images(window.tolist())[-1])
    assert set(np.unique(stored_masks(few, settings)[2])) == {0, 1, 2, 3}


def test_a_tenth_vertebra_turns_black_on_the_way_over_grey():
    labels = np.zeros((1, 40, 40), np.uint16)
    labels[0, 5:15, 5:15], labels[0, 20:30, 5:15], labels[0, 5:30, 25:35] = 9, 10, 210
    found = stored_masks(small_stack(labels), PreprocessSettings(store_height=40, store_width=40, labels="apta"))[0]
    assert (found[7:13, 7:13] == 1).all() and (found[22:28, 7:13] == 0).all()


def test_interpolated_greys_lie_between_labels_and_are_rounded():
    labels = np.zeros((1, 32, 32), np.uint16)
    labels[:, :, 16:] = 100
    grey = apta_greys(small_stack(labels), PreprocessSettings(store_height=32, store_width=64))[0]
    assert grey.dtype == np.uint8
    assert grey[0, 28:36].tolist() == [0, 0, 0, 64, 191, 255, 255, 255]  # a quarter and three quarters of 255


def test_released_masks_have_been_through_apta_already():
    settings = PreprocessSettings(store_height=64, store_width=32, labels="apta")
    with pytest.raises(SpiderError, match="as in the released slices") as caught:
        preprocess_stack(small_stack(np.full((1, 8, 8), 76, np.uint16), "grey"), settings)
    assert "\n" not in str(caught.value)
    with pytest.raises(SpiderError, match="150"):
        preprocess_stack(small_stack(np.full((1, 8, 8), 150, np.uint16)), settings)


def test_a_chosen_filter_drops_slices_and_the_audit_says_which(tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data", patients=1))
    name = "published_ratio_foreground"
    settings = PreprocessSettings(store_height=64, store_width=32, min_classes=2, slice_filter=name)
    store = make_store(series, settings, tmp_path / "store")
    # slices 1 and 6 hold vertebrae only, a ratio of 1; in 2 to 5 discs are 3 parts and vertebrae 20
    assert store.table["slice_index"].tolist() == [2, 3, 4, 5]
    assert store.audit["reason"].tolist()[1] == store.audit["reason"].tolist()[6] == f"filter {name}"
    assert store.audit["reason"].tolist()[0] == "no vertebrae / canal / discs"
    assert not [column for column in store.table if column.startswith("keeps_")]


def test_the_audit_has_a_column_for_every_filter(tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data"))
    audit = make_store(series, SMALL, tmp_path / "store").audit
    columns = [name for name in audit if name.startswith("keeps_")]
    assert columns == [f"keeps_{name}" for name in FILTERS if name != "none"]
    assert all(audit[name].dtype == bool for name in columns)
    assert not audit.loc[~audit["kept"], columns].any(axis=None)
    assert audit["keeps_central_run"].equals(audit["kept"]) and not audit["keeps_text_ratio"].any()


def test_a_filter_that_keeps_nothing_is_named_in_the_error(tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data", patients=1))
    settings = PreprocessSettings(store_height=64, store_width=32, slice_filter="text_ratio")
    with pytest.raises(SpiderError, match="none of 8 slices is kept.*another slice_filter"):
        make_store(series, settings, tmp_path / "store")


def test_a_store_from_before_labels_and_filters_had_names_is_opened(tmp_path):
    series = find_series("spider", make_folder(tmp_path / "data", patients=1))
    make_store(series, SMALL, tmp_path / "store")
    note = tmp_path / "store" / "store.json"
    info = json.loads(note.read_text())
    del info["preprocess"]["labels"], info["preprocess"]["slice_filter"]
    note.write_text(json.dumps(info))
    assert len(make_store(series, SMALL, tmp_path / "store")) == 3
    with pytest.raises(SpiderError, match="labels = direct, now asked for apta"):
        make_store(series, PreprocessSettings(store_height=64, store_width=32, labels="apta"), tmp_path / "store")


def test_real_slices_of_another_size_reach_the_store(shared_data, tmp_path):
    series = [one for one in find_series("released", shared_data / "released_t2_space") if one.patient in (81, 5)]
    store = make_store(series, PreprocessSettings(), tmp_path)
    assert store.images.shape == (18 + 25, 640, 512)
    assert store.table["pixel_mm_row"].isna().all()
    # 512 x 620 became 512 x 640: the classes' shares must not change by it
    shares = class_pixels(read_stack(series[1]).classes()) / (620 * 512)
    np.testing.assert_allclose(class_pixels(store.masks[18:]) / (640 * 512), shares, atol=2e-4)
