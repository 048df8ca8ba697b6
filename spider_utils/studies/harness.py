"""Studies: a file of settings, a training for every arm, fold and seed, and one table of what they score.

Every training is scored on its fold's held-out slices, at the slice store's full resolution, at the epochs of
`score_epochs`; no epoch is chosen on them. All arms of a study take the same number of steps: they train on the same
number of slices, or draw the same number of them an epoch (`epoch_slices`) from all that an arm may learn from.

DIR/study.json                         the study, the data and the settings of every training
DIR/trainings/<arm>/fold<k>_seed<s>/   the training; overlap_<epoch>.csv, scores of the last epoch, cpu.json
DIR/overlap.csv                        counts of every held-out slice and class: arm, seed, fold, epoch, ...

Trainings run in parallel processes, one thread each. What is finished is not done again; what is cut off goes on.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import read_json, write_json
from spider_utils.common.locks import alone
from spider_utils.common.progress import progress
from spider_utils.common.provenance import provenance
from spider_utils.data.store import SliceStore, open_store
from spider_utils.evaluate.overlap import pooled_dice
from spider_utils.evaluate.scores import SliceScores, join_scores, read_scores, write_metrics
from spider_utils.models.saved import select_device
from spider_utils.predict.network import ReadyNetwork, ready_network
from spider_utils.predict.segment import predict_rows
from spider_utils.runs.stages import Rows, deal, score_rows, train_rows
from spider_utils.studies.clock import CpuClock, cpu_minutes
from spider_utils.studies.engine import one_thread, run_parallel
from spider_utils.studies.peers import Segment, refuse_missing, train_peer
from spider_utils.studies.plan import Training, made_from, plan
from spider_utils.studies.study_file import Study
from spider_utils.train.checkpoints import (
    BEFORE_THE_OPTION,
    NETWORK_FILE,
    STATE,
    refuse_other_training,
    write_network,
)

NOTE = "training.json"  # written last: without it a training is not finished


def run_study(
    study: Study,
    store: SliceStore,
    out: Path | str,
    workers: int = 0,
    scheduler: str = "",
    finished: Sequence[Path | str] = (),
) -> pd.DataFrame:
    """Do what is not done yet of a study, and return the counts of every held-out slice and class (overlap.csv).

    `workers` processes run at a time, each with one thread; 0: one a core, or one where a GPU is used. `scheduler`: the
    address of a Dask scheduler whose workers do it instead (see `engine`). `finished`: folders of other studies, whose
    trainings are taken where they are the same. After every training trainings.csv is written anew. Raises SpiderError
    when the folder holds a study of other data or other settings, another process is at work there, or a peer is not
    installed.
    """
    out, trainings = Path(out), plan(study, store.table)
    for one in trainings:
        refuse_missing(one.peer)
    with alone(out, "a study"):
        for folder in finished:
            take_finished(trainings, store.info, Path(folder), out)
        wanted = [one for one in trainings if not is_done(one, store.info, out)]
        write_json(out / "study.json", {"study": asdict(study), "data": store.info, "trainings": len(trainings)})
        first, then = ([one for one in wanted if bool(one.teachers) == taught] for taught in (False, True))
        rounds = ([(one, store.path.resolve(), out.resolve()) for one in part] for part in (first, then) if part)
        counted = worker_count(study, workers)
        done = chain.from_iterable(run_parallel(run_training, calls, counted, scheduler) for calls in rounds)
        total, before = len(trainings), len(trainings) - len(wanted)
        for line in progress(done, total=total, initial=before, desc=study.name, unit="training"):
            tqdm.write(line)
            there = [one for one in trainings if (out / "trainings" / one.place / NOTE).is_file()]
            write_metrics(training_table(there, out), out / "trainings.csv")
    overlap = pd.concat([read_overlap(one, out) for one in trainings], ignore_index=True)
    write_metrics(overlap, out / "overlap.csv")
    return overlap


def take_finished(trainings: list[Training], data: dict, other: Path, out: Path) -> None:
    """Copy those trainings that another study's folder holds, finished and made from the same, under whatever arm.

    What is begun or done here stays. Raises SpiderError when the folder holds no study.
    """
    if not (other / "trainings").is_dir():
        raise SpiderError(f"finished: {other}: expected the folder of a study, found none there; name its --out folder")
    notes = {note: read_json(note).get("made_from") for note in sorted((other / "trainings").glob(f"*/*/{NOTE}"))}
    for one in trainings:
        place, wanted = out / "trainings" / one.place, made_from(one, data)
        same = (note for note, made in notes.items() if made and BEFORE_THE_OPTION | made == wanted)
        found = None if place.exists() else next(same, None)
        if found:
            shutil.copytree(found.parent, place, ignore=shutil.ignore_patterns(NOTE))
            shutil.copyfile(found, place / NOTE)  # last: without it a training is not finished


def worker_count(study: Study, workers: int) -> int:
    """Return how many processes run at a time where `workers` is 0: one a core, or one where a GPU is used."""
    device = select_device(study.base.get("device", "auto"))
    return workers or (os.cpu_count() or 1 if device.type == "cpu" else 1)


def is_done(training: Training, data: dict, out: Path) -> bool:
    """Return True when a training is finished and scored. Raises SpiderError when it was made another way."""
    note = out / "trainings" / training.place / NOTE
    if not note.is_file():
        return False
    found = read_json(note).get("made_from")
    if not isinstance(found, dict):
        raise SpiderError(f"{note}: expected what a training was made from, found none; delete the training's folder")
    refuse_other_training(found, made_from(training, data), note, "take another --out folder")
    return True


def run_training(training: Training, store_path: Path, out: Path) -> str:
    """Do one training, score it, and return a line that says so. Many run at a time, so with one thread and no bar."""
    with one_thread():
        return _train_and_score(training, store_path, out)


def _train_and_score(training: Training, store_path: Path, out: Path) -> str:
    start = time.monotonic()
    store, folder = open_store(store_path), out / "trainings" / training.place
    split, rows = deal(store, training.split)
    about, clock = made_from(training, store.info), CpuClock(folder)

    def score(epoch: int, segment: Segment) -> None:
        if epoch in training.score_epochs:
            last = epoch == training.score_epochs[-1]
            score_rows(store, rows["test"], segment(rows["test"]), folder, f"overlap_{epoch}.csv", boundaries=last)

    if training.peer.peer:
        facts = train_peer(training.peer, training.settings, store, rows, folder, about, clock, score)
    else:
        networks = [
            ready_network(out / "trainings" / place / NETWORK_FILE, training.settings.device)
            for place in training.teachers
        ]
        facts = _train_network(training, store, rows, folder, about, clock, score, [one.model for one in networks])
    seconds, epochs = time.monotonic() - start, training.settings.epochs
    facts |= {"made_from": about, "train_slices": len(rows["train"]), "held_out_slices": len(rows["test"])}
    facts |= {"leaky": split.leaky, "seconds_of_last_session": round(seconds), "threads": torch.get_num_threads()}
    facts |= {"cpu_minutes": {epoch: cpu_minutes(folder, epoch) for epoch in training.score_epochs}}
    device = str(select_device(training.settings.device))
    write_json(folder / NOTE, facts | {"provenance": provenance({}, store.info["fingerprint"], device)})
    (folder / STATE).unlink(missing_ok=True)  # its weights are in best.safetensors
    return f"{training.place}: {epochs} epochs, foreground Dice {final_dice(training, out):.4f}, {seconds:.0f} s"


def _train_network(
    training: Training,
    store: SliceStore,
    rows: Rows,
    folder: Path,
    about: dict,
    clock: CpuClock,
    score: Callable[[int, Segment], None],
    teachers: list[nn.Module],
) -> dict:
    """Train one of our networks, or go on where it was cut off, as `peers.train_peer` does; return facts of it."""
    settings, device = training.settings, select_device(training.settings.device)

    def after_epoch(epoch: int, model: nn.Module) -> None:
        clock.lap(epoch)
        now = settings.at(epoch)
        network = ReadyNetwork(model, device, now.size, now.neighbours)
        score(epoch, lambda held: predict_rows(network, store, held))
        if epoch in training.score_epochs[:-1]:
            description = {"training": asdict(now), "best": {"epoch": epoch}}
            write_network(model, description, snapshot(folder, epoch))
        clock.restart()

    train_rows(store, rows, settings, folder, {"split": about}, after_epoch=after_epoch, teachers=teachers)
    return {"epoch_slices": settings.epoch_slices or len(rows["train"]), "batch_size": settings.batch_size}


def snapshot(folder: Path, epoch: int) -> Path:
    """Return the folder of the network that a training had at a scored epoch before its last."""
    return folder / f"epoch_{epoch}"


def final_dice(training: Training, out: Path) -> float:
    """Return a training's foreground Dice: its held-out pixels pooled, after the last epoch."""
    counts = read_overlap(training, out).query("epoch == epoch.max()")
    return float(pooled_dice(counts, ["arm"]).mean(axis=1).iloc[0])


