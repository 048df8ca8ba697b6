"""Splits. By patient: no patient's slices are ever on two sides. And, to show what that is worth, by slice at random.

Up to three sides, so that the reported number was tuned on nobody it is reported on: `train` fits the weights,
`validation` chooses the epoch (early stopping, checkpoint, learning rate), `test` is only scored.

Patients are dealt by the sequences that they have, so that every fold has its share of each. Masks that nobody has
drawn (`mask_from` of the slice table) are only learnt from, and only on the side where their patient is trained on.

"random_slice" is the leaky one: neighbouring slices of one patient land on both sides, so that a network is tested on
spines that it has learnt by heart. It exists for one experiment and is labelled wherever it appears.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import SEEDS, check_bounds, check_choices
from spider_utils.data.series import REFERENCE, SEQUENCES

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
    train_sequences: str = "all"  # those that are learnt from, joined by +; all are tested
    train_masks: str = REFERENCE  # where the masks that are learnt from come from, joined by +; see `learnt_from`

    def __post_init__(self) -> None:
        check_choices(self, {"split": KINDS})
        check_bounds(vars(self), {"folds": (2, 1000), "split_seed": SEEDS})
        if not 0 <= self.fold < self.folds:
            raise SpiderError(f"fold: expected 0 <= fold < folds, found fold {self.fold} of {self.folds}")
        if not 0 <= self.validation_share < 1:
            raise SpiderError(f"validation_share: expected a share from 0 to below 1, found {self.validation_share}")
        unknown = [one for one in self.train_sequences.split("+") if one not in ("all", *SEQUENCES)]
        if unknown:
            raise SpiderError(f"train_sequences: expected all, or some of {', '.join(SEQUENCES)}, found '{unknown[0]}'")
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
    """Deal a slice table (columns patient, subset, sequence, mask_from) to train, validation and test.

    "official" tests SPIDER's validation subset; the others leave that subset out altogether, so that nothing is ever
    tuned on it. The k folds of "patient_kfold" test every patient once, those of "random_slice" every slice.

    Raises SpiderError when there are too few patients or slices for the sides, or no official validation patients.
    """
    subset_of = table.groupby("patient")["subset"].agg(lambda subsets: max(subsets))  # "" < "training" < "validation"
    drawn = table[is_reference(table)]
    patients = np.array(sorted(drawn["patient"].unique()))
    official = tuple(int(p) for p in sorted(subset_of.index) if subset_of[p] == "validation")
    kind = settings.split
    if kind == "auto":
        kind = "official" if 0 < len(official) < len(patients) else "patient_kfold"
    if kind == "official" and not official:
        raise SpiderError("split 'official': no patient of the subset 'validation' in this data; use 'patient_kfold'")
    if kind == "random_slice":
        rows = np.flatnonzero(is_reference(table) & ~table["patient"].isin(official))
        split = _deal_slices(table, rows, settings)
    else:
        dealt = patients if kind == "official" else np.setdiff1d(patients, official)
        sequences = drawn.groupby("patient")["sequence"].agg(lambda found: "+".join(sorted(set(found))))
        strata = sequences.reindex(dealt).to_numpy()
        sides = _deal(dealt, settings, "patients", official if kind == "official" else None, strata)
        train, validation, test = (tuple(sorted(side)) for side in sides)
        only_learnt = set(table["patient"]) - set(patients) - set(official)  # no mask of theirs is a reference
        split = Split(kind, tuple(sorted({*train, *only_learnt})), validation, test, slices={})
        split = _chosen_slices(split, table, settings)
    return _fewer_training_slices(split, table, settings)


def is_reference(table: pd.DataFrame) -> pd.Series:
    """Return which slices of a slice table have masks that someone has drawn or corrected, (N,) bool."""
    return _mask_origin(table) == REFERENCE


def _mask_origin(table: pd.DataFrame) -> pd.Series:
    """Return where each slice's mask comes from; in stores that do not tell it yet, all are references."""
    return table["mask_from"] if "mask_from" in table else pd.Series(REFERENCE, table.index)


