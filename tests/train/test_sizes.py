"""Small slices first, large ones last, and parts of slices: the same steps, the same end after a kill, nothing lost."""

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from spider_utils.common.errors import SpiderError
from spider_utils.data.store import SliceStore
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import predict_masks
from spider_utils.runs.stages import train_rows
from spider_utils.train.augment import cut_out
from spider_utils.train.settings import TrainSettings
from spider_utils.train.slices import read_slices
from spider_utils.train.trainer import Trainer

ROWS = {"train": np.arange(8), "validation": np.arange(8, 12)}
PLAIN = TrainSettings(
    width=2, train_height=64, train_width=64, batch_size=4, epochs=4, learning_rate=0.01, schedule="cosine",
    augmentation="light", neighbours=1, device="cpu",
)  # fmt: skip
GROWING = replace(PLAIN, train_height=128, train_width=128, small_epochs=2, crop_height=64, crop_width=96)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three series of four slices of 160 x 128 with a square of each class; the size is the network's at no epoch."""
    rng, masks = np.random.default_rng(0), np.zeros((12, 160, 128), np.uint8)
    for mask in masks:
        for number, column in enumerate((20, 50, 80), start=1):
            row = rng.integers(10, 100)
            mask[row : row + 40, column : column + 28] = number
    images = (masks * 60 + rng.integers(0, 40, masks.shape)).astype(np.uint8)
    table = pd.DataFrame({"series": np.repeat(["a", "b", "c"], 4), "slice_index": [1, 2, 3, 4] * 3})
    return SliceStore(
        tmp_path_factory.mktemp("store"), images, masks, table.assign(sequence="T2_SPACE"), pd.DataFrame(), {}
    )


