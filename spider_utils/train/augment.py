"""Augmentation of a batch on the training device: images (N, C, H, W) float in 0..1, masks (N, H, W) class numbers.

"none" is what the paper states. "light" turns, scales and shifts a slice a little and changes its gamma, contrast and
noise. "strong" moves, bends and re-colours every slice and crops some along the spine, with the transforms that nnU-Net
(Isensee et al. 2021) uses: rotation, scaling, shift, elastic deformation, gamma, contrast, brightness, bias field,
blur, low resolution, noise. "contrast" and "field" are "light" with what differs from sequence to sequence and from
scanner to scanner drawn anew, after SynthSeg (Billot et al. 2023): the grey curve; the resolution and the field of
view; "contrast_field" both. Flips are left out: a spine has a front and a top. Masks are taken to the nearest pixel, so
they stay class numbers. Of an augmented slice a training may see a part (`cut_out`). All randomness
comes from torch's generator, which an epoch seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Batch = tuple[Tensor, Tensor]

LOW_RESOLUTION = 2  # factor
COARSEST = 3.0  # factor by which a slice may lose resolution along each axis
KNOTS = 8  # of a grey curve
ANYWHERE = 2 / 3  # share of the parts that lie anywhere in a slice; nnU-Net, too, lays one in three on the foreground


@dataclass(frozen=True)
class Motion:
    """How far slices are moved, at most; 0: not at all."""

    rotation: float  # radians, either way
    scaling: float  # log scale of each axis, either way
    shift: float  # of half the image, either way
    elastic: float = 0.0  # standard deviation of the displacement's control points, of half the image
    crop: float = 0.0  # share of slices of which a part round a point of the spine fills the frame
    crop_size: float = 0.6  # of the image's height and width, at least
    zoom: float = 0.0  # log scale of both axes together, either way: another field of view


LIGHT = Motion(rotation=0.09, scaling=0.1, shift=0.05)  # 5 degrees
FIELD = Motion(rotation=0.09, scaling=0.1, shift=0.05, zoom=0.35)  # 0.7 to 1.4 times as large
STRONG = Motion(rotation=0.26, scaling=0.2, shift=0.1, elastic=0.03, crop=0.3)  # 15 degrees


def augment(images: Tensor, masks: Tensor, level: str) -> Batch:
    """Return images and masks augmented at a level of LEVELS."""
    return LEVELS[level](images, masks)


def none(images: Tensor, masks: Tensor) -> Batch:
    """Leave slices as they are."""
    return images, masks


def light(images: Tensor, masks: Tensor, motion: Motion = LIGHT) -> Batch:
    """Move slices a little, then change gamma and contrast by half of what "strong" does, and add noise."""
    images, masks = moved(images, masks, motion)
    images = gamma(images, 0.2)
    images = contrast(images, 0.12)
    return noise(images, 0.025).clamp(0, 1), masks


def strong(images: Tensor, masks: Tensor) -> Batch:
    """Deform images and masks together, crop some along the spine, then change the images' grey values."""
    images, masks = moved(images, masks, STRONG)
    for change in (gamma, contrast, brightness, bias_field, blur, low_resolution, noise):
        images = change(images)
    return images.clamp(0, 1), masks


def other_contrast(images: Tensor, masks: Tensor) -> Batch:
    """Give some slices other grey curves, then do as "light" does."""
    return light(grey_curve(images), masks)


def other_field(images: Tensor, masks: Tensor) -> Batch:
    """Give slices other fields of view and some of them a lower resolution, beside what "light" does."""
    return light(coarser(images), masks, FIELD)


def other_contrast_and_field(images: Tensor, masks: Tensor) -> Batch:
    """Do what "contrast" and "field" do."""
    return light(coarser(grey_curve(images)), masks, FIELD)


LEVELS: dict[str, Callable[[Tensor, Tensor], Batch]] = {
    "none": none,
    "light": light,
    "strong": strong,
    "contrast": other_contrast,
    "field": other_field,
    "contrast_field": other_contrast_and_field,
}


