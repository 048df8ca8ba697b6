"""Bootstrap over patients: how often each counts, and the values and intervals that the draws give (Efron 1979)."""

import numpy as np

REPLICATES, SEED = 1000, 0


def patient_weights(patients: int, replicates: int = REPLICATES, seed: int = SEED) -> np.ndarray:
    """Return how often each patient counts, (1 + replicates, patients) int64; every row sums to `patients`.

    The first row has each of them once, so that it gives the value itself; the others are drawn with replacement.
    """
    drawn = np.random.default_rng(seed).integers(0, patients, (replicates, patients))
    return np.stack([np.bincount(row, minlength=patients) for row in (np.arange(patients), *drawn)])


def weighted_mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean of `values` (patients,) for every row of weights (n, patients): over the patients that have one,
    NaN where none of them is drawn.
    """
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ np.nan_to_num(values)) / (weights @ there)


def interval(values: np.ndarray, patients: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of replicated values, whose first is the value itself.

    Replicates that are NaN are left out. NaN without any, or where fewer than two `patients` have a value: one alone,
    drawn or not, gives the same value always, and an interval without width would say that it is sure.
    """
    if patients < 2 or np.isnan(values[1:]).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return float(low), float(high)


def estimate(name: str, values: np.ndarray, patients: int, bounds: str = "ci") -> dict[str, float]:
    """Return a value and its `interval` as part of a table's row: `name`, `bounds`_low, `bounds`_high.

    `patients`: how many have a value, not how many are drawn from.
    """
    low, high = interval(values, patients)
    return {name: values[0], f"{bounds}_low": low, f"{bounds}_high": high}
