"""Train an arm of a finished study on all patients and ship it: `python -m tools.ship STUDY_DIR ARM NAME [OPTION]`.

The training has the arm's settings and every patient that SPIDER does not keep for validation; no slice is left to
score it on, so its scores are those of the study's cross-validation, where the same settings met other patients. An arm
that has teachers learns from networks of theirs, one a seed, trained on all patients, too. Trainings are kept in
STUDY_DIR/shipped/ARM_seedN and go on where they were cut off. Written into spider_utils/weights: NAME.safetensors
(half precision), NAME.json (what the network is, how it is used on slices and on volumes, what it scores), README.md,
the model card.

OPTION is a name of `spider_utils.studies.options.OPTIONS` that the study has tried; without it: one look at a slice.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file

from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.parameters import sort_parameters
from spider_utils.common.provenance import provenance
from spider_utils.data.intensity import find_landmarks
from spider_utils.data.splits import SplitSettings, is_reference, learnt_from
from spider_utils.data.store import SliceStore, open_store
from spider_utils.models.saved import select_device
from spider_utils.predict.network import WEIGHTS, VolumeSettings, ready_network
from spider_utils.predict.segment import predict_rows
from spider_utils.runs.stages import train_rows
from spider_utils.studies.options import OPTIONS, PLAIN
from spider_utils.train.checkpoints import NETWORK_FILE, load_network, refuse_other_training
from spider_utils.train.settings import TrainSettings
from tools.card import write_card

CHECKED = 40  # slices on which half and full precision are compared
LIMIT = 20e6  # bytes
# Of SPIDER's T2 SPACE series, by its overview.csv: pixels of 0.46875 mm, slices 1 mm apart. The matrix is not told
# there; the released slices have 640 rows, which suggests 640 x 640.
FIELD_MM, SLICE_MM = 640 * 0.46875, 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a finished study")
    parser.add_argument("arm", help="arm of the study")
    parser.add_argument("name", help="name of the shipped network")
    parser.add_argument("option", nargs="?", default=PLAIN, choices=list(OPTIONS), help="how it is used")
    options = parser.parse_args()
    folder = train_on_all(options.study, options.arm)
    store = open_store(options.study / "store")
    agreement = write_half(folder, WEIGHTS / f"{options.name}.safetensors", store)
    description = json.loads((folder / NETWORK_FILE).with_suffix(".json").read_text(encoding="utf-8"))
    description |= {
        "provenance": json.loads((folder / "provenance.json").read_text(encoding="utf-8")),
        "half_precision": {"slices": CHECKED, "equal_pixels": agreement},
        "inference": asdict(OPTIONS[options.option].settings),
        "volumes": volume_settings(store),
        "study": {"name": options.study.name, "arm": options.arm, "option": options.option},
        "scores": scores(options.study, options.arm, options.option),
        "command": f"python -m tools.ship runs/{options.study.name} {options.arm} {options.name} {options.option}",
    }
    write_json(WEIGHTS / f"{options.name}.json", description)
    write_card(WEIGHTS)


def train_on_all(study: Path, arm: str, seed: int | None = None) -> Path:
    """Train an arm's settings on all patients, its teachers first; returns the training's folder.

    `seed`: the study's first without one.
    """
    made = json.loads((study / "study.json").read_text(encoding="utf-8"))["study"]
    own = next(one for one in made["arms"] if one["name"] == arm)
    seed = made["seeds"][0] if seed is None else seed
    groups = sort_parameters(
        made["base"] | own["values"] | {"seed": seed}, {"split": SplitSettings, "training": TrainSettings}
    )
    settings, store, folder = groups["training"], open_store(study / "store"), study / "shipped" / f"{arm}_seed{seed}"
    taught_by = own.get("teachers")
    places = [train_on_all(study, taught_by, one) for one in made["seeds"]] if taught_by else []
    teachers = [ready_network(place / NETWORK_FILE, settings.device).model for place in places]
    rows = np.flatnonzero((store.table["subset"] != "validation") & learnt_from(store.table, groups["split"]))
    patients = sorted(int(patient) for patient in store.table["patient"].iloc[rows].unique())
    sequences = store.table["sequence"].iloc[rows].value_counts().sort_index().to_dict()
    about = {"data": store.info, "trained_on": {"patients": patients, "slices": len(rows), "sequences": sequences}}
    about |= {"teachers": [place.name for place in places]} if places else {}
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "provenance.json"  # written last: with it the training is finished, wherever that was
    if note.is_file():
        found = read_json((folder / NETWORK_FILE).with_suffix(".json"))
        refuse_other_training(found["training"] | found, asdict(settings) | about, note)
        return folder
    train_rows(store, {"train": rows, "validation": rows[:0]}, settings, folder, about, teachers=teachers)
    device = str(select_device(settings.device))
    write_json(note, provenance(asdict(settings), store.info["fingerprint"], device))
    return folder


def volume_settings(store: SliceStore) -> dict:
    """Return how a network that learnt from the released slices is to be shown volumes."""
    rows = np.flatnonzero(store.table["subset"] != "validation")
    return asdict(VolumeSettings(find_landmarks(store.images[rows]), FIELD_MM, SLICE_MM))


def write_half(folder: Path, target: Path, store: SliceStore) -> float:
    """Write a network's weights in half precision; returns the share of pixels that keep their class.

    Raises ValueError when a weight does not fit into half precision or the file is too large for a repository.
    """
    weights = load_file(folder / NETWORK_FILE)
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    if not all(value.isfinite().all() for value in half.values()):
        raise ValueError(f"{folder}: a weight is too large for half precision")
    with atomic_path(target) as path:
        save_file(half, path)
    if target.stat().st_size > LIMIT:
        raise ValueError(f"{target}: {target.stat().st_size} bytes, expected at most {LIMIT:.0f}")
    network = ready_network(folder / NETWORK_FILE, "cpu")
    rows = np.linspace(0, len(store) - 1, CHECKED).astype(int)
    full = predict_rows(network, store, rows)
    halved, _ = load_network(folder / NETWORK_FILE, network.device)
    halved.load_state_dict(half)
    return float((predict_rows(replace(network, model=halved), store, rows) == full).mean())


def scores(study: Path, arm: str, option: str) -> dict:
    """Return what the study found of an arm on unseen patients, used in this way: Dice and distances with intervals;
    of several sequences the pooled Dice of each.
    """
    if (study / "by_sequence.csv").is_file():
        table = pd.read_csv(study / "by_sequence.csv").query("arm == @arm and aggregation == 'pooled'")
        counts = open_store(study / "store").table
        drawn = counts[is_reference(counts) & (counts["subset"] != "validation")]
        return {"patients": drawn["patient"].nunique(), "by_sequence": json.loads(table.to_json(orient="records"))}
    if option != PLAIN:
        dice, boundaries = (pd.read_csv(study / f"options_{name}.csv") for name in ("dice", "boundaries"))
        dice, boundaries = (table[table["arm"] == option] for table in (dice, boundaries))
    else:
        dice, boundaries = (pd.read_csv(study / f"{name}.csv") for name in ("dice", "boundaries"))
        dice, boundaries = (table[table["arm"] == arm] for table in (dice, boundaries))
    dice = dice[dice["epoch"] == dice["epoch"].max()].assign(metric="dice", unit="ratio", n=dice["slices"])
    boundaries = boundaries[(boundaries["sequence"] == "all") & boundaries["metric"].isin(["hd95", "asd", "nsd_2"])]
    kept = ["class", "aggregation", "metric", "unit", "value", "ci_low", "ci_high", "n"]
    table = pd.concat([dice[kept], boundaries[kept]])
    table = table[table["aggregation"].isin(["pooled", "patients"]) & (table["class"] != "background")]
    seeds = int(dice["seeds"].iloc[0]) if "seeds" in dice else 1
    counts = {"patients": int(dice["patients"].iloc[0]), "seeds": seeds}
    return counts | {"table": json.loads(table.to_json(orient="records"))}


if __name__ == "__main__":
    main()
