"""Intensities on one scale: percentiles become landmarks, by hand and on real slices of other brightness."""

import numpy as np
import pytest
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.intensity import PERCENTILES, check_landmarks, find_landmarks, standardise

RAMP = tuple(np.linspace(0, 255, len(PERCENTILES)))


def test_landmarks_are_the_mean_percentiles():
    slices = np.stack([np.arange(101), np.arange(101) * 2]).astype(np.uint8)[:, None]  # percentile p is p, and 2 p
    np.testing.assert_allclose(find_landmarks(slices), 1.5 * np.array(PERCENTILES))


def test_percentiles_become_the_landmarks():
    volume = np.random.default_rng(0).gamma(2.0, 300.0, (6, 60, 50)).astype(np.float32)
    found = np.percentile(standardise(volume, RAMP), PERCENTILES)
    np.testing.assert_allclose(found, RAMP, atol=1)


def test_between_percentiles_the_scale_is_linear():
    volume = np.arange(101.0)[None, None]  # the p-th percentile is p
    landmarks = [100.0 if percentile < 50 else 200.0 for percentile in PERCENTILES]
    mapped = standardise(volume, landmarks)[0, 0]
    assert (mapped[:41] == 100).all() and (mapped[50:] == 200).all()
    np.testing.assert_array_equal(mapped[40:51], np.rint(np.linspace(100, 200, 11)))


@pytest.mark.parametrize("change", [lambda x: 3 * x + 40, lambda x: 0.2 * x, lambda x: np.sqrt(x)])
def test_what_only_changes_the_scale_changes_nothing(change):
    """A linear change leaves the result as it is; one that keeps the order leaves it nearly so."""
    volume = np.random.default_rng(1).gamma(2.0, 50.0, (4, 64, 64))
    first, second = (standardise(one, RAMP).astype(int) for one in (volume, change(volume)))
    assert np.abs(first - second).mean() < (2 if change(4.0) == 2 else 0.01)


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
