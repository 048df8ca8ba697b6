"""The run folder: one place for a run's data, store, checkpoints, scores and figures. Each stage finds its result or
makes it.

DIR/settings.json               source, data folder, profile and what was set by hand
DIR/data/                       the phantom, where that is the source; DIR/phantom/ where the data are no volumes
DIR/survey.csv                  what each series holds
DIR/store/                      the slice store
DIR/checkpoints/                best.safetensors + best.json, last.safetensors (the state to go on from)
DIR/train_log.csv               a row an epoch
DIR/predictions/                masks.npy + slices.csv of the validation and test patients
DIR/slice_scores.csv, slice_distances.csv, metrics.csv, scores.json, provenance.json, figures/
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY, atomic_path, read_json, write_json
from spider_utils.common.parameters import refuse_other
from spider_utils.common.provenance import provenance
from spider_utils.data.labels import CLASSES
from spider_utils.data.preprocess import make_store
from spider_utils.data.series import Series
from spider_utils.data.sources import absolute, find_series, fingerprint, get_source, refuse_homeless
from spider_utils.data.splits import Split, make_split
from spider_utils.data.store import SliceStore, refuse_other_store
from spider_utils.data.survey import survey
from spider_utils.evaluate.scores import SliceScores, read_scores, score_slices, summarise, write_metrics, write_scores
from spider_utils.models.saved import select_device
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import predict_rows
from spider_utils.runs.settings import Settings, load_profile, make_settings
from spider_utils.runs.stages import LOG_FILE, deal, train_rows
from spider_utils.train.checkpoints import NETWORK_FILE, refuse_other_training

SETTINGS_FILE = "settings.json"
SCORED = ("validation", "test")
PHANTOM, VOLUME_PATIENTS = "phantom", 3  # what stands for volumes where the data are slices


@dataclass(frozen=True)
class Run:
    """An opened run folder.

    Methods return a stage's result and make it, and all that it needs, where it is not there yet.
    """

    path: Path
    source: str
    data_dir: Path
    profile: str
    settings: Settings

    @property
    def figures(self) -> Path:
        """The folder for the run's figures."""
        return self.path / "figures"

    @property
    def checkpoint(self) -> Path:
        """The weights of the best epoch; their JSON lies beside them."""
        return self.path / "checkpoints" / NETWORK_FILE

    def series(self) -> tuple[Series, ...]:
        """Find the data's series; synthetic ones are made first.

        Raises SpiderError when the folder was run on other data.
        """
        make = get_source(self.source).make
        if make and self.data_dir == self.path / "data":
            make(self.data_dir, self.settings.phantom.patients, self.settings.phantom.phantom_seed)
        series = find_series(self.source, self.data_dir)
        known = read_json(self.path / SETTINGS_FILE).get("fingerprint")
        if known and known != fingerprint(series):
            raise SpiderError(
                f"{self.path}: this run folder was made with other data than {self.data_dir} holds; take another"
            )
        return series

    def volumes(self) -> tuple[str, tuple[Series, ...]]:
        """Return the series that are whole volumes, and their source: the run's own, or, where its data are slices,
        those of a small PHANTOM that is made in the run folder.
        """
        own = tuple(one for one in self.series() if one.coding == "spider")
        if own:
            return self.source, own
        folder = self.path / "phantom"
        provide_phantom = get_source(PHANTOM).make
        assert provide_phantom is not None  # the phantom is made, not fetched
        provide_phantom(folder, VOLUME_PATIENTS, self.settings.phantom.phantom_seed)
        return PHANTOM, find_series(PHANTOM, folder)

    def _remember_data(self, series: tuple[Series, ...]) -> None:
        """Bind the run folder to data that has been read from end to end; a file mended before that is no change."""
        note = self.path / SETTINGS_FILE
        write_json(note, read_json(note) | {"fingerprint": fingerprint(series)})

    def survey(self) -> pd.DataFrame:
        """Read every series once and return what it holds, a row a series (see spider_utils.data.survey)."""
        series, path = self.series(), self.path / "survey.csv"
        if not path.is_file():
            with atomic_path(path) as temporary:
                survey(series).to_csv(temporary, index=False, na_rep="nan")
            self._remember_data(series)
        return pd.read_csv(path, keep_default_na=False, na_values=["nan"], dtype={"labels": str})

    def store(self) -> SliceStore:
        """Open the slice store."""
        series, path = self.series(), self.path / "store"
        fresh = not (path / "store.json").is_file()
        store = make_store(series, self.settings.preprocess, path)
        if fresh:
            self._remember_data(series)
        return store

    def split(self) -> Split:
        """Deal the store's patients to train, validation and test."""
        return make_split(self.store().table, self.settings.split)

    def train(self) -> pd.DataFrame:
        """Train the network, or go on where a training was cut off, and return its log, a row an epoch."""
        store = self.store()
        split, rows = deal(store, self.settings.split)
        dealt = json.loads(json.dumps(asdict(split))) | {"settings": asdict(self.settings.split)}
        epochs = _epochs_done(self.path)
        about = {"data": store.info, "split": dealt}
        log = train_rows(store, rows, self.settings.training, self.checkpoint.parent, about, self.path / LOG_FILE)
        if len(log) != epochs:
            self._note("train")
        return log

    def predictions(self) -> tuple[np.ndarray, pd.DataFrame]:
        """Segment the validation and test slices with the best network, at the store's full resolution.

        Returns masks (n, H, W) uint8, memory-mapped, and the slice table's rows with `split` and `row` (position in
        the store).
        """
        self.train()
        folder = self.path / "predictions"
        weights = hashlib.sha256(self.checkpoint.read_bytes()).hexdigest()
        if read_json(folder / "predictions.json").get("weights") != weights:
            self._predict(folder)
            write_json(folder / "predictions.json", {"weights": weights})
            self._note("predict")
        masks = np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False)
        return masks, pd.read_csv(folder / "slices.csv", keep_default_na=False, na_values=["nan"])

    def scores(self) -> tuple[SliceScores, pd.DataFrame]:
        """Score the predictions slice by slice, and aggregate them with intervals over patients.

        Returns the slice scores (table with `split`) and the long table that metrics.csv holds, both for validation
        and test.
        """
        masks, table = self.predictions()
        note = self.path / "scores.json"
        made_from = read_json(self.path / "predictions" / "predictions.json") | asdict(self.settings.evaluation)
        if read_json(note) != made_from:
            reference = self.store().masks
            scored = score_slices(reference[table["row"].to_numpy()], masks, table)
            scored = SliceScores(
                scored.table.assign(split=np.repeat(table["split"].to_numpy(), len(CLASSES))), scored.distances
            )
            write_scores(scored, self.path)
            sides = [side for side in SCORED if (table["split"] == side).any()]
            summary = pd.concat([self._summarise(scored, side) for side in sides], ignore_index=True)
            write_metrics(summary, self.path / "metrics.csv")
            self._note("score")
            write_json(note, made_from)
        return read_scores(self.path), pd.read_csv(self.path / "metrics.csv")

    def _summarise(self, scores: SliceScores, side: str) -> pd.DataFrame:
        chosen = SliceScores(scores.table[scores.table["split"] == side], scores.distances)
        return summarise(chosen, side, self.settings.evaluation.bootstrap, self.settings.evaluation.bootstrap_seed)

    def _predict(self, folder: Path) -> None:
        store = self.store()
        _, rows = deal(store, self.settings.split)
        parts = [store.table.iloc[rows[side]].assign(split=side, row=rows[side]) for side in SCORED]
        chosen = pd.concat(parts, ignore_index=True)
        network = ready_network(self.checkpoint, self.settings.training.device)
        masks = predict_rows(network, store, chosen["row"].to_numpy())
        with atomic_path(folder / "masks.npy") as path:
            np.save(path, masks)
        with atomic_path(folder / "slices.csv") as path:
            chosen.to_csv(path, index=False, na_rep="nan")

    def _note(self, stage: str) -> None:
        """Record in provenance.json what code, versions and device a stage was just made with."""
        note = self.path / "provenance.json"
        data = read_json(self.path / SETTINGS_FILE).get("fingerprint", "")
        settings = self.settings.flat() | {"source": self.source, "profile": self.profile}
        device = str(select_device(self.settings.training.device))
        write_json(note, read_json(note) | {stage: provenance(settings, data, device)})


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
    parameter, and when the folder was begun with another source or profile.
    """
    path = Path(run_dir) if run_dir else default_run_dir(source or "sample", profile or "smoke")
    path = path.resolve()
    saved = read_json(path / SETTINGS_FILE)
    given = {"source": source, "data_dir": absolute(data_dir), "profile": profile}
    if saved:
        named = {name: value for name, value in given.items() if value is not None}
        refuse_other(saved, named, f"{path}: this run folder was made", "take another")
    fresh: dict[str, Any] = {
        "source": source or "sample",
        "data_dir": given["data_dir"],
        "profile": profile or "smoke",
        "parameters": {},
    }
    saved = saved or fresh
    given_values = parameters | (more or {})
    chosen = saved["parameters"] | {name: value for name, value in given_values.items() if value is not None}
    settings = make_settings(load_profile(saved["profile"]) | chosen)
    refuse_homeless(saved["source"], saved["data_dir"])
    _refuse_what_is_made(path, settings)
    folder = Path(saved["data_dir"] or get_source(saved["source"]).home or path / "data")
    write_json(path / SETTINGS_FILE, saved | {"parameters": chosen})
    return Run(path, saved["source"], folder, saved["profile"], settings)


def _refuse_what_is_made(path: Path, settings: Settings) -> None:
    """Raise SpiderError when the folder holds a store or a network of other settings, before anything is written."""
    stored = read_json(path / "store" / "store.json")
    if stored:
        refuse_other_store(stored, stored | {"preprocess": asdict(settings.preprocess)}, path / "store")
    trained = read_json((path / "checkpoints" / NETWORK_FILE).with_suffix(".json"))
    if trained:
        wanted = asdict(settings.training) | asdict(settings.split)
        refuse_other_training(trained["training"] | trained["split"]["settings"], wanted, path / "checkpoints")


def _epochs_done(path: Path) -> int:
    return len(pd.read_csv(path / LOG_FILE)) if (path / "provenance.json").is_file() else 0


def default_run_dir(source: str, profile: str) -> Path:
    """Return the run folder that is used when none is named."""
    beside = REPOSITORY / "runs" if (REPOSITORY / "notebooks").is_dir() else Path("runs")
    return Path(os.environ.get("SPIDER_RUNS", beside)) / f"{source}_{profile}"
