"""From a volume to its classes: slices in the common pose, shown to a network as it knows them, and stacked again.

Nothing is resampled but the slices on their way to the network's size, whose logits come back to the slices' pixels.
How a network is shown volumes stands in the JSON beside its weights, under "volumes" (see `VolumeSettings`); without it
slices are made as those were that it has learnt from.
"""

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.intensity import check_landmarks, scale_intensity, standardise
from spider_utils.data.pose import to_pose
from spider_utils.data.preprocess import resampled_grid
from spider_utils.models.batches import network_images
from spider_utils.predict.network import ReadyNetwork, trained_on
from spider_utils.predict.segment import segment

Spacing = tuple[float, float, float]  # of slices, rows and columns, mm


@dataclass(frozen=True)
class VolumeSettings:
    """How a network is shown volumes, so that they look like the slices that it has learnt from."""

    landmarks: tuple[float, ...] = ()  # of the intensities (see `standardise`); none: scaled as in training
    field_mm: float = 0.0  # slices are widened to a square of this size at least; 0: sized as in training
    slice_mm: float = 0.0  # distance of the neighbours that it has learnt from; 0: the next slices, however far

    def __post_init__(self) -> None:
        object.__setattr__(self, "landmarks", check_landmarks(self.landmarks) if len(self.landmarks) else ())
        for name in ("field_mm", "slice_mm"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise SpiderError(f"{name}: expected a number of mm, 0 or more, found {value!r}")


def read_volume_settings(network: ReadyNetwork) -> VolumeSettings:
    """Return how a network is shown volumes, from the JSON beside it. Raises SpiderError on what is not known there."""
    try:
        return VolumeSettings(**network.description.get("volumes", {}))
    except (SpiderError, TypeError) as error:
        raise SpiderError(f"{network.weights.with_suffix('.json')}: volumes: {error}") from error


def predict_classes(
    volume: sitk.Image, network: ReadyNetwork, settings: VolumeSettings | None = None
) -> tuple[np.ndarray, Spacing]:
    """Segment a volume slice by slice: classes (D, H, W) uint8 in the common pose, and their spacing in mm.

    `settings`: how the network is shown volumes; None: as its JSON says.
    """
    settings = settings or read_volume_settings(network)
    posed = to_pose(volume)
    spacing = posed.GetSpacing()[::-1]
    voxels = sitk.GetArrayViewFromImage(posed)
    shape, field = voxels.shape[1:], slice_field(voxels.shape[1:], spacing[1:], network, settings)
    slices = prepare_slices(voxels, field, network, settings)
    around = neighbours_at(len(slices), spacing[0], network.neighbours, settings.slice_mm)
    classes = np.empty(voxels.shape, np.uint8)
    crop = tuple(slice(before, before + count) for before, count in zip(margins(shape, field), shape, strict=True))
    for start in progress(range(0, len(slices), network.batch_size), desc="slices", unit="batch", leave=False):
        part = slice(start, start + network.batch_size)
        inputs = slices[torch.from_numpy(around[part])]
        masks = segment(network.model, inputs, [field] * len(inputs), network.device, network.settings)
        classes[part] = np.stack(masks)[:, crop[0], crop[1]]
    return classes, spacing


def prepare_slices(
    voxels: np.ndarray, field: tuple[int, int], network: ReadyNetwork, settings: VolumeSettings
) -> Tensor:
    """Return the slices of a volume (D, H, W) as the network is shown them, (D, h, w) uint8.

    What `field` (rows, columns) has beyond the slices is black.
    """
    (top, left), (height, width) = margins(voxels.shape[1:], field), voxels.shape[1:]
    shown = []
    for one in scaled_slices(voxels, network, settings):
        canvas = np.zeros(field, np.uint8)
        canvas[top : top + height, left : left + width] = one
        shown.append(network_images(canvas[None], network.size)[0, 0])
    return torch.stack(shown)


def scaled_slices(voxels: np.ndarray, network: ReadyNetwork, settings: VolumeSettings) -> np.ndarray:
    """Return a volume (D, H, W) with intensities 0..255, uint8: on the landmarks' scale, or scaled as in training."""
    if settings.landmarks:
        return standardise(voxels, settings.landmarks)
    method = trained_on(network.description).get("intensity", "slice_minmax")
    parts = [voxels[number : number + 1] for number in range(len(voxels))] if method == "slice_minmax" else [voxels]
    return np.concatenate([scale_intensity(part.astype(np.float32), method) for part in parts])


def slice_field(
    shape: tuple[int, int], pixel_mm: tuple[float, float], network: ReadyNetwork, settings: VolumeSettings
) -> tuple[int, int]:
    """Return how many rows and columns of a slice's own pixels the network's input spans, at least the slice's."""
    extent = [count * step for count, step in zip(shape, pixel_mm, strict=True)]
    made = trained_on(network.description)
    if settings.field_mm:
        wanted = [max(settings.field_mm, *extent)] * 2
    elif made.get("geometry") == "pad":
        stored = made["store_height"], made["store_width"]
        grid = resampled_grid(shape, pixel_mm, stored, "pad")
        wanted = [count * step for count, step in zip(stored, grid, strict=True)]
    else:
        wanted = extent
    return tuple(max(count, round(mm / step)) for count, mm, step in zip(shape, wanted, pixel_mm, strict=True))


def margins(shape: tuple[int, int], field: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows and columns of a field lie above and before a slice in its middle."""
    return tuple((whole - count) // 2 for whole, count in zip(field, shape, strict=True))


def neighbours_at(count: int, slice_mm: float, neighbours: int, trained_mm: float) -> np.ndarray:
    """Return the slices that the network sees for each of `count` slices, (count, 1 + 2 neighbours), lowest first.

    They lie about as far apart as those that it has learnt from (`trained_mm`; 0: the next slices): of thick slices the
    slice stands for its neighbours itself. At the ends stands the outermost slice.
    """
    step = round(trained_mm / slice_mm) if trained_mm else 1
    offsets = np.arange(-neighbours, neighbours + 1)
    return np.clip(np.arange(count)[:, None] + step * offsets, 0, count - 1)
