"""A training's files: the state to go on from (`last.safetensors`), and the network that is its result
(`best.safetensors`, with `best.json` that says what it is).
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn, optim

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.parameters import read_group, refuse_other
from spider_utils.models.saved import laid_out, refuse_non_finite
from spider_utils.train.description import read_description
from spider_utils.train.settings import TrainSettings

REST = ("settings", "about", "log", "schedule", "scaler", "groups")  # of a state, beside the tensors
# Settings that trainings of an earlier time did without, and what they did.
BEFORE_THE_OPTION = {"small_epochs": 0, "shrink": 2, "crop_height": 0, "crop_width": 0, "teacher_share": 0.0}
MACHINE = ("device", "threads")  # settings that decide where a training runs, not what it is
STATE, NETWORK_FILE = "last.safetensors", "best.safetensors"


def write_network(model: nn.Module, description: dict, folder: Path) -> None:
    """Write a network's weights and the JSON that says what it is."""
    with atomic_path(folder / NETWORK_FILE) as path:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    write_json((folder / NETWORK_FILE).with_suffix(".json"), description)


def load_network(checkpoint: Path | str, device: torch.device) -> tuple[nn.Module, dict]:
    """Load a network and the JSON that says what it is (`<stem>.json` beside `<stem>.safetensors`).

    Returns the network in evaluation mode and the description. Raises SpiderError when a file is missing or does not
    fit; of one that does not fit nothing is built.
    """
    checkpoint = Path(checkpoint)
    description_file = checkpoint.with_suffix(".json")
    for path in (checkpoint, description_file):
        if not path.is_file():
            raise SpiderError(f"{path}: no such checkpoint file; train first, or name another checkpoint")
    description = read_description(description_file)
    settings = read_group(TrainSettings, description["training"])
    with torch.device("meta"):  # shapes alone
        wanted = {name: list(value.shape) for name, value in settings.network().state_dict().items()}
    try:
        with safe_open(checkpoint, framework="pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}
        wrong = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
        reason = "".join(f"{name} is {found.get(name)} for {wanted.get(name)}" for name in wrong[:1])
        weights = {} if wrong else load_file(checkpoint)
    except SafetensorError as error:
        reason = str(error).splitlines()[0]
    if reason:
        raise SpiderError(f"{checkpoint}: does not hold the network that {description_file.name} names ({reason})")
    model = settings.network()
    model.load_state_dict(weights)
    refuse_non_finite(model, f"{checkpoint}: expected")
    return laid_out(model, device).eval(), description


def network_is_of(folder: Path, best: dict) -> bool:
    """Return True when the folder's network is the one of this log row."""
    path = folder / NETWORK_FILE
    return path.is_file() and read_json(path.with_suffix(".json")).get("best") == best


def write_state(model: nn.Module, optimizer: optim.Optimizer, rest: dict, folder: Path) -> None:
    """Write all that the next epoch needs into one file: weights, the optimiser's moments, and `rest` as JSON."""
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    state = optimizer.state_dict()
    for number, moments in state["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value.contiguous() for name, value in moments.items()}
    with atomic_path(folder / STATE) as path:
        save_file(tensors, path, metadata={"state": json.dumps(rest | {"groups": state["param_groups"]})})


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors and the rest of what `write_state` wrote. Raises SpiderError where it is another file."""
    path = folder / STATE
    try:
        with safe_open(path, framework="pt") as file:
            rest = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        missing = [name for name in REST if name not in rest]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise SpiderError(f"{path}: expected a training's state, found another file; delete the checkpoints") from error
    if missing or not rest["log"]:
        raise SpiderError(f"{path}: expected a training's {', '.join(REST)}, found not all; delete the checkpoints")
    return tensors, rest


def restore(model: nn.Module, optimizer: optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict]) -> None:
    """Put weights and moments back."""
    model.load_state_dict(
        {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    )
    moments: dict[int, dict] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def refuse_other_training(
    found: dict, wanted: dict, path: Path, remedy: str = "take another run folder or delete the checkpoints"
) -> None:
    """Raise SpiderError on a training that was made with other settings; the `remedy` says how to go on.

    Another device or number of threads is no change, nor are more epochs, unless the schedule or the loss depends on
    their number.
    """
    counted = wanted.get("schedule") == "cosine" or wanted.get("loss") == "boundary"
    free = MACHINE if counted else (*MACHINE, "epochs")
    bound = {name: value for name, value in wanted.items() if name not in free}
    refuse_other(BEFORE_THE_OPTION | found, bound, f"{path}: trained", remedy)
