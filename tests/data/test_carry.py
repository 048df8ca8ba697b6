"""Labels carried over: a known map is found again, real masks are met, and what does not fit stays out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from spider_utils.common.errors import SpiderError
from spider_utils.data.carry import Carried, carry_mask, complaints
from spider_utils.data.labels import classes_from_grey
from spider_utils.data.png import read_grey
from spider_utils.data.released import find_released_series, read_released_stack

SPACE_MM = (0.46875, 0.46875)  # of every T2 SPACE series, by overview.csv
T1_MM = (0.5859375, 0.5859375)  # of the T1 series of patients 5 and 7


def space_slices(shared_data, patient, rows=slice(None)):
    """Return a patient's T2 SPACE slices and their classes."""
    series = {one.patient: one for one in find_released_series(shared_data / "released_t2_space")}[patient]
    stack = read_released_stack(series)
    return stack.image[rows], classes_from_grey(stack.labels[rows])


def moved(pixels, degrees, stretch, shift_mm, shape, order):
    """Return a T2 SPACE slice turned (from right to down), stretched and shifted (down, right), with pixels as T1."""
    turn = np.radians(degrees)
    right_down = stretch * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    there = right_down[::-1, ::-1]  # of (down, right)
    back = np.linalg.inv(there) * T1_MM[0] / SPACE_MM[0]  # in pixels
    middles = [(np.array(size) - 1) / 2 for size in (shape, pixels.shape)]
    offset = middles[1] - back @ (middles[0] + np.array(shift_mm) / T1_MM[0])
    return ndimage.affine_transform(pixels, back, offset, shape, order=order)


def dice(found, truth):
    return [2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum()) for k in (1, 2, 3)]


@pytest.mark.parametrize("upside_down", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_known_map_is_found_again_with_the_contrast_inverted(shared_data, upside_down):
    slices, masks = space_slices(shared_data, 7, slice(9, 14))
    known = {"degrees": 2.0, "stretch": 1.015, "shift_mm": (9.0, -6.0), "shape": (512, 512)}
    image = 255 - moved(slices[2], order=1, **known)
    carried = carry_mask(image[::-1] if upside_down else image, T1_MM, slices, masks, SPACE_MM)
    assert (carried.slice_row, carried.flipped) == (2, upside_down)
    assert carried.shift_mm == pytest.approx((9.0, -6.0), abs=1.0)  # mm; a pixel has 0.59
    assert carried.degrees == pytest.approx(2.0, abs=0.3)
    assert carried.stretch == pytest.approx((1.015, 1.015), abs=0.006)
    assert min(dice(carried.mask, moved(masks[2], order=0, **known))) > 0.95
    inside = moved(np.ones_like(masks[2]), order=0, **known) > 0
    assert (carried.covered == inside).mean() > 0.99


@pytest.mark.parametrize("patient", [5, 7])
@pytest.mark.slow
def test_carried_masks_meet_the_real_ones(shared_data, patient):
    pairs = shared_data / "t1_t2_pairs"
    image, truth = (read_grey(pairs / part / f"{patient}_t1_slice8.png") for part in ("images", "masks"))
    slices, masks = space_slices(shared_data, patient)
    carried = carry_mask(image, T1_MM, slices, masks, SPACE_MM)
    assert complaints(carried, len(slices), T1_MM) == []
    vertebrae, canal, discs = dice(carried.mask, truth)
    assert vertebrae > 0.91 and canal > 0.93 and discs > 0.88


@pytest.mark.slow
def test_noise_and_another_patient_do_not_pass(shared_data):
    slices, masks = space_slices(shared_data, 7, slice(9, 14))
    noise = np.random.default_rng(0).integers(0, 256, (512, 512)).astype(np.uint8)
    assert "metric" in complaints(carry_mask(noise, T1_MM, slices, masks, SPACE_MM), len(slices), T1_MM)
    other = read_grey(shared_data / "t1_t2_pairs" / "images" / "5_t1_slice8.png")
    assert "metric" in complaints(carry_mask(other, T1_MM, slices, masks, SPACE_MM), len(slices), T1_MM)


def test_the_gate_names_every_reason():
    mask, covered = np.zeros((100, 50), np.uint8), np.ones((100, 50), bool)
    mask[10:90, 20:30] = 1
    good = Carried(mask, covered, False, 3, 0.4, (0.99, 1.01), 0.0, (0.0, 0.0))
    assert complaints(good, 9, (0.6, 0.6)) == []
    assert complaints(replace(good, metric=0.1), 9, (0.6, 0.6)) == ["metric"]
    assert complaints(replace(good, stretch=(0.9, 1.0)), 9, (0.6, 0.6)) == ["stretch"]
    assert complaints(replace(good, slice_row=8), 9, (0.6, 0.6)) == ["outermost_slice"]
    assert complaints(replace(good, slice_row=0), 9, (0.6, 0.6)) == ["outermost_slice"]
    covered = covered.copy()
    covered[:8, 15:35] = False  # 8 rows of 0.6 mm above the spine
    assert complaints(replace(good, covered=covered), 9, (0.6, 0.6)) == ["head_gap"]
    assert complaints(replace(good, covered=covered), 9, (0.3, 0.6)) == []
    assert complaints(replace(good, mask=np.zeros_like(mask)), 9, (0.6, 0.6)) == ["head_gap"]


def test_masks_without_labels_are_refused():
    slices = np.zeros((2, 20, 20))
    with pytest.raises(SpiderError, match="background alone"):
        carry_mask(slices[0], (1.0, 1.0), slices, slices.astype(np.uint8), (1.0, 1.0))
