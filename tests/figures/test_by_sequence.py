"""Figures of a study on several sequences: every group has its panel, every arm its row, nothing is cut off."""

import pandas as pd
import pytest

from spider_utils.figures import by_sequence
from spider_utils.studies.by_sequence import CANAL, EVERY, sequence_tables
from tests.helpers.figure_layout import check_layout, texts


@pytest.fixture(scope="module")
def tables():
    """Two arms on three patients of T2, one of whose slices shows no canal, and three of T2 SPACE."""
    rows = []
    for arm, missed in (("a", 4), ("b", 2)):
        for patient in range(1, 7):
            sequence = "T2" if patient < 4 else "T2_SPACE"
            for name, tp in (
                ("background", 90),
                ("vertebrae", 30),
                ("canal", 0 if patient == 1 else 20),
                ("discs", 10),
            ):
                fn = missed + patient if tp else 0
                rows.append((arm, 0, 0, 2, f"{patient}_x", patient, sequence, 0, name, tp, 1, fn))
    columns = [
        "arm",
        "seed",
        "fold",
        "epoch",
        "series",
        "patient",
        "sequence",
        "slice_index",
        "class",
        "tp",
        "fp",
        "fn",
    ]
    made = sequence_tables(pd.DataFrame(rows, columns=columns), "a")
    made["by_sequence"]["title"] = made["by_sequence"]["arm"].map({"a": "pairs", "b": "pairs and more"})
    return made


def test_gains_have_a_panel_for_each_group_with_the_reference_arms_score(tables):
    figure = by_sequence.sequence_gains(tables["by_sequence"], tables["differences_by_sequence"], source="pairs")
    check_layout("gains", figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.split("\n")[0] for title in titles] == [f"T2, {CANAL}", f"T2, {EVERY}", f"T2 SPACE, {EVERY}"]
    dice = tables["by_sequence"].query("arm == 'a' and aggregation == 'pooled' and `class` == 'foreground'")
    for title, place in zip(titles, (CANAL, EVERY, EVERY), strict=True):
        assert any(f"{number:.3f}" in title for number in dice[dice["position"] == place]["value"])
    assert "pairs and more" in texts(figure) and "it holds 0" in texts(figure)


def test_scores_name_every_sequence_and_class(tables):
    own = tables["by_sequence"].query("arm == 'b'")
    figure = by_sequence.sequence_scores(own, source="pairs")
    check_layout("scores", figure)
    found = texts(figure)
    assert {"T2 SPACE: canal", "T2: vertebrae", "T2 SPACE: foreground"} <= set(found)
    assert not any("canal" in label.get_text() for label in figure.axes[-1].get_yticklabels())  # lateral slices
