"""Training: it learns, it stops, it is the same twice, and a run that is cut off ends as an uncut one."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from spider_utils.common.errors import SpiderError
from spider_utils.data.store import SliceStore, neighbour_rows
from spider_utils.models.batches import network_images, network_masks, shuffled_batches
from spider_utils.models.saved import select_device
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import predict_masks
from spider_utils.train.checkpoints import load_network
from spider_utils.train.losses import boundary_loss, combined_loss
from spider_utils.train.settings import TrainSettings
from spider_utils.train.slices import Slices, read_slices
from spider_utils.train.trainer import Trainer, class_iou, train

SMALL = {"width": 2, "train_height": 32, "train_width": 64, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"}
ABOUT = {"data": {"fingerprint": "squares"}}


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Slices with three bright squares, one a class, at random places."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 32, 64), np.uint8)
    for mask in masks:
        for number, column in enumerate((1, 12, 23), start=1):
            row = rng.integers(0, 22)
            mask[row : row + 9, column : column + 8] = number
    noise = rng.integers(0, 20, masks.shape)
    return (masks * 70 + noise).astype(np.uint8), masks


def as_slices(count: int, seed: int) -> Slices:
    images, masks = squares(count, seed)
    return Slices(network_images(images, (32, 64)), network_masks(masks, (32, 64)), np.repeat("T2", len(images)))


@pytest.fixture(scope="module")
def data():
    sides = {"train": as_slices(16, 0), "validation": as_slices(6, 1)}
    return lambda side, settings=None: sides[side]


@pytest.fixture(scope="module")
def uncut(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncut")
    log = train(TrainSettings(epochs=8, **SMALL), data, folder, ABOUT, folder / "train_log.csv")
    return folder, log


def test_it_learns_squares(uncut):
    folder, log = uncut
    assert log["train_loss"].iloc[-1] < 0.6 * log["train_loss"].iloc[0]
    network = ready_network(folder / "best.safetensors", "cpu")
    images, masks = squares(6, 1)
    prediction, description = predict_masks(network, images), network.description
    pairs = np.bincount(masks.ravel() * 4 + prediction.ravel(), minlength=16).reshape(4, 4)
    iou = [pairs[k, k] / (pairs[k].sum() + pairs[:, k].sum() - pairs[k, k]) for k in range(4)]
    # what the checkpoint says of itself is what an independent count of its own masks gives
    assert np.mean(iou) == pytest.approx(description["best"]["val_mean_iou"], abs=1e-6)
    assert description["best"]["val_mean_iou"] == log["val_mean_iou"].max()


def test_same_seed_same_weights_and_another_seed_others(uncut, data, tmp_path):
    folder, log = uncut
    again = train(
        TrainSettings(epochs=8, **SMALL), data, tmp_path / "again", ABOUT, tmp_path / "again" / "train_log.csv"
    )
    pd.testing.assert_frame_equal(again, log)
    other = train(
        TrainSettings(epochs=1, seed=1, **SMALL), data, tmp_path / "other", ABOUT, tmp_path / "other" / "train_log.csv"
    )
    assert other["train_loss"].iloc[0] != log["train_loss"].iloc[0]


def test_a_run_that_is_cut_off_ends_as_an_uncut_one(uncut, data, tmp_path):
    folder, log = uncut
    train(TrainSettings(epochs=3, **SMALL), data, tmp_path, ABOUT, tmp_path / "train_log.csv")
    resumed = train(TrainSettings(epochs=8, **SMALL), data, tmp_path, ABOUT, tmp_path / "train_log.csv")
    pd.testing.assert_frame_equal(resumed, log)
    for name in ("best", "last"):
        ours, theirs = load_file(tmp_path / f"{name}.safetensors"), load_file(folder / f"{name}.safetensors")
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_run_begun_without_mixed_precision_goes_on_with_it(uncut):
    folder, log = uncut
    trainer = Trainer(TrainSettings(epochs=8, **SMALL), folder, ABOUT, folder / "train_log.csv")
    trainer.scaler = torch.amp.GradScaler("cpu", enabled=True)
    trainer.resume()
    assert len(trainer.log) == len(log)


def test_a_session_that_ends_between_state_and_best_network_loses_neither(data, tmp_path, monkeypatch):
    def end(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "write_best", end)
        with pytest.raises(KeyboardInterrupt):
            train(TrainSettings(epochs=1, **SMALL), data, tmp_path, ABOUT, tmp_path / "train_log.csv")
    assert not (tmp_path / "best.json").is_file()
    log = train(TrainSettings(epochs=1, **SMALL), data, tmp_path, ABOUT, tmp_path / "train_log.csv")
    best = json.loads((tmp_path / "best.json").read_text())["best"]
    assert best["val_mean_iou"] == log["val_mean_iou"].max()
    assert (tmp_path / "best.safetensors").is_file()


def test_a_training_of_which_nothing_more_is_told_goes_on_too(data, tmp_path):
    for epochs in (1, 2):
        log = train(TrainSettings(epochs=epochs, **SMALL), data, tmp_path, {}, tmp_path / "log.csv")
    assert len(log) == 2


def test_a_finished_training_is_left_alone(uncut, data):
    folder, log = uncut
    before = (folder / "last.safetensors").stat().st_mtime_ns
    pd.testing.assert_frame_equal(
        train(TrainSettings(epochs=8, **SMALL), data, folder, ABOUT, folder / "train_log.csv"), log
    )
    assert (folder / "last.safetensors").stat().st_mtime_ns == before


def test_the_log_on_disk_is_the_log(uncut):
    folder, log = uncut
    pd.testing.assert_frame_equal(pd.read_csv(folder / "train_log.csv"), log)
    assert json.loads((folder / "best.json").read_text())["data"] == ABOUT["data"]


def test_other_settings_or_other_data_are_refused(uncut, data):
    folder, _ = uncut
    with pytest.raises(SpiderError, match="gamma = 4.0, now asked for 2.0"):
        train(TrainSettings(epochs=8, gamma=2.0, **SMALL), data, folder, ABOUT, folder / "train_log.csv")
    with pytest.raises(SpiderError, match="data = .*squares.*, now asked for .*circles"):
        train(
            TrainSettings(epochs=8, **SMALL),
            data,
            folder,
            {"data": {"fingerprint": "circles"}},
            folder / "train_log.csv",
        )


def test_more_epochs_change_a_loss_whose_weight_rises_with_them(data, tmp_path):
    settings = TrainSettings(epochs=1, loss="boundary", **SMALL)
    train(settings, data, tmp_path, ABOUT, tmp_path / "train_log.csv")
    with pytest.raises(SpiderError, match="epochs = 1, now asked for 2"):
        train(replace(settings, epochs=2), data, tmp_path, ABOUT, tmp_path / "train_log.csv")


def test_early_stopping_and_the_schedule_follow_the_validation_mean_iou(data, tmp_path):
    trainer = Trainer(
        TrainSettings(epochs=50, stop_patience=3, lr_patience=1, **SMALL), tmp_path, ABOUT, tmp_path / "train_log.csv"
    )
    trainer.log = [{"epoch": n, "val_mean_iou": value} for n, value in enumerate((0.2, 0.5, 0.4, 0.5), start=1)]
    assert trainer.best["epoch"] == 2
    assert not trainer.finished
    trainer.log.append({"epoch": 5, "val_mean_iou": 0.3})
    assert trainer.finished
    for value in (0.5, 0.4, 0.4):
        trainer.schedule.step(value)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


NO_IMAGES, NO_MASKS = (torch.empty(0, *shape, dtype=torch.uint8) for shape in ((1, 32, 64), (32, 64)))
NO_SLICES = Slices(NO_IMAGES, NO_MASKS, np.array([]))


def test_cosine_needs_no_validation_does_all_epochs_and_keeps_the_last(data, tmp_path):
    def sides(side, settings):
        return data("train") if side == "train" else NO_SLICES

    seen = []
    settings = TrainSettings(epochs=4, schedule="cosine", stop_patience=1, augmentation="strong", **SMALL)
    log = train(
        settings, sides, tmp_path, ABOUT, tmp_path / "log.csv", lambda epoch, model: seen.append(model.training)
    )
    rates = [0.005 * (1 + np.cos(np.pi * k / 4)) for k in range(4)]
    assert log["learning_rate"].tolist() == pytest.approx(rates)
    assert seen == [False] * 4 and "val_loss" not in log
    last, best = (load_file(tmp_path / f"{name}.safetensors") for name in ("last", "best"))
    assert all(torch.equal(best[name], last[f"model.{name}"]) for name in best)
    with pytest.raises(SpiderError, match="epochs = 4, now asked for 5"):
        train(TrainSettings(**asdict(settings) | {"epochs": 5}), sides, tmp_path, ABOUT, tmp_path / "log.csv")


def test_a_cut_run_with_cosine_and_augmentation_ends_as_an_uncut_one(data, tmp_path):
    settings = TrainSettings(epochs=4, schedule="cosine", augmentation="strong", **SMALL)

    def end_after_two(epoch, model):
        if epoch == 3:
            raise KeyboardInterrupt

    def run(folder, after_epoch=lambda epoch, model: None):
        return train(settings, data, folder, ABOUT, folder / "log.csv", after_epoch)

    uncut = run(tmp_path / "uncut")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", end_after_two)
    pd.testing.assert_frame_equal(run(tmp_path / "cut"), uncut)
    ours, theirs = (load_file(tmp_path / name / "best.safetensors") for name in ("cut", "uncut"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def small_store(folder) -> SliceStore:
    """Twelve slices of squares, three series of four; read_slices wants no more of a store."""
    images, masks = squares(12, 2)
    table = pd.DataFrame({"series": np.repeat(["a", "b", "c"], 4), "slice_index": [7, 8, 9, 10] * 3})
    table["sequence"] = np.repeat(["T2_SPACE", "T2", "T1"], 4)
    return SliceStore(folder, images, masks, table, table, {})


BEYOND = {
    "boundary": {"loss": "boundary"},
    "deep supervision": {"model": "unetpp", "deep_supervision": True},
    "neighbours": {"neighbours": 1},
    "bfloat16": {"precision": "bfloat16"},
    "all": {
        "loss": "boundary", "model": "unetpp", "deep_supervision": True, "neighbours": 1, "precision": "bfloat16",
        "augmentation": "light",
    },
}  # fmt: skip


@pytest.mark.parametrize("values", BEYOND.values(), ids=BEYOND)
def test_what_is_beyond_the_paper_trains_goes_on_and_predicts(values, tmp_path):
    settings = TrainSettings(epochs=2, schedule="cosine", **SMALL, **values)
    store, around = small_store(tmp_path), neighbour_rows(small_store(tmp_path).table, settings.neighbours)
    sides = {"train": np.arange(8), "validation": np.arange(8, 12)}

    def run(folder, after_epoch=lambda epoch, model: None):
        def slices_of(side, now):
            return read_slices(store, sides[side], now)

        return train(settings, slices_of, folder, ABOUT, folder / "log.csv", after_epoch)

    def end_in_the_second(epoch, model):
        if epoch == 2:
            raise KeyboardInterrupt

    uncut = run(tmp_path / "uncut")
    assert np.isfinite(uncut.to_numpy()).all()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", end_in_the_second)
    pd.testing.assert_frame_equal(run(tmp_path / "cut"), uncut)
    ours, theirs = (load_file(tmp_path / name / "best.safetensors") for name in ("cut", "uncut"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    torch.manual_seed(settings.seed)
    start = settings.network().state_dict()
    assert ours.keys() == start.keys() and (ours["encoder.0.0.weight"] != start["encoder.0.0.weight"]).any()
    assert all(value.dtype in (torch.float32, torch.int64) for value in ours.values())

    network = ready_network(tmp_path / "cut" / "best.safetensors", "cpu")
    chosen = around[sides["validation"]]
    masks = predict_masks(network, store.images, chosen, batch_size=3)
    stacked = torch.from_numpy(store.images[chosen]).float() / 255  # (4, C, 32, 64), put together by hand
    with torch.no_grad():
        expected = network.model(stacked).argmax(1).numpy()
    assert masks.dtype == np.uint8 and (masks == expected).mean() > 0.999


def test_read_slices_takes_neighbours_of_the_whole_store(tmp_path):
    """A slice's neighbours are seen also where they are on no side, or on the other one: images, never masks."""
    store = small_store(tmp_path)
    slices = read_slices(store, np.array([1, 4]), TrainSettings(neighbours=1, **SMALL))
    np.testing.assert_array_equal(slices.images.numpy(), store.images[[[0, 1, 2], [4, 4, 5]]])
    np.testing.assert_array_equal(slices.masks.numpy(), store.masks[[1, 4]])


