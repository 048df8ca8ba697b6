"""The leakage experiment's own tables: what neighbourhood is worth, without a network and with one.

`gains` is what the leak adds, at every scored epoch; `copying` puts no network into the same splits; `neighbours` asks
whether a held-out slice scores more the nearer its nearest training slice lies, beside the same slices scored by a
network that has met nothing of their patient; `patients` gives every patient's Dice in every arm; `ceiling` what the
networks' small size costs by itself.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch.nn.functional as F

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES
from spider_utils.data.store import SliceStore
from spider_utils.evaluate.overlap import count_overlap, pooled_dice
from spider_utils.models.batches import network_masks
from spider_utils.studies.compare import dice_table, difference_table
from spider_utils.studies.copying import copying_table, every_slice_once
from spider_utils.studies.plan import plan
from spider_utils.studies.reference import audit_reference
from spider_utils.studies.study_file import Study

STUDIES = ("leakage", "paper_claim")  # that have these tables
USUAL_FOLDS, AUTHORS_FOLDS = 5, 10  # 80 / 20; and 90 / 10, as the authors' public training script deals slices
FAR = 3  # slices; what lies farther away is counted with it


def tables(study: Study, store: SliceStore, counts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables copying, gains, neighbours, patients and ceiling of a study with leaky and patient-level arms.

    Copying is scored on the study's own folds, on 80 / 20 (there with distances) and on 90 / 10.
    """
    last = counts[counts["epoch"] == counts["epoch"].max()]
    folds = sorted({study.folds, USUAL_FOLDS, AUTHORS_FOLDS})
    folds = [k for k in folds if k <= store.table["patient"].nunique()]
    copied = [copying_table(store, k, boundaries=k == USUAL_FOLDS).assign(folds=k) for k in folds]
    return {
        "copying": pd.concat(copied, ignore_index=True),
        "gains": gains(study, counts),
        "neighbours": neighbours(study, store, last),
        "patients": patients(last, audit_reference(store)),
        "ceiling": ceiling(store, last, plan(study, store.table)[0].settings.size),
    }


def gains(study: Study, counts: pd.DataFrame) -> pd.DataFrame:
    """Return how far each leaky arm lies above the arm that differs in nothing but the split (difference_table)."""
    plain = {arm.name: {name: value for name, value in arm.values.items() if name != "split"} for arm in study.arms}
    leaky = [arm.name for arm in study.arms if arm.values.get("split") == "random_slice"]
    parts = []
    for arm in leaky:
        for honest in [name for name, values in plain.items() if name not in leaky and values == plain[arm]]:
            parts.append(difference_table(counts[counts["arm"].isin([arm, honest])], honest))
    if not parts:
        raise SpiderError("leakage: expected a leaky arm and one that differs in nothing but the split; give both")
    return pd.concat(parts, ignore_index=True)


def ceiling(store: SliceStore, counts: pd.DataFrame, size: tuple[int, int]) -> pd.DataFrame:
    """Score the reference masks reduced to a network's size and brought back: what that size alone costs the patients
    of `counts`.

    Reduced by nearest neighbour and brought back as `predict.predict_masks` brings back logits. Returns dice_table's
    columns, with size as the key. No strict limit: a network's logits can say more than a class a pixel.
    """
    parts = []
    rows = np.flatnonzero(store.table["patient"].isin(counts["patient"].unique()))
    for row in progress(rows, desc="ceiling", unit="slice", leave=False):
        mask = store.masks[row : row + 1]
        one_hot = F.one_hot(network_masks(mask, size).long(), len(CLASSES)).movedim(-1, 1).float()
        back = F.interpolate(one_hot, size=mask.shape[1:], mode="bilinear").argmax(1).numpy()
        parts.append(count_overlap(mask, back, store.table.iloc[row : row + 1]))
    counts = pd.concat(parts, ignore_index=True).assign(size=f"{size[1]} x {size[0]}")
    return dice_table(counts, keys=("size",))


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
    wide = pooled_dice(counts, ["patient", "arm"]).mean(axis=1).unstack("arm")
    slices = counts.drop_duplicates(["patient", "series", "slice_index"]).groupby("patient").size()
    known = audit.drop_duplicates("patient").set_index("patient")[["convention", "edges", "gap_median"]]
    return wide.join(known).assign(slices=slices).reset_index()
