"""T2 SPACE made as coarse as T2: what stays as it is, what vanishes, and who scores it."""

import json

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.spider import read_overview
from spider_utils.evaluate.overlap import count_overlap, replicated_dice
from spider_utils.figures import sequences as figures
from spider_utils.studies import resolution
from spider_utils.studies.resolution import (
    AS_IS,
    BOTH,
    COARSEST,
    OUTER,
    SPACE_MM,
    Grid,
    coarsen,
    degrade,
    resolution_tables,
    score_study,
    slice_weights,
    t2_grids,
    thicken,
    whole_stacks,
)
from tests.helpers.figure_layout import check_layout
from tests.helpers.toy_networks import bright_network

GRIDS = {"typical": Grid(0.625, 3.0), "coarsest": Grid(1.0, 4.0)}
LEVELS = (17, 90, 163, 236)  # of the small store's classes, scaled to 0..255


@pytest.mark.parametrize(
    ("thick", "weights"),
    [
        (0, [1]),
        (1, [1]),
        (2, [1 / 4, 1 / 2, 1 / 4]),
        (3, [1 / 3, 1 / 3, 1 / 3]),
        (4, [1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8]),
    ],
)
def test_a_thick_slice_is_made_of_the_slices_that_it_covers(thick, weights):
    np.testing.assert_allclose(slice_weights(thick), weights)


def test_a_thick_slice_by_hand_and_of_slices_that_are_all_the_same():
    rng = np.random.default_rng(0)
    stack = np.repeat(rng.integers(0, 256, (1, 8, 6), np.uint8), 5, axis=0)
    around = np.array([[0, 1, 2, 3, 4]])
    np.testing.assert_allclose(thicken(stack, around, 4.0), stack[:1], rtol=1e-6)
    stack = np.arange(5, dtype=np.uint8)[:, None, None] * np.full((1, 2, 2), 10, np.uint8)
    np.testing.assert_allclose(thicken(stack, np.array([[0, 1, 2, 3, 3]]), 4.0), (10 + 20 + 30) / 4 + 0 + 30 / 8)
    np.testing.assert_array_equal(thicken(stack, around, 0.0)[0], stack[2])


def test_a_pixel_that_is_no_coarser_changes_nothing():
    images = np.random.default_rng(0).random((2, 40, 32)).astype(np.float32) * 255
    for pixel in (0.0, 0.1, 0.46875):
        np.testing.assert_array_equal(coarsen(images, pixel, SPACE_MM), images)


def test_a_coarse_pixel_keeps_the_mean_and_takes_fine_lines_away():
    flat = np.full((1, 64, 64), 100, np.float32)
    np.testing.assert_allclose(coarsen(flat, 2.0, (0.5, 0.5)), flat, rtol=1e-5)
    lines = flat + 50 * (-1.0) ** np.arange(64, dtype=np.float32)
    waves = flat + 50 * np.sin(2 * np.pi * np.arange(64, dtype=np.float32) / 32)
    middle = slice(8, -8)
    assert np.ptp(coarsen(lines, 2.0, (0.5, 0.5))[0, middle, middle]) < 0.05 * np.ptp(lines)
    assert np.ptp(coarsen(waves, 2.0, (0.5, 0.5))[0, middle, middle]) > 0.8 * np.ptp(waves)


def test_nothing_is_degraded_to_nothing():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 24), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = 0, 255
    around = np.array([[0, 0, 1], [0, 1, 2]])
    np.testing.assert_array_equal(degrade(images, around, Grid(0.0, 0.0)), images[:2])


def test_slices_without_all_their_neighbours_are_known():
    table = pd.DataFrame({"series": ["a"] * 5 + ["b"] * 3, "slice_index": [1, 2, 3, 5, 6, 4, 5, 6]})
    around, whole = whole_stacks(table, 1)
    assert whole.tolist() == [False, True, False, False, False, False, True, False]
    assert around[1].tolist() == [0, 1, 2] and around[6].tolist() == [5, 6, 7]


def test_t2s_grid_by_hand_and_by_spiders_own_table(shared_data):
    table = pd.DataFrame(
        {
            "new_file_name": ["1_t2", "2_t2", "3_t2", "3_t1", "3_t2_SPACE"],
            "PixelSpacing": ["[0.5, 0.5]", "[0.6, 0.7]", None, "[9, 9]", "[0.4, 0.4]"],
            "SliceThickness": [3.0, 3.0, 4.0, 9.0, 0.9],
        }
    )
    assert t2_grids(table) == {"typical": Grid(0.6, 3.0), "coarsest": Grid(0.7, 4.0)}
    with pytest.raises(SpiderError, match="expected PixelSpacing and SliceThickness of T2 series, found none"):
        t2_grids(table[3:])
    real = t2_grids(read_overview(shared_data / "spider_metadata"))
    assert real["typical"].pixel_mm == pytest.approx(0.63, abs=0.01) and real["typical"].thick_mm == 3.0
    assert real["coarsest"] == Grid(1.0, 4.0)


