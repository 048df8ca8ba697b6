"""Study files: YAML in this folder, or by path. A study names its arms: what differs from `base`."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from spider_utils.common.errors import SpiderError

Tables = dict[str, pd.DataFrame]

FOLDER = Path(__file__).parent
FIXED = ("split", "fold", "seed")  # not to be set for a whole study
COUNTS = ("folds", "seeds", "score_epochs")
CHANGED = (*COUNTS, "reference")  # by an override, beside the arms
OWN = ("folds", "fold", "seed", "train_slices")  # what `plan` sets for each training: not for a file's base or arms
PARTS = {  # of a study file
    "question": str,
    "reference": str,
    "score_epochs": list,
    "folds": int,
    "seeds": list,
    "base": dict,
    "arms": dict,
}
MORE = {"options": str, "ways": list | str, "preprocess": dict}  # parts that a study file may have
OF_AN_ARM = {"title": str, "values": dict, "kind": str, "teachers": str}
NAME = re.compile(r"\w[\w.+-]*")  # of an arm, which is a folder's name too


@dataclass(frozen=True)
class Arm:
    """One line of a comparison: a name, its title in figures, and what it changes."""

    name: str
    title: str
    values: dict[str, Any]
    kind: str = ""  # what it changes, to group arms by
    teachers: str = ""  # the arm whose networks, of all seeds of the same fold, it learns from too


@dataclass(frozen=True)
class Study:
    """What a study file says."""

    name: str
    question: str
    reference: str  # the arm that the others are compared with
    score_epochs: tuple[int, ...]
    folds: int
    seeds: tuple[int, ...]
    base: dict[str, Any]
    arms: tuple[Arm, ...]
    options: str = ""  # the arm whose networks are then used in several ways (see `options`)
    ways: tuple[str, ...] = ()  # these, by name; none: all
    preprocess: dict[str, Any] = field(default_factory=dict)  # of its slice store, where that is not the paper's


def load_study(name: str, overrides: dict[str, Any] | None = None) -> Study:
    """Read a study by its name in this package, or by the path of a YAML file; `overrides` go over its base.

    Among the overrides, `folds`, `seeds`, `score_epochs`, `reference` and `arms` (names, to run some) change the study.
    Raises SpiderError when there is no such study, or it lacks a part.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise SpiderError(f"study '{name}': no such study; expected one of {known}, or a path of a YAML file")
    content, overrides = read_study_file(path), dict(overrides or {})
    for name in FIXED:
        if name in overrides:
            raise SpiderError(f"{name}: a study sets it for each of its trainings; leave it out, or write a study file")
    content |= {key: overrides.pop(key) for key in CHANGED if key in overrides}
    for key in COUNTS:
        content[key] = whole_numbers(key, content[key])
    if min(content["score_epochs"]) < 1:
        raise SpiderError(f"{path}: score_epochs: expected epochs from 1, found 0; mend it")
    wanted = list(dict.fromkeys(as_list(overrides.pop("arms", list(content["arms"])))))
    for arm in [*wanted, content["reference"]]:
        if arm not in content["arms"]:
            raise SpiderError(f"{path}: arm '{arm}': not known; expected one of {', '.join(content['arms'])}")
    base, arms = content["base"] | overrides, []
    for arm in wanted:
        told = content["arms"][arm]
        title, values = told.get("title", arm), told.get("values", {})
        leaky = (base | values).get("split") == "random_slice" and "LEAKY" not in title
        teachers = told.get("teachers", "")
        if teachers and teachers not in wanted:
            raise SpiderError(f"{path}: arm '{arm}': learns from arm '{teachers}', which is not among arms; add it")
        kind = told.get("kind", "")
        arms.append(Arm(arm, f"{title} (LEAKY)" if leaky else title, values, kind, teachers))
    marks, folds = tuple(sorted(content["score_epochs"])), content["folds"][0]
    options = content.get("options", "")
    if options and options not in content["arms"]:
        raise SpiderError(f"{path}: options: expected one of {', '.join(content['arms'])}, found '{options}'")
    options = options if options in wanted else ""
    seeds, ways = tuple(content["seeds"]), tuple(as_list(content.get("ways", ())))
    return Study(
        path.stem,
        content["question"],
        content["reference"],
        marks,
        folds,
        seeds,
        base,
        tuple(arms),
        options,
        ways,
        dict(content.get("preprocess") or {}),
    )


def read_study_file(path: Path) -> dict[str, Any]:
    """Read a study file. Raises SpiderError when it is no YAML or lacks a part."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _OnceLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise SpiderError(f"{path}: expected YAML, found {first}; mend the file") from error
    for key, kind in PARTS.items():
        found = content.get(key) if isinstance(content, dict) else None
        if not isinstance(found, kind):
            raise SpiderError(
                f"{path}: expected the key '{key}' with a {kind.__name__}, found {found!r}; mend the file"
            )
    _check_keys(f"{path}", content, PARTS | MORE)
    for name, arm in content["arms"].items():
        check_arm_name(name, f"{path}: ")
        content["arms"][name] = arm = {} if arm is None else arm
        if not isinstance(arm, dict):
            raise SpiderError(f"{path}: arm '{name}': expected {', '.join(OF_AN_ARM)}, found {arm!r}; mend the file")
        _check_keys(f"{path}: arm '{name}'", arm, OF_AN_ARM)
    parts = {"base": content["base"]}
    parts |= {f"arm '{name}'": arm.get("values", {}) for name, arm in content["arms"].items()}
    for part, values in parts.items():
        for name in OWN:
            if name in values:
                raise SpiderError(f"{path}: {part}: {name}: a study sets it for each of its trainings; leave it out")
    return content


def check_arm_name(name: Any, where: str = "") -> None:
    """Raise SpiderError unless an arm's name can be that of a folder, inside the study's own."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise SpiderError(
            f"{where}arm {name!r}: expected a name of letters, digits and _ . + -, which is a folder's name too; "
            "rename it"
        )


def _check_keys(where: str, content: dict, kinds: dict[str, Any]) -> None:
    """Raise SpiderError on a key that nobody reads, or a value of another kind."""
    for key, value in content.items():
        if key not in kinds:
            raise SpiderError(f"{where}: expected some of {', '.join(kinds)}, found {key!r}; mend the file")
        if not isinstance(value, kinds[key]):
            kind = getattr(kinds[key], "__name__", kinds[key])
            raise SpiderError(f"{where}: {key}: expected {kind}, found {value!r}; mend the file")


class _OnceLoader(yaml.SafeLoader):
    """Reads YAML as `yaml.safe_load` does, and refuses a key that stands twice, of which the last would count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"the key '{key}' twice")
        return super().construct_mapping(node, deep)


def as_list(value: Any) -> list:
    """Return a list of what is one value, several, or a text with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, list | tuple) else [value]


def whole_numbers(name: str, value: Any) -> list[int]:
    """Return one number or several as a list of integers from 0, each once. Raises SpiderError on anything else."""
    found = as_list(value)
    if not found or not all(re.fullmatch("[0-9]{1,10}", str(one)) for one in found):
        raise SpiderError(f"{name}: expected whole numbers, found {value!r}")
    numbers = [int(one) for one in found]
    if len(set(numbers)) < len(numbers):
        raise SpiderError(f"{name}: expected each number once, found {value!r}")
    return numbers
