"""Intensities on one scale: percentiles of the body become landmarks, by hand and on real slices of other brightness.

What is no patient has no say: padding of any value, more air or less, another factor.
"""

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.intensity import (
    PERCENTILES,
    check_landmarks,
    find_body,
    find_landmarks,
    held_box,
    scale_intensity,
    standardise,
)

RAMP = tuple(np.linspace(0, 255, len(PERCENTILES)))


def test_landmarks_are_the_mean_percentiles():
    body = np.stack([np.arange(50, 151), np.arange(50, 151)[::-1] + 50]).astype(np.uint8)
    slices = np.pad(body, ((0, 0), (70, 30)))[:, None]  # percentile p is 50 + p, and 100 + p, of what is not black
    np.testing.assert_allclose(find_landmarks(slices), 75 + np.array(PERCENTILES))


def test_percentiles_become_the_landmarks():
    volume = np.random.default_rng(0).gamma(2.0, 300.0, (6, 60, 50)).astype(np.float32) + 300
    volume[:, 20:40] = 0
    scaled = standardise(volume, RAMP)
    np.testing.assert_allclose(np.percentile(scaled[volume > 0], PERCENTILES), RAMP, atol=1)
    assert (scaled[volume == 0] == 0).all()


def test_between_percentiles_the_scale_is_linear():
    volume = np.concatenate([np.zeros(50), np.arange(50, 151.0)])[None, None]  # the body's p-th percentile is 50 + p
    landmarks = [100.0 if percentile < 50 else 200.0 for percentile in PERCENTILES]
    mapped = standardise(volume, landmarks)[0, 0]
    assert (mapped[:50] == 0).all() and (mapped[50:91] == 100).all() and (mapped[100:] == 200).all()
    np.testing.assert_array_equal(mapped[90:101], np.rint(np.linspace(100, 200, 11)))


@pytest.mark.parametrize("change", [lambda x: 3 * x + 40, lambda x: 0.2 * x, lambda x: np.sqrt(x)])
def test_what_only_changes_the_scale_changes_nothing(change):
    """A linear change leaves the result as it is; one that keeps the order leaves it nearly so."""
    volume = np.random.default_rng(1).gamma(2.0, 50.0, (4, 64, 64))
    first, second = (standardise(one, RAMP).astype(int) for one in (volume, change(volume)))
    assert np.abs(first - second).mean() < (8 if change(4.0) == 2 else 0.01)  # a root makes more dark things body


def test_a_black_background_stays_at_the_lowest_landmark():
    volume = np.zeros((2, 10, 10))
    volume[:, 5:, 6:] = np.arange(1, 41).reshape(2, 5, 4)
    assert (standardise(volume, RAMP)[volume == 0] == 0).all()


def test_one_value_throughout_is_no_error():
    assert (standardise(np.full((2, 3, 4), 7, np.int16), RAMP) == 0).all()


@pytest.mark.parametrize("wrong", [RAMP[:-1], RAMP[::-1], (*RAMP[:-1], 300.0), (-1.0, *RAMP[1:])])
def test_landmarks_that_are_none_are_refused(wrong):
    with pytest.raises(SpiderError, match="landmarks: expected 14 ascending numbers within 0..255"):
        check_landmarks(wrong)


def real_volumes(shared_data) -> list[np.ndarray]:
    """Volumes of two other sites, thinned out, and slices of T1 and T2 (D, H, W)."""
    files = ("real_t2_lumbar.nii.gz", "real_t2_tse_02_image.mha")
    volumes = [sitk.GetArrayFromImage(sitk.ReadImage(str(shared_data / "volumes" / name))) for name in files]
    slices = sorted((shared_data / "t1_t2_pairs" / "images").glob("*.png"))[::6]
    return [one[::4] for one in volumes] + [np.asarray(Image.open(file).convert("L"))[None] for file in slices]


PADDED = (slice(15, -15), slice(4, -9), slice(20, None))


