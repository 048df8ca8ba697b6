"""The networks of a finished study's folds, and every slice segmented by the one that has not met its patient."""

from pathlib import Path

from spider_utils.analysis.unseen import Fold, Unseen, segment_unseen
from spider_utils.common.errors import SpiderError
from spider_utils.common.files import read_json
from spider_utils.common.parameters import read_group
from spider_utils.data.splits import SplitSettings
from spider_utils.data.store import SliceStore
from spider_utils.runs.stages import deal
from spider_utils.studies.harness import NOTE
from spider_utils.studies.study_file import check_arm_name
from spider_utils.train.checkpoints import NETWORK_FILE


def read_unseen(
    study_out: Path | str, arm: str, store: SliceStore, seed: int = 0, kept: Path | str | None = None
) -> Unseen:
    """Return every held-out slice of a study's arm, segmented by the network of its fold.

    `study_out`: the study's folder, only read but for what is kept in `kept` (default: <study_out>/unseen/<arm>).
    Raises SpiderError when a fold's training is missing, not finished, leaky, or was made from another store.
    """
    folds = study_folds(Path(study_out), arm, store, seed)
    return segment_unseen(folds, store, Path(kept) if kept else Path(study_out) / "unseen" / arm)


def study_folds(study_out: Path, arm: str, store: SliceStore, seed: int = 0) -> list[Fold]:
    """Find the networks of an arm's folds and what each of them holds out. Raises SpiderError as `read_unseen`."""
    check_arm_name(arm)
    folds: list[Fold] = []
    place = study_out / "trainings" / arm
    count = None
    while count is None or len(folds) < count:
        folder = place / f"fold{len(folds)}_seed{seed}"
        made = read_json(folder / NOTE).get("made_from")
        if made is None:
            raise SpiderError(f"{folder}: expected a finished training, found no {NOTE}; let the study end first")
        if made["fingerprint"] != store.info["fingerprint"]:
            raise SpiderError(f"{folder}: trained on other slices than {store.path} holds; give the study's own store")
        split, rows = deal(store, read_group(SplitSettings, made))
        if split.leaky:
            raise SpiderError(f"{folder}: expected a split by patient, found {split.label}; name another arm")
        folds.append(Fold(len(folds), folder / NETWORK_FILE, rows["test"]))
        count = made["folds"]
    return folds