def read_overlap(training: Training, out: Path) -> pd.DataFrame:
    """Read the counts of one training: arm, seed, fold, epoch, then as `count_overlap`."""
    parts = []
    for epoch in training.score_epochs:
        counts = pd.read_csv(out / "trainings" / training.place / f"overlap_{epoch}.csv")
        key = {"arm": training.arm, "seed": training.seed, "fold": training.fold, "epoch": epoch}
        for position, (name, value) in enumerate(key.items()):
            counts.insert(position, name, value)
        parts.append(counts)
    return pd.concat(parts, ignore_index=True)


def training_table(trainings: list[Training], out: Path) -> pd.DataFrame:
    """Return each training's foreground Dice and what made it: slices, code, device, seconds of its last session."""
    rows = []
    for one in trainings:
        note = json.loads((out / "trainings" / one.place / NOTE).read_text(encoding="utf-8"))
        made = note.pop("provenance")
        for name in ("made_from", "network"):
            note.pop(name, None)
        note |= {"cpu_minutes": note.get("cpu_minutes", {}).get(str(one.settings.epochs))}
        row = {"arm": one.arm, "seed": one.seed, "fold": one.fold, "epochs": one.settings.epochs}
        row |= {"foreground_dice": final_dice(one, out)} | note
        code = {"code": str(made["code"]["commit"])[:8], "modified": made["code"]["modified"]}
        machine = {"device": made["device"]["type"], "machine": made["device"]["name"]}
        rows.append(row | code | machine | {"torch": made["packages"]["torch"]})
    return pd.DataFrame(rows)


def read_final_scores(trainings: list[Training], out: Path, arm: str) -> SliceScores:
    """Read the scores of an arm's last epoch over all folds and seeds, see `join_seeds`: of every held-out slice."""
    chosen = [one for one in trainings if one.arm == arm]
    return join_seeds(chosen, [out / "trainings" / one.place for one in chosen])


def join_seeds(trainings: list[Training], places: list[Path]) -> SliceScores:
    """Read the scores in the folder of each training into one table, with the column seed."""
    parts = [read_scores(place) for place in places]
    pairs = zip(trainings, parts, strict=True)
    return join_scores([replace(part, table=part.table.assign(seed=one.seed)) for one, part in pairs])