def test_sets_that_share_patients_share_their_draws():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 4, (4, 6, 6), np.uint8)
    table = pd.DataFrame({"series": list("abcd"), "patient": [1, 2, 3, 4], "sequence": "T2", "slice_index": 0})
    counts = count_overlap(masks, rng.integers(0, 4, masks.shape, np.uint8), table)
    one, other = (counts[counts["patient"].isin(own)] for own in ((1, 2), (1, 2, 3)))
    everyone = np.array([1, 2, 3, 4])
    drawn = [replicated_dice(part, everyone)["pooled"]["discs"] for part in (one, other)]
    for values, part in zip(drawn, (one, other), strict=True):
        assert values[0] == replicated_dice(part)["pooled"]["discs"][0]
    same = np.isclose(drawn[0], drawn[1])
    assert 0.2 < same.mean() < 0.5  # draws without patient 3: (3/4) ** 4 = 0.32
    np.testing.assert_array_equal(replicated_dice(counts)["pooled"]["discs"],
                                  replicated_dice(counts, everyone)["pooled"]["discs"])  # fmt: skip


@pytest.mark.usefixtures("few_draws")
def test_a_perfect_network_scores_1_as_it_is(small_study, monkeypatch):
    """Of its 5 patients those of 4 slices have none with all its neighbours."""
    out, store = small_study
    monkeypatch.setattr(resolution, "ready_network", lambda checkpoint: bright_network((64, 48), LEVELS))
    groups = score_study(out, "unseen", store, GRIDS)
    assert {len(scores.table) for scores in groups.values()} == {4 * (1 + 2 + 1)}  # the same slices in all conditions
    assert set(groups["T2 SPACE, as it is"].table["patient"]) == {2, 3, 5}
    tables = resolution_tables(groups, GRIDS)
    rows = tables["resolution"].set_index(["group", "class"])
    assert set(rows.loc[f"T2 SPACE, {AS_IS}", "value"]) == {1.0}
    assert set(rows.loc[f"T2 SPACE, {AS_IS}"].index) == {"vertebrae", "canal", "discs", "foreground", OUTER}
    assert (rows.loc[f"T2 SPACE, {COARSEST}", "value"] < 1).all()
    assert rows.loc[(f"T2 SPACE, {BOTH}", "canal"), ["pixel_mm", "thick_mm"]].tolist() == [0.625, 3.0]
    steps = tables["resolution_steps"].set_index(["step", "class"])["difference"]
    assert steps.index.get_level_values(0).unique().tolist() == ["resolution"]
    assert steps[("resolution", "discs")] == pytest.approx(rows.loc[(f"T2 SPACE, {BOTH}", "discs"), "value"] - 1)
    check_layout("resolution", figures.resolution(tables["resolution"], tables["resolution_steps"], source="released"))


@pytest.mark.usefixtures("few_draws")
def test_t2_is_told_with_and_without_the_canal(small_study, monkeypatch):
    """Patient 2 passes for a T2 patient, with two slices that have no canal."""
    out, store = small_study
    monkeypatch.setattr(resolution, "ready_network", lambda checkpoint: bright_network((64, 48), LEVELS))
    table = store.table.copy()
    own = table.index[table["patient"] == 2]
    table.loc[own, "sequence"], table.loc[own[:2], "n_canal"] = "T2", 0
    other = type(store)(store.path, store.images, store.masks, table, store.audit, store.info)
    groups = score_study(out, "unseen", other, GRIDS)
    assert len(groups["T2, no canal"].table) == 4 * 2 and len(groups["T2, canal"].table) == 4 * 3
    tables = resolution_tables(groups, GRIDS)
    known = tables["resolution"].set_index("group")["class"]
    assert set(known["T2, no canal"]) == {"vertebrae", "discs", OUTER}
    steps = tables["resolution_steps"]
    assert set(steps.loc[steps["step"] == "lateral position", "class"]) == {"vertebrae", "discs", OUTER}
    check_layout("resolution", figures.resolution(tables["resolution"], steps, source="released+pairs"))


@pytest.mark.usefixtures("few_draws")
def test_the_command_needs_a_study_and_writes_its_tables(small_study, tmp_path, capsys):
    out, _ = small_study
    pd.DataFrame(
        {"new_file_name": ["1_t2"], "subset": ["training"], "PixelSpacing": ["[0.6, 0.6]"], "SliceThickness": [4.0]}
    ).to_csv(tmp_path / "overview.csv", index=False)
    line = ["study", "resolution", "--metadata", str(tmp_path), "--out", str(tmp_path / "o"), "-p", "arm", "unseen"]
    assert main(line) == 2
    assert "expected --metadata DIR, -p study DIR and -p arm NAME, and no --data-dir" in capsys.readouterr().err
    assert main([*line, "-p", "study", str(out)]) == 0
    assert {path.name for path in (tmp_path / "o").iterdir()} == {
        "resolution.csv", "resolution_paired.csv", "resolution_steps.csv", "provenance.json", "figures",
    }  # fmt: skip
    assert json.loads((tmp_path / "o" / "provenance.json").read_text())["settings"] == {
        "study": "resolution", "source": "released", "trained": out.name, "arm": "unseen",
    }  # fmt: skip
    paired = pd.read_csv(tmp_path / "o" / "resolution_paired.csv")
    assert set(paired["reference"]) == {AS_IS} and set(paired["metric"]) == {"dice", "hd95", "asd", "nsd_1"}
