"""A network ready for use: the shipped one or another, on its device, with what its JSON says of its use."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.data.intensity import check_landmarks
from spider_utils.masks.cleanup import CleanupSettings
from spider_utils.models.saved import PARTS, load_network, select_device
from spider_utils.predict.views import VIEWS
from spider_utils.train.settings import TrainSettings

DEFAULT_MODEL = SPECIALIST = "spine_t2space"  # has learnt from T2 SPACE alone
ALL_SEQUENCES = "spine_all_sequences"  # has learnt from T1, T2 and T2 SPACE
TOLD = (*PARTS, "trained_on", "provenance", "half_precision", "study", "scores", "command")  # in the JSON of a network
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"  # the shipped networks
BATCH = 8  # slices at a time, of a store always, so that a slice has one mask


@dataclass(frozen=True)
class InferenceSettings:
    """How a network is used, beyond one look at each slice; `asdict` of it is what "inference" in the JSON holds."""

    views: tuple[str, ...] = ("identity",)  # names of views.VIEWS, whose probabilities are averaged
    cleanup: CleanupSettings | None = None  # of every mask; None: masks stay as they are

    def __post_init__(self) -> None:
        unknown = [name for name in self.views if name not in VIEWS]
        if unknown or not self.views:
            found = ", ".join(map(repr, unknown)) or "none"
            raise SpiderError(f"views: expected one or more of {', '.join(VIEWS)}, found {found}")


ONE_LOOK = InferenceSettings()


@dataclass(frozen=True)
class VolumeSettings:
    """How a network is shown volumes, so that they look like the slices that it has learnt from."""

    body_landmarks: tuple[float, ...] = ()  # of the intensities (see `standardise`); none: scaled as in training
    field_mm: float = 0.0  # slices are widened to a square of this size at least; 0: sized as in training
    slice_mm: float = 0.0  # distance of the neighbours that it has learnt from; 0: the next slices, however far

    def __post_init__(self) -> None:
        marks = check_landmarks(self.body_landmarks) if len(self.body_landmarks) else ()
        object.__setattr__(self, "body_landmarks", marks)
        for name in ("field_mm", "slice_mm"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise SpiderError(f"{name}: expected a number of mm, 0 or more, found {value!r}")


@dataclass(frozen=True)
class ReadyNetwork:
    """A trained network on its device, in evaluation mode, with what its JSON says of how it is used."""

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
    model, description = load_network(weights, chosen)
    training = description["training"]
    refuse_unknown(description, weights)
    size, neighbours = (training["train_height"], training["train_width"]), training.get("neighbours", 0)
    return ReadyNetwork(model, chosen, size, neighbours, read_inference(description, weights), description, weights)


def refuse_unknown(description: dict, weights: Path) -> None:
    """Raise SpiderError where a network's JSON says what nobody here reads: it may be meant to be used otherwise."""
    settings = {one.name for one in fields(TrainSettings)}
    for found, known, where in ((description, TOLD, ""), (description["training"], settings, "training: ")):
        unknown = sorted(set(found) - set(known))
        if unknown:
            raise SpiderError(
                f"{weights.with_suffix('.json')}: {where}expected some of {', '.join(sorted(known))}, found "
                f"'{unknown[0]}'; mend the name, or use the version that wrote it"
            )


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


def read_volume_settings(network: ReadyNetwork) -> VolumeSettings:
    """Return how a network is shown volumes, from the JSON beside it. Raises SpiderError on what is not known there."""
    try:
        return VolumeSettings(**network.description.get("volumes", {}))
    except (SpiderError, TypeError) as error:
        raise SpiderError(f"{network.weights.with_suffix('.json')}: volumes: {error}") from error