def learnt_from(table: pd.DataFrame, settings: SplitSettings) -> np.ndarray:
    """Return which slices of a slice table may be trained on by `train_sequences` and `train_masks`, (N,) bool.

    A name of `train_masks` means the masks of that name and, as networks of a fold make masks for its own training
    side alone, those of that name with the fold's number behind it.
    """
    named = settings.train_masks.split("+")
    allowed = {*named, *(f"{name}{settings.fold}" for name in named)}
    origin = _mask_origin(table)
    known = set(origin)
    for name in named:
        if not known & {name, f"{name}{settings.fold}"}:
            raise SpiderError(f"train_masks: expected some of {', '.join(sorted(known))}, found '{name}'")
    sequences = settings.train_sequences.split("+")
    return (origin.isin(allowed) & ("all" in sequences or table["sequence"].isin(sequences))).to_numpy()


def _chosen_slices(split: Split, table: pd.DataFrame, settings: SplitSettings) -> Split:
    """Name the rows of each side where not all slices of its patients belong to it.

    Raises SpiderError where nothing is left to learn from.
    """
    reference, learnt = is_reference(table).to_numpy(), learnt_from(table, settings)
    if reference.all() and learnt.all():
        return split
    chosen = {"train": learnt, "validation": reference & learnt, "test": reference}
    slices = {side: np.flatnonzero(table["patient"].isin(getattr(split, side)) & chosen[side]) for side in SIDES}
    if not len(slices["train"]):
        raise SpiderError("split: no slice is left to train on; take other train_sequences or train_masks")
    return replace(split, slices={side: tuple(rows.tolist()) for side, rows in slices.items()})


def _deal(
    items: np.ndarray,
    settings: SplitSettings,
    what: str,
    tested: tuple[int, ...] | None,
    strata: np.ndarray | None = None,
) -> list[list[int]]:
    """Deal patients or row numbers to the three sides; `tested` are those of the test side, if they are given.

    `strata` (one for each item) are dealt each by itself, beginning with another fold, so that folds stay equal.
    """
    rng = np.random.default_rng(settings.split_seed)
    places = rng.permutation(len(items))
    order = items[places]
    if tested is None:
        if len(items) < settings.folds:
            raise SpiderError(f"split: {settings.folds} folds need as many {what}, found {len(items)}; use fewer")
        ordered_strata = np.zeros(len(items)) if strata is None else strata[places]
        tested = tuple(
            int(one)
            for number, stratum in enumerate(np.unique(ordered_strata))
            for one in np.array_split(order[ordered_strata == stratum], settings.folds)[
                (settings.fold + number) % settings.folds
            ]
        )
    held_out = set(tested)
    others = [int(one) for one in order if one not in held_out]
    share = settings.validation_share
    held = _held_back(len(others), share)
    if held >= len(others):
        fewest = int(0.5 / (1 - share))  # of fewer, rounding holds all back
        least = next(count for count in itertools.count(max(1, fewest)) if count > _held_back(count, share))
        raise SpiderError(
            f"split: expected {least} {what} or more beside those of the test side, so that validation_share {share} "
            f"leaves some to train on, found {len(others)} of {len(items)}; add {what}, or take another share"
        )
    return [others[held:], others[:held], list(tested)]


def _held_back(count: int, share: float) -> int:
    """Return how many of `count` patients or slices the validation side has: of any share above 0 one at least."""
    return max(1, round(share * count)) if share else 0


def _deal_slices(table: pd.DataFrame, rows: np.ndarray, settings: SplitSettings) -> Split:
    sides = [tuple(sorted(side)) for side in _deal(rows, settings, "slices", None)]
    train, validation, test = (tuple(sorted(set(table["patient"].iloc[list(side)].tolist()))) for side in sides)
    return Split("random_slice", train, validation, test, slices=dict(zip(SIDES, sides, strict=True)))


def _fewer_training_slices(split: Split, table: pd.DataFrame, settings: SplitSettings) -> Split:
    if settings.train_slices == 0:
        return split
    rows = split.rows(table, "train")
    if len(rows) < settings.train_slices:
        raise SpiderError(f"train_slices: expected at most the {len(rows)} there are, found {settings.train_slices}")
    chosen = np.random.default_rng(settings.split_seed).choice(rows, settings.train_slices, replace=False)
    kept = {"train": tuple(sorted(chosen.tolist()))}
    return replace(split, slices=split.slices | kept)
