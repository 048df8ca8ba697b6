"""The worst slices, each with a sentence that says what fails there: computed from the tables, never typed."""

from typing import Any

import pandas as pd

from spider_utils.analysis.pathology import PFIRRMANN
from spider_utils.analysis.unseen import Unseen
from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.metrics import dice
from spider_utils.evaluate.overlap import PLACE, count_overlap

GRADED = {"Disc narrowing": "narrowed", "Disc bulging": "bulging", "Disc herniation": "herniated"}


def slice_table(unseen: Unseen) -> pd.DataFrame:
    """Return a row a slice, in order: series, patient, sequence, slice_index, fold, dice (the mean of the three
    classes, those that neither mask has left out) and dice_<class>.
    """
    counts = count_overlap(unseen.reference, unseen.prediction, unseen.table)
    counts = counts[counts["class"].isin(FOREGROUND)]
    counts = counts.assign(dice=dice(counts["tp"], counts["fp"], counts["fn"]))
    wide = counts.pivot(index=["series", "slice_index"], columns="class", values="dice")[list(FOREGROUND)]
    wide = wide.reindex(pd.MultiIndex.from_frame(unseen.table[["series", "slice_index"]])).reset_index(drop=True)
    table = unseen.table[[*PLACE, "fold"]].reset_index(drop=True).assign(dice=wide.mean(axis=1))
    return table.join(wide.add_prefix("dice_"))


def worst_table(
    unseen: Unseen, wrong: pd.DataFrame, gradings: pd.DataFrame | None = None, count: int = 10
) -> pd.DataFrame:
    """Return the `count` slices with the lowest Dice, worst first, and what fails there.

    Columns: those of `slice_table`, slice (position in `unseen`), wrong (pixels), worst (the class with the lowest
    Dice), region, region_share, cause, cause_share (the largest of each among the wrong pixels) and sentence. `wrong`
    has the columns region and cause; with SPIDER's gradings the sentence tells the patient's.
    """
    chosen = slice_table(unseen).rename_axis("slice").reset_index().nsmallest(count, "dice")
    rows = []
    for row in chosen.itertuples(index=False):
        part = wrong[wrong["slice"] == row.slice]
        found = {"wrong": len(part), "worst": min(FOREGROUND, key=lambda name: getattr(row, f"dice_{name}"))}
        for name in ("region", "cause"):
            shares = part[name].value_counts(normalize=True)
            found |= {name: shares.index[0], f"{name}_share": shares.iloc[0]} if len(part) else {name: ""}
        found["sentence"] = _sentence(row, found, part) + patient_gradings(row.patient, gradings)
        rows.append(row._asdict() | found)
    return pd.DataFrame(rows)


def patient_gradings(patient: int, gradings: pd.DataFrame | None) -> str:
    """Say what the gradings tell of a patient's discs, with a blank before it; "" where they tell nothing."""
    own = pd.DataFrame() if gradings is None else gradings[gradings["Patient"] == patient]
    if own.empty:
        return ""
    found = [f"{int((own[column] > 0).sum())} {word}" for column, word in GRADED.items() if (own[column] > 0).any()]
    low, high = int(own[PFIRRMANN].min()), int(own[PFIRRMANN].max())
    grades = f"Pfirrmann grade{f's {low} to {high}' if low < high else f' {low}'}"
    slip = "; a vertebra has slipped" if (own["Spondylolisthesis"] > 0).any() else ""
    return f" The patient's {len(own)} graded discs: {', '.join([grades, *found])}{slip}."


def _sentence(row: Any, found: dict, part: pd.DataFrame) -> str:
    head = f"Patient {row.patient}, slice {row.slice_index}: foreground Dice {row.dice:.3f}"
    if part.empty:
        return f"{head}; no pixel is wrong."
    name = found["worst"]
    own = part[part["class"] == name]
    kinds = own["kind"].value_counts()
    most = f", most of them {kinds.index[0]}" if len(own) else ""
    return (
        f"{head}; the {name} come{'s' if name == 'canal' else ''} out worst ({getattr(row, f'dice_{name}'):.3f}; "
        f"{len(own):,} pixels wrong{most}). Of all {found['wrong']:,} wrong pixels {found['region_share']:.0%} lie in "
        f"the region “{found['region']}”, and {found['cause_share']:.0%} are “{found['cause']}”."
    )
