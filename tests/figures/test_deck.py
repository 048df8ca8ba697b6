"""Figures of the presentation: large letters, nothing cut off, and what each must show."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from spider_utils.common.errors import SpiderError
from spider_utils.figures import deck
from spider_utils.figures.network import network_diagram
from spider_utils.figures.style import DECK
from spider_utils.models.build import build_model, trace_stages
from tests.helpers.figure_layout import check_layout
from tools.deck_figures import close_up, narrowed

SHOWN = 1.4  # times as large on a slide
SMALLEST = 7.0  # points, of the source; all else is larger


POINTS = np.array([0.8, 0.85, 0.9]), np.array([0.82, 0.84, 0.91])
CURVE = pd.DataFrame({"epoch": [40, 5, 10], "value": [0.93, 0.88, 0.9], "ci_low": 0.84, "ci_high": 0.94})


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def slice_and_classes() -> tuple[np.ndarray, np.ndarray]:
    """A slice of 320 x 256 pixels with a vertebra, a disc and a canal."""
    classes = np.zeros((320, 256), np.uint8)
    classes[80:140, 60:120], classes[145:160, 60:120], classes[40:280, 130:150] = 1, 3, 2
    return np.random.default_rng(0).integers(0, 256, classes.shape, np.uint8), classes


def rows() -> pd.DataFrame:
    table = pd.DataFrame({"title": ["one arm,\nof two lines", "another"], "value": [0.89, np.nan]})
    return table.assign(
        ci_low=[0.87, np.nan], ci_high=[0.9, np.nan], colour=["#0072B2", "#000000"], paper=[np.nan, 0.97]
    )


def figures():
    image, classes = slice_and_classes()
    labels = np.select([classes == 1, classes == 2, classes == 3], [1, 100, 201])
    stages, _ = trace_stages(build_model("paper_text", width=4).eval(), torch.zeros(1, 1, 64, 64))
    moved = np.roll(classes, 4, axis=0)
    return {
        "rows": deck.score_rows(rows(), "Dice", source="released", legend={"unseen": "#0072B2"}),
        "many": deck.score_rows(pd.concat([rows()] * 6), "Dice", source="released", mark=0.9),
        "pictures": deck.pictures([("MRI", image), ("again", image)], source="chu"),
        "labels": deck.numbers_to_classes(image, labels, source="phantom"),
        "errors": deck.errors(image, classes, moved, source="released"),
        "volume": deck.volume_views(np.stack([image] * 4), np.stack([classes] * 4), (4, 1, 1), source="chu"),
        "metrics": deck.what_scores_see(),
        "focal": deck.focal_weight(),
        "points": deck.patient_points(*POINTS, ("one", "other"), source="released"),
        "epochs": deck.over_epochs({"leaky": CURVE, "honest": CURVE.assign(value=0.85)}, source="released"),
        "network": network_diagram(stages, brief=True),
    }


@pytest.fixture(scope="module")
def drawn():
    return figures()


def test_every_figure_is_of_the_decks_size_and_nothing_is_cut_off(drawn):
    for name, figure in drawn.items():
        assert tuple(figure.get_size_inches()) == DECK, name
        check_layout(name, figure)


def test_letters_are_large_on_the_slide(drawn):
    for name, figure in drawn.items():
        sizes = {
            text.get_text(): text.get_fontsize()
            for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip()
        }
        for words, size in sizes.items():
            source = "MRI:" in words or words in ("PHANTOM: synthetic, no patient", "Drawn shapes")
            assert SHOWN * size >= (SHOWN * SMALLEST if source else 14), (name, words, size)


def test_rows_tell_value_and_paper(drawn):
    told = texts(drawn["rows"])
    assert "0.890" in told and "0.970" in told and "paper" in told
    assert "0.890" not in texts(drawn["many"]), "many rows stand too close for numbers"


def test_patients_stand_where_their_two_scores_are_and_are_counted(drawn):
    (axes,) = drawn["points"].axes
    better, other, _ = axes.lines
    assert better.get_xydata().tolist() == [[0.8, 0.82], [0.9, 0.91]] and other.get_xydata().tolist() == [[0.85, 0.84]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["better: 2", "not better: 1"]


def test_epochs_run_from_left_to_right(drawn):
    line = drawn["epochs"].axes[0].lines[0]
    assert line.get_xydata().tolist() == [[5, 0.88], [10, 0.9], [40, 0.93]]


def test_labels_are_counted_with_the_background(drawn):
    assert "4 label numbers" in texts(drawn["labels"])


def test_scores_of_drawn_shapes_are_those_of_counted_pixels(drawn):
    """Moved by 3 pixels: overlap counted here; HD95 of a shape moved by 3 pixels is 3 at most."""
    told = next(text for text in texts(drawn["metrics"]) if text.startswith("moved"))
    rows, columns = np.indices(deck.DRAWN)
    disc = ((rows - 28) / 12) ** 2 + ((columns - 48) / 40) ** 2 <= 1
    overlap = 2 * (disc & np.roll(disc, 3, axis=0)).sum() / (2 * disc.sum())
    assert f"Dice {overlap:.3f}" in told and "HD95 3.0 px" in told


def test_mri_needs_its_source():
    with pytest.raises(SpiderError, match="source"):
        deck.pictures([("MRI", np.zeros((8, 8), np.uint8))], source="")


def test_the_spine_stays_in_a_narrowed_slice_and_the_disc_in_the_close_up():
    image, classes = slice_and_classes()
    assert narrowed(image).shape == (320, 167)
    box = close_up(classes)
    assert (classes[box] == 3).sum() == (classes == 3).sum()
    assert {1, 2, 3} <= set(np.unique(classes[box]))
