"""Opening a run folder: what it was begun with, what is wanted now, and what is refused as other results are there."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY, read_json
from spider_utils.common.locks import add_to_json
from spider_utils.common.parameters import refuse_other
from spider_utils.data.sources import absolute, get_source, refuse_homeless
from spider_utils.data.store import read_store_info, refuse_other_store
from spider_utils.runs.injected import refuse_misspelt
from spider_utils.runs.run import SETTINGS_FILE, Run
from spider_utils.runs.settings import Settings, load_profile, make_settings
from spider_utils.train.checkpoints import NETWORK_FILE, refuse_other_training
from spider_utils.train.description import read_description


def open_run(
    run_dir: Path | str | None = None,
    source: str | None = None,
    data_dir: Path | str | None = None,
    profile: str | None = None,
    more: dict[str, Any] | None = None,
    **parameters: Any,
) -> Run:
    """Open a run folder, or begin one.

    What is None is taken from the run folder and, where it is new, from the defaults: source "sample", profile
    "smoke", the profile's parameters, and the folder `<source>_<profile>` under SPIDER_RUNS or the repository's
    `runs`. `parameters`, and those in `more`, are values that override the profile. Raises SpiderError on an unknown
    parameter, also one that papermill has put into the notebook that calls this, and when the folder holds results of
    another source or profile. Where it holds none yet, what was once begun there, and failed, does not count; nor does
    a parameter with which a stage has failed (see `Run`).
    """
    refuse_misspelt()
    path = (Path(run_dir) if run_dir else default_run_dir(source or "sample", profile or "smoke")).resolve()
    saved = read_saved(path)
    given = {"source": source, "data_dir": absolute(data_dir), "profile": profile}
    named = {name: value for name, value in given.items() if value is not None}
    if "fingerprint" in saved:  # data have been read
        refuse_other(saved, named, f"{path}: this run folder was made", "take another")
    elif any(saved[name] != value for name, value in named.items() if name in saved):
        saved = {}
    changed = {name: value for name, value in (parameters | (more or {})).items() if value is not None}
    begun = {"source": "sample", "data_dir": None, "profile": "smoke"} | saved | named
    before = saved.get("parameters", {})
    return _open(path, begun, before | changed, before)


def begin_run(path: Path, source: str, data_dir: Path | str | None, profile: str, parameters: dict[str, Any]) -> Run:
    """Open a run folder with these parameters and no others, whatever was once begun there: what a command says.

    Raises SpiderError like `open_run`.
    """
    saved = read_saved(path)
    named = {"source": source, "data_dir": absolute(data_dir), "profile": profile}
    if "fingerprint" in saved:
        refuse_other(saved, named, f"{path}: this run folder was made", "take another")
    chosen = {name: value for name, value in parameters.items() if value is not None}
    return _open(path, named, chosen, chosen)


def _open(path: Path, begun: dict[str, Any], chosen: dict[str, Any], before: dict[str, Any]) -> Run:
    """Check what a run is to be made with against itself and the folder, write it there, and return the run.

    `before`: the parameters that the folder falls back to where a stage fails with the chosen ones.
    """
    settings = make_settings(load_profile(begun["profile"]) | chosen)
    refuse_homeless(begun["source"], begun["data_dir"])
    _refuse_what_is_made(path, settings)
    folder = Path(begun["data_dir"] or get_source(begun["source"]).home or path / "data")
    add_to_json(path / SETTINGS_FILE, begun | {"parameters": chosen})
    return Run(path, begun["source"], folder, begun["profile"], settings, before)


def read_saved(path: Path) -> dict[str, Any]:
    """Return what settings.json of a run folder says, {} where there is none. Raises SpiderError on another file."""
    saved = read_json(path / SETTINGS_FILE)
    kinds = {"source": str, "data_dir": str | None, "profile": str, "parameters": dict}
    if saved and not all(isinstance(saved.get(name), kind) for name, kind in kinds.items()):
        raise SpiderError(
            f"{path / SETTINGS_FILE}: expected {', '.join(kinds)} of a run, found another file; take another run folder"
        )
    return saved


def _refuse_what_is_made(path: Path, settings: Settings) -> None:
    """Raise SpiderError when the folder holds a store or a network of other settings, before anything is written."""
    stored = read_store_info(path / "store")
    if stored:
        refuse_other_store(stored, asdict(settings.preprocess), path / "store")
    described = (path / "checkpoints" / NETWORK_FILE).with_suffix(".json")
    if described.is_file():
        trained = read_description(described)
        wanted = asdict(settings.training) | asdict(settings.split)
        dealt = trained.get("split", {}).get("settings", {})
        refuse_other_training(trained["training"] | dealt, wanted, path / "checkpoints")


def default_run_dir(source: str, profile: str) -> Path:
    """Return the run folder that is used when none is named."""
    beside = REPOSITORY / "runs" if (REPOSITORY / "notebooks").is_dir() else Path("runs")
    return Path(os.environ.get("SPIDER_RUNS", beside)) / f"{source}_{profile}"
