"""Bootstrap over patients: which are drawn, and the intervals of what the draws give."""

import numpy as np

REPLICATES, SEED = 1000, 0


def draw_patients(patients: int, replicates: int, seed: int) -> np.ndarray:
    """Return how often each patient is drawn, (replicates, patients) int64; every row sums to `patients`."""
    drawn = np.random.default_rng(seed).integers(0, patients, (replicates, patients))
    return np.stack([np.bincount(row, minlength=patients) for row in drawn])


def _interval(values: np.ndarray, patients: int) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if patients < 2 or not values.size:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of replicated values, whose first is the value itself."""
    if len(values) < 2 or np.isnan(values[1:]).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return float(low), float(high)