def run(store, settings, folder, killed_in=0):
    """Train in `folder`, and be killed at the end of an epoch, before it is written; 0: in none."""

    def after_epoch(epoch, model):
        if epoch == killed_in:
            raise KeyboardInterrupt

    if not killed_in:
        return train_rows(store, ROWS, settings, folder, {}, after_epoch=after_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_rows(store, ROWS, settings, folder, {}, after_epoch=after_epoch)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def uncut(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncut")
    return folder, run(store, GROWING, folder)


def test_the_small_epochs_are_those_of_a_training_at_the_small_size(store, tmp_path):
    for name, settings in {"plain": PLAIN, "growing": GROWING}.items():
        run(store, settings, tmp_path / name, killed_in=3)
    plain, growing = contents(tmp_path / "plain"), contents(tmp_path / "growing")
    states = [load_file(tmp_path / name / "last.safetensors") for name in ("plain", "growing")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])
    assert plain.pop("last.safetensors") != growing.pop("last.safetensors")  # the settings to go on with differ
    assert plain == growing  # weights, their JSON and the log, to the byte
    assert ready_network(tmp_path / "growing" / "best.safetensors", "cpu").size == (64, 64)


@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_a_training_that_is_killed_at_either_size_ends_as_an_uncut_one(store, uncut, epoch, tmp_path):
    run(store, GROWING, tmp_path, killed_in=epoch)
    pd.testing.assert_frame_equal(run(store, GROWING, tmp_path), uncut[1])
    assert contents(tmp_path) == contents(uncut[0])


def test_each_epoch_reads_slices_of_its_size_and_trains_on_parts_of_the_large_ones(store, tmp_path, monkeypatch):
    seen, original = [], Trainer.forward_loss

    def watched(self, images, *rest):
        logits, loss = original(self, images, *rest)
        seen.append((len(self.log) + 1, torch.is_grad_enabled(), *images.shape[2:], *logits.shape[2:]))
        return logits, loss

    monkeypatch.setattr(Trainer, "forward_loss", watched)
    run(store, GROWING, tmp_path)
    small = {(epoch, trains, 64, 64, 64, 64) for epoch in (1, 2) for trains in (True, False)}
    large = {(epoch, *rest) for epoch in (3, 4) for rest in ((True, 128, 128, 64, 96), (False, 128, 128, 128, 128))}
    assert set(seen) == small | large


def test_the_network_predicts_whole_slices_at_the_large_size(store, uncut):
    network = ready_network(uncut[0] / "best.safetensors", "cpu")
    assert network.size == (128, 128) and network.description["training"] == asdict(GROWING)
    around = np.array([[8, 8, 9], [8, 9, 10], [9, 10, 11], [10, 11, 11]])
    masks, truth = predict_masks(network, store.images, around, GROWING.size), read_slices(store, around[:, 1], GROWING)
    pairs = np.bincount(truth.masks.numpy().ravel() * 4 + masks.ravel(), minlength=16).reshape(4, 4)
    iou = [pairs[k, k] / (pairs[k].sum() + pairs[:, k].sum() - pairs[k, k]) for k in range(4)]
    assert np.mean(iou) == pytest.approx(uncut[1]["val_mean_iou"].iloc[-1], abs=1e-6)


def test_a_training_of_before_these_settings_goes_on(store, tmp_path):
    run(store, PLAIN, tmp_path / "new", killed_in=3)
    trainer = Trainer(PLAIN, tmp_path / "old", {}, tmp_path / "old" / "log.csv")
    trainer.folder = tmp_path / "new"
    trainer.resume()
    trainer.folder = tmp_path / "old"
    older = {name: value for name, value in asdict(PLAIN).items() if "crop" not in name}
    del older["small_epochs"], older["shrink"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("spider_utils.train.trainer.asdict", lambda settings: older)
        trainer.save()
    assert "shrink" not in json.loads((tmp_path / "old" / "best.json").read_text())["training"]
    with pytest.raises(SpiderError, match="trained with crop_height = 0, now asked for 32"):
        run(store, replace(PLAIN, crop_height=32), tmp_path / "old")
    assert len(run(store, PLAIN, tmp_path / "old")) == 4


def random_slices(count, height, width, low, high):
    """Masks (n, H, W) with two foreground pixels at the corners of a box of low..high pixels, and coded images."""
    rng, masks = np.random.default_rng(3), np.zeros((count, height, width), np.int64)
    for mask in masks:
        box = rng.integers(low, high + 1, 2)
        top, left = (rng.integers(0, side - own + 1) for side, own in zip((height, width), box, strict=True))
        mask[top, left], mask[top + box[0] - 1, left + box[1] - 1] = 1, 2
    code = np.arange(height * width, dtype=np.float32).reshape(1, 1, height, width)
    return torch.from_numpy(np.repeat(code, count, 0)), torch.from_numpy(masks)


def test_a_part_that_is_long_enough_holds_all_foreground_at_any_place_in_it():
    images, masks = random_slices(400, 40, 30, 2, 12)
    torch.manual_seed(0)
    cut, kept = cut_out(images, masks, (16, 12), anywhere=0)
    assert cut.shape == (400, 1, 16, 12) and kept.shape == (400, 16, 12)
    assert (kept.flatten(1).sum(1) == masks.flatten(1).sum(1)).all()
    rows, columns = cut[:, 0, 0, 0].long() // 30, cut[:, 0, 0, 0].long() % 30
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):  # one part of the slice, pixel by pixel
        part = slice(row, row + 16), slice(column, column + 12)
        assert torch.equal(cut[number, 0], images[number, 0][part]) and torch.equal(kept[number], masks[number][part])
    first = (kept > 0).any(2).int().argmax(1)
    assert {0, 5, 10} <= set(first.tolist())  # the foreground's place in the part differs


def test_a_part_that_is_too_short_lies_within_the_foregrounds_ends():
    images, masks = random_slices(400, 40, 30, 20, 26)
    masks[:, 5], masks[:, :, 4] = 0, 0
    torch.manual_seed(0)
    cut, _ = cut_out(images, masks, (16, 12), anywhere=0)
    places = {"rows": (cut[:, 0, 0, 0].long() // 30, (masks > 0).any(2), 16)}
    places["columns"] = (cut[:, 0, 0, 0].long() % 30, (masks > 0).any(1), 12)
    for start, found, side in places.values():
        ends = [(int(where[0]), int(where[-1])) for where in map(torch.nonzero, found) if len(where) > 1]
        begins = [int(one) for one, where in zip(start, map(torch.nonzero, found), strict=True) if len(where) > 1]
        assert all(low <= one and one + side - 1 <= high for one, (low, high) in zip(begins, ends, strict=True))
        assert any(one == low for one, (low, _) in zip(begins, ends, strict=True))
        assert any(one + side - 1 == high for one, (_, high) in zip(begins, ends, strict=True))


def test_without_foreground_any_part_comes_and_a_whole_slice_is_no_part():
    images, masks = torch.rand(300, 3, 8, 6), torch.zeros(300, 8, 6, dtype=torch.long)
    images[:, 0] = torch.arange(48.0).reshape(8, 6)
    torch.manual_seed(0)
    cut, _ = cut_out(images, masks, (6, 4))
    assert set(cut[:, 0, 0, 0].long().tolist()) == {row * 6 + column for row in range(3) for column in range(3)}
    before = torch.random.get_rng_state()
    whole, same = cut_out(images, masks, (8, 6))
    assert whole is images and same is masks and torch.equal(torch.random.get_rng_state(), before)


def test_a_share_of_the_parts_lies_anywhere_so_that_what_is_beyond_the_foreground_is_seen():
    images, masks = random_slices(3000, 40, 30, 2, 4)
    masks[:, 20:] = 0  # nothing below, as under a labelled spine
    masks[:, 0, 0] = 1
    torch.manual_seed(0)
    _, kept = cut_out(images, masks, (16, 12), anywhere=1)
    cut, default = cut_out(images, masks, (16, 12))
    rows, columns = cut[:, 0, 0, 0].long() // 30, cut[:, 0, 0, 0].long() % 30
    assert set(rows.tolist()) == set(range(25)) and set(columns.tolist()) == set(range(19))
    free = (rows > 19).float().mean()  # where none lies that is laid on the foreground; of the free ones 5 in 25 do
    assert (free / (5 / 25)).item() == pytest.approx(2 / 3, abs=0.07)
    assert (kept > 0).any() and (kept.flatten(1).sum(1) == 0).any() and default.shape == kept.shape


def test_parts_of_real_slices_that_are_320_columns_wide_hold_every_spine(shared_data):
    from spider_utils.data.sources import find_series, read_stack

    for series in find_series("released", shared_data / "released_t2_space")[:3]:
        masks = torch.from_numpy(read_stack(series).classes()).long()
        _, kept = cut_out(masks[:, None].float(), masks, (masks.shape[1], 320), anywhere=0)
        assert kept.shape[2] == 320 < masks.shape[2] and (kept > 0).sum() == (masks > 0).sum()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"small_epochs": -1}, "small_epochs: expected 0 to 100000, found -1"),
        ({"small_epochs": 4}, r"small_epochs: expected less than epochs \(4\), found 4"),
        ({"small_epochs": 2, "schedule": "plateau"}, "small_epochs: expected 0 for schedule 'plateau', found 2"),
        ({"small_epochs": 2, "train_height": 32}, "train_height / shrink: expected a multiple of 32, found 16"),
        ({"small_epochs": 2, "shrink": 3}, "train_height / shrink: expected a multiple of 32, found 42"),
        ({"small_epochs": 2, "shrink": 4}, "shrink, train_width / shrink: expected 32 x 64 pixels or more"),
        ({"shrink": 1}, "shrink: expected 2 to 16, found 1"),
        ({"crop_height": 160}, "crop_height: expected 0 to 128, found 160"),
        ({"crop_width": -32}, "crop_width: expected 0 to 128, found -32"),
        ({"crop_width": 40}, "crop_width: expected a multiple of 32, found 40"),
        ({"crop_height": 32, "crop_width": 32}, "crop_height, crop_width: expected 32 x 64 pixels or more"),
    ],
)  # fmt: skip
def test_bad_sizes_are_named(values, message):
    with pytest.raises(SpiderError, match=message):
        replace(PLAIN, **{"train_height": 128, "train_width": 128} | values)
