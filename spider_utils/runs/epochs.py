"""How a network learnt to see one slice: its masks after some epochs of the training, kept in the run folder.

One slice is segmented after every epoch; the masks of epochs 1, 2, 5, 10, 20, 50, 100, … and of the last one stay.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from spider_utils.common.files import atomic_path
from spider_utils.data.store import SliceStore, neighbour_rows
from spider_utils.models.batches import network_inputs
from spider_utils.models.saved import select_device
from spider_utils.predict.network import ReadyNetwork
from spider_utils.predict.segment import network_scores, to_mask
from spider_utils.runs.stages import Rows
from spider_utils.train.settings import TrainSettings
from spider_utils.train.trainer import AfterEpoch

EPOCHS_FILE = "epochs.npz"


@dataclass(frozen=True)
class WatchedSlice:
    """One slice of the store and what the network made of it after some epochs."""

    row: int  # in the store
    side: str  # "validation", or "train" where there is no validation side
    masks: dict[int, np.ndarray]  # epoch: (H, W) uint8 of the store's size; {} for a training that kept none


def watched_row(store: SliceStore, rows: Rows) -> tuple[int, str]:
    """Choose the slice that is watched, and its side: of the validation slices the one with the most disc pixels.

    Without a validation side it is a training slice. T2 SPACE goes before other sequences.
    """
    side = "validation" if len(rows["validation"]) else "train"
    table = store.table.iloc[rows[side]]
    space = (table["sequence"] == "T2_SPACE").to_numpy()
    chosen = np.lexsort((table["n_discs"], space))[-1]
    return int(rows[side][chosen]), side


def stays(epoch: int) -> bool:
    """Tell whether an epoch's mask stays: 1, 2, 5 and these times 10, 100, …"""
    return str(epoch).rstrip("0") in ("1", "2", "5")


def watch(store: SliceStore, rows: Rows, settings: TrainSettings, path: Path) -> AfterEpoch:
    """Return what a training does after each epoch: segment the watched slice and write its mask to `path`.

    Masks of earlier epochs are kept, those of this epoch and later ones, of a session that was cut off, replaced.
    """

    def after_epoch(epoch: int, model: nn.Module) -> None:
        row, _ = watched_row(store, rows)
        around = neighbour_rows(store.table, settings.neighbours)[[row]]
        network = ReadyNetwork(model, select_device(settings.device), settings.at(epoch).size, settings.neighbours)
        scores = network_scores(network, network_inputs(store.images, around, network.size))
        kept = {before: mask for before, mask in read_masks(path).items() if before < epoch and stays(before)}
        write_masks(kept | {epoch: to_mask(scores[0], store.images.shape[1:])}, path)

    return after_epoch


def write_masks(masks: dict[int, np.ndarray], path: Path) -> None:
    """Write masks (H, W) uint8 by epoch, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, epochs=np.array(list(masks)), masks=np.stack(list(masks.values())))


def read_masks(path: Path) -> dict[int, np.ndarray]:
    """Read the masks by epoch; {} where there is no file."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(zip(file["epochs"].tolist(), file["masks"], strict=True))