def test_the_loss_with_several_heads_is_the_mean_over_them(data, tmp_path):
    settings = TrainSettings(epochs=1, model="unetpp", deep_supervision=True, **SMALL)
    trainer = Trainer(settings, tmp_path, ABOUT, tmp_path / "log.csv")
    slices = data("train")
    torch.manual_seed(0)
    logits, loss = trainer.forward_loss(slices.images[:4], slices.masks[:4])
    torch.manual_seed(0)  # the same dropout
    heads = trainer.model(slices.images[:4].float() / 255)
    assert heads.shape == (5, 4, 4, 32, 64) and torch.allclose(logits, heads[-1], atol=1e-5)
    each = [combined_loss(head, slices.masks[:4].long()).item() for head in heads]
    assert loss.item() == pytest.approx(sum(each) / 5, rel=1e-5)
    assert np.std(each) > 1e-3


class Fixed(torch.nn.Module):
    """A teacher that says the same of every pixel."""

    def forward(self, slices):
        logits = torch.tensor([0.0, 2.0, 1.0, -1.0])[None, :, None, None]
        return logits.expand(len(slices), 4, *slices.shape[2:])


def test_a_network_that_learns_from_its_teacher_alone_ends_up_saying_what_it_says(data, tmp_path):
    settings = TrainSettings(epochs=8, schedule="cosine", teacher_share=1.0, **SMALL)
    log = train(settings, data, tmp_path, ABOUT, tmp_path / "log.csv", teachers=[Fixed()])
    assert log["train_loss"].iloc[-1] < 0.6 * log["train_loss"].iloc[0]
    network = ready_network(tmp_path / "best.safetensors", "cpu")
    assert (predict_masks(network, squares(3, 5)[0]) == 1).mean() > 0.99