def moved(images: Tensor, masks: Tensor, motion: Motion) -> Batch:
    """Move images (bilinear) and masks (nearest pixel) together."""
    grid = deformed_grid(images, motion)
    if motion.crop:
        grid = cropped_grid(grid, masks, motion)
    images = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    nearest = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)
    return images, nearest[:, 0].to(masks.dtype)


def deformed_grid(images: Tensor, motion: Motion) -> Tensor:
    """Return where each output pixel of (N, C, H, W) comes from, (N, H, W, 2) in -1..1: affine plus elastic."""
    count, _, height, width = images.shape
    angle = motion.rotation * _uniform(images, 1)[:, 0]
    scale = torch.exp(motion.scaling * _uniform(images, 2))
    if motion.zoom:
        scale = scale * torch.exp(motion.zoom * _uniform(images, 1))
    shift = motion.shift * _uniform(images, 2)
    aspect = height / width  # the grid's units differ by axis, a rotation must not shear
    rows = [
        [scale[:, 0] * angle.cos(), -scale[:, 0] * angle.sin() * aspect, shift[:, 0]],
        [scale[:, 1] * angle.sin() / aspect, scale[:, 1] * angle.cos(), shift[:, 1]],
    ]
    theta = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    if motion.elastic:
        points = motion.elastic * torch.randn(count, 2, 6, 5, device=images.device)
        grid += smooth_field(points, (height, width)).movedim(1, -1)
    return grid


