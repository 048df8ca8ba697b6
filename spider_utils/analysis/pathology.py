"""Does disease make a disc, or the vertebra above it, harder to segment? Gradings against Dice, with their limits.

A value is the mean over a patient's structures, then over patients, with the 95 % percentile bootstrap interval over
patients. A *difference* is graded minus all others: of the group means; and *adjusted*, which takes each structure
minus the mean of its level, compares within each patient that has both, and takes the mean over these patients, so that
neither a difficult patient nor a difficult level stands for the disease.
"""

import numpy as np
import pandas as pd

from spider_utils.evaluate.bootstrap import estimate, patient_weights, weighted_mean

PFIRRMANN = "Pfirrman grade"  # as the table spells it
FINDINGS = {
    PFIRRMANN: "Pfirrmann grade",
    "Disc narrowing": "narrowing",
    "Disc herniation": "herniation",
    "Disc bulging": "bulging",
    "Spondylolisthesis": "spondylolisthesis",
    "Modic": "Modic change",
    "UP endplate": "upper endplate change",
    "LOW endplate": "lower endplate change",
}
# Grades that are taken together, too.
JOINED: dict[str, dict[str, tuple[int, ...]]] = {PFIRRMANN: {"4 and 5": (4, 5)}, "Modic": {"1 to 3": (1, 2, 3)}}
COLUMNS = ["structure", "finding", "grade", "structures", "patients", "dice", "ci_low", "ci_high"]
COLUMNS += ["difference", "difference_low", "difference_high", "adjusted", "adjusted_low", "adjusted_high"]
COLUMNS += ["pairs", "detectable"]
FEWEST = 5  # patients: a group of fewer says nothing


def pathology_table(structures: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every kind of structure, finding and grade that a structure has.

    Columns: structure, finding, grade, structures, patients (that have it), dice, ci_low, ci_high; for grades other
    than 0 difference, difference_low, difference_high, pairs (patients that have both), adjusted, adjusted_low,
    adjusted_high and detectable: half the width of the adjusted interval, that is about the smallest adjusted
    difference whose interval would not hold 0. `structures`: as `structures.structure_table` gives it, with gradings.
    """
    rows = []
    for structure, part in structures.groupby("structure", sort=False):
        part = part.dropna(subset=["dice"]).assign(
            adjusted=lambda own: own["dice"] - own.groupby("number")["dice"].transform("mean")
        )
        for column, finding in FINDINGS.items():
            graded = part.dropna(subset=[column])
            choices = {f"{grade:g}": (grade,) for grade in sorted(graded[column].unique())}
            for grade, chosen in (choices | JOINED.get(column, {})).items():
                place = {"structure": structure, "finding": finding, "grade": grade}
                rows.append(place | _compare(graded, graded[column].isin(chosen), zero=chosen == (0,)))
    return pd.DataFrame(rows, columns=COLUMNS)


def pathology_statement(table: pd.DataFrame) -> str:
    """Say in plain words what the patients can and cannot show, from `pathology_table`."""
    discs = table[(table["structure"] == "disc") & table["adjusted"].notna() & (table["pairs"] >= FEWEST)]
    if discs.empty:
        return "No finding stands beside its absence in enough patients to say anything."
    clear = discs[(discs["adjusted_low"] > 0) | (discs["adjusted_high"] < 0)]
    told = [
        f"{row.finding} {row.grade}: {row.adjusted:+.3f} [{row.adjusted_low:+.3f}, {row.adjusted_high:+.3f}]"
        for row in clear.itertuples()
    ]
    few = table[(table["structure"] == "disc") & (table["grade"] != "0") & (table["pairs"] < FEWEST)]
    lines = [
        f"Of {len(discs)} gradings of discs that {FEWEST} patients or more have beside others, {len(clear)} change the "
        "disc's Dice by more than chance allows for, one at a time and without a correction for their number"
        + (f" ({'; '.join(told)})." if told else "."),
        f"A difference below about {discs['detectable'].min():.3f} to {discs['detectable'].max():.3f}, by finding, "
        "cannot be told from none with so few patients.",
    ]
    if len(few):
        names = ", ".join(f"{row.finding} {row.grade} ({row.structures})" for row in few.itertuples())
        lines.append(f"Too rare to say anything (structures): {names}.")
    return " ".join(lines)


def _compare(part: pd.DataFrame, chosen: pd.Series, zero: bool) -> dict:
    patients = np.sort(part["patient"].unique())
    weights = patient_weights(len(patients))

    def means(which: pd.Series, column: str) -> np.ndarray:
        return part[which].groupby("patient")[column].mean().reindex(patients).to_numpy()

    own = means(chosen, "dice")
    value, having = weighted_mean(weights, own), int((~np.isnan(own)).sum())
    row = {"structures": int(chosen.sum()), "patients": having} | estimate("dice", value, having)
    if zero or not chosen.any() or chosen.all():
        return row
    others = means(~chosen, "dice")
    difference = value - weighted_mean(weights, others)
    gap = means(chosen, "adjusted") - means(~chosen, "adjusted")
    pairs = int((~np.isnan(gap)).sum())
    row |= estimate("difference", difference, min(having, int((~np.isnan(others)).sum())), bounds="difference")
    row |= estimate("adjusted", weighted_mean(weights, gap), pairs, bounds="adjusted")
    return row | {"pairs": pairs, "detectable": (row["adjusted_high"] - row["adjusted_low"]) / 2}
