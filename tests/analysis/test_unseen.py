"""Predictions of held-out slices: those of the study, each by the network of its fold, made once and kept."""

import shutil
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import yaml

from spider_utils.analysis import unseen
from spider_utils.analysis.pathology import FINDINGS
from spider_utils.commands.study import error_tables
from spider_utils.common.errors import SpiderError
from spider_utils.figures import draw
from spider_utils.studies.folds import read_unseen
from spider_utils.studies.harness import read_final_scores, run_study
from spider_utils.studies.plan import plan
from spider_utils.studies.study_file import load_study
from tests.helpers.small_study import PATIENTS, SLICES, STUDY, make_small_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def study(store, tmp_path_factory):
    """The folder of a finished study and its trainings."""
    path = tmp_path_factory.mktemp("study") / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    told, out = load_study(str(path)), tmp_path_factory.mktemp("out")
    run_study(told, store, out, workers=1)
    return out, plan(told, store.table)


def test_the_masks_are_those_that_the_study_has_scored(study, store, tmp_path):
    out, trainings = study
    found = read_unseen(out, "unseen", store, kept=tmp_path)
    scores = read_final_scores(trainings, out, "unseen").table
    hits = scores[scores["class"] != "background"].groupby(["series", "slice_index"])["tp"].sum()
    keys = list(zip(found.table["series"], found.table["slice_index"], strict=True))
    right = [int(((t > 0) & (t == p)).sum()) for t, p in zip(found.reference, found.prediction, strict=True)]
    assert len(found) == sum(SLICES)
    assert dict(zip(keys, right, strict=True)) == hits.to_dict()


def test_every_patient_is_in_the_fold_that_held_it_out(study, store, tmp_path):
    out, trainings = study
    found = read_unseen(out, "unseen", store, kept=tmp_path)
    for one in trainings:
        if one.arm == "unseen":
            held = set(found.table.loc[found.table["fold"] == one.fold, "patient"])
            trained = set(range(1, PATIENTS + 1)) - held
            assert held and trained
            assert (read_final_scores([one], out, "unseen").table["patient"].unique() == sorted(held)).all()
    assert found.table["row"].tolist() == list(range(len(store)))


def test_probabilities_are_those_of_every_slice_at_the_networks_size(study, store, tmp_path):
    found = read_unseen(study[0], "unseen", store, kept=tmp_path)
    assert found.probabilities.shape == (len(store), 4, 64, 64) and found.probabilities.dtype == np.float16
    assert np.allclose(found.probabilities.astype(float).sum(axis=1), 1, atol=2e-3)


def test_what_is_kept_is_not_made_again(study, store, tmp_path):
    first = read_unseen(study[0], "unseen", store, kept=tmp_path)
    with patch.object(unseen, "ready_network", side_effect=AssertionError("segmented again")):
        again = read_unseen(study[0], "unseen", store, kept=tmp_path)
    assert (again.prediction == first.prediction).all() and isinstance(again.prediction, np.memmap)


def test_an_unfinished_study_and_a_leaky_arm_are_refused(study, store, tmp_path):
    part = tmp_path / "part"
    shutil.copytree(study[0], part)
    (part / "trainings" / "unseen" / "fold1_seed0" / "training.json").unlink()
    with pytest.raises(SpiderError, match="fold1_seed0: expected a finished training"):
        read_unseen(part, "unseen", store)
    with pytest.raises(SpiderError, match="LEAKY"):
        read_unseen(study[0], "random", store, kept=tmp_path)


@pytest.mark.usefixtures("few_draws")
def test_the_study_makes_its_error_tables_and_says_what_it_lacks(study, store, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(study[0], out)
    drawn = []
    monkeypatch.setattr(draw, "save", lambda figures, folder: drawn.extend(folder / name for name in figures))
    tables = error_tables(out, "unseen", store, None, "phantom")
    assert "errors_pathology" not in tables
    assert "no overview.csv and radiological_gradings.csv" in capsys.readouterr().out
    assert {out / "figures" / "errors_where", out / "figures" / "errors_worst"} <= set(drawn)
    wrong = (read_unseen(out, "unseen", store).prediction != store.masks).sum()
    for name in ("errors_where", "errors_causes"):
        assert tables[name].query("`class` == 'all'")["pixels"].sum() == wrong > 0
    overview = pd.DataFrame({"new_file_name": store.table["series"].unique(), "subset": "training"})
    overview = overview.assign(Manufacturer="SIEMENS", MagneticFieldStrength=1.5, SpacingBetweenSlices=1.0)
    overview.assign(PixelSpacing="[1.0, 1.0]").to_csv(tmp_path / "overview.csv", index=False)
    gradings = dict.fromkeys(FINDINGS, 0) | {"Patient": 1, "IVD label": 1}
    pd.DataFrame([gradings]).to_csv(tmp_path / "radiological_gradings.csv", index=False)
    known = error_tables(out, "unseen", store, tmp_path, "phantom")
    assert set(known) - set(tables) == {"errors_by_disc", "errors_pathology"}
    assert (known["errors_by_group"].query("group == 'maker'")["value"] == "SIEMENS").all()
