"""What a trained network gains by how it is used: views (test-time augmentation), snapshots, cleaning up, intensities,
and what the networks of several seeds gain together.

A study file names the arm whose networks are tried (`options: ARM`), and in which ways (`ways`; all, where it does
not). Every option segments the slices that a network's own fold holds out, so nothing is measured on a patient that the
network has met. An ensemble of a fold's seeds is honest: all of them hold out the same patients. One of the folds is
not among them: every patient is known to all folds but one, so here it cannot be measured honestly.

There is one ensemble of the seeds. It stands beside each of them, so that the interval of its difference holds how
patients and the single networks differ, and that of its own score how patients do.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import write_json
from spider_utils.common.progress import progress
from spider_utils.data.intensity import find_landmarks, standardise
from spider_utils.data.store import SliceStore, neighbour_rows, open_store
from spider_utils.evaluate.scores import summarise
from spider_utils.masks.cleanup import CleanupSettings
from spider_utils.models.ensemble import Ensemble
from spider_utils.predict.network import ONE_LOOK, InferenceSettings, ready_network
from spider_utils.predict.segment import predict_masks
from spider_utils.runs.stages import deal, score_rows
from spider_utils.studies.compare import dice_table
from spider_utils.studies.engine import one_thread, run_parallel
from spider_utils.studies.harness import join_seeds, snapshot
from spider_utils.studies.paired import paired_table, patient_table
from spider_utils.studies.plan import Training
from spider_utils.train.checkpoints import NETWORK_FILE

NOTE = "option.json"  # written last


@dataclass(frozen=True)
class Option:
    """One way of using a network."""

    title: str
    settings: InferenceSettings = ONE_LOOK
    snapshots: bool = False  # the mean of the networks of all scored epochs, not the last one's
    alone: bool = False  # a network that sees neighbours is shown the slice itself in their place
    standard: bool = False  # intensities of each series are laid over those of the training slices (see `standardise`)
    seeds: bool = False  # the mean of the networks of all seeds of a fold


PLAIN = "plain"
SCALES = ("identity", "scale_0.9", "scale_1.1")
OPTIONS = {
    PLAIN: Option("one look"),
    "scales": Option("3 views: scales", InferenceSettings(SCALES)),
    "snapshots": Option("networks of the scored epochs averaged", snapshots=True),
    "cleanup": Option("cleaned up", InferenceSettings(cleanup=CleanupSettings())),
    "alone": Option("without neighbouring slices", alone=True),
    "standard": Option("intensities standardised by series", standard=True),
    "seeds": Option("networks of the seeds averaged", seeds=True),
}


def option_names(ways: tuple[str, ...], seeds: int = 1) -> tuple[str, ...]:
    """Return the ways to compare, one look first; none given: all. With one seed the ensemble of seeds is left out.

    Raises SpiderError on an unknown one.
    """
    unknown = [name for name in ways if name not in OPTIONS]
    if unknown:
        raise SpiderError(f"ways: expected one or more of {', '.join(OPTIONS)}, found '{unknown[0]}'")
    wanted = dict.fromkeys((PLAIN, *ways) if ways else OPTIONS)
    return tuple(name for name in wanted if seeds > 1 or not OPTIONS[name].seeds)


def option_members(training: Training, trainings: list[Training], name: str) -> tuple[Training, ...]:
    """Return the trainings whose networks an option uses together: one, or of the fold all seeds, which hold out the
    same patients.
    """
    if not OPTIONS[name].seeds:
        return (training,)
    return tuple(one for one in trainings if one.split == training.split)


def option_place(members: tuple[Training, ...], out: Path, name: str) -> Path:
    """Return the folder of what an option scores on its members' held-out slices; one look is what a study scores."""
    folder = out / "trainings" / members[0].place
    if name == PLAIN:
        return folder
    return folder / "options" / "_".join([name, *(str(one.seed) for one in members[1:])])


def try_options(
    trainings: list[Training], ways: tuple[str, ...], store_path: Path, out: Path, workers: int, scheduler: str
) -> None:
    """Use the networks of these trainings in these ways; what is done is not done again."""
    wanted = [(option_members(one, trainings, name), name) for one in trainings for name in ways if name != PLAIN]
    calls = [(members, name, store_path, out.resolve()) for members, name in dict.fromkeys(wanted)]
    lines = run_parallel(try_option, calls, workers, scheduler)
    for line in progress(lines, total=len(calls), desc="options", unit="option"):
        tqdm.write(line)


def try_option(members: tuple[Training, ...], name: str, store_path: Path, out: Path) -> str:
    """Segment and score the members' held-out slices in one way, if that is not done; return a line that says so."""
    folder = option_place(members, out, name)
    if not (folder / NOTE).is_file():
        with one_thread():
            made = [out / "trainings" / one.place for one in members]
            _segment_and_score(members[0], OPTIONS[name], open_store(store_path), made, folder)
    return f"{members[0].place}, {OPTIONS[name].title}: done"


def _segment_and_score(training: Training, option: Option, store: SliceStore, made: list[Path], folder: Path) -> None:
    _, rows = deal(store, training.split)
    held = rows["test"]
    earlier = [snapshot(made[0], epoch) for epoch in training.score_epochs[:-1]] if option.snapshots else []
    networks = [ready_network(place / NETWORK_FILE, training.settings.device) for place in [*earlier, *made]]
    network = replace(networks[-1], settings=option.settings)
    if len(networks) > 1:
        network = replace(network, model=Ensemble([one.model for one in networks]).eval())
    around = neighbour_rows(store.table, network.neighbours)[held]
    if option.alone:
        around = around * 0 + held[:, None]
    images = store.images
    if option.standard:
        images = standard_series(store, held, find_landmarks(images[rows["train"]]))
    score_rows(store, held, predict_masks(network, images, around), folder, "overlap.csv")
    write_json(folder / NOTE, {"option": option.title, "networks": len(networks)})


def standard_series(store: SliceStore, rows: np.ndarray, landmarks: tuple[float, ...]) -> np.ndarray:
    """Return a store's images (N, H, W) uint8, the series of these rows standardised, each as a whole."""
    images = np.array(store.images)
    series = store.table["series"].to_numpy()
    for name in np.unique(series[rows]):
        images[series == name] = standardise(images[series == name], landmarks)
    return images


def option_tables(trainings: list[Training], ways: tuple[str, ...], out: Path) -> dict[str, pd.DataFrame]:
    """Return what every option scores on all held-out slices, and how far it lies from one look at each slice.

    Tables: options_dice (`compare.dice_table`), options_boundaries (`scores.summarise`) and options_paired
    (`paired.paired_table`); the option's name stands under arm.
    """
    counts, scores, boundaries = [], {}, []
    for name in ways:
        places = [option_place(option_members(one, trainings, name), out, name) for one in trainings]
        for one, place in zip(trainings, places, strict=True):
            last = one.score_epochs[-1]
            part = pd.read_csv(place / (f"overlap_{last}.csv" if name == PLAIN else "overlap.csv"))
            counts.append(part.assign(arm=name, seed=one.seed, fold=one.fold, epoch=last))
        scores[name] = join_seeds(trainings, places)
        boundaries.append(summarise(scores[name], "test").drop(columns="split").assign(arm=name))
    titles = {name: OPTIONS[name].title for name in ways}
    dice = dice_table(pd.concat(counts, ignore_index=True))
    dice.insert(1, "title", dice["arm"].map(titles))
    return {
        "options_dice": dice,
        "options_boundaries": pd.concat(boundaries, ignore_index=True),
        "options_paired": paired_table(patient_table(scores), PLAIN, titles),
    }
