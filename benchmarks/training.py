"""Rows of training: steps, their arithmetic rate, beside other work, and what an epoch does beside them.

On a CPU: the paper's network at width 8 on 320 x 256 pixels, as the profile "cpu" has it; on CUDA the paper's own size,
width 16 on 640 x 512. Eight slices a step.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from benchmarks.inputs import TOY_SIZE, sample_slices
from benchmarks.rows import Bench, Pair, Row, Skipped
from spider_utils.models.batches import to_input
from spider_utils.models.facts import multiply_adds
from spider_utils.train.settings import TrainSettings
from spider_utils.train.slices import Slices
from spider_utils.train.trainer import Trainer

BATCH, STEPS = 8, 2  # slices a step, steps a run (ten times as many on CUDA)
BUSY = "while True: pass"
SECONDS = """
import sys
from pathlib import Path
from benchmarks.rows import Bench
from benchmarks.training import seconds_of_steps
print(seconds_of_steps(Bench(Path(sys.argv[1]), toy=sys.argv[2] == "True"), int(sys.argv[3])))
"""
BOTH = ("cpu", "cuda")


def settings_of(bench: Bench) -> TrainSettings:
    """Return the training that is measured."""
    height, width, channels = bench.sized((640, 512, 16) if bench.device == "cuda" else (320, 256, 8), (*TOY_SIZE, 2))
    return TrainSettings(train_height=height, train_width=width, width=channels, batch_size=BATCH, device=bench.device)


def steps_of(bench: Bench) -> int:
    """Return how many steps an epoch has."""
    return STEPS * (10 if bench.device == "cuda" else 1)


def slices_of(bench: Bench) -> Slices:
    """Return the slices of an epoch."""
    images, masks = sample_slices(bench, steps_of(bench) * BATCH, settings_of(bench).size)
    return Slices(images, masks, np.full(len(images), "T2"))


def our_trainer(bench: Bench) -> Trainer:
    """Make our trainer as a run does."""
    return Trainer(settings_of(bench), bench.folder / "ours", {}, bench.folder / "log.csv")


def our_epoch(trainer: Trainer, data: Slices) -> Callable[[], float]:
    """Return what trains for one epoch, and then gives its mean loss."""
    numbers, bar = count(1), tqdm(disable=True)
    return lambda: trainer.train_epoch(data, next(numbers), bar)


class PlainSlices(Dataset):
    """Slices in memory, one by one as a network takes them."""

    def __init__(self, data: Slices):
        self.images, self.masks = data.images, data.masks

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return self.images[number].float() / 255, self.masks[number].long()


def against_plain_loop(bench: Bench) -> Pair:
    """Train the same network with the same loss: by our trainer, and by PyTorch's own tutorial loop."""
    settings, data, device = settings_of(bench), slices_of(bench), torch.device(bench.device)
    network = settings.network().to(device).train()
    loss, optimizer = settings.make_loss(0), torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    loader = DataLoader(PlainSlices(data), batch_size=BATCH, shuffle=True)

    def plain_epoch() -> float:
        total = 0.0
        for images, masks in loader:
            images, masks = images.to(device), masks.to(device)
            optimizer.zero_grad()
            value = loss(network(images), masks)
            value.backward()
            optimizer.step()
            total += value.item()
        return total / len(loader)

    return Pair(our_epoch(our_trainer(bench), data), plain_epoch)


def against_monai(bench: Bench) -> Pair:
    """Train MONAI's U-Net of as many multiply-adds by MONAI's trainer, with its cache and its loss."""
    try:
        import ignite  # noqa: F401
    except ImportError as error:
        raise Skipped("MONAI's trainer needs pytorch-ignite, found none; pip install pytorch-ignite") from error
    from monai.data import CacheDataset
    from monai.data import DataLoader as MonaiLoader
    from monai.engines import SupervisedTrainer
    from monai.losses import DiceFocalLoss

    settings, data = settings_of(bench), slices_of(bench)
    network = monai_unet(multiply_adds(settings.network(), torch.zeros(1, 1, *settings.size)), settings.size)
    pairs = zip(data.images, data.masks, strict=True)
    items = [{"image": image.float() / 255, "label": mask[None].long()} for image, mask in pairs]
    trainer = SupervisedTrainer(
        device=torch.device(bench.device),
        max_epochs=1,
        train_data_loader=MonaiLoader(CacheDataset(items, progress=False), batch_size=BATCH, shuffle=True),
        network=network.to(bench.device),
        optimizer=torch.optim.Adam(network.parameters(), lr=settings.learning_rate),
        loss_function=DiceFocalLoss(to_onehot_y=True, softmax=True),
    )

    def monai_epoch() -> float:
        trainer.run()
        return float(trainer.state.output[0]["loss"])

    return Pair(our_epoch(our_trainer(bench), data), monai_epoch)


