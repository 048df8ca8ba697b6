"""A training's files: the state to go on from (`last.safetensors`), and the network that is its result
(`best.safetensors`, with `best.json` that says what it is).
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.parameters import refuse_other

REST = ("settings", "about", "log", "schedule", "scaler", "groups")  # of a state, beside the tensors
BEFORE_THE_OPTION = {"small_epochs": 0, "shrink": 2, "crop_height": 0, "crop_width": 0}  # of trainings without them
STATE, NETWORK_FILE = "last.safetensors", "best.safetensors"


def write_network(model: nn.Module, description: dict, folder: Path) -> None:
    """Write a network's weights and the JSON that says what it is."""
    with atomic_path(folder / NETWORK_FILE) as path:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    write_json((folder / NETWORK_FILE).with_suffix(".json"), description)


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

    Another device is no change, nor are more epochs, unless the schedule or the loss depends on their number.
    """
    counted = wanted.get("schedule") == "cosine" or wanted.get("loss") == "boundary"
    free = ("device",) if counted else ("device", "epochs")
    bound = {name: value for name, value in wanted.items() if name not in free}
    refuse_other(BEFORE_THE_OPTION | found, bound, f"{path}: trained", remedy)
