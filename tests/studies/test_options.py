"""Ways of using a network, on a small study: one look is what the study scored, an ensemble is a mean."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.models.ensemble import Ensemble
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import network_scores
from spider_utils.studies import options
from spider_utils.studies.options import (
    OPTIONS,
    PLAIN,
    option_members,
    option_names,
    option_place,
    try_options,
)
from spider_utils.studies.plan import plan
from spider_utils.studies.study_file import load_study
from spider_utils.studies.tables import trained_study
from tests.helpers.small_study import PATIENTS, SLICES, STUDY, make_small_store

ARMS = {"plain_net": {"title": "plain"}, "dice_net": {"title": "Dice alone", "values": {"focal_share": 0.0}}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    """A study of two arms whose reference arm's networks are used in all ways."""
    folder = tmp_path_factory.mktemp("options")
    path = folder / "tiny.yaml"
    content = STUDY | {"arms": ARMS, "reference": "plain_net", "options": "plain_net"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    study = load_study(str(path))
    return study, folder / "out", trained_study(study, store, folder / "out", 1, "")


def test_one_look_is_what_the_study_scored(finished):
    _, _, tables = finished
    keys = ["aggregation", "class"]
    study = tables["dice"].query("arm == 'plain_net' and epoch == epoch.max()").set_index(keys)
    one_look = tables["options_dice"].query("arm == @PLAIN").set_index(keys)
    pd.testing.assert_frame_equal(study[["value", "ci_low", "ci_high"]], one_look[["value", "ci_low", "ci_high"]])


def test_every_option_is_compared_with_one_look(finished):
    _, _, tables = finished
    paired = tables["options_paired"]
    assert set(paired["arm"]) == set(OPTIONS) - {PLAIN, "seeds"}  # of one seed there is no ensemble
    assert (paired["reference"] == PLAIN).all() and (paired["n"] <= 5).all()
    wide = tables["options_dice"].query("aggregation == 'pooled' and `class` == 'foreground'").set_index("arm")["value"]
    assert set(wide.index) == set(option_names(()))


def test_snapshots_average_the_networks_of_the_scored_epochs(finished):
    study, out, _ = finished
    networks = {
        name: pd.read_json(option_place((one,), out, name) / options.NOTE, typ="series")["networks"]
        for one in plan_of(finished)
        for name in option_names(())
        if name != PLAIN
    }
    assert networks == {name: 2 if OPTIONS[name].snapshots else 1 for name in option_names(()) if name != PLAIN}


def test_a_network_without_neighbours_is_not_changed_by_being_alone(finished):
    _, _, tables = finished
    wide = tables["options_dice"].pivot(index=["aggregation", "class"], columns="arm", values="value")
    pd.testing.assert_series_equal(wide["alone"], wide[PLAIN], check_names=False)


def test_what_is_tried_is_not_tried_again(finished, store, monkeypatch):
    study, out, _ = finished
    done = []
    monkeypatch.setattr(options, "_segment_and_score", lambda *arguments: done.append(arguments))
    try_options(plan_of(finished), option_names(()), store.path, out, 1, "")
    assert done == []


@pytest.fixture(scope="module")
def of_three_seeds(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    path = folder / "tiny.yaml"
    content = STUDY | {"arms": ARMS, "reference": "plain_net", "options": "dice_net", "ways": ["seeds"]}
    path.write_text(yaml.safe_dump(content | {"seeds": [0, 1, 2], "score_epochs": [1]}, sort_keys=False))
    study = load_study(str(path), {"epochs": 1})
    return study, folder / "out", trained_study(study, store, folder / "out", 1, "")


def test_the_networks_of_a_folds_seeds_are_averaged_on_patients_that_none_has_met(of_three_seeds, store):
    study, out, tables = of_three_seeds
    own = [one for one in plan(study, store.table) if one.arm == "dice_net"]
    for fold in (0, 1):
        trained = [one for one in own if one.fold == fold]
        assert option_members(trained[1], own, "seeds") == tuple(trained) and len(trained) == 3
        (place,) = {option_place(option_members(one, own, "seeds"), out, "seeds") for one in trained}
        counts = pd.read_csv(place / "overlap.csv").query("`class` == 'canal'")
        rows = np.flatnonzero(store.table["patient"].isin(counts["patient"]))
        networks = [ready_network(out / "trainings" / one.place / "best.safetensors", "cpu") for one in trained]
        tp = 0
        for row in rows:
            image = torch.from_numpy(np.array(store.images[row : row + 1])).unsqueeze(1)
            inputs = nn.functional.interpolate(image.float(), (64, 64), mode="bilinear", antialias=True)
            inputs = inputs.round().clamp(0, 255).to(torch.uint8)
            mean = torch.stack([network_scores(network, inputs).softmax(1) for network in networks]).mean(0)
            mask = nn.functional.interpolate(mean.log(), image.shape[2:], mode="bilinear").argmax(1)[0].numpy()
            tp += ((mask == 2) & (store.masks[row] == 2)).sum()
        assert counts["tp"].sum() == pytest.approx(tp, rel=0.02, abs=5)
        for one in trained:  # the patients are those that each of them holds out
            held = pd.read_csv(out / "trainings" / one.place / "overlap_1.csv")["patient"]
            assert set(held) == set(counts["patient"])


def test_an_ensemble_stands_beside_each_of_its_networks(of_three_seeds):
    _, _, tables = of_three_seeds
    paired = tables["options_paired"].query("metric == 'dice'").iloc[0]
    assert paired[["arm", "reference", "n", "seeds"]].tolist() == ["seeds", PLAIN, PATIENTS, 3]
    dice = tables["options_dice"].query("aggregation == 'patients' and `class` == 'foreground'").set_index("arm")
    assert dice.loc["seeds", ["patients", "slices", "seeds"]].tolist() == [PATIENTS, sum(SLICES), 3]
    assert set(tables["boundaries"]["seed"]) == {"0, 1, 2"} and (tables["paired"]["seeds"] == 3).all()
    assert set(tables["patients"]["seed"]) == {0, 1, 2}


def test_an_ensemble_of_one_seed_is_left_out():
    assert option_names(("seeds",), 1) == (PLAIN,) and option_names(("seeds",), 2) == (PLAIN, "seeds")
    with pytest.raises(SpiderError, match="ways: expected one or more of .*, found 'seed'"):
        option_names(("seed",), 2)


def test_an_ensembles_softmax_is_the_mean_of_its_networks():
    torch.manual_seed(0)
    networks = [nn.Conv2d(1, 4, 1) for _ in range(3)]
    slices = torch.rand(2, 1, 5, 6)
    expected = np.mean([network(slices).softmax(1).detach().numpy() for network in networks], axis=0)
    np.testing.assert_allclose(Ensemble(networks)(slices).softmax(1).detach().numpy(), expected, rtol=1e-5)


def test_options_of_an_arm_that_is_not_there_are_refused(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"options": "nobody"}, sort_keys=False))
    with pytest.raises(SpiderError, match="options: expected one of unseen, random, found 'nobody'"):
        load_study(str(path))


def plan_of(finished):
    study, _, _ = finished
    table = pd.DataFrame({"patient": np.repeat(range(1, PATIENTS + 1), SLICES), "subset": "training", "sequence": "T2"})
    return [one for one in plan(study, table) if one.arm == study.options]
