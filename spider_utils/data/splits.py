"""Splits. By patient: no patient's slices are ever on two sides. And, to show what that is worth, by slice at random.

Up to three sides, so that the reported number was tuned on nobody it is reported on: `train` fits the weights,
`validation` chooses the epoch (early stopping, checkpoint, learning rate), `test` is only scored.

"random_slice" is the leaky one: neighbouring slices of one patient land on both sides, so that a network is tested on
spines that it has learnt by heart. It exists for one experiment and is labelled wherever it appears.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import check_choices

KINDS = ("auto", "official", "patient_kfold", "random_slice")
SIDES = ("train", "validation", "test")
LEAKY_NOTE = "LEAKY: slices of one patient stand on both sides, so the score says nothing about a new patient"


@dataclass(frozen=True)
class SplitSettings:
    """How patients, or for "random_slice" slices, are dealt to the sides."""

    split: str = (
        "auto"  # "official" (SPIDER's subset is the test side), "patient_kfold", "auto": official where there is one;
        # "random_slice": leaky
    )
    folds: int = 5  # k of the k-fold; fold number `fold` is the test side
    fold: int = 0
    validation_share: float = 0.15  # of what is not tested; 0: no validation side
    split_seed: int = 0
    train_slices: int = 0  # so many of the training slices, drawn at random; 0: all

    def __post_init__(self) -> None:
        check_choices(self, {"split": KINDS})
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise SpiderError(
                f"fold: expected 0 <= fold < folds and folds >= 2, found fold {self.fold} of {self.folds}"
            )
        if not 0 <= self.validation_share < 1:
            raise SpiderError(f"validation_share: expected a share from 0 to below 1, found {self.validation_share}")
        if self.train_slices < 0:
            raise SpiderError(f"train_slices: expected 0 (all) or more, found {self.train_slices}")


@dataclass(frozen=True)
class Split:
    """The patients of each side, sorted, and the kind of split that made them.

    `slices` holds row numbers of the slice table for the sides that do not have all slices of their patients.
    """

    kind: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    slices: dict[str, tuple[int, ...]]

    @property
    def leaky(self) -> bool:
        """True when a patient is on two sides."""
        sides = [set(getattr(self, side)) for side in SIDES]
        return len(set.union(*sides)) < sum(map(len, sides))

    @property
    def label(self) -> str:
        """The kind of split, with a warning where it leaks."""
        return f"{self.kind} ({LEAKY_NOTE})" if self.leaky else self.kind

    def rows(self, table: pd.DataFrame, side: str) -> np.ndarray:
        """Return the row numbers of the slice table that belong to a side ("train", "validation", "test")."""
        if side in self.slices:
            return np.array(self.slices[side], dtype=np.intp)
        return np.flatnonzero(table["patient"].isin(getattr(self, side)).to_numpy())


def make_split(table: pd.DataFrame, settings: SplitSettings) -> Split:
    """Deal a slice table (columns patient, subset) to train, validation and test.

    "official" tests SPIDER's validation subset; the others leave that subset out altogether, so that nothing is ever
    tuned on it. The k folds of "patient_kfold" test every patient once, those of "random_slice" every slice.

    Raises SpiderError when there are too few patients or slices for the sides, or no official validation patients.
    """
    subset_of = table.groupby("patient")["subset"].agg(lambda subsets: max(subsets))  # "" < "training" < "validation"
    patients = np.array(sorted(subset_of.index))
    official = tuple(int(p) for p in patients if subset_of[p] == "validation")
    kind = settings.split
    if kind == "auto":
        kind = "official" if 0 < len(official) < len(patients) else "patient_kfold"
    if kind == "official" and not official:
        raise SpiderError("split 'official': no patient of the subset 'validation' in this data; use 'patient_kfold'")
    if kind == "random_slice":
        split = _deal_slices(table, np.flatnonzero(~table["patient"].isin(official)), settings)
    else:
        dealt = patients if kind == "official" else np.setdiff1d(patients, official)
        sides = _deal(dealt, settings, "patients", tested=official if kind == "official" else None)
        split = Split(kind, *(tuple(sorted(side)) for side in sides), slices={})
    return _fewer_training_slices(split, table, settings)


def _deal(items: np.ndarray, settings: SplitSettings, what: str, tested: tuple[int, ...] | None) -> list[list[int]]:
    """Deal patients or row numbers to the three sides; `tested` are those of the test side, if they are given."""
    order = np.random.default_rng(settings.split_seed).permutation(items)
    if tested is None:
        if len(items) < settings.folds:
            raise SpiderError(f"split: {settings.folds} folds need as many {what}, found {len(items)}; use fewer")
        tested = tuple(int(one) for one in np.array_split(order, settings.folds)[settings.fold])
    held_out = set(tested)
    others = [int(one) for one in order if one not in held_out]
    share = settings.validation_share
    held = max(1, round(share * len(others))) if share else 0
    if len(others) < held + 1:
        sides, least = ("three sides", 3) if share else ("two sides", 2)
        raise SpiderError(f"split: {sides} need {least} {what} or more, found {len(items)}; add {what}")
    return [others[held:], others[:held], list(tested)]


def _deal_slices(table: pd.DataFrame, rows: np.ndarray, settings: SplitSettings) -> Split:
    sides = [tuple(sorted(side)) for side in _deal(rows, settings, "slices", tested=None)]
    patients = [tuple(sorted(set(table["patient"].iloc[list(side)].tolist()))) for side in sides]
    return Split("random_slice", *patients, slices=dict(zip(SIDES, sides, strict=True)))


def _fewer_training_slices(split: Split, table: pd.DataFrame, settings: SplitSettings) -> Split:
    if settings.train_slices == 0:
        return split
    rows = split.rows(table, "train")
    if len(rows) < settings.train_slices:
        raise SpiderError(f"train_slices: expected at most the {len(rows)} there are, found {settings.train_slices}")
    chosen = np.random.default_rng(settings.split_seed).choice(rows, settings.train_slices, replace=False)
    kept = {"train": tuple(sorted(chosen.tolist()))}
    return replace(split, slices=split.slices | kept)
