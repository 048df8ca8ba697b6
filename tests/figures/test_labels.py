"""Figures of labels: what they must show. Their look is judged by eye."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

from spider_utils.data.apta import apta_stages
from spider_utils.data.labels import FOREGROUND
from spider_utils.figures import labels, style
from tests.helpers.figure_layout import check_layout, texts


def colour(name: str) -> list[int]:
    return [round(255 * part) for part in to_rgb(name)]


def grey_and_direct(canal: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A grey mask of 120 x 100 pixels and the classes that it should have."""
    direct = np.zeros((120, 100), np.uint8)
    direct[20:50, 20:50], direct[50:60, 20:50] = 1, 3
    if canal:
        direct[10:110, 60:70] = 2
    return np.array([0, 5, 120, 250], np.uint8)[direct], direct


def stages_figure(canal: bool = True):
    grey, direct = grey_and_direct(canal)
    return labels.apta_stages_figure(grey, apta_stages(grey), direct, source="phantom")


def test_stages_show_the_grey_as_a_viewer_does_and_every_pass():
    grey, direct = grey_and_direct()
    axes = stages_figure().axes
    assert len(axes) == 8
    shown = axes[0].images[0]
    assert (np.asarray(shown.get_array()) == grey).all() and shown.get_clim() == (0, 255)  # not brightened
    assert [one.get_title().split("\n")[0] for one in axes[1:6]] == [
        "pass 1: thresholds",
        "pass 2: lone pixels",
        "pass 3: 4 neighbours",
        "pass 4: 8 neighbours",
        "pass 5: lone pixels again",
    ]
    window = np.asarray(axes[6].images[0].get_array())
    for name in FOREGROUND:
        assert (window == colour(style.CLASS_COLOURS[name])).all(axis=2).any()


def test_stages_count_and_paint_the_difference():
    grey, direct = grey_and_direct()
    final = apta_stages(grey)[-1][1]
    last = stages_figure().axes[7]
    assert last.get_title() == f"APTA against direct\n{(final != direct).sum()} px"
    apta = np.array([[0, 1, 2, 1, 0]], np.uint8)
    wanted = np.array([[1, 0, 1, 1, 0]], np.uint8)
    painted = labels._differences(apta, wanted)[0].tolist()
    assert painted[:3] == [colour(name) for name in labels.DIFFERENCES.values()]
    assert painted[3:] == [[60, 60, 60], [0, 0, 0]]


def test_stages_say_when_canal_and_discs_turn_red():
    grey = np.zeros((30, 20), np.uint8)
    grey[10:20, 5:15] = 255  # the highest label is a vertebra
    direct = (grey > 0).astype(np.uint8)
    figure = labels.apta_stages_figure(grey, apta_stages(grey), direct, source="phantom")
    assert any("pass 6 then paints canal and discs red" in text for text in texts(figure))
    assert not any("pass 6" in text for text in texts(stages_figure()))


def every_figure() -> dict:
    return {
        "stages": stages_figure(),
        "stages without canal": stages_figure(canal=False),
    }


def test_figures_are_closed_carry_their_source_and_cut_nothing():
    before = plt.get_fignums()
    figures = every_figure()
    assert plt.get_fignums() == before
    for name, figure in figures.items():
        assert set(style.SOURCE_NOTES.values()) & set(texts(figure)), name
        check_layout(name, figure)
