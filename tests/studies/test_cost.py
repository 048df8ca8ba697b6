"""What arms cost: ratios to the reference arm, against counts by hand."""

import json
from pathlib import Path

import pytest
import torch

from spider_utils.common.errors import SpiderError
from spider_utils.data.splits import SplitSettings
from spider_utils.models.build import build_model, count_parameters
from spider_utils.studies.cost import cost_table, length_table, network_cost
from spider_utils.studies.harness import NOTE
from spider_utils.studies.plan import Training
from spider_utils.train.settings import TrainSettings

SMALL = {"width": 2, "train_height": 64, "train_width": 96}


def finished(out: Path, arm: str, seconds: list[int], **values) -> list[Training]:
    """Trainings of an arm that took so many seconds, one a fold."""
    trainings = []
    for fold, taken in enumerate(seconds):
        one = Training(arm, 0, fold, SplitSettings(), TrainSettings(**SMALL, **values), (1,))
        folder = out / "trainings" / one.place
        folder.mkdir(parents=True)
        (folder / NOTE).write_text(json.dumps({"seconds_of_last_session": taken}))
        trainings.append(one)
    return trainings


def test_each_arm_beside_the_reference(tmp_path):
    trainings = finished(tmp_path, "wide", [30, 90, 60], neighbours=1) + finished(tmp_path, "base", [40, 10, 20])
    table = cost_table(trainings, tmp_path, "base", {"base": "paper's text"}).set_index("arm")
    assert table["title"].tolist() == ["wide", "paper's text"]
    assert table["seconds"].tolist() == [60, 20]
    assert table["seconds_ratio"].tolist() == [3, 1]
    # Two more channels: they reach the first convolution alone, 3 x 3 to 2 channels.
    assert table["parameters"].diff().iloc[1] == -2 * 9 * 2
    assert table["multiply_adds"].diff().iloc[1] == -2 * 9 * 2 * 64 * 96
    assert table.loc["base", "parameters"] == count_parameters(build_model("paper_text", width=2))
    wide, base = table["multiply_adds"]
    assert table["multiply_adds_ratio"].tolist() == pytest.approx([wide / base, 1])
    assert table.loc["base", ["parameters_ratio", "multiply_adds_ratio", "seconds_ratio"]].tolist() == [1, 1, 1]


def test_what_changes_no_network_costs_the_same():
    plain = network_cost(TrainSettings(**SMALL))
    assert network_cost(TrainSettings(**SMALL, loss="tversky", augmentation="strong", batch_size=4)) == plain
    twice = network_cost(TrainSettings(width=2, train_height=128, train_width=96))
    assert twice == {"parameters": plain["parameters"], "multiply_adds": 2 * plain["multiply_adds"]}


def test_counting_draws_no_random_numbers():
    before = torch.get_rng_state()
    network_cost(TrainSettings(**SMALL))
    assert torch.equal(before, torch.get_rng_state())


def test_a_study_without_its_reference_arm(tmp_path):
    with pytest.raises(SpiderError, match="reference arm 'base'.*wide"):
        cost_table(finished(tmp_path, "wide", [1]), tmp_path, "base")


def test_what_was_seen_and_taken_by_each_scored_epoch(tmp_path):
    trainings = finished(tmp_path, "ours", [1, 1])
    for one, minutes in zip(trainings, (8.0, 0.0), strict=True):
        note = {"epoch_slices": 50, "cpu_minutes": {"1": minutes}, "batch_size": 4, "threads": 1}
        note |= {"provenance": {"device": {"name": "a core"}}}
        (tmp_path / "trainings" / one.place / NOTE).write_text(json.dumps(note))
    (row,) = length_table(trainings, tmp_path, {"ours": "our own"}).to_dict("records")
    assert row == {"arm": "ours", "title": "our own", "epoch": 1, "slices": 50, "cpu_minutes": 4.0} | {
        "batch_size": 4, "threads": 1, "device": "a core", "trainings": 2,
    }  # fmt: skip


def test_a_peer_tells_its_networks_cost_itself(tmp_path):
    trainings = finished(tmp_path, "base", [1]) + finished(tmp_path, "peer", [1])
    note = {"seconds_of_last_session": 1, "network": {"parameters": 33_000_000, "multiply_adds": 18}}
    (tmp_path / "trainings" / trainings[1].place / NOTE).write_text(json.dumps(note))
    table = cost_table(trainings, tmp_path, "base").set_index("arm")
    assert table.loc["peer", ["parameters", "multiply_adds"]].tolist() == [33_000_000, 18]
    assert table.loc["base", "parameters"] == count_parameters(build_model("paper_text", width=2))
