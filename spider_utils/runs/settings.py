"""All parameters of a run, in groups by the station that uses them, and the profiles: files with values for them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import SEEDS, check_bounds, sort_parameters
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.splits import SplitSettings
from spider_utils.train.settings import TrainSettings

PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class PhantomSettings:
    """The embedded synthetic data; other sources take no notice of it."""

    patients: int = 12
    phantom_seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(vars(self), {"patients": (1, 10_000), "phantom_seed": SEEDS})


@dataclass(frozen=True)
class EvaluationSettings:
    """How scores become intervals."""

    bootstrap: int = 1000  # replicates over patients
    bootstrap_seed: int = 0

    def __post_init__(self) -> None:
        check_bounds(vars(self), {"bootstrap": (1, 1_000_000), "bootstrap_seed": SEEDS})


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run's result, apart from the data."""

    phantom: PhantomSettings
    preprocess: PreprocessSettings
    split: SplitSettings
    training: TrainSettings
    evaluation: EvaluationSettings

    def flat(self) -> dict[str, Any]:
        """Return all parameters by name."""
        return {name: value for group in asdict(self).values() for name, value in group.items()}


def make_settings(values: dict[str, Any]) -> Settings:
    """Sort parameters into their groups; what is not given keeps its default.

    Raises SpiderError on an unknown name, a value of the wrong type, or one that a group refuses.
    """
    return Settings(**sort_parameters(values, get_type_hints(Settings)))


def load_profile(name: str) -> dict[str, Any]:
    """Read a profile's parameters. Raises SpiderError when there is no profile of that name."""
    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
        raise SpiderError(f"profile '{name}': no such profile; expected one of {known}")
    return yaml.safe_load(path.read_text(encoding="utf-8"))
