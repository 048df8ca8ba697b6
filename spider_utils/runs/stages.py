"""The stages that a run, a training of a study and a shipped network have in common: deal a store's slices to sides,
train on them, segment what is held out (`predict.segment.predict_rows`), score it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from spider_utils.data.splits import SIDES, Split, SplitSettings, make_split
from spider_utils.data.store import SliceStore
from spider_utils.evaluate.overlap import count_overlap
from spider_utils.evaluate.scores import score_slices, write_metrics, write_scores
from spider_utils.train.settings import TrainSettings
from spider_utils.train.slices import Slices, read_slices
from spider_utils.train.trainer import AfterEpoch, nothing, train

LOG_FILE = "train_log.csv"

Rows = dict[str, np.ndarray]  # of the store, by side


def deal(store: SliceStore, settings: SplitSettings) -> tuple[Split, Rows]:
    """Deal a store to train, validation and test; return the split and each side's rows. Raises as `make_split`."""
    split = make_split(store.table, settings)
    return split, {side: split.rows(store.table, side) for side in SIDES}


def train_rows(
    store: SliceStore,
    rows: Rows,
    settings: TrainSettings,
    folder: Path,
    about: dict,
    log_file: Path | None = None,
    after_epoch: AfterEpoch = nothing,
    teachers: Sequence[nn.Module] = (),
) -> pd.DataFrame:
    """Train on the rows "train" and "validation" of a store, see `trainer.train`; return the log, a row an epoch.

    The slices are read only where there is an epoch to do. `log_file`: by default LOG_FILE in `folder`.
    """
    log_file = log_file or folder / LOG_FILE

    def slices_of(side: str, now: TrainSettings) -> Slices:
        return read_slices(store, rows[side], now)

    return train(settings, slices_of, folder, about, log_file, after_epoch, teachers)


def score_rows(
    store: SliceStore, rows: np.ndarray, masks: np.ndarray, folder: Path, overlap_file: str, boundaries: bool = True
) -> None:
    """Score masks (n, H, W) uint8 of a store's rows: counts of overlap as `overlap_file`, and all of `score_slices`.

    Both are written into `folder`; the latter takes its time and is left out without `boundaries`.
    """
    truth, table = store.masks[rows], store.table.iloc[rows]
    write_metrics(count_overlap(truth, masks, table), folder / overlap_file)
    if boundaries:
        write_scores(score_slices(truth, masks, table), folder)
