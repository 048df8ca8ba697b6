"""What every network keeps to: sizes that can be built, finite weights, and the device that it runs on."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import check_bounds
from spider_utils.models.batches import memory_format
from spider_utils.models.paper import DIVISOR
from spider_utils.models.threads import threads

NETWORK = ("width", "activation", "initialiser", "deep_supervision")  # what build_model needs of a training's settings
DEVICES = ("auto", "cpu", "cuda", "mps")
BOUNDS = {"width": (1, 256), "neighbours": (0, 32), "train_height": (DIVISOR, 4096), "train_width": (DIVISOR, 4096)}


def check_network(training: Mapping[str, Any]) -> None:
    """Raise SpiderError unless width, neighbours and input size are such that a network can be built and trained.

    Height and width must come out even after every pooling, and the deepest block must have two pixels, over which
    batch normalisation takes its mean even of a single slice.
    """
    check_bounds(training, BOUNDS)
    check_size({name: training[name] for name in ("train_height", "train_width")})


def check_size(sides: Mapping[str, int]) -> None:
    """Raise SpiderError unless a network can be trained with slices of these two sides in pixels, by their names."""
    for name, side in sides.items():
        if side % DIVISOR:
            raise SpiderError(f"{name}: expected a multiple of {DIVISOR}, found {side}")
    height, width = sides.values()
    if height * width == DIVISOR**2:
        raise SpiderError(
            f"{', '.join(sides)}: expected {DIVISOR} x {2 * DIVISOR} pixels or more, found {height} x {width}; "
            "the deepest block needs two pixels"
        )


def select_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" takes CUDA, else Apple's, else the CPU.

    Raises SpiderError if it is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if name not in available:
        raise SpiderError(f"device: expected one of {', '.join(DEVICES)}, found '{name}'")
    if not available[name]:
        raise SpiderError(f"device: '{name}' is not available on this machine; use 'auto' or 'cpu'")
    return torch.device(name)


def laid_out(model: nn.Module, device: torch.device) -> nn.Module:
    """Put a network onto a device, in the layout that is fast there (see `memory_format`)."""
    threads.use()
    return model.to(device).to(memory_format=memory_format(device))  # type: ignore[call-overload]  # torch types 4D only


def refuse_non_finite(model: nn.Module, expected: str) -> None:
    """Raise SpiderError where a weight, or a statistic of batch normalisation, is NaN or infinite."""
    wrong = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if wrong:
        raise SpiderError(
            f"{expected} finite weights, found NaN or infinity in {len(wrong)} layers, the first {wrong[0]}; "
            "train anew with a smaller learning_rate, or take another network"
        )
