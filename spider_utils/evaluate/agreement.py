"""Do two readers measure the same? Bland and Altman's agreement of heights and diameters."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from spider_utils.common.errors import SpiderError


def compare_measures(reference: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Put two tables of measurements side by side, a row a structure and measure.

    Both are tables of `disc_heights` or both of `canal_diameters`, of one series or, with further columns that name it
    (such as series), of several. The result has those columns with label and name, and measure, unit ("mm", "mm2"),
    reference, other, mean, difference (other minus reference). What one table has and the other lacks is NaN.

    Raises SpiderError where the tables have no measures in common or a table holds a structure twice.
    """
    shared = [column for column in reference.columns if column in other.columns and column != "complete"]
    measures = [column for column in shared if column.endswith(("_mm", "_mm2"))]
    keys = [column for column in shared if column not in measures]
    if not measures or "label" not in keys:
        raise SpiderError(
            f"measures: expected two tables with label and the same measures, found {', '.join(shared) or 'nothing'} "
            "in common; give two tables of one kind"
        )
    for table in (reference, other):
        if table.duplicated(keys).any():
            raise SpiderError(
                f"measures: expected each structure once by {', '.join(keys)}, found one twice; "
                "add a column that names the series"
            )
    long = [
        table.melt(keys, measures, var_name="measure", value_name=side)
        for table, side in ((reference, "reference"), (other, "other"))
    ]
    both = long[0].merge(long[1], how="outer", on=[*keys, "measure"])
    both = both.astype({"reference": float, "other": float})  # a reader who has found nothing has no numbers at all
    unit = both["measure"].str.extract("_(mm2?)$")[0]
    both.insert(both.columns.get_loc("measure") + 1, "unit", unit)
    mean, difference = (both["reference"] + both["other"]) / 2, both["other"] - both["reference"]
    return both.assign(mean=mean, difference=difference)


@dataclass(frozen=True)
class Agreement:
    """How far two measurements of the same things agree; all but n in the measurements' own unit."""

    n: int  # pairs
    bias: float  # mean difference, other minus reference
    sd: float  # standard deviation of the differences
    lower: float  # limits of agreement, bias - 1.96 SD and bias + 1.96 SD
    upper: float
    bias_interval: tuple[float, float]  # 95 % confidence intervals of the three
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]


def bland_altman(reference: np.ndarray, other: np.ndarray) -> Agreement:
    """Return bias and 95 % limits of agreement of paired measurements (n,) (Bland & Altman, Lancet i:307, 1986).

    A pair with NaN does not count. The intervals are the paper's, with t of n - 1 degrees of freedom and the standard
    errors sqrt(s² / n) of the bias and sqrt(3 s² / n) of a limit. They take pairs as independent: for several levels of
    the same patients they are too narrow. With fewer than two pairs all but n and bias are NaN. Raises SpiderError
    where the two differ in shape.
    """
    reference, other = np.asarray(reference, float), np.asarray(other, float)
    if reference.shape != other.shape or reference.ndim != 1:
        raise SpiderError(
            f"agreement: expected pairs of measurements, found shapes {reference.shape} and {other.shape}; pair them"
        )
    difference = (other - reference)[np.isfinite(reference) & np.isfinite(other)]
    n = len(difference)
    bias = float(difference.mean()) if n else float("nan")
    sd = float(difference.std(ddof=1)) if n > 1 else float("nan")
    lower, upper = bias - 1.96 * sd, bias + 1.96 * sd
    half = float(student.ppf(0.975, n - 1)) * sd / np.sqrt(n) if n > 1 else float("nan")
    wide = half * np.sqrt(3)
    return Agreement(
        n,
        bias,
        sd,
        lower,
        upper,
        (bias - half, bias + half),
        (lower - wide, lower + wide),
        (upper - wide, upper + wide),
    )
