"""One slice after some epochs: which masks are kept, also by a training that was cut off."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import predict_rows
from spider_utils.runs.begin import open_run
from spider_utils.runs.epochs import EPOCHS_FILE, stays
from spider_utils.train.trainer import Trainer
from tests.data.test_preprocess import make_folder
from tests.runs.test_run import TINY as OF_A_RUN

TINY = OF_A_RUN | {"epoch_slices": 8, "schedule": "cosine"}  # the last epoch's network is the one that is kept


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data"), patients=5)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("run"), "spider", folder, "smoke", **TINY | {"epochs": 4})
    run.train()
    return run


def test_the_epochs_that_stay():
    assert [epoch for epoch in range(1, 201) if stays(epoch)] == [1, 2, 5, 10, 20, 50, 100, 200]


def test_the_masks_are_those_of_a_validation_slice_and_of_the_network_at_the_end(run):
    watched, table = run.watched_slice(), run.store().table
    assert (watched.side, table["patient"][watched.row] in run.split().validation) == ("validation", True)
    assert list(watched.masks) == [1, 2, 4]  # 3 was the last one for a while
    assert all(mask.shape == (64, 32) and mask.dtype == np.uint8 for mask in watched.masks.values())
    again = predict_rows(ready_network(run.checkpoint, "cpu"), run.store(), np.array([watched.row]))
    np.testing.assert_array_equal(watched.masks[4], again[0])


def test_a_training_that_is_cut_off_ends_with_the_masks_of_an_uncut_one(run, folder, tmp_path, monkeypatch):
    cut = open_run(tmp_path, "spider", folder, "smoke", **TINY | {"epochs": 4})

    def end(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "write_log", lambda self: end(self) if len(self.log) == 3 else None)
        with pytest.raises(KeyboardInterrupt):
            cut.train()
    assert list(np.load(cut.path / EPOCHS_FILE)["epochs"]) == [1, 2, 3]  # before the state of epoch 3 was written
    pd.testing.assert_frame_equal(cut.train(), run.train())
    ours, theirs = cut.watched_slice().masks, run.watched_slice().masks
    assert ours.keys() == theirs.keys()
    assert all((ours[epoch] == theirs[epoch]).all() for epoch in ours)


def test_without_a_validation_side_a_training_slice_is_watched(folder, tmp_path):
    values = TINY | {"epochs": 1, "validation_share": 0.0}
    run = open_run(tmp_path, "spider", folder, "smoke", **values)
    watched = run.watched_slice()
    assert watched.side == "train" and list(watched.masks) == [1]
    assert run.store().table["patient"][watched.row] in run.split().train


def test_a_training_of_before_has_no_masks_and_is_not_done_again(folder, tmp_path):
    run = open_run(tmp_path, "spider", folder, "smoke", **TINY | {"epochs": 1})
    run.train()
    (run.path / EPOCHS_FILE).unlink()
    before = run.checkpoint.stat().st_mtime_ns
    assert run.watched_slice().masks == {}
    assert run.checkpoint.stat().st_mtime_ns == before