def test_a_teacher_takes_its_share_of_the_loss_in_training_alone(data, tmp_path):
    slices = data("train")
    plain = Trainer(TrainSettings(**SMALL), tmp_path, ABOUT, tmp_path / "log.csv")
    taught = Trainer(TrainSettings(teacher_share=0.25, **SMALL), tmp_path, ABOUT, tmp_path / "log.csv", [Fixed()])
    torch.manual_seed(0)
    logits, hard = plain.forward_loss(slices.images[:4], slices.masks[:4])
    torch.manual_seed(0)
    _, mixed = taught.forward_loss(slices.images[:4], slices.masks[:4])
    p = torch.tensor([0.0, 2.0, 1.0, -1.0]).softmax(0)[None, :, None, None]
    soft = (p * (p.log() - logits.log_softmax(1))).sum(1).mean()
    assert mixed.item() == pytest.approx((0.75 * hard + 0.25 * soft).item(), rel=1e-5)
    plain.model.eval(), taught.model.eval()
    alone, beside = (one.forward_loss(slices.images[:4], slices.masks[:4])[1] for one in (plain, taught))
    assert beside.item() == pytest.approx(alone.item(), rel=1e-5)


@pytest.mark.parametrize(("share", "teachers"), [(0.5, []), (0.0, [Fixed()])])
def test_a_teacher_and_its_share_come_together(share, teachers, data, tmp_path):
    with pytest.raises(SpiderError, match="teacher_share: expected more than 0 with teachers alone"):
        train(TrainSettings(teacher_share=share, **SMALL), data, tmp_path, ABOUT, tmp_path / "l.csv", teachers=teachers)


