"""From the slice store to what a network eats: slices at the network's size, as tensors, in a seeded order."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64  # slices that are resized at a time, to keep memory small


def resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, 1, H, W) float images to (N, 1, *size), bilinear, with a low-pass filter when they shrink."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


def network_images(images: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return stored slices (n, H, W) uint8 at the network's size, (n, 1, h, w) uint8; of that size already, themselves,
    if they may be written to.
    """
    if images.shape[1:] == size:
        return torch.from_numpy(np.require(images, requirements="W")).unsqueeze(1)
    chunks = [torch.empty(0, 1, *size, dtype=torch.uint8)]
    for start in range(0, len(images), CHUNK):
        part = torch.from_numpy(np.array(images[start : start + CHUNK])).unsqueeze(1).float()
        chunks.append(resize_images(part, size).round().clamp(0, 255).byte())
    return torch.cat(chunks)


def network_inputs(images: np.ndarray, around: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return stored slices with their neighbours as channels at the network's size, (n, C, h, w) uint8.

    `around` (n, C) holds their rows in `images` (N, H, W), as `store.neighbour_rows` gives them.
    """
    if around.shape[1] == 1:
        return network_images(images[around[:, 0]], size)
    rows, place = np.unique(around, return_inverse=True)
    return network_images(images[rows], size)[:, 0][torch.from_numpy(place.reshape(around.shape))]


def network_masks(masks: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return stored masks (n, H, W) uint8 at the network's size, (n, h, w) uint8, by nearest neighbour; of that size
    already, themselves, if they may be written to.
    """
    if masks.shape[1:] == size:
        return torch.from_numpy(np.require(masks, requirements="W"))
    chunks = [torch.empty(0, *size, dtype=torch.uint8)]
    for start in range(0, len(masks), CHUNK):
        part = torch.from_numpy(np.array(masks[start : start + CHUNK])).unsqueeze(1)
        chunks.append(F.interpolate(part, size=size, mode="nearest-exact").squeeze(1))
    return torch.cat(chunks)


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """Move uint8 slices (N, C, h, w) to the device as float32 in 0..1."""
    return (images.to(device) / 255).contiguous(memory_format=memory_format(device))


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the layout of networks and slices: channels last is faster, but fails in training on Apple's."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def shuffled_batches(
    count: int, batch_size: int, seed: int, epoch: int, shares: np.ndarray | None = None, draws: int = 0
) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch of one epoch; the order depends on the seed and the epoch alone.

    Every slice comes once; or, with `shares` (count,) that add up to 1, `draws` times a slice is drawn with these
    probabilities, each drawn slice being put back.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count) if shares is None else rng.choice(count, draws or count, p=shares)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def balanced_shares(groups: np.ndarray, balance: float) -> np.ndarray:
    """Return the probability with which each slice is drawn, (n,), from the group (sequence) that each belongs to.

    A group of k slices is drawn in proportion to k^(1 - balance): 0 draws all slices alike often, 1 all groups. This
    is the tempered sampling of multilingual language models (Arivazhagan et al. 2019, T = 1 / (1 - balance)).
    """
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shares = sizes[place].astype(float) ** -balance
    return shares / shares.sum()