@pytest.mark.parametrize("value", ["black", "white"])
def test_padding_changes_nothing(shared_data, value):
    for volume in real_volumes(shared_data):
        fill = 0 if value == "black" else volume.max()
        padded = np.pad(volume, ((15, 15), (4, 9), (20, 0)), constant_values=fill)
        np.testing.assert_array_equal(standardise(padded, RAMP)[PADDED], standardise(volume, RAMP))
        percentile = "volume_percentile"
        np.testing.assert_array_equal(scale_intensity(padded, percentile)[PADDED], scale_intensity(volume, percentile))


def test_black_slices_within_and_a_rim_of_one_value_change_nothing(shared_data):
    """As a stitched scan has them, and one that was resampled obliquely; the rim is far below or amid all values."""
    volume = real_volumes(shared_data)[0].astype(np.float32)
    own = standardise(volume, RAMP)
    stitched = np.insert(volume, 4, 0, axis=0)
    np.testing.assert_array_equal(np.delete(standardise(stitched, RAMP), 4, axis=0), own)
    rows, columns = np.indices(volume.shape[1:])
    outside = np.abs(rows - rows.max() / 2) + np.abs(columns - columns.max() / 2) > 160
    low, body = find_body(np.where(outside, low_of(volume), volume))
    for fill in (-1024.0, np.median(volume[:, ~outside]) + 40, volume.max()):
        other, same = find_body(np.where(outside, fill, volume))
        assert other == pytest.approx(low, abs=1) and same.size == pytest.approx(body.size, rel=0.01)


def low_of(volume: np.ndarray) -> float:
    return float(np.percentile(volume, 0.1))


def test_air_and_a_factor_change_nothing(shared_data):
    rng = np.random.default_rng(0)
    for volume in real_volumes(shared_data):
        own = standardise(volume, RAMP).astype(int)
        darkest = find_body(volume)[1].min()
        more = rng.choice(volume[volume < darkest], (*volume.shape[:2], 2 * volume.shape[2]))
        more[..., : volume.shape[2]] = volume  # twice the field, of air
        assert np.abs(standardise(more, RAMP)[..., : volume.shape[2]] - own).mean() < 1
        held = np.flatnonzero((volume >= darkest).mean(axis=(0, 1)) > 0.02)
        cut = slice(held[0], held[-1] + 1)  # without the columns that hold hardly anything
        assert np.abs(standardise(volume[..., cut], RAMP) - own[..., cut]).mean() < 1
        assert np.abs(standardise(3.7 * volume.astype(np.float32), RAMP) - own).max() <= 2


def test_the_body_of_a_phantom_by_hand():
    """A block of 100..199 in noise of 0..8, one pixel of 10,000: the body is the block, the noise is not."""
    volume = np.random.default_rng(2).integers(0, 9, (20, 40, 50))
    volume[5:15, 10:30, 10:40] = np.arange(6000).reshape(10, 20, 30) % 100 + 100
    volume[0, 0, 0] = 10_000
    low, body = find_body(volume)
    assert low == 0 and body.size == 6001 and np.sort(body)[-2] == 199


def test_the_box_is_cut_at_planes_of_one_value_only():
    volume = np.zeros((6, 7, 8), np.int16)
    volume[2, 3, 4], volume[4, 5, 4] = 5, 6
    assert held_box(volume) == (slice(2, 5), slice(3, 6), slice(4, 5))
    assert held_box(np.full((2, 3, 4), 9)) == (slice(0, 2), slice(0, 3), slice(0, 4))


def test_real_slices_of_two_patients_come_to_one_scale(shared_data):
    """The mid-slices of a bright and a dark patient differ less after standardising than before, at every landmark."""
    names = ("110_t2_SPACE_slice61.png", "209_t2_SPACE_slice61.png")
    files = [shared_data / "released_t2_space" / "images" / name for name in names]
    if not all(file.is_file() for file in files):
        files = sorted((shared_data / "released_t2_space" / "images").glob("*.png"))[::311][:2]
    slices = [np.asarray(Image.open(file).convert("L"))[None] for file in files]
    landmarks = find_landmarks(np.concatenate([one[:, :620] for one in slices]))
    before, after = (
        np.abs(np.diff([np.percentile(one, PERCENTILES) for one in pair], axis=0)).sum()
        for pair in (slices, [standardise(one, landmarks) for one in slices])
    )
    assert after < before / 4
