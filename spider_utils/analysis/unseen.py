"""Slices segmented by networks that had not met their patient: what the error analysis looks at.

The networks of a study's folds segment together every slice once, each those of the patients that its own fold holds
out; of an ordinary run, its one network segments the test patients. What was predicted is kept:

DIR/prediction.npy      masks (N, H, W) uint8 at the slices' own size
DIR/probabilities.npy   softmax (N, 4, h, w) float16 at the network's size
DIR/unseen.json         what they were made from; written last
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, file_digest, read_json, write_json
from spider_utils.common.mapped import new_memory_map
from spider_utils.data.labels import CLASSES
from spider_utils.data.store import SliceStore, neighbour_rows
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import segment_batches, stored_batches


@dataclass(frozen=True)
class Unseen:
    """Slices segmented by networks that had not met their patient, in the order of the store."""

    table: pd.DataFrame  # a row a slice: the store's columns, row (position in the store) and fold
    images: np.ndarray  # (N, H, W) uint8
    reference: np.ndarray  # (N, H, W) uint8, classes 0..3
    prediction: np.ndarray  # (N, H, W) uint8, classes 0..3
    probabilities: np.ndarray  # (N, 4, h, w) float16 at the network's size

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class Fold:
    """One network and the rows of the store that it is to segment."""

    number: int
    checkpoint: Path
    rows: np.ndarray


def segment_unseen(folds: list[Fold], store: SliceStore, folder: Path) -> Unseen:
    """Segment each fold's rows with its network, once: what `folder` keeps of the same networks and slices is read."""
    order = np.argsort(np.concatenate([fold.rows for fold in folds]))
    rows = np.concatenate([fold.rows for fold in folds])[order]
    numbers = np.repeat([fold.number for fold in folds], [len(fold.rows) for fold in folds])[order]
    weights = [file_digest(fold.checkpoint) for fold in folds]
    made_from = {"weights": weights, "data": store.info["fingerprint"], "slices": len(rows)}
    if read_json(folder / "unseen.json") != made_from:
        _segment(folds, store, rows, folder)
        write_json(folder / "unseen.json", made_from)
    table = store.table.iloc[rows].assign(row=rows, fold=numbers).reset_index(drop=True)
    whole = len(rows) == len(store)
    images, reference = (array if whole else array[rows] for array in (store.images, store.masks))
    kept = (
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("prediction", "probabilities")
    )
    return Unseen(table, images, reference, *kept)


def _segment(folds: list[Fold], store: SliceStore, rows: np.ndarray, folder: Path) -> None:
    networks = [ready_network(fold.checkpoint) for fold in folds]
    sizes = [network.size for network in networks]
    if len(set(sizes)) > 1:
        raise SpiderError(f"{folds[0].checkpoint}: expected networks of one size, found {sizes}; name another arm")
    shapes = {"prediction": store.images.shape[1:], "probabilities": (len(CLASSES), *sizes[0])}
    with atomic_path(folder / "prediction.npy") as first, atomic_path(folder / "probabilities.npy") as second:
        paths = zip((first, second), shapes.values(), (np.uint8, np.float16), strict=True)
        masks, probabilities = (new_memory_map(path, kind, (len(rows), *shape)) for path, shape, kind in paths)
        for fold, network in zip(folds, networks, strict=True):
            around = neighbour_rows(store.table, network.neighbours)[fold.rows]
            places = np.searchsorted(rows, fold.rows)
            batches = stored_batches(store.images, around, network.size, name=f"fold {fold.number}")
            for part, found, scores in segment_batches(network, batches):
                masks[places[part]] = found
                probabilities[places[part]] = scores.softmax(dim=1).half().cpu().numpy()
        masks.flush()
        probabilities.flush()
