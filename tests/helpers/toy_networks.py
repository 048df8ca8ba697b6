"""Networks that need no training: they tell the class of a pixel by its brightness."""

from pathlib import Path

import torch

from spider_utils.predict.network import ONE_LOOK, ReadyNetwork


class ByBrightness(torch.nn.Module):
    """The class of a pixel (N, C, H, W) of 0..1 is that of the nearest of four levels of 0..255."""

    def __init__(self, levels: tuple[float, ...]):
        super().__init__()
        self.levels = levels

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        levels = torch.tensor(self.levels)[None, :, None, None] / 255
        return -200 * (slices[:, slices.shape[1] // 2, None] - levels).abs()


def bright_network(
    size: tuple[int, int], levels: tuple[float, ...] = (0, 85, 170, 255), met: tuple[int, ...] = (99,), **options
) -> ReadyNetwork:
    """A network of this size that is right where classes are drawn at these levels."""
    description = {"trained_on": {"patients": list(met)}}
    made = {"settings": ONE_LOOK, "description": description, "weights": Path("bright.safetensors")}
    return ReadyNetwork(ByBrightness(levels), torch.device("cpu"), size, **made | options)
