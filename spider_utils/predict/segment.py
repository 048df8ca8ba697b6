"""From slices to masks: the network runs at its own size, its logits are brought back to the slices' size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.masks.cleanup import CleanupSettings, clean_up
from spider_utils.models.batches import network_inputs, to_input
from spider_utils.predict.views import VIEWS, predict_probabilities


@dataclass(frozen=True)
class InferenceSettings:
    """How a network is used, beyond one look at each slice; `asdict` of it is what "inference" in the JSON holds."""

    views: tuple[str, ...] = ("identity",)  # names of tta.VIEWS, whose probabilities are averaged
    cleanup: CleanupSettings | None = None  # of every mask; None: masks stay as they are

    def __post_init__(self) -> None:
        unknown = [name for name in self.views if name not in VIEWS]
        if unknown or not self.views:
            found = ", ".join(map(repr, unknown)) or "none"
            raise SpiderError(f"views: expected one or more of {', '.join(VIEWS)}, found {found}")


ONE_LOOK = InferenceSettings()


@torch.no_grad()
def predict_logits(model: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """Return logits (N, classes, h, w) float32 for uint8 slices (N, C, h, w) at the network's size."""
    with torch.autocast("cuda", enabled=device.type == "cuda"):
        return model(to_input(images, device)).float()


def segment(
    model: nn.Module,
    inputs: Tensor,
    sizes: Sequence[tuple[int, int]],
    device: torch.device,
    settings: InferenceSettings,
) -> list[np.ndarray]:
    """Segment slices (N, C, h, w) uint8 at the network's size; return a mask (H, W) uint8 of each, of `sizes`.

    The logits are brought back to the slice's size bilinearly, then the largest wins. Of several views the mean
    probabilities' logarithm takes the logits' place: of a single view both give the same mask, as they differ by the
    same number in all classes.
    """
    if settings.views == ("identity",):
        scores = predict_logits(model, inputs, device)
    else:
        views = [VIEWS[name] for name in settings.views]
        probabilities = predict_probabilities(model, to_input(inputs, device), views)
        scores = probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()
    masks = [to_mask(score, size) for score, size in zip(scores, sizes, strict=True)]
    return [clean_up(mask, settings.cleanup) for mask in masks] if settings.cleanup else masks


def to_mask(scores: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Bring a slice's logits (classes, h, w) to `size` (H, W) bilinearly; return the largest's number, (H, W) uint8."""
    resized = F.interpolate(scores[None], size=size, mode="bilinear")[0]
    return resized.argmax(dim=0).byte().cpu().numpy()


def predict_masks(
    model: nn.Module,
    images: np.ndarray,
    network_size: tuple[int, int],
    device: torch.device,
    around: np.ndarray | None = None,
    settings: InferenceSettings = ONE_LOOK,
    batch_size: int = 8,
) -> np.ndarray:
    """Segment stored slices (n, H, W) uint8 and return masks (n, H, W) uint8 of classes 0..3 at the slices' own size.

    The slices are resized to `network_size` (height, width) and segmented (see `segment`). `around` (m, C) chooses m of
    the slices, with their neighbours as channels (`store.neighbour_rows`); without it every slice stands alone.
    """
    around = np.arange(len(images))[:, None] if around is None else around
    masks = np.empty((len(around), *images.shape[1:]), np.uint8)
    for start in progress(range(0, len(around), batch_size), desc="predict", unit="batch", leave=False):
        part = slice(start, start + batch_size)
        inputs = network_inputs(images, around[part], network_size)
        masks[part] = segment(model, inputs, [images.shape[1:]] * len(inputs), device, settings)
    return masks
