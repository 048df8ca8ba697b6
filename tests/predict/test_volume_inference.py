"""From a volume to its classes: what the network is shown, hand-computed, and what comes back, in all orientations.

The network of most tests is a ruler, as in test_predict: a pixel's class is told by its brightness.
"""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from spider_utils.common.errors import SpiderError
from spider_utils.data.phantom.acquisition import ORIENTATIONS, reorient
from spider_utils.data.pose import from_pose
from spider_utils.predict.network import ReadyNetwork
from spider_utils.predict.segment import ONE_LOOK
from spider_utils.predict.volume_inference import (
    VolumeSettings,
    margins,
    neighbours_at,
    predict_classes,
    prepare_slices,
    read_volume_settings,
    slice_field,
)
from spider_utils.studies.roundtrip import Extent, roundtrip, same_grid, sampled_phantom, tilted
from tests.predict.test_slices import Ruler

SHAPE = (5, 64, 32)  # of the volume in the common pose; its slices have the network's size
SPACING = (3.0, 0.5, 0.75)
PERCENTILES = (0, 1, *range(10, 100, 10), 95, 99, 100)
LANDMARKS = (200.0,) * 14


def ruler(model=None, neighbours=0, **description) -> ReadyNetwork:
    return ReadyNetwork(
        model or Ruler(neighbours), torch.device("cpu"), SHAPE[1:], neighbours, ONE_LOOK, description, Path("ruler")
    )


def classes_at_random(seed: int = 0, shape=SHAPE) -> np.ndarray:
    """Blocks of classes 0..3; the first column holds all of them, so that every slice has the full range of greys."""
    coarse = np.random.default_rng(seed).integers(0, 4, (shape[0], shape[1] // 4, shape[2] // 4))
    classes = np.kron(coarse, np.ones((1, 4, 4))).astype(np.uint8)
    classes[:, :4, 0] = [0, 1, 2, 3]
    return classes


def volume_of(classes: np.ndarray, scale=lambda grey: grey) -> sitk.Image:
    """A volume in the common pose whose brightness tells its classes."""
    image = sitk.GetImageFromArray(scale(classes.astype(np.int16) * 85))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((4.0, -7.0, 11.0))
    image.SetDirection(
        (0, 0, 1, 1, 0, 0, 0, -1, 0)
    )  # columns to the posterior, rows to the inferior, slices to the left
    return image


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_every_orientation_comes_back_on_its_own_grid(code):
    classes = classes_at_random()
    straight = volume_of(classes)
    volume = reorient(straight, code)
    found, spacing = predict_classes(volume, ruler())
    np.testing.assert_array_equal(found, classes)
    assert spacing == pytest.approx(SPACING)
    back = from_pose(found, volume)
    assert same_grid(back, volume)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back) * 85, sitk.GetArrayFromImage(volume))


def test_standardised_intensities_undo_another_scale():
    classes = classes_at_random(1)
    landmarks = tuple(np.percentile(classes * 85.0, PERCENTILES))
    volume = volume_of(classes, lambda grey: 300 + 2 * grey)
    found, _ = predict_classes(volume, ruler(), VolumeSettings(landmarks=landmarks))
    np.testing.assert_array_equal(found, classes)


def test_a_wider_field_is_black_around_the_slice_and_is_cut_off_again():
    classes = np.zeros(SHAPE, np.uint8)
    classes[:, 20:44, 6:18] = 3
    settings = VolumeSettings(field_mm=64.0)  # 128 rows of 0.5 mm, 85 columns of 0.75 mm
    found, _ = predict_classes(volume_of(classes), ruler(), settings)
    assert found.shape == SHAPE and (found[:, 22:42, 9:15] == 3).all()
    assert (found[:, :18] == 0).all() and (found[:, 46:] == 0).all() and (found[:, :, 21:] == 0).all()
    shown = prepare_slices(np.full(SHAPE, 255, np.uint8), (128, 85), ruler(), VolumeSettings(LANDMARKS, 64.0))
    rows, columns = (np.flatnonzero((shown == 0).all(dim=0).all(dim=axis).numpy()) for axis in (1, 0))
    assert shown.shape == SHAPE  # its edges are one pixel soft
    assert len(rows) == pytest.approx(32, abs=2) and len(columns) == pytest.approx(32 - 32 * 32 / 85, abs=2)


