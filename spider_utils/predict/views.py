"""Test-time augmentation: the network looks at several views of a slice, and its probabilities are averaged.

A view is a small change that leaves the anatomy what it is: a shift or a scale. There are no flips: in a slice the
patient's front is at the left and the head at the top, the network has learnt so, and a mirrored spine is none that it
knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spider_utils.models.batches import memory_format, resize_images
from spider_utils.models.paper import DIVISOR


class SliceView(Protocol):
    """One way of looking at slices, and the way back of what the network makes of them."""

    def apply(self, images: Tensor) -> Tensor:
        """Return slices (N, C, h, w) float 0..1 as the network is to see them, (N, C, h', w'), sides of DIVISOR."""

    def undo(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring the network's output (N, classes, h', w') back to the slices' grid, `size` = (h, w)."""


@dataclass(frozen=True)
class Identity:
    """The slices as they are."""

    def apply(self, images: Tensor) -> Tensor:
        return images

    def undo(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return scores


@dataclass(frozen=True)
class Shift:
    """The slices moved down by `rows` and to the right by `columns`, in pixels; the edge pixels fill the gap.

    Moved back, everything is in its place, but for the strip that had left the image: the edge fills it again.
    """

    rows: int
    columns: int

    def apply(self, images: Tensor) -> Tensor:
        return shifted(images, self.rows, self.columns)

    def undo(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        return shifted(scores, -self.rows, -self.columns)


@dataclass(frozen=True)
class Scale:
    """The slices enlarged or made smaller by `factor`, and padded at the bottom and the right with the edge pixels, so
    that height and width are multiples of DIVISOR.
    """

    factor: float

    def inside(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the scaled slice's (height, width) before it is padded."""
        return max(round(size[0] * self.factor), 1), max(round(size[1] * self.factor), 1)

    def apply(self, images: Tensor) -> Tensor:
        height, width = self.inside(tuple(images.shape[-2:]))
        margin = (0, -width % DIVISOR, 0, -height % DIVISOR)
        return F.pad(resize_images(images, (height, width)), margin, mode="replicate")

    def undo(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        height, width = self.inside(size)
        return F.interpolate(scores[..., :height, :width], size=size, mode="bilinear")


# By name, for the JSON beside a network: a name never changes its meaning.
VIEWS: dict[str, SliceView] = {
    "identity": Identity(),
    "shift_up": Shift(-6, 0),
    "shift_right": Shift(0, 6),
    "scale_0.9": Scale(0.9),
    "scale_1.1": Scale(1.1),
}


@torch.no_grad()
def predict_probabilities(model: nn.Module, images: Tensor, views: Sequence[SliceView]) -> Tensor:
    """Return the mean over the views of the class probabilities, (N, classes, h, w) float32.

    `images`: (N, C, h, w) float 0..1 at the network's size, on the network's device, which must be in evaluation mode.
    """
    return sum(_probabilities(model, images, view) for view in views) / len(views)


def _probabilities(model: nn.Module, images: Tensor, view: SliceView) -> Tensor:
    seen = view.apply(images).contiguous(memory_format=memory_format(images.device))
    with torch.autocast("cuda", enabled=images.device.type == "cuda"):
        logits = model(seen)
    return view.undo(logits.float().softmax(dim=1), tuple(images.shape[-2:]))


def shifted(images: Tensor, rows: int, columns: int) -> Tensor:
    """Move (..., h, w) down by `rows` and to the right by `columns`; the edge pixels fill the gap."""
    height, width = images.shape[-2:]
    row = (torch.arange(height, device=images.device) - rows).clamp(0, height - 1)
    column = (torch.arange(width, device=images.device) - columns).clamp(0, width - 1)
    return images[..., row, :][..., column]
