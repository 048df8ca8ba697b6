"""The run folder: one place for a run's data, store, checkpoints, scores and figures. Each stage finds its result or
makes it.

DIR/settings.json               source, data folder, profile and what was set by hand
DIR/data/                       the phantom, where that is the source; DIR/phantom/ where the data are no volumes
DIR/survey.csv                  what each series holds
DIR/store/                      the slice store
DIR/checkpoints/                best.safetensors + best.json, last.safetensors (the state to go on from)
DIR/train_log.csv               a row an epoch
DIR/epochs.npz                  masks of one slice after some epochs
DIR/predictions/                masks.npy + slices.csv of the validation and test patients
DIR/slice_scores.csv, slice_distances.csv, metrics.csv, scores.json, provenance.json, figures/
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
from torch import nn

from spider_utils.common.files import atomic_path, file_digest, read_json, write_json
from spider_utils.common.locks import add_to_json, alone
from spider_utils.common.provenance import provenance
from spider_utils.data.labels import CLASSES
from spider_utils.data.preprocess import PreprocessSettings, make_store
from spider_utils.data.series import Series
from spider_utils.data.sources import find_series, fingerprint, get_source, refuse_other_data
from spider_utils.data.splits import Split, SplitSettings, make_split
from spider_utils.data.store import STORE_FILE, SliceStore
from spider_utils.data.survey import survey
from spider_utils.evaluate.scores import (
    DISTANCE_FILE,
    SCORE_FILE,
    SliceScores,
    read_scores,
    score_slices,
    summarise,
    write_metrics,
    write_scores,
)
from spider_utils.models.saved import select_device
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import predict_rows
from spider_utils.runs.epochs import EPOCHS_FILE, WatchedSlice, read_masks, watch, watched_row
from spider_utils.runs.settings import Settings
from spider_utils.runs.stages import LOG_FILE, deal, train_rows
from spider_utils.train.checkpoints import NETWORK_FILE
from spider_utils.train.settings import TrainSettings

Stage = TypeVar("Stage", bound=Callable[..., Any])
SETTINGS_FILE = "settings.json"
SCORED = ("validation", "test")
PHANTOM, VOLUME_PATIENTS = "phantom", 3  # what stands for volumes where the data are slices


def _on_trial(stage: Stage) -> Stage:
    """Wrap a stage of a run, so that values with which it fails are not those of the folder (see `Run`)."""

    @wraps(stage)
    def tried(run: "Run", *arguments: Any) -> Any:
        try:
            return stage(run, *arguments)
        except Exception:
            run._forget()
            raise

    return cast(Stage, tried)


@dataclass(frozen=True)
class Run:
    """An opened run folder.

    Methods return a stage's result and make it, and all that it needs, where it is not there yet. Where a stage fails,
    the folder forgets the values that were named when it was opened and that nothing has been made with: what is opened
    next runs with what is named then, and with what was named before.
    """

    path: Path
    source: str
    data_dir: Path
    profile: str
    settings: Settings
    before: dict[str, Any]  # the parameters that the folder knew when it was opened

    @property
    def figures(self) -> Path:
        """The folder for the run's figures."""
        return self.path / "figures"

    @property
    def checkpoint(self) -> Path:
        """The weights of the best epoch; their JSON lies beside them."""
        return self.path / "checkpoints" / NETWORK_FILE

    @_on_trial
    def series(self) -> tuple[Series, ...]:
        """Find the data's series; synthetic ones are made first.

        Raises SpiderError when the folder was run on other data.
        """
        make = get_source(self.source).make
        if make and self.data_dir == self.path / "data":
            make(self.data_dir, self.settings.phantom.patients, self.settings.phantom.phantom_seed)
        series = find_series(self.source, self.data_dir)
        known = read_json(self.path / SETTINGS_FILE).get("fingerprint")
        if known:
            refuse_other_data(known, series, f"{self.path}: this run folder was made")
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

    def _forget(self) -> None:
        """Take back the parameters that the opening has brought into the folder, but for those of what is made."""
        made: list[type] = [PreprocessSettings] if (self.path / "store" / STORE_FILE).is_file() else []
        made += [SplitSettings, TrainSettings] if self.checkpoint.is_file() else []
        bound = {one.name for kind in made for one in fields(kind)}
        known = read_json(self.path / SETTINGS_FILE)["parameters"]
        kept = {name: value for name, value in known.items() if name in bound}
        add_to_json(self.path / SETTINGS_FILE, {"parameters": self.before | kept})

    def _remember_data(self, series: tuple[Series, ...]) -> None:
        """Bind the run folder to data that has been read from end to end; a file mended before that is no change."""
        add_to_json(self.path / SETTINGS_FILE, {"fingerprint": fingerprint(series)})

    def survey(self) -> pd.DataFrame:
        """Read every series once and return what it holds, a row a series (see spider_utils.data.survey)."""
        series, path = self.series(), self.path / "survey.csv"
        if not path.is_file():
            with atomic_path(path) as temporary:
                survey(series).to_csv(temporary, index=False, na_rep="nan")
            self._remember_data(series)
        return pd.read_csv(path, keep_default_na=False, na_values=["nan"], dtype={"labels": str})

    @_on_trial
    def store(self) -> SliceStore:
        """Open the slice store."""
        series, path = self.series(), self.path / "store"
        fresh = not (path / STORE_FILE).is_file()
        store = make_store(series, self.settings.preprocess, path)
        if fresh:
            self._remember_data(series)
        return store

    @_on_trial
    def split(self) -> Split:
        """Deal the store's patients to train, validation and test."""
        return make_split(self.store().table, self.settings.split)

    @_on_trial
    def train(self) -> pd.DataFrame:
        """Train the network, or go on where a training was cut off, and return its log, a row an epoch."""
        store = self.store()
        split, rows = deal(store, self.settings.split)
        dealt = json.loads(json.dumps(asdict(split))) | {"settings": asdict(self.settings.split)}
        about = {"data": store.info, "split": dealt}
        settings, log_file = self.settings.training, self.path / LOG_FILE
        look = watch(store, rows, settings, self.path / EPOCHS_FILE)
        noted = False

        def after_epoch(epoch: int, model: nn.Module) -> None:
            nonlocal noted
            if not noted:  # before the first epoch is written, so that no kill comes between the two
                self._note("train")
            noted = True
            look(epoch, model)

        return train_rows(store, rows, settings, self.checkpoint.parent, about, log_file, after_epoch)

    def watched_slice(self) -> WatchedSlice:
        """Return one slice and the masks that the network gave it after some epochs of its training."""
        self.train()
        store = self.store()
        _, rows = deal(store, self.settings.split)
        row, side = watched_row(store, rows)
        return WatchedSlice(row, side, read_masks(self.path / EPOCHS_FILE))

    @_on_trial
    def predictions(self) -> tuple[np.ndarray, pd.DataFrame]:
        """Segment the validation and test slices with the best network, at the store's full resolution.

        Returns masks (n, H, W) uint8, memory-mapped, and the slice table's rows with `split` and `row` (position in
        the store).
        """
        self.train()
        folder = self.path / "predictions"
        made_from = {"weights": file_digest(self.checkpoint)}
        if not _is_made(folder / "predictions.json", made_from, folder / "masks.npy", folder / "slices.csv"):
            with alone(folder, "predicting"):
                self._predict(folder)
                self._note("predict")
                write_json(folder / "predictions.json", made_from)
        masks = np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False)
        return masks, pd.read_csv(folder / "slices.csv", keep_default_na=False, na_values=["nan"])

    @_on_trial
    def scores(self) -> tuple[SliceScores, pd.DataFrame]:
        """Score the predictions slice by slice, and aggregate them with intervals over patients.

        Returns the slice scores (table with `split`) and the long table that metrics.csv holds, both for validation
        and test.
        """
        masks, table = self.predictions()
        note, files = self.path / "scores.json", (SCORE_FILE, DISTANCE_FILE, "metrics.csv")
        made_from = read_json(self.path / "predictions" / "predictions.json") | asdict(self.settings.evaluation)
        if not _is_made(note, made_from, *(self.path / name for name in files)):
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
        data = read_json(self.path / SETTINGS_FILE).get("fingerprint", "")
        settings = self.settings.flat() | {"source": self.source, "profile": self.profile}
        device = str(select_device(self.settings.training.device))
        add_to_json(self.path / "provenance.json", {stage: provenance(settings, data, device)})


def _is_made(note: Path, made_from: dict[str, Any], *files: Path) -> bool:
    """Tell whether a stage's files are there, and were made from this, as its note says."""
    return read_json(note) == made_from and all(path.is_file() for path in files)
