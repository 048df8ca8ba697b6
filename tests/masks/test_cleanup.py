"""Cleaning a mask: what goes, what is filled, and that nothing becomes another structure."""

import numpy as np
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.masks.cleanup import STATED_PIXELS, CleanupSettings, clean_up

VERTEBRAE, CANAL, DISCS = 1, 2, 3
OFF = CleanupSettings(vertebra_pixels=0, disc_pixels=0, canal_share=0, hole_pixels=0)


def blank() -> np.ndarray:
    return np.zeros((640, 512), np.uint8)


def only(**rule) -> CleanupSettings:
    """Settings with one rule on."""
    return CleanupSettings(**(OFF.__dict__ | rule))


@pytest.mark.parametrize(
    ("label", "rule"), [(VERTEBRAE, "vertebra_pixels"), (DISCS, "disc_pixels")], ids=["vertebrae", "discs"]
)
def test_pieces_below_the_limit_go(label, rule):
    mask = blank()
    mask[100:110, 100:110] = label  # 100 pixels
    mask[200:207, 100:107] = label  # 49
    mask[300:305, 100:110] = label  # 50
    wanted = mask.copy()
    wanted[200:207, 100:107] = 0
    np.testing.assert_array_equal(clean_up(mask, only(**{rule: 50})), wanted)
    np.testing.assert_array_equal(clean_up(mask, only(**{rule: 0})), mask)


def test_pixels_that_touch_at_a_corner_are_one_piece():
    mask = blank()
    mask[range(100, 160), range(100, 160)] = VERTEBRAE
    np.testing.assert_array_equal(clean_up(mask, only(vertebra_pixels=60)), mask)
    assert not clean_up(mask, only(vertebra_pixels=61)).any()


def test_the_limit_scales_with_the_slice():
    for height, width in ((640, 512), (320, 256), (1280, 512)):
        mask = np.zeros((height, width), np.uint8)
        pixels = 64 * height * width // STATED_PIXELS
        mask[10, 10 : 10 + pixels] = DISCS
        assert clean_up(mask, only(disc_pixels=64)).any()
        assert not clean_up(mask, only(disc_pixels=65)).any()


def test_canal_pieces_go_by_their_share_of_the_largest():
    mask = blank()
    mask[100:300, 200:210] = CANAL  # 2000 pixels
    mask[320:420, 200:210] = CANAL  # 1000: half of it
    mask[440:450, 200:210] = CANAL  # 100: a twentieth
    mask[460:469, 200:211] = CANAL  # 99
    mask[10:20, 10:12] = VERTEBRAE  # 20, which the canal's rule leaves alone
    without_last, largest = mask.copy(), mask.copy()
    without_last[460:469] = 0
    largest[301:] = 0
    np.testing.assert_array_equal(clean_up(mask, only(canal_share=0.05)), without_last)
    np.testing.assert_array_equal(clean_up(mask, only(canal_share=1)), largest)
    np.testing.assert_array_equal(clean_up(mask, OFF), mask)


@pytest.mark.parametrize("label", [VERTEBRAE, CANAL, DISCS])
def test_a_hole_is_filled_with_what_encloses_it_up_to_the_limit(label):
    mask = blank()
    mask[100:150, 100:150] = label
    full = mask.copy()
    mask[110:120, 110:120] = 0  # 100 pixels
    np.testing.assert_array_equal(clean_up(mask, only(hole_pixels=100)), full)
    np.testing.assert_array_equal(clean_up(mask, only(hole_pixels=99)), mask)


def test_what_is_open_or_between_two_structures_is_no_hole():
    mask = blank()
    mask[100:150, 100:150] = VERTEBRAE
    mask[100:105, 120] = 0  # a notch
    mask[0:20, 0:20] = VERTEBRAE
    mask[0:3, 5] = 0  # at the slice's edge
    mask[300:340, 300:320] = VERTEBRAE
    mask[300:340, 320:340] = DISCS
    mask[320:322, 319:321] = 0  # between vertebra and disc
    np.testing.assert_array_equal(clean_up(mask, only(hole_pixels=1000)), mask)


def test_a_hole_is_filled_by_the_innermost_structure():
    mask = blank()
    mask[100:150, 100:150] = VERTEBRAE
    mask[110:140, 110:140] = CANAL
    full = mask.copy()
    mask[120:125, 120:125] = 0
    np.testing.assert_array_equal(clean_up(mask, only(hole_pixels=100)), full)


def test_a_dropped_piece_inside_a_structure_stays_background():
    mask = blank()
    mask[100:150, 100:150] = VERTEBRAE
    mask[110:116, 110:116] = 0
    mask[112:114, 112:114] = DISCS  # a speck with a ring of background around it
    wanted = mask.copy()
    wanted[110:116, 110:116] = VERTEBRAE
    wanted[112:114, 112:114] = 0
    np.testing.assert_array_equal(clean_up(mask), wanted)


def test_no_pixel_becomes_another_structure_and_the_given_mask_stays():
    rng = np.random.default_rng(0)
    settings = CleanupSettings(vertebra_pixels=300, disc_pixels=400, canal_share=0.5, hole_pixels=2000)
    for background in (0.05, 0.4):  # structures full of pinholes, and specks
        for block in (1, 4):
            shape = 160 // block, 128 // block
            coarse = rng.integers(1, 4, shape) * (rng.random(shape) > background)
            mask = np.kron(coarse, np.ones((block, block))).astype(np.uint8)
            before = mask.copy()
            cleaned = clean_up(mask, settings)
            np.testing.assert_array_equal(mask, before)
            assert ((cleaned == 0) & (mask != 0)).any()
            assert ((cleaned == mask) | (cleaned == 0) | (mask == 0)).all()


@pytest.mark.parametrize("label", [0, 1])
def test_a_mask_of_one_class_stays(label):
    mask = np.full((40, 30), label, np.uint8)
    np.testing.assert_array_equal(clean_up(mask), mask)


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 4, 4), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8), np.full((4, 4), 4, np.uint8)]
)
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(SpiderError, match="mask: expected"):
        clean_up(mask)


@pytest.mark.parametrize(
    "rule", [{"disc_pixels": -1}, {"canal_share": 1.1}, {"hole_pixels": "many"}, {"vertebra_pixels": True}]
)
def test_settings_that_make_no_sense_are_refused(rule):
    with pytest.raises(SpiderError, match=f"{next(iter(rule))}: expected"):
        CleanupSettings(**rule)