@pytest.mark.parametrize(
    ("shape", "pixel_mm", "settings", "made", "expected"),
    [
        ((640, 512), (0.5, 0.5), VolumeSettings(), {}, (640, 512)),
        ((600, 500), (0.5, 0.5), VolumeSettings(field_mm=300.0), {}, (600, 600)),
        ((381, 381), (1.0, 1.0), VolumeSettings(field_mm=300.0), {}, (381, 381)),
        ((201, 257), (1.0, 1.0), VolumeSettings(field_mm=300.0), {}, (300, 300)),
        ((400, 300), (1.0, 0.5), VolumeSettings(field_mm=300.0), {}, (400, 800)),
        # stored at 640 x 512 with one scale: 300 mm / 640 rows = 0.469 mm, 150 mm / 512 columns = 0.293 mm; the larger
        # one counts, so the field is 300 mm x 240 mm
        ((300, 150), (1.0, 1.0), VolumeSettings(), {"geometry": "pad"}, (300, 240)),
    ],
)
def test_the_field_that_the_network_sees(shape, pixel_mm, settings, made, expected):
    preprocess = {"store_height": 640, "store_width": 512} | made
    network = ruler(data={"preprocess": preprocess})
    field = slice_field(shape, pixel_mm, network, settings)
    assert field == expected
    before = margins(shape, field)
    assert all(0 <= b and b + s <= f for b, s, f in zip(before, shape, field, strict=True))


@pytest.mark.parametrize(
    ("slice_mm", "trained_mm", "expected"),
    [
        (1.0, 1.0, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]),
        (4.0, 1.0, [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]),  # thick slices: the slice itself
        (0.5, 1.0, [[0, 0, 2], [0, 1, 3], [0, 2, 3], [1, 3, 3]]),
        (4.0, 0.0, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]),
    ],
)
def test_neighbours_lie_as_far_apart_as_in_training(slice_mm, trained_mm, expected):
    np.testing.assert_array_equal(neighbours_at(4, slice_mm, 1, trained_mm), expected)


def test_the_network_sees_its_neighbours_as_channels():
    classes = classes_at_random(3)
    for channel, expected in ((0, classes[[0, 0, 1, 2, 3]]), (2, classes[[1, 2, 3, 4, 4]])):
        network = ruler(Ruler(channel), neighbours=1)
        found, _ = predict_classes(volume_of(classes), network, VolumeSettings(slice_mm=3.0))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ({"field_mm": -1}, "field_mm: expected a number of mm, 0 or more, found -1"),
        ({"slice_mm": "1"}, "slice_mm: expected a number of mm, 0 or more, found '1'"),
        ({"landmarks": [1, 2]}, "landmarks: expected 14 ascending numbers"),
        ({"size": 3}, "size"),
    ],
)
def test_settings_that_are_not_known_are_refused(volumes, message):
    with pytest.raises(SpiderError, match="ruler.json: volumes: ") as caught:
        read_volume_settings(ruler(volumes=volumes))
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def t2_space():
    """Six slices of a phantom, sampled like SPIDER's T2 SPACE, over the whole field of view."""
    return sampled_phantom("T2 SPACE", Extent(across_mm=6.0))


def test_perfect_slices_come_back_as_they_were(t2_space):
    assert sorted(t2_space[0].GetSpacing()) == [0.46875, 0.46875, 1.0] and 640 in t2_space[0].GetSize()
    scores, same = roundtrip(*t2_space, (0, 0), "shares")
    assert same and set(scores.values()) == {1.0}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_perfect_slices_of_an_oblique_volume_come_back_as_they_were(t2_space, axis):
    image, mask = (tilted(volume, axis, 20.0) for volume in t2_space)
    assert not np.allclose(image.GetDirection(), t2_space[0].GetDirection())
    scores, same = roundtrip(image, mask, (0, 0), "shares")
    assert same and set(scores.values()) == {1.0}


def test_the_papers_slice_size_costs_less_than_a_hundredth(t2_space):
    for answer in ("shares", "nearest"):
        scores, _ = roundtrip(*t2_space, (640, 512), answer)
        assert min(scores.values()) >= 0.99


def test_smaller_slices_cost_more_and_shares_cost_less_than_whole_pixels(t2_space):
    shares, nearest = (roundtrip(*t2_space, (320, 256), answer)[0] for answer in ("shares", "nearest"))
    assert all(0.9 < nearest[name] < shares[name] < 1 for name in shares)