def smooth_field(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Spread control points (N, C, rows, columns) over (N, C, *size), corner to corner, bicubic (Keys 1981).

    Each axis is one product of matrices: torch's own `interpolate` gives the same to rounding and takes ten times
    as long from so few points.
    """
    rows, columns = (
        F.interpolate(torch.eye(count)[None, :, :, None], size=(length, 1), mode="bicubic", align_corners=True)[
            0, ..., 0
        ]
        for count, length in zip(points.shape[-2:], size, strict=True)
    )  # (count, length) each
    return rows.T.to(points.device) @ points @ columns.to(points.device)


def cropped_grid(grid: Tensor, masks: Tensor, motion: Motion) -> Tensor:
    """Let a part of some slices fill the frame: a share of the image's size, round a random foreground pixel.

    `grid` (N, H, W, 2) tells where pixels come from, `masks` (N, H, W) where the spine is; the part stays inside the
    image, and a slice without foreground is left as it is.
    """
    count, height, width = masks.shape
    size = motion.crop_size + (1 - motion.crop_size) * torch.rand(count, device=grid.device)
    cropped = torch.rand(count, device=grid.device) < motion.crop
    spine = (masks > 0).flatten(1)
    pixel = (spine.float() + 1e-9).multinomial(1)[:, 0]  # anywhere where there is no foreground
    cropped = cropped & spine.any(1)
    size = torch.where(cropped, size, 1.0)
    centre = torch.stack([(pixel % width + 0.5) / width, (pixel // width + 0.5) / height], dim=-1) * 2 - 1
    centre = centre.clamp(-(1 - size)[:, None], (1 - size)[:, None])
    return torch.addcmul(centre[:, None, None, :], grid, size[:, None, None, None])


def cut_out(images: Tensor, masks: Tensor, size: tuple[int, int], anywhere: float = ANYWHERE) -> Batch:
    """Cut a part of `size` (height, width) out of each slice (N, C, H, W) and its mask, its pixels left as they are.

    A share of them, `anywhere`, may lie at any place. The others lie along the spine: along each axis such a part holds
    all foreground where it is long enough for that, else nothing beyond the foreground's ends; where between, is drawn.
    These alone would never show what lies beyond the ends, the sacrum below a labelled spine above all, and a network
    that has not learnt it as background calls it vertebra. Of a slice without foreground any part may come.
    """
    if masks.shape[1:] == size:
        return images, masks
    free = torch.rand(len(masks), device=masks.device) < anywhere
    starts = [
        _starts((masks > 0).any(dim=3 - axis) & ~free[:, None], side) for axis, side in zip((1, 2), size, strict=True)
    ]
    parts = [
        (slice(top, top + size[0]), slice(left, left + size[1]))
        for top, left in zip(*(start.tolist() for start in starts), strict=True)
    ]
    cut = [image[:, rows, columns] for image, (rows, columns) in zip(images, parts, strict=True)]
    return torch.stack(cut), torch.stack([mask[part] for mask, part in zip(masks, parts, strict=True)])


def _starts(found: Tensor, side: int) -> Tensor:
    """Draw where parts of `side` pixels begin, (N,), along an axis that has foreground where `found` (N, length)."""
    length = found.shape[1]
    first, after = found.int().argmax(1), length - found.flip(1).int().argmax(1)
    ends = torch.stack([first, after - side]).clamp(0, length - side)
    low, high = ends.amin(0), ends.amax(0)
    return low + (torch.rand(len(found), device=found.device) * (high - low + 1)).long()


def gamma(images: Tensor, strength: float = 0.4) -> Tensor:
    """Raise the grey values of half of the slices to a power of e^-strength to e^strength."""
    return _half(images, images.clamp(0, 1) ** torch.exp(strength * _each(images)))


def contrast(images: Tensor, strength: float = 0.25) -> Tensor:
    """Spread or narrow the grey values of half of the slices about their mean."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return _half(images, (images - mean) * (1 + strength * _each(images)) + mean)


def brightness(images: Tensor, strength: float = 0.1) -> Tensor:
    """Make half of the slices brighter or darker."""
    return _half(images, images + strength * _each(images))


def bias_field(images: Tensor, strength: float = 0.3) -> Tensor:
    """Shade half of the slices smoothly, as a coil's uneven sensitivity does."""
    field = strength * torch.randn(len(images), 1, 4, 3, device=images.device)
    return _half(images, images * smooth_field(field, (images.shape[-2], images.shape[-1])).exp_())


def blur(images: Tensor) -> Tensor:
    """Average half of the slices over 3 x 3 pixels."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return _half(images, (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9)


def low_resolution(images: Tensor) -> Tensor:
    """Take half of the slices to half their resolution and back."""
    small = F.interpolate(images, scale_factor=1 / LOW_RESOLUTION, mode="bilinear", antialias=True)
    return _half(images, F.interpolate(small, size=images.shape[-2:], mode="bilinear"))


def coarser(images: Tensor) -> Tensor:
    """Take half of the slices to a lower resolution and back, 1 to COARSEST times, each axis by itself."""
    height, width = images.shape[-2:]
    factors = COARSEST ** torch.rand(len(images), 2).numpy()
    small = [(max(8, round(height / down)), max(8, round(width / across))) for down, across in factors]
    back = [
        F.interpolate(
            F.interpolate(one[None], size=size, mode="bilinear", antialias=True), size=(height, width), mode="bilinear"
        )
        for one, size in zip(images, small, strict=True)
    ]
    return _half(images, torch.cat(back))


def grey_curve(images: Tensor) -> Tensor:
    """Send the grey values of half of the slices through a random curve of KNOTS knots: one in two rises, one in four
    falls, as an inverted contrast does, and one in four does as it likes.
    """
    count = len(images)
    free = torch.rand(count, KNOTS, device=images.device)
    rising = free.sort(dim=1).values
    kind = torch.rand(count, 1, device=images.device)
    knots = torch.where(kind < 0.5, rising, torch.where(kind < 0.75, rising.flip(1), free))
    place = images.clamp(0, 1).flatten(1) * (KNOTS - 1)
    below = place.floor().long().clamp(max=KNOTS - 2)
    low, high = knots.gather(1, below), knots.gather(1, below + 1)
    curved = (low + (high - low) * (place - below)).view_as(images)
    return _half(images, curved)


def noise(images: Tensor, strength: float = 0.05) -> Tensor:
    """Add Gaussian noise to half of the slices, of a standard deviation of 0 to `strength`."""
    deviation = strength * torch.rand(len(images), 1, 1, 1, device=images.device)
    return _half(images, images + deviation * torch.randn_like(images))


def _uniform(images: Tensor, numbers: int) -> Tensor:
    return 2 * torch.rand(len(images), numbers, device=images.device) - 1


def _each(images: Tensor) -> Tensor:
    """One number in -1..1 for each slice, (N, 1, 1, 1)."""
    return _uniform(images, 1)[:, :, None, None]


def _half(images: Tensor, changed: Tensor) -> Tensor:
    """Take the changed slice in half of the cases."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, changed, images)
