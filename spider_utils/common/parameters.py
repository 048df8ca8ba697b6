"""Parameters by name, sorted into the frozen dataclasses of the stations that use them."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from spider_utils.common.errors import SpiderError

NUMBER = r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
SEEDS = (0, 2**32 - 1)  # what numpy's and torch's generators take


def sort_parameters(values: dict[str, Any], groups: dict[str, type]) -> dict[str, Any]:
    """Make each group (name -> dataclass with defaults for all fields) from the values that it has a field for.

    Raises SpiderError on a name that no group knows, a value of the wrong type, or one that a group refuses.
    """
    made = {}
    known: dict[str, Any] = {}
    for group, kind in groups.items():
        names = {one.name: one.default for one in fields(kind)}
        known |= names
        made[group] = kind(**{name: values[name] for name in names if name in values and _typed(name, values, names)})
    unknown = [name for name in values if name not in known]
    if unknown:
        raise SpiderError(f"parameter '{unknown[0]}': not known; expected one of {', '.join(sorted(known))}")
    return made


def read_group(kind: type, values: dict[str, Any]) -> Any:
    """Make a dataclass of those of its fields that `values` has; the others keep their defaults."""
    return kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values})


def refuse_other(found: dict[str, Any], wanted: dict[str, Any], made: str, remedy: str) -> None:
    """Raise SpiderError where what was `made` has another value than is wanted now; the `remedy` says how to go on."""
    for name, value in wanted.items():
        if found.get(name) != value:
            raise SpiderError(f"{made} with {name} = {found.get(name)}, now asked for {value}; {remedy}")


def check_choices(settings: Any, choices: Mapping[str, Collection[str]]) -> None:
    """Raise SpiderError unless each named field of a dataclass has one of its known values."""
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            raise SpiderError(f"{name}: expected one of {', '.join(known)}, found '{getattr(settings, name)}'")


def check_bounds(values: Mapping[str, Any], bounds: Mapping[str, tuple[float, float]]) -> None:
    """Raise SpiderError unless each named value is a number from the lowest to the highest that is allowed.

    NaN lies nowhere, true and false are no numbers.
    """
    for name, (low, high) in bounds.items():
        found = values.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not low <= found <= high:
            raise SpiderError(f"{name}: expected {low} to {high}, found {found!r}")


def _typed(name: str, values: dict[str, Any], defaults: dict[str, Any]) -> bool:
    """Return True when a value has its default's type (an int serves as a float), else raise SpiderError."""
    value, wanted = values[name], type(defaults[name])
    if type(value) is wanted or (wanted is float and type(value) is int):
        return True
    raise SpiderError(f"{name}: expected {wanted.__name__}, found {value!r}")


def read_overrides(given: list[list[str]]) -> dict[str, Any]:
    """Return the parameters given with -p, by name. Raises SpiderError as `scalar`, and for a name given twice."""
    values: dict[str, Any] = {}
    for name, text in given:
        if name in values:
            raise SpiderError(f"parameter {name}: expected one value, found two; leave one out")
        values[name] = scalar(name, text)
    return values


def scalar(name: str, text: str) -> Any:
    """Read the value of a parameter: a decimal number (3, 0.5, 1e-3), or true, false, null or a word, as YAML does.

    Raises SpiderError for what is not a single value, for a number that is not finite, and for one that is written in
    another way, which YAML reads as octal (017), to base 60 (12:30) or not at all.
    """
    import yaml

    if re.fullmatch(NUMBER, text) and math.isfinite(float(text)):
        return int(text) if re.fullmatch("[-+]?[0-9]+", text) else float(text)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # of a bracket, the date 2024-13-45, many brackets
        value = [text]
    if isinstance(value, bool) or (isinstance(value, str) and not _is_number(text)) or text.lower() in ("null", "~"):
        return value
    raise SpiderError(
        f"parameter {name}: expected one value (a decimal number, true, false, null or a word), found {text!r}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)  # takes nan, 1e400, 08 and the digits of all scripts
    except ValueError:
        return False
    return True
