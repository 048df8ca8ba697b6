"""Splits by patient: no patient's slices are ever on two sides.

Three sides, so that the reported number was tuned on nobody it is reported on: `train` fits the weights, `validation`
chooses the epoch (early stopping, checkpoint, learning rate), `test` is only scored.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spider_utils.errors import SpiderError

KINDS = ("auto", "official", "patient_kfold")


@dataclass(frozen=True)
class SplitSettings:
    """How patients are dealt to the three sides."""

    split: str = (
        "auto"  # "official" (SPIDER's subset is the test side), "patient_kfold", "auto": official where there is one
    )
    folds: int = 5  # k of the k-fold; fold number `fold` is the test side
    fold: int = 0
    validation_share: float = 0.15  # of the patients that are not tested
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in KINDS:
            raise SpiderError(f"split: expected one of {', '.join(KINDS)}, found '{self.split}'")
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise SpiderError(
                f"fold: expected 0 <= fold < folds and folds >= 2, found fold {self.fold} of {self.folds}"
            )
        if not 0 < self.validation_share < 1:
            raise SpiderError(f"validation_share: expected a share between 0 and 1, found {self.validation_share}")


@dataclass(frozen=True)
class Split:
    """The patients of each side, sorted, and the kind of split that made them."""

    kind: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]

    def rows(self, table: pd.DataFrame, side: str) -> np.ndarray:
        """Return the row numbers of the slice table that belong to a side ("train", "validation", "test")."""
        return np.flatnonzero(table["patient"].isin(getattr(self, side)).to_numpy())


def make_split(table: pd.DataFrame, settings: SplitSettings) -> Split:
    """Deal the patients of a slice table (columns patient, subset) to train, validation and test.

    "official" tests SPIDER's validation subset; "patient_kfold" leaves that subset out altogether, so that nothing is
    ever tuned on it.

    Raises SpiderError when there are too few patients for three sides, or no official validation patients.
    """
    subset_of = table.groupby("patient")["subset"].agg(lambda subsets: max(subsets))  # "" < "training" < "validation"
    patients = np.array(sorted(subset_of.index))
    official = tuple(int(p) for p in patients if subset_of[p] == "validation")
    kind = settings.split
    if kind == "auto":
        kind = "official" if 0 < len(official) < len(patients) else "patient_kfold"
    dealt = patients if kind == "official" else np.setdiff1d(patients, official)
    order = np.random.default_rng(settings.split_seed).permutation(dealt)
    if kind == "official":
        if not official:
            raise SpiderError(
                "split 'official': no patient of the subset 'validation' in this data; use 'patient_kfold'"
            )
        test = set(official)
    else:
        if len(dealt) < settings.folds:
            raise SpiderError(f"split: {settings.folds} folds need as many patients, found {len(dealt)}; use fewer")
        test = {int(p) for p in np.array_split(order, settings.folds)[settings.fold]}
    others = [int(p) for p in order if p not in test]
    held = max(1, round(settings.validation_share * len(others)))
    if len(others) < held + 1:
        raise SpiderError(f"split: three sides need 3 patients or more, found {len(patients)}; add patients")
    sides = (others[held:], others[:held], test)
    return Split(kind, *(tuple(sorted(side)) for side in sides))
