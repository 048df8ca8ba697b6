"""Figures of the losses beyond the paper's: errors in their colours, and distances on one scale."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch

from spider_utils.figures.losses import distance_map, wrong_predictions
from spider_utils.figures.style import ERROR_COLOURS, rgb
from spider_utils.train.losses import signed_distance
from tests.helpers.figure_layout import check_layout, texts


@pytest.fixture
def slice_and_mask():
    image = np.random.default_rng(0).integers(0, 256, (160, 128), np.uint8)
    mask = np.zeros((160, 128), np.uint8)
    mask[50:90, 40:80] = 1
    return image, mask


def nearest(picture: np.ndarray, names: tuple[str, ...]) -> set[str]:
    """Return whose colours are found in a painted slice: those nearer to a pixel than 60 grey levels."""
    return {name for name in names if (np.abs(picture.astype(int) - rgb(ERROR_COLOURS[name])).max(-1) < 60).any()}


def test_thin_is_missed_and_thick_is_false(slice_and_mask):
    image, mask = slice_and_mask
    thin, thick = mask.copy(), mask.copy()
    thin[50:60], thick[90:100, 40:80] = 0, 1
    figure = wrong_predictions(image, mask, {"thin": thin, "thick": thick}, "Wrong", source="sample")
    assert [axes.get_title() for axes in figure.axes] == ["MRI", "thin", "thick"]
    painted = [np.asarray(axes.images[0].get_array()) for axes in figure.axes[1:]]
    wrong = "false positive", "false negative"
    assert [nearest(picture, wrong) for picture in painted] == [{"false negative"}, {"false positive"}]


def test_distances_are_those_of_the_loss_and_blue_inside(slice_and_mask):
    image, mask = slice_and_mask
    distance = signed_distance(torch.from_numpy(mask[None]).long(), 4)[0, 1].numpy()
    figure = distance_map(image, distance, "vertebrae", source="sample")
    shown = figure.axes[1].images[0]
    values = np.asarray(shown.get_array())
    assert values.min() == distance.min() and (values < 0).sum() == (mask == 1).sum()
    red, _, blue, _ = shown.to_rgba(np.array([[distance.min()]]))[0, 0]
    assert blue > red and shown.get_clim() == (3 * distance.min(), -3 * distance.min())
    assert "signed distance φ of the vertebrae" in texts(figure)


def test_nothing_is_cut_or_covered(slice_and_mask):
    image, mask = slice_and_mask
    distance = signed_distance(torch.from_numpy(mask[None]).long(), 4)[0, 1].numpy()
    check_layout("distance", distance_map(image, distance, "vertebrae", source="released"))
    check_layout("wrong", wrong_predictions(image, mask, {"thin": mask, "thick": mask}, "A mask", source="released"))
