"""The trainings that a study consists of: every arm, fold and seed, and all that decides what each gives."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import sort_parameters
from spider_utils.data.splits import SplitSettings, make_split
from spider_utils.studies.peers import USED, PeerSettings
from spider_utils.studies.study_file import Study
from spider_utils.train.checkpoints import MACHINE
from spider_utils.train.settings import TrainSettings


@dataclass(frozen=True)
class Training:
    """One training of a study: its place under `trainings` and all that decides its result, apart from the data."""

    arm: str
    seed: int
    fold: int
    split: SplitSettings
    settings: TrainSettings
    score_epochs: tuple[int, ...]
    peer: PeerSettings = PeerSettings()
    teachers: tuple[str, ...] = ()  # places of the trainings whose networks it learns from, too

    @property
    def place(self) -> Path:
        return Path(self.arm) / f"fold{self.fold}_seed{self.seed}"


def plan(study: Study, table: pd.DataFrame) -> list[Training]:
    """List the trainings of a study on a slice table, fold by fold, so that early results cover all arms.

    All of them get the number of training slices of the smallest training side, unless they draw so many an epoch.
    """
    groups = {"split": SplitSettings, "training": TrainSettings, "peer": PeerSettings}
    drafts = []
    for seed in study.seeds:
        for fold in range(study.folds):
            for arm in study.arms:
                values = study.base | arm.values | {"folds": study.folds, "fold": fold, "seed": seed}
                made = sort_parameters(values, groups)
                if made["training"].schedule != "cosine":
                    raise SpiderError(
                        f"arm '{arm.name}': expected schedule cosine, found {made['training'].schedule}; a study must "
                        "not choose an epoch on what it scores"
                    )
                drafts.append((arm.name, seed, fold, made))
    if not drafts:
        raise SpiderError(f"study '{study.name}': expected 2 folds or more, an arm and a seed, found no training")
    draws = {made["training"].epoch_slices for *_, made in drafts}
    if len(draws) > 1:
        raise SpiderError(f"study '{study.name}': expected one epoch_slices for all arms, found {sorted(draws)}")
    sides = (make_split(table, made["split"]).rows(table, "train") for *_, made in drafts)
    slices = 0 if draws != {0} else min(map(len, sides))
    trainings = []
    for name, seed, fold, made in drafts:
        split = replace(made["split"], train_slices=slices)
        last = made["training"].epochs
        marks = tuple(epoch for epoch in study.score_epochs if epoch < last) + (last,)
        trainings.append(Training(name, seed, fold, split, made["training"], marks, made["peer"]))
    taught_by = {arm.name: arm.teachers for arm in study.arms}
    return [replace(one, teachers=teachers_of(one, taught_by, trainings)) for one in trainings]


def teachers_of(training: Training, taught_by: dict[str, str], trainings: list[Training]) -> tuple[str, ...]:
    """Return the places of the trainings that a training learns from: those of all seeds of the arm that it is
    `taught_by`, which hold out the same patients; () without such an arm.

    Raises SpiderError where they have teachers themselves, see other slices, or its teacher_share is 0.
    """
    arm = taught_by[training.arm]
    if bool(arm) != (training.settings.teacher_share > 0):
        raise SpiderError(
            f"arm '{training.arm}': expected teachers and a teacher_share above 0, or neither; found teachers "
            f"'{arm}', teacher_share {training.settings.teacher_share:g}"
        )
    found = [one for one in trainings if arm and one.arm == arm and one.split == training.split]
    seen = {(one.settings.size, one.settings.neighbours) for one in [training, *found]}
    if arm and (not found or len(seen) > 1 or taught_by[arm] or found[0].peer.peer):
        raise SpiderError(
            f"arm '{training.arm}': expected teachers of this package without teachers of their own, on the same "
            f"split, size and neighbours, found arm '{arm}'"
        )
    return tuple(one.place.as_posix() for one in found)


def made_from(training: Training, data: dict) -> dict:
    """Return all that decides a training's result, flat, as JSON holds it."""
    settings = {name: value for name, value in asdict(training.settings).items() if name not in MACHINE}
    if training.peer.peer:
        settings = {name: settings[name] for name in USED} | asdict(training.peer)
    made = asdict(training.split) | settings | {"score_epochs": training.score_epochs}
    if training.teachers:
        made |= {"teachers": training.teachers}
    return json.loads(json.dumps(made | {"fingerprint": data["fingerprint"], "preprocess": data["preprocess"]}))
