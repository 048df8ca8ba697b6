"""Bootstrap over patients: how often each counts, and the values and intervals that the draws give (Efron 1979).

Where networks were trained from several seeds, each seed meets every patient. Then patients and seeds are drawn, each
for itself (Owen 2007, the pigeonhole bootstrap), and an interval holds how both differ.
"""

import numpy as np
import pandas as pd

REPLICATES, SEED = 1000, 0


def patient_weights(patients: int, replicates: int = REPLICATES, seed: int = SEED, seeds: int = 1) -> np.ndarray:
    """Return how often each patient counts, (1 + replicates, patients) int64; every row sums to `patients`.

    The first row has each of them once, so that it gives the value itself; the others are drawn with replacement.

    With several `seeds` of training: how often each pair of a patient and a seed counts, (1 + replicates, patients *
    seeds), the seeds of a patient side by side. In every draw all patients meet the same seeds, as a seed can move all
    of them together. One seed less is drawn than there are, since so few would else look more alike than they are
    (McCarthy and Snowden 1985): the spread of means of `seeds` drawn ones is too small by (seeds - 1) / seeds.
    """
    rng = np.random.default_rng(seed)
    weights = _often(rng.integers(0, patients, (replicates, patients)), patients)
    if seeds == 1:
        return weights
    trained = _often(rng.integers(0, seeds, (replicates, seeds - 1)), seeds)
    return (weights[:, :, None] * trained[:, None]).reshape(len(weights), -1)


def seeds_of(table: pd.DataFrame) -> np.ndarray:
    """Return the seeds of training in a table, sorted; 0 alone where it has no column seed."""
    return np.sort(table["seed"].unique()) if "seed" in table else np.zeros(1, int)


def tell_seeds(seeds: int) -> dict[str, int]:
    """Return what a table's row says of its seeds: nothing of one, as then its interval is over patients alone."""
    return {"seeds": seeds} if seeds > 1 else {}


def drawn_over(table: pd.DataFrame) -> str:
    """Tell in words what was drawn for a table's intervals: "patients" or "patients and seeds" (see `tell_seeds`)."""
    return "patients and seeds" if "seeds" in table else "patients"


def weighted_mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean of `values` (patients,) for every row of weights (n, patients): over the patients that have one,
    NaN where none of them is drawn. Pairs of a patient and a seed take the place of patients where there are seeds.
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


def _often(drawn: np.ndarray, number: int) -> np.ndarray:
    """Return how often each of `number` things counts: first each once, then as often as a row (k,) has drawn it."""
    return np.stack([np.bincount(row, minlength=number) for row in (np.arange(number), *drawn)])
