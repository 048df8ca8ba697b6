"""Figures of labels and filters: what they must show. Their look is judged by eye."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from spider_utils.data.apta import apta_stages
from spider_utils.data.filters import FILTERS
from spider_utils.data.labels import FOREGROUND
from spider_utils.data.series import SEQUENCES
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


def verdict_table() -> pd.DataFrame:
    kept = [10, 0, 0, 10, 9, 2, 10]
    table = pd.DataFrame({"filter": list(FILTERS), "kept": kept, "of": 10, "share": np.array(kept) / 10})
    return table.assign(verdict=np.where(table["kept"] < 10, "refuted", "not refuted"))


def comparison() -> pd.DataFrame:
    table = pd.DataFrame({"sequence": list(SEQUENCES) * 4, "foreground": 100, "changed": 5})
    rng = np.random.default_rng(0)
    for name in FOREGROUND:
        table[f"dice_{name}"] = rng.uniform(0.9, 1, len(table))
    table["dice_canal"] = table["dice_canal"].where(table.index != 2)  # a slice without a canal has no Dice of it
    for place, name in enumerate(labels.COUNTED):
        table[name] = np.arange(len(table)) < 12 - place
    return table


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


def test_stages_say_when_the_whole_slice_turns_red():
    grey = np.zeros((30, 20), np.uint8)
    grey[10:20, 5:15] = 255  # the highest label is a vertebra
    direct = (grey > 0).astype(np.uint8)
    figure = labels.apta_stages_figure(grey, apta_stages(grey), direct, source="phantom")
    assert any("pass 6 then paints everything red" in text for text in texts(figure))
    assert not any("pass 6" in text for text in texts(stages_figure()))


def test_comparison_counts_slices_and_draws_a_box_per_class_and_sequence():
    table = comparison()
    scores, counts = labels.label_comparison(table, source="phantom").axes
    assert [bar.get_width() for bar in counts.patches] == [12, 11, 10, 9, 8, 7]
    assert scores.get_title() == "12 slices with enough classes"
    assert len(scores.patches) == len(FOREGROUND) * len(SEQUENCES)


def test_filters_are_bars_of_shares_and_the_refuted_ones_are_marked():
    table = verdict_table()
    figure = labels.filter_bars(table, source="released")
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx((100 * table["share"]).tolist())
    marked = [bar.get_hatch() == "//" for bar in bars]
    assert marked == (table["verdict"] == "refuted").tolist()
    assert {"10 of 10", "2 of 10, refuted"} <= set(texts(figure))
    plain = labels.filter_bars(table.drop(columns="verdict"), source="phantom")
    assert not any("refuted" in text for text in texts(plain))


def test_grey_codes_show_the_file_as_it_is():
    _, direct = grey_and_direct()
    codes = np.array([0, 76, 150, 29], np.uint8)[direct]
    figure = labels.grey_codes(codes, direct, "a slice", source="released")
    assert "The file: grey 0, 29, 76, 150" in texts(figure)
    assert (np.asarray(figure.axes[0].images[0].get_array()) == codes).all()


def every_figure() -> dict:
    _, direct = grey_and_direct()
    return {
        "stages": stages_figure(),
        "stages without canal": stages_figure(canal=False),
        "codes": labels.grey_codes(direct, direct, "a slice", source="released"),
        "comparison": labels.label_comparison(comparison(), source="phantom"),
        "filters": labels.filter_bars(verdict_table().drop(columns="verdict"), source="phantom"),
        "verdicts": labels.filter_bars(verdict_table(), source="released"),
    }


def test_figures_are_closed_carry_their_source_and_cut_nothing():
    before = plt.get_fignums()
    figures = every_figure()
    assert plt.get_fignums() == before
    for name, figure in figures.items():
        assert set(style.SOURCE_NOTES.values()) & set(texts(figure)), name
        check_layout(name, figure)
