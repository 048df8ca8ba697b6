"""Figures of the networks beyond the paper's: every node and way of U-Net++'s grid, and gates on one scale."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.text import Annotation

from spider_utils.figures.network import PATH_COLOUR, SKIP_COLOUR
from spider_utils.figures.variants import UP_COLOUR, attention_overlay, input_channels, nested_grid
from spider_utils.models.build import build_model
from tests.helpers.figure_layout import check_layout, texts


@pytest.mark.parametrize(("deep", "heads"), [(True, 5), (False, 1)])
def test_the_grid_has_every_node_and_every_way(deep, heads):
    figure = nested_grid(build_model("unetpp", width=2, deep_supervision=deep))
    (axes,) = figure.axes
    found = texts(figure)
    for level in range(6):
        for column in range(6 - level):
            assert found.count(f"{level}, {column}") == 1
            own = 2 * 2**level
            entering = (column + 1) * own if column else own // 2 if level else 1
            assert f"{entering} → {own}" in found
    arrows = [note.arrow_patch for note in axes.texts if isinstance(note, Annotation)]
    kinds = [(to_rgb(arrow.get_edgecolor()), arrow.get_linestyle()) for arrow in arrows]
    assert kinds.count((to_rgb(UP_COLOUR), "-")) == 15
    assert kinds.count((to_rgb(SKIP_COLOUR), "--")) == 15 + 10 + 6 + 3 + 1  # level by level, each node from all before
    assert kinds.count((to_rgb(PATH_COLOUR), "-")) == 5 + heads  # poolings
    drawn = [text for text in axes.texts if text.get_text() == "head"]
    last = next(text for text in axes.texts if text.get_text() == "0, 5").get_position()[0]
    assert len(drawn) == heads and max(text.get_position()[0] for text in drawn) == last
    assert any("a loss at every head" in text for text in found) == deep


def test_gates_lie_over_the_slice_on_one_scale():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 24), np.uint8)
    maps = [0.2 + 0.5 * rng.random((32 // 2**k, 24 // 2**k)) for k in range(3)]
    figure = attention_overlay(image, maps, "Gates", source="phantom")
    found = texts(figure)
    for level, weights in enumerate(maps, start=1):
        assert f"level {level}: {weights.min():.2f} to {weights.max():.2f}" in found
    shown = [each for each in figure.findobj(AxesImage) if each.get_alpha() and each.get_alpha() < 1]
    assert [each.get_array().shape for each in shown] == [weights.shape for weights in maps]
    assert {(*each.get_clim(), *each.get_extent()) for each in shown} == {(0, 1, -0.5, 23.5, 31.5, -0.5)}


def test_channels_show_what_changes_between_the_outer_slices():
    images = np.full((3, 20, 16), 100, np.uint8)
    images[:, 0, 0], images[:, -1, -1] = 0, 200  # the scale of grey levels
    images[2, 5:9, 4:8] = 180
    figure = input_channels(images, ["slice 4", "slice 5", "slice 6"], source="sample")
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes][:3] == ["slice 4", "slice 5", "slice 6"]
    assert np.array_equal(shown[3][..., 0] > 0, images[2] != images[0])


def test_nothing_is_cut_or_covered():
    image = np.random.default_rng(0).integers(0, 256, (160, 128), np.uint8)
    maps = [np.full((160 // 2**k, 128 // 2**k), 0.1 * k) for k in range(5)]
    for deep in (True, False):
        check_layout("grid", nested_grid(build_model("unetpp", width=16, deep_supervision=deep)))
    three = np.random.default_rng(0).integers(0, 256, (3, 160, 128), np.uint8)
    check_layout("channels", input_channels(three, ["slice 64", "slice 65", "slice 66"], source="sample"))
    check_layout("gates", attention_overlay(image, maps, "Gates of one slice", source="released"))
