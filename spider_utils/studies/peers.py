"""A peer on the same slices: a training of a study that another package does, with its own network and its own ways.

nnU-Net v2, 2D (Isensee et al. 2021; the extra `peers`) plans, preprocesses, augments, trains and predicts by itself, in
`studies.nnunet`, the one module that knows its package. It gets the training slices at the size that our networks see
them, and segments the held-out slices at that size; its probabilities are brought to full size as our logits are.
Preparing is not counted as training, with neither.

<training>/nnunet/raw, preprocessed, results   nnU-Net's own folders, and nnunet.log with what it says
<training>/nnunet/prepared.json                what they were made from; written when the first two are complete
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.locks import alone
from spider_utils.common.parameters import check_bounds, check_choices
from spider_utils.data.labels import CLASSES
from spider_utils.data.store import SliceStore
from spider_utils.models.batches import network_images, network_masks
from spider_utils.models.saved import select_device
from spider_utils.runs.stages import Rows
from spider_utils.studies.clock import CpuClock
from spider_utils.train.checkpoints import refuse_other_training
from spider_utils.train.settings import TrainSettings

NNUNET = "nnunet"
# Of TrainSettings, what decides a peer's training. Its own schedule depends on the epochs, too, as "cosine" does.
USED = ("train_height", "train_width", "epochs", "precision", "seed", "schedule")
DATASET = "Dataset001_slices"  # nnU-Net's name for the training slices of one fold
FORMAT = {"file_ending": ".png", "overwrite_image_reader_writer": "NaturalImage2DIO"}  # of its 2D data sets
SPARING = {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1", "nnUNet_compile": "false"}  # processes; no compiler

Segment = Callable[[np.ndarray], np.ndarray]  # rows of a store (n,) -> masks (n, H, W) uint8 of classes 0..3


@dataclass(frozen=True)
class PeerSettings:
    """Who does a training of a study, where that is not this package."""

    peer: str = ""  # none: our own; or "nnunet"
    peer_batch: int = 0  # slices a step; 0: as the peer plans

    def __post_init__(self) -> None:
        check_choices(self, {"peer": ("", NNUNET)})
        check_bounds(vars(self), {"peer_batch": (0, 1000)})
        if self.peer_batch and not self.peer:
            raise SpiderError(f"peer_batch: expected 0 without a peer, found {self.peer_batch}; name the peer")


def refuse_missing(settings: PeerSettings) -> None:
    """Raise SpiderError where the package of a peer is not installed."""
    if settings.peer and find_spec("nnunetv2") is None:
        raise SpiderError("peer nnunet: needs the package nnunetv2, found none; pip install 'spider_utils[peers]'")


def train_peer(
    peer: PeerSettings,
    settings: TrainSettings,
    store: SliceStore,
    rows: Rows,
    folder: Path,
    about: dict,
    clock: CpuClock,
    after_epoch: Callable[[int, Segment], None],
) -> dict:
    """Let a peer train on the rows "train" of a store, or go on where it was cut off; return facts of the training.

    `after_epoch` is given each epoch's number and what segments rows of the store. An epoch shows the network as many
    slices as there are to learn from, drawn as the peer draws them. Facts: network (parameters, multiply_adds),
    batch_size, epoch_slices. Raises SpiderError where the folder holds a training of other slices or settings.
    """
    refuse_missing(peer)
    place = folder / NNUNET
    os.environ.update(SPARING | {f"nnUNet_{name}": str(place / name) for name in ("raw", "preprocessed", "results")})
    from spider_utils.studies import nnunet  # reads the environment

    def segment(held: np.ndarray) -> np.ndarray:
        return trainer.segment(network_images(store.images[held], settings.size)[:, 0].numpy(), store.masks.shape[1:])

    with alone(folder, "a training"), nnunet.told_to(place / "nnunet.log"):
        note = place / "prepared.json"
        if note.is_file():
            refuse_other_training(read_json(note), about, note)
        else:
            shutil.rmtree(place / "preprocessed", ignore_errors=True)
            export_slices(store, rows["train"], settings.size, place / "raw" / DATASET)
            nnunet.prepare()
            write_json(note, about)
        trainer = nnunet.make_trainer(settings, peer.peer_batch, select_device(settings.device))
        trainer.clock, trainer.after_epoch = clock, lambda epoch: after_epoch(epoch, segment)
        trainer.go_on()
        return trainer.facts()


def export_slices(store: SliceStore, rows: np.ndarray, size: tuple[int, int], folder: Path) -> None:
    """Write rows of a store into `folder` as a training set of nnU-Net, grey PNGs of `size` (height, width).

    imagesTr/<series>_<slice>_0000.png, labelsTr/<series>_<slice>.png (classes 0..3) and dataset.json. What was there
    before is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    images, masks = network_images(store.images[rows], size)[:, 0], network_masks(store.masks[rows], size)
    table = store.table.iloc[rows]
    for series, number, image, mask in zip(table["series"], table["slice_index"], images, masks, strict=True):
        name = f"{series}_{number:03d}"
        for place, picture in ((f"imagesTr/{name}_0000.png", image), (f"labelsTr/{name}.png", mask)):
            with atomic_path(folder / place) as path:
                Image.fromarray(picture.numpy()).save(path)
    labels = {name: label for label, name in enumerate(CLASSES)}
    about = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": len(rows)}
    write_json(folder / "dataset.json", about | FORMAT)
