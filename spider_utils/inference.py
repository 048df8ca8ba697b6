"""From slices to masks: the network runs at its own size, its logits are brought back to the slices' size."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spider_utils.batches import memory_format, network_inputs, to_input
from spider_utils.errors import SpiderError
from spider_utils.models import build_model
from spider_utils.progress import progress

NETWORK = ("width", "activation", "initialiser", "deep_supervision")  # what build_model needs of a training's settings
DEVICES = ("auto", "cpu", "cuda", "mps")


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


def load_network(checkpoint: Path | str, device: torch.device) -> tuple[nn.Module, dict]:
    """Load a network and the JSON that says what it is (`<stem>.json` beside `<stem>.safetensors`).

    Returns the network in evaluation mode and the description. Raises SpiderError when a file is missing or does not
    fit.
    """
    checkpoint = Path(checkpoint)
    description_file = checkpoint.with_suffix(".json")
    for path in (checkpoint, description_file):
        if not path.is_file():
            raise SpiderError(f"{path}: no such checkpoint file; train first, or name another checkpoint")
    description = json.loads(description_file.read_text(encoding="utf-8"))
    training = description["training"]
    channels = 1 + 2 * training.get("neighbours", 0)
    parts = {name: training[name] for name in NETWORK if name in training}
    model = build_model(training["model"], in_channels=channels, **parts)
    try:
        model.load_state_dict(load_file(checkpoint))
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise SpiderError(
            f"{checkpoint}: does not hold the network that {description_file.name} names ({reason})"
        ) from error
    return model.to(device, memory_format=memory_format(device)).eval(), description


@torch.no_grad()
def predict_logits(model: nn.Module, images: Tensor, device: torch.device, size: tuple[int, int]) -> Tensor:
    """Return logits (N, classes, *size) float32 for uint8 slices (N, C, h, w) at the network's size."""
    with torch.autocast("cuda", enabled=device.type == "cuda"):
        logits = model(to_input(images, device))
    return F.interpolate(logits.float(), size=size, mode="bilinear")


def predict_masks(
    model: nn.Module,
    images: np.ndarray,
    network_size: tuple[int, int],
    device: torch.device,
    around: np.ndarray | None = None,
    batch_size: int = 8,
) -> np.ndarray:
    """Segment stored slices (n, H, W) uint8 and return masks (n, H, W) uint8 of classes 0..3 at the slices' own size.

    The slices are resized to `network_size` (height, width), the logits are brought back bilinearly, then the largest
    wins. `around` (m, C) chooses m of the slices, with their neighbours as channels (`store.neighbour_rows`); without
    it every slice stands alone.
    """
    around = np.arange(len(images))[:, None] if around is None else around
    masks = np.empty((len(around), *images.shape[1:]), np.uint8)
    for start in progress(range(0, len(around), batch_size), desc="predict", unit="batch", leave=False):
        part = slice(start, start + batch_size)
        logits = predict_logits(model, network_inputs(images, around[part], network_size), device, images.shape[1:])
        masks[part] = logits.argmax(dim=1).byte().cpu().numpy()
    return masks
