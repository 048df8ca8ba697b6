"""Uncertainty of slices against values worked out by hand, other libraries' and plain loops."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from spider_utils.analysis import uncertainty
from spider_utils.analysis.uncertainty import (
    discrimination,
    entropy,
    expected_dice,
    mean_dice,
    summarise_uncertainty,
    uncertainty_table,
    view_spread,
)
from spider_utils.analysis.unseen import Fold, Unseen
from spider_utils.figures import calibration
from spider_utils.predict.network import ReadyNetwork
from spider_utils.predict.views import Scale, Shift
from tests.helpers.figure_layout import check_layout
from tests.helpers.small_study import make_small_store


def one_hot(mask: np.ndarray) -> np.ndarray:
    """Probabilities (N, 4, h, w) of masks (N, h, w) that the network is sure of."""
    return np.moveaxis(np.eye(4, dtype=np.float16)[mask], -1, 1)


def test_entropy_is_0_where_the_network_is_sure_and_1_where_it_knows_nothing():
    mask = np.zeros((2, 32, 32), np.uint8)
    mask[:, :16] = 1
    assert entropy(one_hot(mask)).tolist() == [0, 0]
    even = np.full((1, 4, 32, 32), 0.25, np.float16)
    even[:, 1] += 0.001  # the foreground wins by a hair
    assert entropy(even)[0] == pytest.approx(1, abs=1e-3)
    assert np.isnan(entropy(one_hot(np.zeros((1, 8, 8), int)))).all()


def test_entropy_looks_near_the_foreground_alone():
    probabilities = one_hot(np.zeros((1, 64, 64), int))
    probabilities[0, :, 0] = np.array([0, 1, 0, 0])[:, None]  # the first row is vertebra
    probabilities[0, :, 40:] = np.array([0.5, 0, 0.5, 0])[:, None, None]  # half a doubt far away
    assert entropy(probabilities)[0] == 0
    probabilities[0, :, 5] = np.array([0.5, 0, 0.5, 0])[:, None]
    assert entropy(probabilities)[0] == pytest.approx(np.log(2) / np.log(4) / 11)  # one of the rows 0 to 10


def test_expected_dice_by_hand():
    probabilities = one_hot(np.zeros((1, 10, 10), int)).astype(float)
    probabilities[0, :2, 0, :4] = np.array([0.2, 0.8])[:, None]  # four pixels of vertebra
    probabilities[0, :2, 1, :4] = np.array([0.6, 0.4])[:, None]  # four that are called background
    probabilities[0, [0, 3], 2, 0] = 0.7, 0.3  # a disc that hardly is one
    assert expected_dice(probabilities)[0] == pytest.approx(2 * 3.2 / (4 + 4.8))
    probabilities[0, [0, 3], 3, :5] = np.array([0.7, 0.3])[:, None]  # more than a pixel of disc, none called so
    assert expected_dice(probabilities)[0] == pytest.approx(3.2 / (4 + 4.8))
    assert np.isnan(expected_dice(one_hot(np.zeros((1, 8, 8), int)))).all()


def test_expected_dice_is_what_comes_out_when_the_truth_is_drawn_from_the_probabilities():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet((1, 1, 1, 1), (48, 48))
    found = probabilities.argmax(axis=2)
    scores = []
    for _ in range(30):
        truth = (rng.random((48, 48, 1)) > np.cumsum(probabilities, axis=2)[..., :3]).sum(axis=2)
        scores.append(
            np.mean(
                [2 * ((truth == c) & (found == c)).sum() / ((truth == c).sum() + (found == c).sum()) for c in (1, 2, 3)]
            )
        )
    assert expected_dice(np.moveaxis(probabilities, 2, 0)[None])[0] == pytest.approx(np.mean(scores), abs=0.005)


def test_mean_dice_leaves_out_classes_that_neither_has():
    first, second = np.zeros((8, 8), int), np.zeros((8, 8), int)
    assert mean_dice(first, second) == 1
    first[:4], second[:2] = 1, 1
    assert mean_dice(first, second) == pytest.approx(2 / 3)
    first[7] = 2
    assert mean_dice(first, second) == pytest.approx(1 / 3)


def test_discrimination_is_that_of_scipy_and_of_all_pairs():
    rng = np.random.default_rng(2)
    error = rng.integers(0, 40, 60) / 40  # with ties
    score = error + rng.integers(0, 30, 60) / 30
    found = discrimination(score, error)
    assert found["spearman"] == pytest.approx(spearmanr(score, error).statistic)
    worst = np.isin(np.arange(60), np.argsort(-error, kind="stable")[:6])
    pairs = score[worst][:, None] - score[~worst][None]
    assert found["auroc"] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    looked = np.argsort(-score, kind="stable")
    assert found["found_10"] == len(set(looked[:6]) & set(np.flatnonzero(worst))) / 6
    assert found["found_20"] == len(set(looked[:12]) & set(np.flatnonzero(worst))) / 6


@pytest.mark.usefixtures("few_draws")
def test_a_score_that_tells_patients_apart_alone_says_nothing_within_them():
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(8), 10)
    table = pd.DataFrame({"patient": patient, "dice": 0.9 - patient / 20 - rng.random(80) / 100})
    table["entropy"] = patient + rng.random(80) / 2
    table["expected_error"] = 1 - table["dice"] - 0.05
    table["place"] = 0.5
    summary = summarise_uncertainty(table).set_index("score")
    assert summary.loc["entropy", "spearman"] > 0.95 and abs(summary.loc["entropy", "within"]) < 0.4
    perfect = summary.loc["expected_error"]
    assert perfect[["spearman", "within", "auroc", "found_10", "found_20"]].tolist() == pytest.approx([1] * 5)
    assert perfect["bias"] == pytest.approx(0.05)
    assert perfect["spearman_low"] == pytest.approx(1) and summary.loc["entropy", "spearman_low"] < 0.99
    assert np.isnan(summary.loc["place", "spearman"]) and summary.loc["place", "auroc"] == 0.5
    assert "views" not in summary.index
    nothing_found = table.assign(entropy=np.nan)  # the entropy is that of what the network finds
    assert "entropy" not in summarise_uncertainty(nothing_found)["score"].tolist()


@pytest.mark.usefixtures("few_draws")
def test_a_score_that_no_slice_has_is_left_out():
    """Of a network that finds no foreground, as after too short a training."""
    table = pd.DataFrame({"patient": np.repeat(np.arange(4), 5), "dice": 0.0, "place": np.tile(np.arange(5.0), 4)})
    summary = summarise_uncertainty(table.assign(entropy=np.nan, expected_error=np.nan))
    assert summary["score"].tolist() == ["place"] and summary["slices"].tolist() == [20]


class FromBrightness(torch.nn.Module):
    """Calls every pixel brighter than a half vertebra, wherever it is."""

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(slices), 4, *slices.shape[2:])
        logits[:, 1] = 100 * (slices[:, 0] - 0.5)
        return logits


class UpperHalf(torch.nn.Module):
    """Calls the upper half vertebra, whatever the slice shows."""

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(slices), 4, *slices.shape[2:])
        logits[:, 1] = -5.0
        logits[:, 1, : slices.shape[2] // 2] = 5.0
        return logits


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """The small store, shown at its own size to a network without neighbours."""
    store = make_small_store(tmp_path_factory.mktemp("store"))
    return store, Fold(0, "no file", np.arange(len(store)))


def spread_of(network, squares, views, folder) -> np.ndarray:
    store, fold = squares
    with torch.no_grad():
        shown = torch.from_numpy(np.array(store.images))[:, None] / 255
        probabilities = network(shown).softmax(dim=1).numpy().astype(np.float16)
    table = store.table.assign(row=np.arange(len(store)), fold=0)
    found = probabilities.argmax(axis=1).astype(np.uint8)
    unseen = Unseen(table, store.images, store.masks, found, probabilities)
    ready = ReadyNetwork(network, torch.device("cpu"), store.images.shape[1:])
    with (
        patch.object(uncertainty, "ready_network", return_value=ready),
        patch.object(uncertainty, "SPREAD_VIEWS", tuple(views)),
        patch.dict(uncertainty.VIEWS, views),
    ):
        return view_spread([fold], store, unseen, folder)


def test_a_network_that_follows_the_anatomy_agrees_with_itself(squares, tmp_path):
    spread = spread_of(FromBrightness(), squares, {"down": Shift(2, 0), "left": Shift(0, -1)}, tmp_path)
    assert spread.shape == (len(squares[0]),) and np.abs(spread).max() == 0


def test_a_network_that_does_not_look_disagrees_by_the_shift(squares, tmp_path):
    spread = spread_of(UpperHalf(), squares, {"down": Shift(4, 0), "as it is": Shift(0, 0)}, tmp_path)
    # of 32 rows, 28 come back after the shift: Dice 56 / 60; the other view agrees
    np.testing.assert_allclose(spread, (1 - 56 / 60) / 2)


def test_the_spread_is_kept_until_the_views_change(squares, tmp_path):
    first = spread_of(UpperHalf(), squares, {"down": Shift(4, 0)}, tmp_path)
    with patch.object(uncertainty, "_spread", side_effect=AssertionError("made again")):
        np.testing.assert_array_equal(spread_of(UpperHalf(), squares, {"down": Shift(4, 0)}, tmp_path), first)
    other = spread_of(UpperHalf(), squares, {"larger": Scale(1.5)}, tmp_path)
    assert not np.allclose(other, first)


def test_the_table_has_a_row_a_slice_with_its_true_dice(squares):
    store, _ = squares
    prediction = np.array(store.masks)
    prediction[3][prediction[3] == 2] = 0
    table = store.table.assign(row=np.arange(len(store)), fold=0)
    unseen = Unseen(table, store.images, store.masks, prediction, one_hot(prediction))
    found = uncertainty_table(unseen)
    assert found["dice"].round(6).tolist() == [1, 1, 1, round(2 / 3, 6)] + [1] * (len(store) - 4)
    assert (found["expected_error"] == 0).all() and (found["entropy"] == 0).all() and "views" not in found
    assert found["place"].tolist()[:4] == pytest.approx([1, 1 / 3, 1 / 3, 1])


@pytest.mark.usefixtures("few_draws")
def test_the_figure_marks_the_worst_tenth_and_finds_all_in_the_end():
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"patient": np.repeat(np.arange(5), 8), "dice": 0.7 + rng.random(40) / 4})
    table = table.assign(expected_error=1 - table["dice"] - 0.02, entropy=rng.random(40), place=rng.random(40))
    figure = calibration.uncertainty(table, summarise_uncertainty(table), source="phantom")
    check_layout("uncertainty", figure)
    scatter, curves = figure.axes
    assert [len(points.get_offsets()) for points in scatter.collections] == [36, 4]
    best, *_ = curves.get_lines()
    found = best.get_ydata()
    assert found[0] == 0 and found[4] == 1 and found[-1] == 1  # the perfect score finds the four at once
    labels = [text.get_text() for text in curves.get_legend().get_texts()]
    assert labels[0].startswith("expected Dice: AUROC 1.00 [") and len(labels) == 4  # no views here
