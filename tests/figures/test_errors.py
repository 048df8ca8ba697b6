"""Figures of the error analysis, and the study's hook that draws them: what they must show."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from spider_utils.analysis.causes import add_causes, cause_table, suspected_faults
from spider_utils.analysis.groups import group_table
from spider_utils.analysis.where import add_regions, distance_table, region_table
from spider_utils.analysis.worst import worst_table
from spider_utils.analysis.wrong import wrong_pixels
from spider_utils.figures import errors
from tests.helpers.figure_layout import check_layout, texts
from tests.helpers.small_unseen import make_unseen, spine


@pytest.fixture(scope="module")
def made():
    """Predictions with a part that is missed, an island and a speck, of two patients, and their wrong pixels."""
    missed, island, speck = spine(), spine(), spine()
    missed[250:290, 60:100] = 0
    island[340:380, 60:110] = 1
    speck[400:402, 20:25] = 2
    unseen = make_unseen([spine(), spine(), speck, spine()], [missed, island, spine(), spine()], [1, 1, 2, 2])
    return unseen, add_causes(unseen, add_regions(unseen, wrong_pixels(unseen)))


@pytest.fixture(scope="module")
def structures():
    rows = [
        {"structure": kind, "number": number, "level": f"T{number}/T{number + 1}", "dice": 0.9 - 0.01 * number}
        for kind in ("vertebra", "disc")
        for number in range(1, 10)
        for _ in range(3)
    ]
    return pd.DataFrame(rows)


def test_every_figure_fits_and_names_its_source(made, structures):
    unseen, wrong = made
    worst = worst_table(unseen, wrong)
    figures = {
        "groups": errors.groups(group_table(unseen), source="phantom"),
        "patients": errors.patients(group_table(unseen), source="phantom"),
        "distances": errors.distances(distance_table(unseen, wrong), source="phantom"),
        "where": errors.shares(region_table(unseen, wrong), "region", source="phantom"),
        "causes": errors.shares(cause_table(unseen, wrong), "cause", source="phantom"),
        "example": errors.example(unseen, wrong, worst, source="phantom"),
        "worst": errors.worst_slices(unseen, worst, source="phantom"),
        "faults": errors.faults(unseen, wrong, suspected_faults(unseen, wrong), source="phantom"),
        "levels": errors.levels(structures, source="phantom"),
    }
    for name, figure in figures.items():
        check_layout(name, figure)
        assert "PHANTOM: synthetic, no patient" in texts(figure), name


def test_bars_are_the_shares_of_the_table_classes_stacked(made):
    table = region_table(*made)
    (axes,) = errors.shares(table, "region", source="phantom").axes
    drawn = sum(patch.get_width() for patch in axes.patches)
    assert drawn == pytest.approx(100)
    longest = table[table["class"] == "all"].nlargest(1, "pixels").iloc[0]
    assert f"{100 * longest['share']:.1f} %" in [text.get_text() for text in axes.texts]


def test_the_example_paints_every_wrong_pixel_of_the_worst_slice_by_its_cause(made):
    unseen, wrong = made
    worst = worst_table(unseen, wrong)
    picture = errors.example(unseen, wrong, worst, source="phantom").axes[2].images[0].get_array()
    number = worst["slice"].iloc[0]
    colour = np.round(255 * np.array(to_rgb(errors.CAUSE_COLOURS["missed part"])))
    painted = (np.asarray(picture) == colour).all(axis=2).sum()
    assert painted == ((wrong["slice"] == number) & (wrong["cause"] == "missed part")).sum() > 0


def test_findings_that_too_few_patients_have_are_not_drawn():
    row = {"structure": "disc", "dice": 0.9, "adjusted": -0.05, "adjusted_low": -0.1, "adjusted_high": 0.01}
    common = row | {"finding": "narrowing", "grade": "1", "structures": 40, "patients": 20, "pairs": 20}
    rare = row | {"finding": "herniation", "grade": "1", "structures": 2, "patients": 2, "pairs": 2}
    figure = errors.pathology(pd.DataFrame([common, rare]), source="phantom")
    check_layout("pathology", figure)
    assert "narrowing (40 discs, 20 patients)" in texts(figure)
    assert not any("herniation" in text for text in texts(figure))
