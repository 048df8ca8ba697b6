"""A network ready for use: the shipped one or another, on its device, with what its JSON says of its use."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import check_bounds
from spider_utils.data.intensity import check_landmarks
from spider_utils.masks.cleanup import CleanupSettings
from spider_utils.models.inference import for_inference
from spider_utils.models.saved import select_device
from spider_utils.models.threads import keep_memory
from spider_utils.predict.views import VIEWS
from spider_utils.train.checkpoints import load_network

DEFAULT_MODEL = SPECIALIST = "spine_t2space"  # has learnt from T2 SPACE alone
FINEST = "spine_t2space_full_size"  # has learnt from T2 SPACE at 512 x 640; better there, and slower
ALL_SEQUENCES = "spine_all_sequences"  # has learnt from T1, T2 and T2 SPACE
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"  # the shipped networks
BATCH = 8  # slices at a time, of a store always, so that a slice has one mask


@dataclass(frozen=True)
class InferenceSettings:
    """How a network is used, beyond one look at each slice; `asdict` of it is what "inference" in the JSON holds."""

    views: tuple[str, ...] = ("identity",)  # names of views.VIEWS, whose probabilities are averaged
    cleanup: CleanupSettings | None = None  # of every mask; None: masks stay as they are

    def __post_init__(self) -> None:
        listed, known = isinstance(self.views, tuple), tuple(VIEWS)
        unknown = [name for name in self.views if name not in known] if listed else [self.views]
        if unknown or not self.views:
            found = ", ".join(map(repr, unknown)) or "none"
            raise SpiderError(f"views: expected one or more of {', '.join(known)}, found {found}")


ONE_LOOK = InferenceSettings()


@dataclass(frozen=True)
class VolumeSettings:
    """How a network is shown volumes, so that they look like the slices that it has learnt from."""

    body_landmarks: tuple[float, ...] = ()  # of the intensities (see `standardise`); none: scaled as in training
    field_mm: float = 0.0  # slices are widened to a square of this size at least; 0: sized as in training
    slice_mm: float = 0.0  # distance of the neighbours that it has learnt from; 0: the next slices, however far

    def __post_init__(self) -> None:
        marks = () if self.body_landmarks in ((), []) else check_landmarks(self.body_landmarks)
        object.__setattr__(self, "body_landmarks", marks)
        check_bounds(vars(self), {"field_mm": (0, 2000), "slice_mm": (0, 100)})


@dataclass(frozen=True)
class ReadyNetwork:
    """A trained network on its device, in evaluation mode, with what its JSON says of how it is used.

    From `ready_network` it comes as `for_inference` makes it, for use alone.
    """

    model: nn.Module
    device: torch.device
    size: tuple[int, int]  # of its input, (height, width) in pixels
    neighbours: int = 0  # slices on either side that it sees as channels
    settings: InferenceSettings = ONE_LOOK
    description: dict = field(default_factory=dict)  # the JSON beside the weights; {} for a network without a file
    weights: Path = Path()

    @property
    def name(self) -> str:
        """The network in words."""
        training = self.description["training"]
        return f"{self.weights.name} ({training['model']}, width {training['width']})"

    @property
    def batch_size(self) -> int:
        """Slices at a time: 1 on a CPU, which is faster there than several."""
        return 1 if self.device.type == "cpu" else BATCH


def ready_network(weights: Path | str | None = None, device: str = "auto") -> ReadyNetwork:
    """Load a network by its weights, their JSON beside them, or a shipped one by its name; None: the default one.

    Raises SpiderError when it is missing or does not fit, or its JSON says what is not known.
    """
    shipped = WEIGHTS / f"{weights or DEFAULT_MODEL}.safetensors"
    weights = shipped if weights is None or shipped.is_file() else Path(weights)
    chosen = select_device(device)
    keep_memory()
    model, description = load_network(weights, chosen)
    training = description["training"]
    size, neighbours = (training["train_height"], training["train_width"]), training.get("neighbours", 0)
    return ReadyNetwork(
        for_inference(model), chosen, size, neighbours, read_inference(description, weights), description, weights
    )


def read_inference(description: dict, weights: Path) -> InferenceSettings:
    """Return how the network is to be used, from the JSON beside it. Raises SpiderError on unknown views or rules."""
    found = dict(description.get("inference") or {})
    try:
        views, cleanup = found.get("views", InferenceSettings.views), found.get("cleanup")
        if not isinstance(cleanup, dict | None):
            raise SpiderError(f"cleanup: expected its rules, or null for none, found {cleanup!r}")
        found["views"] = tuple(views) if isinstance(views, list) else views
        found["cleanup"] = cleanup if cleanup is None else CleanupSettings(**cleanup)
        return InferenceSettings(**found)
    except (SpiderError, TypeError) as error:
        raise SpiderError(f"{weights.with_suffix('.json')}: inference: {error}") from error


def read_volume_settings(network: ReadyNetwork) -> VolumeSettings:
    """Return how a network is shown volumes, from the JSON beside it. Raises SpiderError on what is not known there."""
    try:
        return VolumeSettings(**network.description.get("volumes", {}))
    except (SpiderError, TypeError) as error:
        raise SpiderError(f"{network.weights.with_suffix('.json')}: volumes: {error}") from error
