"""Augmentation of a batch on the training device: images (N, 1, H, W) float in 0..1, masks (N, H, W) class numbers.

"none" is what the paper states. "strong" moves, bends and re-colours every slice, with the transforms that nnU-Net
(Isensee et al. 2021) uses: rotation, scaling, shift, elastic deformation, gamma, contrast, brightness, bias field,
blur, low resolution, noise. Flips are left out: a spine has a front and a top. Masks are taken to the nearest pixel,
so they stay class numbers. All randomness comes from torch's generator, which an epoch seeds.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Batch = tuple[Tensor, Tensor]

ROTATION = 0.26  # radians, 15 degrees either way
SCALING = 0.2  # log scale of each axis, either way
SHIFT = 0.1  # of half the image, either way
ELASTIC = 0.03  # standard deviation of the displacement's control points, of half the image
LOW_RESOLUTION = 2  # factor


def augment(images: Tensor, masks: Tensor, level: str) -> Batch:
    """Return images and masks augmented at a level of LEVELS."""
    return LEVELS[level](images, masks)


def none(images: Tensor, masks: Tensor) -> Batch:
    """Leave slices as they are."""
    return images, masks


def strong(images: Tensor, masks: Tensor) -> Batch:
    """Deform images and masks together, then change the images' grey values."""
    grid = deformed_grid(images)
    images = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    moved = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)
    return recolour(images), moved[:, 0].to(masks.dtype)


LEVELS: dict[str, Callable[[Tensor, Tensor], Batch]] = {"none": none, "strong": strong}


def deformed_grid(images: Tensor) -> Tensor:
    """Return where each output pixel of (N, 1, H, W) comes from, (N, H, W, 2) in -1..1: affine plus elastic."""
    count, _, height, width = images.shape
    angle = ROTATION * _uniform(images, 1)[:, 0]
    scale = torch.exp(SCALING * _uniform(images, 2))
    shift = SHIFT * _uniform(images, 2)
    aspect = height / width  # the grid's units differ by axis, a rotation must not shear
    rows = [
        [scale[:, 0] * angle.cos(), -scale[:, 0] * angle.sin() * aspect, shift[:, 0]],
        [scale[:, 1] * angle.sin() / aspect, scale[:, 1] * angle.cos(), shift[:, 1]],
    ]
    theta = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    points = ELASTIC * torch.randn(count, 2, 6, 5, device=images.device)
    bend = F.interpolate(points, size=(height, width), mode="bicubic", align_corners=True)
    return grid + bend.movedim(1, -1)


def recolour(images: Tensor) -> Tensor:
    """Change grey values of (N, 1, H, W) in 0..1, each change in half of the slices, and keep the range."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = _half(images, images.clamp(0, 1) ** torch.exp(0.4 * _each(images)))  # gamma
    images = _half(images, (images - mean) * (1 + 0.25 * _each(images)) + mean)  # contrast
    images = _half(images, images + 0.1 * _each(images))  # brightness
    field = 0.3 * torch.randn(len(images), 1, 4, 3, device=images.device)
    field = F.interpolate(field, size=images.shape[-2:], mode="bicubic", align_corners=True)
    images = _half(images, images * field.exp())  # bias field of the coil
    images = _half(images, F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1))  # blur
    small = F.interpolate(images, scale_factor=1 / LOW_RESOLUTION, mode="bilinear", antialias=True)
    images = _half(images, F.interpolate(small, size=images.shape[-2:], mode="bilinear"))  # low resolution
    images = _half(images, images + 0.05 * torch.rand_like(mean) * torch.randn_like(images))  # noise
    return images.clamp(0, 1)


def _uniform(images: Tensor, numbers: int) -> Tensor:
    return 2 * torch.rand(len(images), numbers, device=images.device) - 1


def _each(images: Tensor) -> Tensor:
    """One number in -1..1 for each slice, (N, 1, 1, 1)."""
    return _uniform(images, 1)[:, :, None, None]


def _half(images: Tensor, changed: Tensor) -> Tensor:
    """Take the changed slice in half of the cases."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, changed, images)
