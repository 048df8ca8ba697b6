"""Reliability, ECE and Brier score against values worked out by hand and against plain loops over pixels."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.analysis.calibration import BINS, CURVES, TOP, bin_pixels, calibration_table, reliability_table
from spider_utils.analysis.unseen import Unseen
from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.bootstrap import patient_weights
from spider_utils.figures.calibration import reliability
from tests.helpers.figure_layout import check_layout


def make_unseen(probabilities: np.ndarray, reference: np.ndarray, patients: list[int]) -> Unseen:
    table = pd.DataFrame({"patient": patients, "series": [f"{patient}_t2_SPACE" for patient in patients]})
    prediction = probabilities.argmax(axis=1).astype(np.uint8)
    return Unseen(table, np.zeros_like(reference), reference, prediction, probabilities.astype(np.float16))


def constant(size: int, *values: float) -> np.ndarray:
    """Probabilities (4, size, size), the same in every pixel."""
    return np.broadcast_to(np.array(values, np.float32)[:, None, None], (4, size, size)).copy()


@pytest.fixture(scope="module")
def noisy() -> Unseen:
    """Three patients with one, two and three slices of 24 x 20, whose references are drawn from their probabilities."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet((0.4, 0.3, 0.3, 0.3), (6, 24, 20)).astype(np.float16).astype(np.float32)
    drawn = rng.random((6, 24, 20, 1)) > np.cumsum(probabilities, axis=3)[..., :3]
    return make_unseen(np.moveaxis(probabilities, 3, 1), drawn.sum(axis=3).astype(np.uint8), [1, 2, 2, 3, 3, 3])


def value(table: pd.DataFrame, column: str, name: str = TOP, region: str = "all") -> float:
    return table.set_index(["region", "class"]).loc[(region, name), column]


def test_ece_and_brier_by_hand():
    """Half of the pixels are vertebra, predicted with 0.75: too sure by a quarter."""
    reference = np.zeros((1, 8, 8), np.uint8)
    reference[:, :4] = 1
    table = calibration_table(bin_pixels(make_unseen(constant(8, 0.25, 0.75, 0, 0)[None], reference, [1])))
    assert value(table, "ece") == pytest.approx(0.25)
    assert value(table, "confidence") == pytest.approx(0.25)
    assert value(table, "ece", "background") == pytest.approx(0.25)
    assert value(table, "confidence", "background") == pytest.approx(-0.25)
    assert value(table, "ece", "canal") == 0
    # right half: (0.25, -0.25), wrong half: (-0.75, 0.75)
    assert value(table, "brier") == pytest.approx((2 * 0.0625 + 2 * 0.5625) / 2)
    assert value(table, "brier", "vertebrae") == pytest.approx((0.0625 + 0.5625) / 2)
    assert np.isnan(value(table, "ece_low"))  # of one patient there is no interval


def test_far_background_hides_a_poor_calibration_near_the_structures():
    size = 64
    probabilities, reference = constant(size, 1, 0, 0, 0)[None], np.zeros((1, size, size), np.uint8)
    probabilities[0, :, :4, :4] = constant(4, 0, 0, 0, 1)  # sure of a disc where there is none
    sums = bin_pixels(make_unseen(probabilities, reference, [1]))
    distance = np.hypot(*(np.maximum(np.arange(size) - 3, 0)[axis] for axis in (np.s_[:, None], np.s_[None, :])))
    near = (distance <= 10).sum()
    table = calibration_table(sums)
    assert value(table, "pixels", region="near") == near
    assert value(table, "ece") == pytest.approx(16 / size**2)
    assert value(table, "ece", region="near") == pytest.approx(16 / near)


def test_every_number_is_that_of_a_loop_over_pixels(noisy):
    sums = bin_pixels(noisy)
    curves, summary = reliability_table(sums), calibration_table(sums)
    probabilities = np.moveaxis(noisy.probabilities.astype(float), 1, -1).reshape(-1, 4)
    truth = noisy.reference.reshape(-1)
    for curve in CURVES:
        label = CLASSES.index(curve) if curve != TOP else None
        given = probabilities.max(axis=1) if label is None else probabilities[:, label]
        right = (probabilities.argmax(axis=1) if label is None else label) == truth
        ece = 0.0
        for number in range(BINS):
            low, high = number / BINS, (number + 1) / BINS
            inside = (given >= low) & ((given < high) | (number == BINS - 1))
            row = curves[(curves["region"] == "all") & (curves["class"] == curve) & np.isclose(curves["low"], low)]
            assert inside.any() == len(row)
            if inside.any():
                assert row[["pixels", "probability", "frequency"]].to_numpy()[0] == pytest.approx(
                    [inside.sum(), given[inside].mean(), right[inside].mean()], abs=1e-6
                )
                ece += inside.mean() * abs(given[inside].mean() - right[inside].mean())
        assert value(summary, "ece", curve) == pytest.approx(ece, abs=1e-6)
    hot = np.eye(4)[truth]
    assert value(summary, "brier") == pytest.approx(((probabilities - hot) ** 2).sum(axis=1).mean(), abs=1e-6)


def test_references_drawn_from_the_probabilities_are_well_calibrated(noisy):
    table = calibration_table(bin_pixels(noisy))
    assert value(table, "ece") < 0.03 and abs(value(table, "confidence")) < 0.02


def test_intervals_draw_whole_patients(noisy):
    table = calibration_table(bin_pixels(noisy))
    gaps, pixels = [], []
    for patient in (1, 2, 3):
        rows = (noisy.table["patient"] == patient).to_numpy()
        found = noisy.probabilities[rows].astype(float)
        gaps.append((found.max(axis=1) - (found.argmax(axis=1) == noisy.reference[rows])).sum())
        pixels.append(noisy.reference[rows].size)
    drawn = patient_weights(3)[1:]
    low, high = np.percentile((drawn @ gaps) / (drawn @ pixels), (2.5, 97.5))
    assert value(table, "confidence_low") == pytest.approx(low, abs=1e-5)
    assert value(table, "confidence_high") == pytest.approx(high, abs=1e-5)
    curves = reliability_table(bin_pixels(noisy))
    assert (curves["ci_low"] <= curves["frequency"] + 1e-9).mean() > 0.9


def test_the_reference_is_reduced_to_the_networks_size():
    reference = np.zeros((1, 16, 16), np.uint8)
    reference[0, :8, :8] = 2
    probabilities = constant(4, 1, 0, 0, 0)[None]
    probabilities[0, :, :2, :2] = constant(2, 0, 0, 1, 0)
    table = calibration_table(bin_pixels(make_unseen(probabilities, reference, [1])))
    assert value(table, "ece") == 0 and value(table, "brier") == 0


def test_the_curves_are_drawn_with_their_error_in_words(noisy):
    sums = bin_pixels(noisy)
    summary = calibration_table(sums)
    figure = reliability(reliability_table(sums), summary, source="phantom")
    check_layout("reliability", figure)
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert told[0] == f"predicted class: ECE {value(summary, 'ece'):.3f}" and len(told) == 4
