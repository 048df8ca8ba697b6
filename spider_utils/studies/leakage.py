"""The leakage experiment's own tables: what neighbourhood is worth, without a network and with one.

`copying` puts no network into the same splits; `neighbours` asks whether a held-out slice scores more the nearer its
nearest training slice lies, beside the same slices scored by a network that has met nothing of their patient;
`patients` gives every patient's Dice in every arm.
"""

from dataclasses import replace

import pandas as pd

from spider_utils.labels import FOREGROUND
from spider_utils.metrics import dice
from spider_utils.store import SliceStore
from spider_utils.studies.compare import dice_table
from spider_utils.studies.copying import copying_table, every_slice_once
from spider_utils.studies.harness import Study, plan
from spider_utils.studies.reference import audit_reference

USUAL_FOLDS = 5
FAR = 3  # slices; what lies farther away is counted with it


def tables(study: Study, store: SliceStore, counts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables copying, neighbours and patients of a study with leaky and patient-level arms.

    Copying is scored on the study's folds and on five, the 80 / 20 split that is most usual, there with distances.
    """
    last = counts[counts["epoch"] == counts["epoch"].max()]
    folds = sorted({study.folds, USUAL_FOLDS})
    copied = [copying_table(store, k, boundaries=k == USUAL_FOLDS).assign(folds=k) for k in folds]
    return {
        "copying": pd.concat(copied, ignore_index=True),
        "neighbours": neighbours(study, store, last),
        "patients": patients(last, audit_reference(store)),
    }


def neighbours(study: Study, store: SliceStore, counts: pd.DataFrame) -> pd.DataFrame:
    """Return Dice by the distance to the nearest training slice of the same patient: dice_table's columns, distance.

    The distance (in slices, FAR: that or more) is the one that a slice has in the leaky arms; the other arms' rows
    score the same slices, whose patients their networks have not met.
    """
    # Every arm has the same split for all its folds but the kind, so any leaky training stands for its arm.
    leaky = next(one for one in plan(study, store.table) if one.split.split == "random_slice")
    pairs = every_slice_once(store.table, replace(leaky.split, fold=0))
    place = store.table.iloc[pairs["row"]][["series", "slice_index"]].reset_index(drop=True)
    joined = counts.merge(place.assign(distance=pairs["distance"].clip(upper=FAR)), on=["series", "slice_index"])
    joined = joined.dropna(subset=["distance"]).astype({"distance": int})
    return dice_table(joined, keys=("arm", "distance"))


def patients(counts: pd.DataFrame, audit: pd.DataFrame) -> pd.DataFrame:
    """Return every patient's pooled foreground Dice in every arm, with the convention of the reference masks."""
    foreground = counts[counts["class"].isin(FOREGROUND)]
    sums = foreground.groupby(["patient", "arm", "class"], sort=False)[["tp", "fp", "fn"]].sum()
    values = dice(*sums.to_numpy().T)
    wide = pd.Series(values, index=sums.index).groupby(["patient", "arm"], sort=False).mean().unstack("arm")
    slices = counts.drop_duplicates(["patient", "series", "slice_index"]).groupby("patient").size()
    known = audit.drop_duplicates("patient").set_index("patient")[["convention", "edges", "gap_median"]]
    table = wide.join(known).assign(slices=slices).reset_index()
    return table
