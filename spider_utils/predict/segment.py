"""From slices to masks: the network runs at its own size, its logits are brought back to the slices' size.

`segment_batches` is the one loop over batches. Who calls it says where the batches come from: a slice store or a volume
(`stored_batches`), files (`slices`), a slice of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spider_utils.common.progress import progress
from spider_utils.data.store import SliceStore, neighbour_rows
from spider_utils.masks.cleanup import clean_up
from spider_utils.models.batches import network_images, network_inputs, to_input
from spider_utils.predict.network import BATCH, ReadyNetwork
from spider_utils.predict.views import VIEWS, predict_probabilities

# What its slices are known by, the slices (N, C, h, w) uint8 at the network's size, and each mask's size (H, W).
Batch = tuple[Any, Tensor, Sequence[tuple[int, int]]]


def segment_batches(network: ReadyNetwork, batches: Iterable[Batch]) -> Iterator[tuple[Any, list[np.ndarray], Tensor]]:
    """Segment batch after batch; yield what each one's slices are known by, their masks, and their scores.

    Masks are (H, W) uint8, of the size that the batch asks for; scores (N, classes, h, w) as `network_scores` gives
    them. The scores are brought to the mask's size bilinearly, then the largest wins.
    """
    for key, inputs, sizes in batches:
        scores = network_scores(network, inputs)
        masks = [to_mask(score, size) for score, size in zip(scores, sizes, strict=True)]
        cleanup = network.settings.cleanup
        yield key, [clean_up(mask, cleanup) for mask in masks] if cleanup else masks, scores


@torch.no_grad()
def network_scores(network: ReadyNetwork, inputs: Tensor) -> Tensor:
    """Return scores (N, classes, h, w) float32 of slices (N, C, h, w) uint8; their softmax are the probabilities.

    They are the logits. Of several views the mean probabilities' logarithm takes the logits' place: of a single view
    both give the same mask, as they differ by the same number in all classes.
    """
    images, device = to_input(inputs, network.device), network.device
    if network.settings.views == ("identity",):
        with torch.autocast("cuda", enabled=device.type == "cuda"):
            return network.model(images).float()
    probabilities = predict_probabilities(network.model, images, [VIEWS[name] for name in network.settings.views])
    return probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()


def to_mask(scores: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Bring a slice's logits (classes, h, w) to `size` (H, W) bilinearly; return the largest's number, (H, W) uint8."""
    resized = F.interpolate(scores[None].contiguous(), size=size, mode="bilinear")[0]
    return resized.max(dim=0).indices.byte().cpu().numpy()  # argmax gives the same and takes ten times as long


def stored_batches(
    images: np.ndarray,
    around: np.ndarray,
    network_size: tuple[int, int],
    mask_size: tuple[int, int] | None = None,
    batch_size: int = BATCH,
    name: str = "predict",
) -> Iterator[Batch]:
    """Yield the batches of stored slices, known by their places in `around`, with a progress bar of this name.

    `images` (n, H, W) uint8 are resized to `network_size` (height, width). `around` (m, C) chooses m of them, with
    their neighbours as channels (see `store.neighbour_rows`). `mask_size`: of the masks; by default (H, W).
    """
    for start in progress(range(0, len(around), batch_size), desc=name, unit="batch", leave=False):
        places = slice(start, min(start + batch_size, len(around)))
        inputs = network_inputs(images, around[places], network_size)
        yield places, inputs, [mask_size or images.shape[1:]] * len(inputs)


def predict_masks(
    network: ReadyNetwork,
    images: np.ndarray,
    around: np.ndarray | None = None,
    mask_size: tuple[int, int] | None = None,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Segment stored slices (n, H, W) uint8; return masks (m, H, W) uint8 of classes 0..3, the slices' size by default.

    `around` and `mask_size` as for `stored_batches`; without `around` every slice stands alone.
    """
    around = np.arange(len(images))[:, None] if around is None else around
    masks = np.empty((len(around), *(mask_size or images.shape[1:])), np.uint8)
    batches = stored_batches(images, around, network.size, mask_size, batch_size)
    for places, found, _ in segment_batches(network, batches):
        masks[places] = found
    return masks


def predict_rows(network: ReadyNetwork, store: SliceStore, rows: np.ndarray) -> np.ndarray:
    """Segment rows of a store, with the neighbours that the network sees; return masks (len(rows), H, W) uint8."""
    return predict_masks(network, store.images, neighbour_rows(store.table, network.neighbours)[rows])


def inside(shape: tuple[int, int], field: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a field where a slice of this shape lies in its middle."""
    top, left = ((whole - count) // 2 for whole, count in zip(field, shape, strict=True))
    return slice(top, top + shape[0]), slice(left, left + shape[1])


def on_canvas(image: np.ndarray, field: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return a slice (H, W) uint8 in the middle of a black field (rows, columns), at the network's size, uint8."""
    canvas = np.zeros(field, np.uint8)
    canvas[inside(image.shape, field)] = image
    return network_images(canvas[None], size)[0, 0].numpy()
