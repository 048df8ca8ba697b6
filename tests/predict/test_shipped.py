"""The shipped networks: small, loadable, with scores that stand in results/, and good on real slices."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors import safe_open

from spider_utils.data.labels import classes_from_grey
from spider_utils.evaluate.metrics import dice
from spider_utils.models.saved import select_device
from spider_utils.predict.network import ALL_SEQUENCES, DEFAULT_MODEL, FINEST, SPECIALIST, WEIGHTS
from spider_utils.predict.slices import predict_folder
from spider_utils.train.checkpoints import load_network
from tools.card import write_card
from tools.notebooks import ROOT

SHIPPED = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def described(name):
    return json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))


def test_the_best_network_and_the_papers_are_shipped():
    assert {DEFAULT_MODEL, SPECIALIST, ALL_SEQUENCES, FINEST, "paper_baseline"} == set(SHIPPED)
    paper = described("paper_baseline")["training"]
    assert paper["model"] == "paper_text" and paper["loss"] == "combined"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_network_is_small_and_of_half_precision(name):
    path = WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size < 20e6
    with safe_open(path, framework="pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys() if not key.endswith("num_batches_tracked")}
    assert kinds == {"F16"}
    model, _ = load_network(path, select_device("cpu"))
    assert not model.training
    assert not re.search(r"/(home|root|tmp|work|Users)/", (WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SHIPPED)
def test_its_scores_are_those_of_the_published_study(name):
    made = described(name)
    folder, study = ROOT / "results" / made["study"]["name"], made["study"]
    if "by_sequence" in made["scores"]:
        table = pd.read_csv(folder / "by_sequence.csv").query("arm == @study['arm'] and aggregation == 'pooled'")
        assert [row["value"] for row in made["scores"]["by_sequence"]] == pytest.approx(table["value"].tolist())
        assert set(pd.read_csv(folder / "patients_by_sequence.csv")["patient"]) <= set(made["trained_on"]["patients"])
        return
    plain = study["option"] == "plain"
    table = pd.read_csv(folder / ("dice.csv" if plain else "options_dice.csv"))
    table = table[table["arm"] == (study["arm"] if plain else study["option"])]
    table = table[table["epoch"] == made["training"]["epochs"]]
    rows = [row for row in made["scores"]["table"] if row["metric"] == "dice"]
    assert {row["class"] for row in rows} == {"vertebrae", "canal", "discs", "foreground"}
    for row in rows:
        own = table[(table["class"] == row["class"]) & (table["aggregation"] == row["aggregation"])].iloc[0]
        assert row["value"] == pytest.approx(own["value"], abs=1e-9)
    assert set(made["trained_on"]["patients"]) == set(pd.read_csv(folder / "patients.csv")["patient"])


def test_the_card_is_written_from_the_descriptions(tmp_path):
    for path in WEIGHTS.glob("*.*"):
        if path.name != "README.md":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    write_card(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == (WEIGHTS / "README.md").read_text(encoding="utf-8")


def test_the_shipped_network_segments_real_slices(shared_data, tmp_path):
    """Slices that it was trained on: this says that weights, preprocessing and classes fit together, nothing more."""
    slices = shared_data / "released_t2_space"
    names = sorted(path.name for path in (slices / "images").glob("*.png"))[10::120]
    (tmp_path / "images").mkdir()
    for name in names:
        (tmp_path / "images" / name).symlink_to(slices / "images" / name)
    made = predict_folder(tmp_path / "images", tmp_path / "masks", device="cpu")
    assert len(made.masks) == len(names) and not made.left_out
    found = np.stack([np.asarray(Image.open(tmp_path / "masks" / name)) for name in names])
    truth = np.stack([classes_from_grey(np.asarray(Image.open(slices / "masks" / name))) for name in names])
    assert found.shape == truth.shape
    for label in (1, 2, 3):
        tp = ((found == label) & (truth == label)).sum()
        assert dice(tp, ((found == label) & (truth != label)).sum(), ((found != label) & (truth == label)).sum()) > 0.8
