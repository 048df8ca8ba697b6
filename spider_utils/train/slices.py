"""The slices of a training, in memory as they are stored: a byte a pixel."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from spider_utils.data.store import SliceStore, neighbour_rows
from spider_utils.models.batches import network_inputs, network_masks
from spider_utils.train.settings import TrainSettings


@dataclass(frozen=True)
class Slices:
    """Slices at the network's size: images (n, C, h, w) uint8, C with neighbours, and masks (n, h, w) uint8."""

    images: Tensor
    masks: Tensor
    sequences: np.ndarray  # (n,), which sequence each is of


def read_slices(store: SliceStore, rows: np.ndarray, settings: TrainSettings) -> Slices:
    """Read slices of a store by their row numbers, with as many neighbours as the settings ask for."""
    around = neighbour_rows(store.table, settings.neighbours)[rows]
    images, masks = network_inputs(store.images, around, settings.size), network_masks(store.masks[rows], settings.size)
    return Slices(images, masks, store.table["sequence"].to_numpy()[rows])