def monai_unet(wanted: int, size: tuple[int, int]) -> nn.Module:
    """Return the widest of MONAI's U-Nets that has at most `wanted` multiply-adds of a slice."""
    from monai.networks.nets import UNet

    def made(width: int) -> nn.Module:
        channels = [width * 2**level for level in range(5)]
        return UNet(2, 1, 4, channels, strides=(2, 2, 2, 2), num_res_units=2)

    def fits(width: int) -> bool:
        return multiply_adds(made(width), torch.zeros(1, 1, *size)) <= wanted

    return made(max(takewhile(fits, count(1)), default=1))


def against_compiled(bench: Bench) -> Pair:
    """Train by our trainer with the network as it is, and as torch.compile makes it, which took its time before."""
    compiled, data = our_trainer(bench), slices_of(bench)
    compiled.model.compile()
    epoch = our_epoch(compiled, data)
    try:
        epoch()
    except Exception as error:
        raise Skipped(f"torch.compile, which needs a C++ compiler, fails here: {type(error).__name__}") from error
    return Pair(our_epoch(our_trainer(bench), data), epoch)


def against_convolutions(bench: Bench) -> Pair:
    """Do training steps, and their convolutions alone: the same shapes, type and layout, forward and backward."""
    trainer, data = our_trainer(bench), slices_of(bench)
    dtype = trainer.dtype if trainer.mixed else torch.float32
    work: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, given, _: work.append((layer, given[0].detach())))
        for layer in trainer.model.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    trainer.forward_loss(data.images[:BATCH], data.masks[:BATCH])
    for hook in hooks:
        hook.remove()
    layers = [
        (deepcopy(layer).to(dtype), given.to(dtype).requires_grad_(place > 0))  # the slices need no gradient
        for place, (layer, given) in enumerate(work)
    ]
    answers = [torch.ones_like(layer(given)) for layer, given in layers]

    def convolutions() -> float:
        for _ in range(len(data.images) // BATCH):
            for (layer, given), answer in zip(layers, answers, strict=True):
                wanted = [*layer.parameters(), *([given] if given.requires_grad else [])]
                last = torch.autograd.grad(layer(given), wanted, answer)
        return last[0].flatten()[0].item()  # when the device has done all

    return Pair(our_epoch(trainer, data), convolutions)


def epoch_outside(bench: Bench) -> Pair:
    """Train for an epoch, and do its forward passes, backward passes and optimiser's steps alone."""
    data, other = slices_of(bench), our_trainer(bench)
    other.model.train()
    images, masks = to_input(data.images, other.device).split(BATCH), data.masks.to(other.device).long().split(BATCH)

    def inside() -> float:
        for inputs, target in zip(images, masks, strict=True):
            with torch.autocast(other.device.type, dtype=other.dtype, enabled=other.mixed):
                loss = other.loss(other.model(inputs), target)
            other.optimizer.zero_grad(set_to_none=True)
            other.scaler.scale(loss).backward()
            other.scaler.step(other.optimizer)
            other.scaler.update()
        return loss.item()

    return Pair(our_epoch(our_trainer(bench), data), inside)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep other processes busy meanwhile."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def seconds_of_steps(bench: Bench, threads: int) -> float:
    """Return the seconds of an epoch, once warm, with a number of threads; 0: as our trainer chooses."""
    trainer, data = our_trainer(bench), slices_of(bench)
    if threads:
        torch.set_num_threads(threads)
    epoch = our_epoch(trainer, data)
    epoch()
    start = time.perf_counter()
    epoch()
    return time.perf_counter() - start


def beside_others(bench: Bench) -> Pair:
    """Train in a process of its own with two busy ones beside it: with the threads as chosen, and with one."""
    sample_slices(bench, 1, settings_of(bench).size)  # makes the store, which the processes then open

    def seconds(threads: int) -> float:
        arguments = map(str, (bench.folder, bench.toy, threads))
        with busy(2):
            done = subprocess.run(
                [sys.executable, "-c", SECONDS, *arguments],
                check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
            )  # fmt: skip
        return float(done.stdout.split()[-1])

    return Pair(lambda: seconds(0), lambda: seconds(1), own_clock=True)


STEP = "training steps of 8 slices"
BOUND = "normalisation, activation and dropout at full resolution wait for memory, not for arithmetic"
ROWS = {
    "train_plain": Row(STEP, "a plain PyTorch loop", 1.5, against_plain_loop, devices=BOTH, limit=BOUND),
    "train_monai": Row(
        STEP, "MONAI's U-Net of equal multiply-adds, its loop", 1.5, against_monai, devices=BOTH,
        limit="MONAI's U-Net halves the slice in its first layer and has little to do at full resolution",
    ),
    "train_compiled": Row(STEP, "the same by torch.compile", None, against_compiled, devices=BOTH),
    "train_rate": Row(STEP, "its convolutions alone", 0.6, against_convolutions, devices=BOTH, limit=BOUND),
    "train_busy": Row(f"{STEP}, two busy processes", "itself with one thread", 0.8, beside_others),
    "train_outside": Row(
        "epoch of training", "its forward, backward, steps alone", 0.97, epoch_outside, devices=BOTH,
        limit="a look at free cores (0.1 s a minute), one at every weight for numbers that are none",
    ),
}  # fmt: skip