def test_the_boundary_loss_gets_its_share_epoch_by_epoch():
    settings = TrainSettings(epochs=4, loss="boundary", boundary_share=0.2)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 8, 8, generator=generator)
    target = torch.randint(0, 4, (2, 8, 8), generator=generator)
    combined, distance = combined_loss(logits, target).item(), boundary_loss(logits, target).item()
    for epoch in (1, 2, 4):
        share = 0.2 * epoch / 4
        expected = (1 - share) * combined + share * distance
        assert settings.make_loss(epoch)(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_precision_decides_what_the_network_computes_in(data, tmp_path):
    kinds = {}
    for precision in ("auto", "float32", "bfloat16"):
        settings = TrainSettings(epochs=1, precision=precision, **SMALL)
        trainer = Trainer(settings, tmp_path, ABOUT, tmp_path / "log.csv")
        slices = data("train")
        logits, loss = trainer.forward_loss(slices.images[:4], slices.masks[:4])
        kinds[precision] = logits.dtype
        assert loss.dtype == torch.float32 and not trainer.scaler.is_enabled()  # on the CPU
    assert kinds == {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}


def test_plateau_without_a_validation_side_is_refused(data, tmp_path):
    with pytest.raises(SpiderError, match="needs a validation side"):
        train(
            TrainSettings(epochs=1, **SMALL),
            lambda side, _: data("train") if side == "train" else NO_SLICES,
            tmp_path,
            ABOUT,
            tmp_path / "log.csv",
        )


def test_every_epoch_shows_every_slice_once_in_its_own_order():
    first, second = (np.concatenate(list(shuffled_batches(10, 4, 0, epoch))) for epoch in (1, 2))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()
    assert [len(rows) for rows in shuffled_batches(10, 4, 0, 1)] == [4, 4, 2]


def test_class_iou_by_hand():
    pairs = torch.tensor([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    assert class_iou(pairs).tolist() == pytest.approx([6 / 9, 3 / 6, 1.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs: expected 1"),
        ({"train_height": 100}, "train_height: expected a multiple of 32"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"focal_share": 1.5}, "focal_share"),
        ({"gamma": -1.0}, "gamma"),
        ({"schedule": "step"}, "schedule: expected one of plateau, cosine"),
        ({"focal_reduction": "max"}, "focal_reduction"),
        ({"dice_over": "voxel"}, "dice_over"),
        ({"deep_supervision": True}, "deep_supervision: expected false for 'paper_text'"),
        ({"augmentation": "wild"}, "augmentation: expected one of none, light, strong"),
        ({"loss": "hinge"}, "loss: expected one of combined, tversky"),
        ({"fp_weight": 1.5}, "fp_weight: expected 0 to 1"),
        ({"boundary_share": -0.1}, "boundary_share: expected 0 to 1"),
        ({"neighbours": -1}, "neighbours: expected 0 to 32"),
        ({"train_height": 32, "train_width": 32}, "expected 32 x 64 pixels or more, found 32 x 32"),
        ({"train_width": 32_000}, "train_width: expected 32 to 4096"),
        ({"width": 100_000}, "width: expected 1 to 256"),
        ({"lr_factor": 1.0}, "lr_factor: expected more than 0 and less than 1, found 1.0"),
        ({"lr_factor": 0.0}, "lr_factor: expected more than 0"),
        ({"seed": -1}, "seed: expected 0 to 4294967295, found -1"),
        ({"learning_rate": math.nan}, "learning_rate: expected more than 0 and less than inf, found nan"),
        ({"learning_rate": math.inf}, "learning_rate: expected more than 0 and less than inf, found inf"),
        ({"gamma": math.nan}, "gamma: expected 0 to 100, found nan"),
        ({"precision": "float8"}, "precision: expected one of auto, float32, bfloat16"),
    ],
)
def test_bad_settings_are_named(values, message):
    with pytest.raises(SpiderError, match=message):
        TrainSettings(**values)


@pytest.mark.parametrize("model", ["paper_text", "author_code", "attention", "unetpp", "residual"])
def test_the_smallest_input_can_be_trained_with_a_single_slice(model):
    settings = TrainSettings(model=model, width=1, train_height=32, train_width=64)
    assert settings.network().train()(torch.rand(1, 1, *settings.size)).shape == (1, 4, 32, 64)


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_training_that_diverges_stops_and_keeps_its_last_good_state(schedule, data, tmp_path):
    settings = TrainSettings(epochs=4, schedule=schedule, **SMALL)

    def run(after_epoch=lambda epoch, model: None):
        return train(settings, data, tmp_path, ABOUT, tmp_path / "log.csv", after_epoch)

    def stop(epoch, model):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def never(epoch, model):
        raise AssertionError("no epoch ends")

    trainer = Trainer(settings, tmp_path, ABOUT, tmp_path / "log.csv")
    trainer.resume()
    trainer.optimizer.param_groups[0]["lr"] = 1e30
    with pytest.raises(SpiderError, match="the state of epoch 1 is kept; expected a finite loss in epoch 2, found nan"):
        trainer.fit(data("train"), data("validation"), never)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept
    assert np.isfinite(run().to_numpy()).all()


def test_a_learning_rate_of_1e30_writes_nothing_that_could_be_taken_for_a_result(data, tmp_path):
    settings = TrainSettings(epochs=2, **SMALL | {"learning_rate": 1e30, "batch_size": 16})
    with pytest.raises(SpiderError, match="no epoch was finished; expected a finite loss in epoch 1, found nan"):
        train(settings, data, tmp_path / "out", ABOUT, tmp_path / "out" / "log.csv")
    assert not [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]


def put(part, **values):
    """Set values in a part of a network's JSON."""
    return lambda told: told.setdefault(part, {}).update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("training", width="8"), "training: width: expected int, found '8'; mend it, or use the version that"),
        (put("training", width=7.5), "training: width: expected int, found 7.5"),
        (put("training", width=8.0), "training: width: expected int, found 8.0"),
        (put("training", width=True), "training: width: expected int, found True"),
        (put("training", width=10**9), "training: width: expected 1 to 256, found 1000000000"),
        (put("training", width=None), "training: width: expected int, found None"),
        (put("training", train_height=33), "training: train_height: expected a multiple of 32, found 33"),
        (put("training", train_height=64.0), "training: train_height: expected int, found 64.0"),
        (lambda told: told["training"].pop("train_width"), "training: expected model, .*, found no train_width"),
        (put("training", neighbours=-1), "training: neighbours: expected 0 to 32, found -1"),
        (put("training", neighbours=0.5), "training: neighbours: expected int, found 0.5"),
        (put("training", model="vnet"), "training: model: expected one of paper_text, .*, found 'vnet'"),
        (put("training", model=3), "training: model: expected str, found 3"),
        (put("training", deep_supervision="no"), "training: deep_supervision: expected bool, found 'no'"),
        (put("training", in_channels=3), "training: parameter 'in_channels': not known; expected one of"),
        (put("training", classes=7), "training: parameter 'classes': not known; expected one of"),
        (put("training", learning_rate=math.nan), "training: learning_rate: expected more than 0 and less than inf"),
        (put("data", preprocess={"geometry": "pad"}), "data: preprocess: expected store_height, .* no store_height"),
        (put("data", preprocess={"geometry": "pad", "store_height": 64}), "data: preprocess: .*, found no store_width"),
        (put("split", preprocess={"geometry": ["pad"]}), "split: preprocess: geometry: expected str, found"),
        (put("split", preprocess={"geometry": "padded"}), "split: preprocess: geometry: expected one of stretch, pad"),
        (put("data", preprocess={"intensity": "volume"}), "data: preprocess: intensity: expected one of slice_minmax"),
        (put("data", preprocess={"store_height": 1e9}), "data: preprocess: store_height: expected int, found 1000000"),
        (put("data", preprocess={"store_width": 0}), "data: preprocess: store_width: expected 32 to 4096, found 0"),
        (put("data", preprocess={"size": 64}), "data: preprocess: parameter 'size': not known"),
        (put("data", preprocess=None), "data: preprocess: expected settings, found None"),
        (put("split", settings=[]), r"split: settings: expected settings, found \[\]"),
        (put("split", settings={"fold": 7}), "split: settings: fold: expected 0 <= fold < folds, found fold 7 of 5"),
        (put("split", train=["5"]), r"split: train: expected a list of patients' numbers, found \['5'\]"),
        (
            put("trained_on", patients="5, 7"),
            "trained_on: patients: expected a list of patients' numbers, found '5, 7'",
        ),
        (lambda told: told.pop("training"), "expected the JSON that a training writes"),
        (lambda told: told.update(training=[]), "expected the JSON that a training writes"),
        (lambda told: told.update(inference="cleanup"), "expected the JSON that a training writes"),
        (lambda told: told.update(inferrence={}), "expected some of .*inference.*, found 'inferrence'; mend it"),
    ],
)
def test_a_description_of_a_network_that_cannot_be_is_named(change, message, uncut, tmp_path):
    folder, _ = uncut
    told = json.loads((folder / "best.json").read_text())
    change(told)
    (tmp_path / "best.json").write_text(json.dumps(told))
    (tmp_path / "best.safetensors").write_bytes((folder / "best.safetensors").read_bytes())
    with pytest.raises(SpiderError, match=f"best.json: {message}"):
        ready_network(tmp_path / "best.safetensors", "cpu")


