"""Draws of patients, and what they make of values by hand."""

import numpy as np
import pytest

from spider_utils.evaluate.bootstrap import estimate, interval, patient_weights, weighted_mean


def test_the_first_row_takes_every_patient_once_and_all_rows_as_many():
    weights = patient_weights(4, 50, seed=3)
    assert weights.shape == (51, 4) and weights[0].tolist() == [1] * 4
    assert (weights.sum(axis=1) == 4).all() and len(np.unique(weights, axis=0)) > 10
    np.testing.assert_array_equal(weights, patient_weights(4, 50, seed=3))
    assert patient_weights(4, 0).tolist() == [[1] * 4]


def test_patients_are_drawn_with_replacement_each_as_often_as_any_other():
    weights = patient_weights(3, 3000)[1:]
    assert weights.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.05)
    # Of 27 draws, as likely as each other, 3 hold one patient alone and 6 all three of them.
    assert (weights == 3).any(axis=1).mean() == pytest.approx(3 / 27, abs=0.03)
    assert (weights == 1).all(axis=1).mean() == pytest.approx(6 / 27, abs=0.03)


def test_a_thousand_draws_of_one_seed_unless_said():
    assert patient_weights(3).shape == (1001, 3)
    np.testing.assert_array_equal(patient_weights(3), patient_weights(3, 1000, 0))


@pytest.mark.filterwarnings("error")
def test_a_mean_is_over_the_patients_that_have_a_value():
    weights = np.array([[1, 1, 1], [3, 0, 0], [0, 1, 2]])
    np.testing.assert_array_equal(weighted_mean(weights, np.array([np.nan, 2.0, 5.0])), [3.5, np.nan, 4.0])


def test_an_interval_leaves_the_value_itself_and_undefined_draws_out():
    values = np.array([100.0, *np.arange(101), np.nan])
    assert interval(values, 5) == (2.5, 97.5)
    assert estimate("dice", values, 5) == {"dice": 100.0, "ci_low": 2.5, "ci_high": 97.5}
    assert interval(np.array([1.0, 5.0, np.nan, np.nan]), 2) == (5, 5)
    assert interval(values, 2) == (2.5, 97.5)  # two patients are enough
    assert list(estimate("ece", values, 5, bounds="ece")) == ["ece", "ece_low", "ece_high"]


@pytest.mark.parametrize(("values", "patients"), [([1.0, 2.0, 3.0], 1), ([1.0, np.nan], 2), ([1.0], 2)])
def test_without_draws_there_is_no_interval(values, patients):
    assert np.isnan(interval(np.array(values), patients)).all()
