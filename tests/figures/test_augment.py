"""Figures of augmentation: every draw is shown, on the grey scale of the slice as it is, with its mask's outline."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet

from spider_utils.figures.augment import augmentation_levels
from spider_utils.figures.painting import grey_levels
from spider_utils.figures.style import CLASS_COLOURS
from tests.helpers.figure_layout import check_layout


def pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A slice of 48 x 40 pixels with one rectangle a class."""
    mask = np.zeros((48, 40), np.int64)
    mask[10:20, 5:15], mask[5:45, 20:24], mask[21:25, 5:15] = 1, 2, 3
    return np.random.default_rng(seed).random(mask.shape, np.float32), mask


def panels(figure) -> dict[str, object]:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def test_levels_show_the_slice_and_every_draw():
    draws = {"light": [pair(1), pair(2)], "strong": [pair(3), pair(4), pair(5)]}
    found = panels(augmentation_levels(pair(), draws, source="phantom"))
    assert set(found) == {"none", "light, draw 1", "light, draw 2", *(f"strong, draw {k}" for k in (1, 2, 3))}
    for name, drawn in {"none": pair(), "light, draw 2": pair(2), "strong, draw 3": pair(5)}.items():
        picture = np.asarray(found[name].images[0].get_array())[..., 0]
        np.testing.assert_array_equal(picture, grey_levels(drawn[0], pair()[0]))


def test_changes_of_brightness_are_seen():
    image, mask = pair()
    found = panels(augmentation_levels((image, mask), {"brighter": [(image + 0.2, mask)]}, source="phantom"))
    before, after = (np.asarray(found[name].images[0].get_array(), float) for name in ("none", "brighter, draw 1"))
    assert (after >= before).all() and after.mean() > before.mean() + 20
    assert grey_levels(image, image).min() == 0 and grey_levels(image, image).max() == 255


def test_outlines_have_their_classes_colours_and_stand_at_the_masks_edges():
    image, mask = pair()
    mask[mask == 3] = 0  # no disc, no outline of one
    found = panels(augmentation_levels((image, mask), {"same": [(image, mask)]}, source="phantom"))
    outlines = [each for each in found["same, draw 1"].get_children() if isinstance(each, ContourSet)]
    assert [to_rgb(each.get_edgecolor()[0]) for each in outlines] == [
        to_rgb(CLASS_COLOURS[name]) for name in ("vertebrae", "canal")
    ]
    corners = outlines[0].get_paths()[0].get_extents()  # rows 10 to 19, columns 5 to 14, half a pixel around
    assert (corners.x0, corners.x1, corners.y0, corners.y1) == (4.5, 14.5, 9.5, 19.5)


def test_nothing_is_cut_or_covered():
    draws = {name: [pair(k) for k in range(3)] for name in ("light", "strong")}
    check_layout("levels", augmentation_levels(pair(), draws, source="released"))
