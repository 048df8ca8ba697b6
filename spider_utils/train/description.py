"""The JSON beside a network's weights: what the network is, checked as settings are when they are made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import read_json
from spider_utils.common.parameters import sort_parameters
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.splits import SplitSettings
from spider_utils.data.store import SIDES
from spider_utils.train.settings import TrainSettings

PARTS = ("training", "data", "split", "best", "inference", "volumes", "trained_on", "scores")  # each an object
TOLD = (*PARTS, "provenance", "half_precision", "study", "command")  # all that may stand in it
NEEDED = ("model", "width", "train_height", "train_width")  # of the training; older networks do not tell all others


def read_description(path: Path) -> dict[str, Any]:
    """Read the JSON beside a network's weights. `training` always names model, width, neighbours and input size.

    Raises SpiderError where it is another file, or says what nobody here reads: the network may be meant to be used
    otherwise. So it does where a setting of the training, of its slices or of its split is one that cannot be made, or
    patients are no numbers.
    """
    wrong = (
        f"{path}: expected the JSON that a training writes beside its weights, found another; "
        "take the one that belongs to the weights"
    )
    try:
        description = read_json(path)
    except SpiderError as error:
        raise SpiderError(wrong) from error
    parts = [description.get(name, {}) for name in PARTS]
    if not all(isinstance(part, dict) for part in parts) or not description.get("training"):
        raise SpiderError(wrong)
    try:
        for where, kind, values in _settings_in(description):
            if not isinstance(values, dict):
                raise SpiderError(f"{where}: expected settings, found {values!r}")
            _make(where, kind, values)
        _check_patients(description)
        unknown = sorted(set(description) - set(TOLD))
        if unknown:
            raise SpiderError(f"expected some of {', '.join(sorted(TOLD))}, found '{unknown[0]}'")
    except SpiderError as error:
        raise SpiderError(f"{path}: {error}; mend it, or use the version that wrote it") from error
    description["training"] = {"neighbours": 0} | description["training"]
    return description


def trained_on(description: dict) -> dict:
    """Return the preprocessing settings of the slices that a network has learnt from, {} where they are not told."""
    parts = [description.get(part, {}) for part in ("data", "split")]  # of a run, and of a study's training
    return next((part["preprocess"] for part in parts if "preprocess" in part), {})


def _settings_in(description: dict) -> Iterator[tuple[str, type, Any]]:
    """Yield all settings in a description: where they stand, what they are to make, and their values."""
    yield "training", TrainSettings, description["training"]
    for part in ("data", "split"):
        if "preprocess" in description.get(part, {}):
            yield f"{part}: preprocess", PreprocessSettings, description[part]["preprocess"]
    if "settings" in description.get("split", {}):
        yield "split: settings", SplitSettings, description["split"]["settings"]


def _make(where: str, kind: type, values: dict[str, Any]) -> None:
    """Make settings of values. Raises SpiderError where it cannot be done, or one is missing that has no default."""
    needed = NEEDED if kind is TrainSettings else SIDES if values.get("geometry") == "pad" else ()
    missing = [name for name in needed if name not in values]
    if missing:
        raise SpiderError(f"{where}: expected {', '.join(needed)}, found no {missing[0]}")
    try:
        sort_parameters(values, {where: kind})
    except SpiderError as error:
        raise SpiderError(f"{where}: {error}") from error


def _check_patients(description: dict) -> None:
    """Raise SpiderError where those whom a network knows are no list of numbers, so that it could be judged by them."""
    for part, name in (("trained_on", "patients"), ("split", "train"), ("split", "validation"), ("split", "test")):
        found = description.get(part, {}).get(name, [])
        if not isinstance(found, list) or not all(type(one) is int for one in found):
            raise SpiderError(f"{part}: {name}: expected a list of patients' numbers, found {found!r:.50}")
