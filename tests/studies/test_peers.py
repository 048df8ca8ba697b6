"""nnU-Net beside our networks: what it is shown, that it is told when it is missing, and a tiny study with it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES
from spider_utils.runs.stages import deal
from spider_utils.studies import clock, peers
from spider_utils.studies.harness import NOTE, run_study, run_training
from spider_utils.studies.plan import plan
from spider_utils.studies.study_file import load_study
from spider_utils.studies.tables import trained_study
from tests.helpers.small_study import SLICES, STUDY, make_small_store

ARMS = {
    "ours": {"title": "ours", "values": {"epochs": 1}},
    "peer": {"title": "nnU-Net", "kind": "peer", "values": {"peer": "nnunet", "peer_batch": 4}},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_small_store(tmp_path_factory.mktemp("store"))


def peer_study(folder: Path, **changes):
    path = folder / "beside.yaml"
    path.write_text(yaml.safe_dump(STUDY | {"arms": ARMS, "reference": "peer"} | changes, sort_keys=False))
    return load_study(str(path))


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "L"
        return np.asarray(picture)


def test_slices_and_label_maps_come_back_from_nnunets_format_as_they_went_in(store, tmp_path):
    rows = np.array([0, 5, 23])
    peers.export_slices(store, rows, store.images.shape[1:], tmp_path)
    for row in rows:
        name = f"{store.table['series'][row]}_{store.table['slice_index'][row]:03d}"
        np.testing.assert_array_equal(read(tmp_path / "labelsTr" / f"{name}.png"), store.masks[row])
        np.testing.assert_array_equal(read(tmp_path / "imagesTr" / f"{name}_0000.png"), store.images[row])
    about = json.loads((tmp_path / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "vertebrae": 1, "canal": 2, "discs": 3} and list(CLASSES)[3] == "discs"
    assert about["numTraining"] == len(list((tmp_path / "imagesTr").iterdir())) == 3
    peers.export_slices(store, rows[:1], store.images.shape[1:], tmp_path)
    assert len(list((tmp_path / "labelsTr").iterdir())) == 1  # nothing of another set is left to learn from


def test_at_half_size_label_maps_hold_their_own_values_alone(store, tmp_path):
    peers.export_slices(store, np.array([7]), (32, 24), tmp_path)
    (path,) = (tmp_path / "labelsTr").iterdir()
    half = F.interpolate(torch.tensor(store.masks[7])[None, None], size=(32, 24), mode="nearest-exact")[0, 0]
    np.testing.assert_array_equal(read(path), half.numpy())
    assert set(np.unique(half)) == {0, 1, 2, 3}


def test_no_unseen_patient_is_among_the_exported_cases(store, tmp_path):
    for one in plan(peer_study(tmp_path), store.table):
        split, rows = deal(store, one.split)
        peers.export_slices(store, rows["train"], (64, 48), tmp_path / "raw")
        names = [path.name for path in (tmp_path / "raw").rglob("*.png")]
        exported = {int(name.partition("_")[0]) for name in names}
        assert len(names) == 2 * len(rows["train"])
        assert exported == set(split.train) and not exported & set(split.test)
        assert exported | set(split.test) == set(store.table["patient"])


def test_a_peer_that_is_not_installed_is_named_before_anything_is_trained(store, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    with pytest.raises(
        SpiderError, match=r"needs the package nnunetv2, found none; pip install 'spider_utils\[peers\]'"
    ):
        run_study(peer_study(tmp_path), store, tmp_path, workers=1)
    assert not (tmp_path / "trainings").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peer": "monai"}, "peer: expected one of , nnunet, found 'monai'"),
        ({"peer": "nnunet", "peer_batch": -1}, "peer_batch: expected 0 to 1000, found -1"),
        ({"peer_batch": 4}, "peer_batch: expected 0 without a peer, found 4"),
    ],
)
def test_a_peer_that_nobody_knows_is_refused(values, message, store, tmp_path):
    study = peer_study(tmp_path, arms={"peer": {"values": values}})
    with pytest.raises(SpiderError, match=message):
        plan(study, store.table)


def test_cpu_minutes_are_those_of_every_epoch_once(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock.time, "process_time", lambda: now[0])
    first = clock.CpuClock(tmp_path)
    now[0] = 130
    first.lap(1)
    now[0] = 190  # scoring
    first.restart()
    now[0] = 220
    first.lap(2)
    again = clock.CpuClock(tmp_path)  # cut off before the state of epoch 2 was written
    now[0] = 310
    again.lap(2)
    assert [clock.cpu_minutes(tmp_path, epochs) for epochs in (1, 2, 3)] == [0.5, 2.0, None]


@pytest.fixture(scope="module")
def done(store, tmp_path_factory):
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed (extra 'peers')")
    out = tmp_path_factory.mktemp("out")
    study = peer_study(out)
    return study, out, trained_study(study, store, out, 1, "")


def test_nnunet_is_scored_on_every_slice_once_as_our_arms_are(done, store):
    _, _, tables = done
    found = tables["dice"].query("arm == 'peer' and aggregation == 'pooled' and `class` == 'foreground'")
    assert found["epoch"].tolist() == [1, 2] and set(found["slices"]) == {sum(SLICES)}
    assert found["value"].between(0, 1).all()
    paired = tables["paired"]
    assert set(paired["arm"]) == {"ours"} and set(paired["reference"]) == {"peer"}
    cost = tables["cost"].set_index("arm")
    assert tables["lengths"].query("arm == 'peer'")["slices"].is_monotonic_increasing
    assert (tables["lengths"]["cpu_minutes"] > 0).all() and set(tables["lengths"]["threads"]) == {1}
    assert cost.loc["peer", "parameters"] > 1e5 and cost.loc["peer", "multiply_adds"] > 1e6


def test_a_training_of_nnunet_that_is_cut_off_goes_on_as_if_it_had_not_been(done, store, tmp_path, monkeypatch):
    study, out, _ = done
    (one,) = (one for one in plan(study, store.table) if one.arm == "peer" and one.fold == 0)

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    original = peers.CpuClock.lap
    monkeypatch.setattr(peers.CpuClock, "lap", lambda own, epoch: kill() if epoch == 2 else original(own, epoch))
    with pytest.raises(Killed):
        run_training(one, store.path, tmp_path)
    monkeypatch.undo()
    folder = tmp_path / "trainings" / one.place
    assert not (folder / NOTE).exists() and (folder / "overlap_1.csv").is_file()
    run_training(one, store.path, tmp_path)
    for name in ("overlap_1.csv", "overlap_2.csv", "slice_scores.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(folder / name), pd.read_csv(out / "trainings" / one.place / name))
