"""The row of nnU-Net's training: what its steps take beside those of our combination, at the same half size."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.inputs import TOY_SIZE, sample_store
from benchmarks.rows import Bench, Pair, Row, Skipped
from spider_utils.common.parameters import sort_parameters
from spider_utils.data.splits import SplitSettings
from spider_utils.runs.stages import train_rows
from spider_utils.studies.clock import CpuClock
from spider_utils.studies.peers import PeerSettings, train_peer
from spider_utils.studies.study_file import load_study
from spider_utils.train.settings import TrainSettings

SLICES = 16  # of an epoch, in steps of 4


def skip_without_nnunet() -> None:
    """Raise Skipped where nnU-Net is not installed."""
    if find_spec("nnunetv2") is None:
        raise Skipped("needs the package nnunetv2, found none; pip install 'spider_utils[peers]'")


def against_nnunet(bench: Bench) -> Pair:
    """Train our combination and nnU-Net for two epochs as the study "peers" does, and return what the second takes:
    processor seconds of the steps, as that study counts them.
    """
    skip_without_nnunet()
    store, groups = sample_store(bench), {"split": SplitSettings, "training": TrainSettings, "peer": PeerSettings}
    toy = bench.sized({}, {"train_height": TOY_SIZE[0], "train_width": TOY_SIZE[1], "width": 2})
    study = load_study("peers", toy | {"epochs": 2, "device": bench.device})
    rows = {"train": np.arange(bench.sized(SLICES, 4)), "validation": np.arange(0), "test": np.arange(0)}

    def seconds(arm: str) -> float:
        made = sort_parameters(study.base | next(one.values for one in study.arms if one.name == arm), groups)
        folder = Path(tempfile.mkdtemp(dir=bench.folder))
        clock = CpuClock(folder)

        def lap(epoch: int, network: nn.Module) -> None:
            clock.lap(epoch)
            clock.restart()

        if made["peer"].peer:
            train_peer(made["peer"], made["training"], store, rows, folder, {}, clock, lambda epoch, segment: None)
        else:
            train_rows(store, rows, made["training"], folder, {}, after_epoch=lap)
        return clock.seconds["2"]

    return Pair(lambda: seconds("best"), lambda: seconds("nnunet"), own_clock=True)


ROWS = {
    "train_nnunet": Row(
        f"our combination, {SLICES} slices, processor seconds", "nnU-Net's own training", None, against_nnunet
    ),
}
