"""A network ready for use: the shipped one or another, on its device, with what its JSON says of its use."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.masks.cleanup import CleanupSettings
from spider_utils.models.saved import load_network, select_device
from spider_utils.predict.segment import InferenceSettings

DEFAULT_MODEL = "spine_t2space"
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"  # the shipped networks


@dataclass(frozen=True)
class ReadyNetwork:
    """A trained network on its device, with what its JSON says of how it is used."""

    model: nn.Module
    device: torch.device
    size: tuple[int, int]  # of its input, (height, width) in pixels
    neighbours: int  # slices on either side that it sees as channels
    settings: InferenceSettings
    description: dict  # the JSON beside the weights
    weights: Path

    @property
    def name(self) -> str:
        """The network in words."""
        training = self.description["training"]
        return f"{self.weights.name} ({training['model']}, width {training['width']})"

    @property
    def batch_size(self) -> int:
        """Slices at a time: 1 on a CPU, which is faster there than several."""
        return 1 if self.device.type == "cpu" else 8


def ready_network(weights: Path | str | None = None, device: str = "auto") -> ReadyNetwork:
    """Load a network by its weights, its JSON beside them; None: the shipped one.

    Raises SpiderError when it is missing or does not fit, or is to be used in a way that is not known.
    """
    weights = Path(weights) if weights else WEIGHTS / f"{DEFAULT_MODEL}.safetensors"
    chosen = select_device(device)
    model, description = load_network(weights, chosen)
    training = description["training"]
    size, neighbours = (training["train_height"], training["train_width"]), training.get("neighbours", 0)
    return ReadyNetwork(model, chosen, size, neighbours, read_inference(description, weights), description, weights)


def trained_on(description: dict) -> dict:
    """Return the preprocessing settings of the slices that a network has learnt from, {} where they are not told."""
    parts = [description.get(part, {}) for part in ("data", "split")]  # of a run, and of a study's training
    return next((part["preprocess"] for part in parts if "preprocess" in part), {})


def read_inference(description: dict, weights: Path) -> InferenceSettings:
    """Return how the network is to be used, from the JSON beside it. Raises SpiderError on unknown views or rules."""
    found = dict(description.get("inference") or {})
    try:
        found["views"] = tuple(found.get("views", InferenceSettings.views))
        found["cleanup"] = CleanupSettings(**found["cleanup"]) if found.get("cleanup") is not None else None
        return InferenceSettings(**found)
    except (SpiderError, TypeError) as error:
        raise SpiderError(f"{weights.with_suffix('.json')}: inference: {error}") from error
