"""One claim with its verdict, and those on T1, T2 and T2 SPACE beside each other; see `tools.claims`."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tools.notebooks import ROOT

RESULTS = ROOT / "results"
REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
INCONCLUSIVE, EXPLAINED = "inconclusive", "explained"
CONTRADICTED, UNTESTABLE = "contradicted by the released material", "cannot be tested here"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, CONTRADICTED, EXPLAINED, UNTESTABLE)
PAPER_WIDTH, PAPER_HEIGHT = 16, 640


@dataclass(frozen=True)
class Claim:
    """One row: what is stated and where, what was found, the verdict, the evidence and the command that makes it."""

    topic: str
    claim: str
    source: str
    stated: str
    found: str
    ci_low: float | None
    ci_high: float | None
    verdict: str
    evidence: str
    command: str


def measured(
    topic: str, claim: str, source: str, stated: float, row: pd.Series, size: str, evidence: str, command: str
) -> Claim:
    """Return a claim on a number, judged by the interval of what was measured, at a size that `size_of` tells."""
    verdict = NOT_REPRODUCED if row["ci_high"] < stated else REPRODUCED
    told = f"{stated:.4f}", f"{row['value']:.3f} {size}".strip()
    return Claim(topic, claim, source, *told, row["ci_low"], row["ci_high"], verdict, evidence, command)


def size_of(training: dict) -> str:
    """Say how far a training stays below the paper's width and height (16 channels, 640 rows); "" where it does not."""
    share = min(training["width"] / PAPER_WIDTH, training["train_height"] / PAPER_HEIGHT)
    return "" if share >= 1 else "at half size" if share == 0.5 else "at reduced size"


def compared(topic: str, claim: str, source: str, gain: dict, evidence: str, command: str, found: str = "") -> Claim:
    """Return a claim that one thing is better than another, judged by the interval of `gain`: "difference", "ci_low",
    "ci_high". An interval that holds 0 shows no difference.
    """
    low, high = gain["ci_low"], gain["ci_high"]
    verdict = REPRODUCED if low > 0 else NOT_REPRODUCED if high < 0 else INCONCLUSIVE
    found = found or f"{gain['difference']:+.3f} Dice"
    return Claim(topic, claim, source, "better", found, low, high, verdict, evidence, command)


def command_of(folder: Path) -> str:
    """Return the command that made a published folder."""
    return (folder / "command.txt").read_text(encoding="utf-8").strip()


def with_canal(sequence: str) -> pd.Series:
    """Return the pooled foreground Dice of one network for all sequences, on the slices of one that show the canal."""
    table = pd.read_csv(RESULTS / "all_sequences" / "by_sequence.csv").query(
        "aggregation == 'pooled' and `class` == 'foreground' and sequence == @sequence"
    )
    return table.set_index("position").loc[["canal visible", "all slices"]].iloc[0] if len(table) > 1 else table.iloc[0]


def resolution_claim() -> Claim:
    """T2 SPACE scores best, for its resolution: it must lie above the others, and lose that when it is as coarse as T2.

    Reproduced where its interval lies above those of T1 and T2, and T2 SPACE as coarse as T2 scores no more than T2.
    """
    values = {name: with_canal(name) for name in ("T2_SPACE", "T2", "T1")}
    steps = pd.read_csv(RESULTS / "resolution" / "resolution_steps.csv").query("`class` == 'foreground'")
    steps = steps.set_index("step")
    coarse, rest = steps.loc["resolution"], steps.loc["contrast and all else"]
    best = all(values["T2_SPACE"]["ci_low"] > values[name]["ci_high"] for name in ("T2", "T1"))
    explained = coarse["ci_high"] < 0 and rest["ci_low"] <= 0 <= rest["ci_high"]
    told = ", ".join(f"{name.replace('_', ' ')} {row['value']:.3f}" for name, row in values.items())
    lost, left = (f"{row['difference']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]" for row in (coarse, rest))
    evidence = (
        f"results/all_sequences and results/resolution, slices with canal of unseen patients, one network: {told}; "
        f"made as coarse as T2, T2 SPACE changes by {lost}, and from there to T2 it is {left}. Most slices in training "
        "are T2 SPACE, which favours it"
    )
    found = "best, and for its resolution" if explained else "best, but not for its resolution alone"
    return Claim(
        "comparison",
        "T2 SPACE scores best, for its resolution",
        "text; user's page",
        "T2 SPACE > T1, T2",
        found if best else "not shown to be best",
        None,
        None,
        REPRODUCED if best and explained else NOT_REPRODUCED,
        evidence,
        command_of(RESULTS / "resolution"),
    )
