"""Ways of using a network, on a small study: one look is what the study scored, an ensemble is a mean."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.studies import options
from spider_utils.studies.harness import plan
from spider_utils.studies.options import OPTIONS, PLAIN, Ensemble, option_place, try_options
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
    return study, folder / "out", trained_study(study, store, folder / "out", 2, "")


def test_one_look_is_what_the_study_scored(finished):
    _, _, tables = finished
    keys = ["aggregation", "class"]
    study = tables["dice"].query("arm == 'plain_net' and epoch == epoch.max()").set_index(keys)
    one_look = tables["options_dice"].query("arm == @PLAIN").set_index(keys)
    pd.testing.assert_frame_equal(study[["value", "ci_low", "ci_high"]], one_look[["value", "ci_low", "ci_high"]])


def test_every_option_is_compared_with_one_look(finished):
    _, _, tables = finished
    paired = tables["options_paired"]
    assert set(paired["arm"]) == set(OPTIONS) - {PLAIN}
    assert (paired["reference"] == PLAIN).all() and (paired["n"] <= 5).all()
    wide = tables["options_dice"].query("aggregation == 'pooled' and `class` == 'foreground'").set_index("arm")["value"]
    assert set(wide.index) == set(OPTIONS)


def test_snapshots_average_the_networks_of_the_scored_epochs(finished):
    study, out, _ = finished
    networks = {
        name: pd.read_json(option_place(one, out, name) / options.NOTE, typ="series")["networks"]
        for one in plan_of(finished)
        for name in OPTIONS
        if name != PLAIN
    }
    assert networks == {name: 2 if option.snapshots else 1 for name, option in OPTIONS.items() if name != PLAIN}


def test_a_network_without_neighbours_is_not_changed_by_being_alone(finished):
    _, _, tables = finished
    wide = tables["options_dice"].pivot(index=["aggregation", "class"], columns="arm", values="value")
    pd.testing.assert_series_equal(wide["alone"], wide[PLAIN], check_names=False)


def test_what_is_tried_is_not_tried_again(finished, store, monkeypatch):
    study, out, _ = finished
    done = []
    monkeypatch.setattr(options, "_segment_and_score", lambda *arguments: done.append(arguments))
    try_options(plan_of(finished), tuple(OPTIONS), store.path, out, 1, "")
    assert done == []


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