def test_a_network_that_is_wider_than_its_weights_is_refused_before_it_is_built(uncut, tmp_path, monkeypatch):
    folder, _ = uncut
    told = json.loads((folder / "best.json").read_text())
    told["training"] |= {"model": "unetpp", "width": 256}  # 2.4 GB
    (tmp_path / "best.json").write_text(json.dumps(told))
    (tmp_path / "best.safetensors").write_bytes((folder / "best.safetensors").read_bytes())
    built = []
    network = TrainSettings.network
    monkeypatch.setattr(TrainSettings, "network", lambda self: built.append(network(self)) or built[-1])
    with pytest.raises(SpiderError, match=r"does not hold the network that best.json names \(decoder.0.0.bias is \["):
        load_network(tmp_path / "best.safetensors", torch.device("cpu"))
    assert {value.device.type for one in built for value in one.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"no safetensors at all"])
def test_a_state_that_is_another_file_is_named(content, data, tmp_path):
    (tmp_path / "last.safetensors").write_bytes(content)
    with pytest.raises(SpiderError, match="last.safetensors: expected a training's state, found another file; delete"):
        train(TrainSettings(epochs=1, **SMALL), data, tmp_path, ABOUT, tmp_path / "log.csv")


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_network_with_a_weight_that_is_not_finite_is_refused(value, uncut, tmp_path):
    folder, _ = uncut
    weights = load_file(folder / "best.safetensors")
    weights["head.bias"][1] = value
    save_file(weights, tmp_path / "nan.safetensors")
    (tmp_path / "nan.json").write_text((folder / "best.json").read_text())
    with pytest.raises(SpiderError, match="nan.safetensors: expected finite weights, .* the first head.bias; train"):
        load_network(tmp_path / "nan.safetensors", torch.device("cpu"))


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(SpiderError, match="'tpu'"):
        select_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(SpiderError, match="'cuda' is not available"):
            select_device("cuda")


def test_a_checkpoint_that_does_not_fit_is_named(uncut, tmp_path):
    folder, _ = uncut
    with pytest.raises(SpiderError, match="no such checkpoint"):
        load_network(tmp_path / "none.safetensors", torch.device("cpu"))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((folder / "best.safetensors").read_bytes()[:500])
    cut.with_suffix(".json").write_text((folder / "best.json").read_text())
    with pytest.raises(SpiderError, match="cut.safetensors"):
        load_network(cut, torch.device("cpu"))
