"""nnU-Net v2 in its 2D configuration, as it comes: its planner, preprocessing, network, augmentation, deep supervision,
loss, optimiser (SGD, 0.01, momentum 0.99, polynomial decay) and prediction (mirrored, as is its default).

Ours are: how many epochs and slices an epoch; all cases for training and one validation batch an epoch, since the last
epoch is the result; seeds; a state after every epoch; and on a CPU, with precision bfloat16, channels last and autocast
for the network (not for the loss), which nnU-Net does on CUDA alone.

nnU-Net writes pickles: properties of preprocessed slices, and checkpoints by `torch.save`. They stay in its own folder
and are read by nnU-Net alone, which wrote them there; never take such files from elsewhere.

Isensee et al., Nature Methods 18, 203-211 (2021). This module alone imports nnunetv2, and is imported where it is used.
"""

import json
import math
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from spider_utils.common.files import atomic_path
from spider_utils.models.build import count_parameters
from spider_utils.models.facts import multiply_adds
from spider_utils.predict.segment import to_mask
from spider_utils.studies.clock import CpuClock
from spider_utils.studies.peers import DATASET
from spider_utils.train.settings import TrainSettings

NUMBER, CONFIGURATION, PLANS = 1, "2d", "nnUNetPlans"  # the data set's number is that in its name
SPACING = {"spacing": (999, 1, 1)}  # how nnU-Net's reader of PNGs describes them
LATEST, FINAL, UNUSED = (f"checkpoint_{name}.pth" for name in ("latest", "final", "best"))
CLIP = 12  # largest norm of the gradient, as in nnUNetTrainer.train_step


@contextmanager
def told_to(log: Path) -> Iterator[None]:
    """Write what nnU-Net prints to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file, redirect_stdout(file):
        yield


def prepare() -> None:
    """Plan and preprocess the training set that lies in nnU-Net's raw folder."""
    extract_fingerprint_dataset(NUMBER, num_processes=1, show_progress_bar=False)
    plan_experiment_dataset(NUMBER)
    preprocess_dataset(NUMBER, PLANS, (CONFIGURATION,), (1,), show_progress_bar=False)


def make_trainer(settings: TrainSettings, batch_size: int, device: torch.device) -> "PeerTrainer":
    """Make the trainer of a prepared training set. `batch_size`: slices a step; 0: as planned."""
    folder = Path(os.environ["nnUNet_preprocessed"]) / DATASET
    plans, dataset = (json.loads((folder / name).read_text()) for name in (f"{PLANS}.json", "dataset.json"))
    plans["continue_training"] = True
    planned = plans["configurations"][CONFIGURATION]
    planned["batch_size"] = batch_size or planned["batch_size"]
    torch.manual_seed(settings.seed)
    trainer = PeerTrainer(plans, CONFIGURATION, "all", dataset, device)
    trainer.settings = settings
    trainer.num_epochs, trainer.num_val_iterations_per_epoch, trainer.save_every = settings.epochs, 1, 1
    trainer.num_iterations_per_epoch = math.ceil(dataset["numTraining"] / planned["batch_size"])
    trainer.initialize()
    return trainer


class PeerTrainer(nnUNetTrainer):
    """nnU-Net's trainer, with what the module's docstring says."""

    settings: TrainSettings
    clock: CpuClock
    after_epoch: Callable[[int], None]

    @property
    def casts(self) -> bool:
        """True where the network runs in bfloat16 on a CPU."""
        return self.device.type == "cpu" and self.settings.precision == "bfloat16"

    def facts(self) -> dict[str, Any]:
        """Return the network's parameters and multiply_adds of a slice, the batch size and the slices of an epoch."""
        self.set_deep_supervision_enabled(False)
        slices = torch.zeros(1, 1, *self.configuration_manager.patch_size, device=self.device)
        network = {"parameters": count_parameters(self.network), "multiply_adds": multiply_adds(self.network, slices)}
        shown = {"batch_size": self.batch_size, "epoch_slices": self.num_iterations_per_epoch * self.batch_size}
        return {"network": network} | shown

    def go_on(self) -> None:
        """Train until the last epoch, from the state that an earlier session has left, if any."""
        folder = Path(self.output_folder)
        found = next((folder / name for name in (FINAL, LATEST) if (folder / name).is_file()), None)
        if found:
            self.load_checkpoint(str(found))
        if self.casts:
            self.network.to(memory_format=torch.channels_last)
        if self.current_epoch < self.num_epochs:
            os.environ["nnUNet_n_proc_DA"] = "0"  # batches are made in this process
            self.run_training()

    def on_train_epoch_start(self) -> None:
        """Seed the epoch, so that a training that was cut off draws what an uncut one draws."""
        seed = self.settings.seed * 100_003 + self.current_epoch
        random.seed(seed), np.random.seed(seed % 2**32), torch.manual_seed(seed)
        super().on_train_epoch_start()
        self.clock.restart()

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Note the CPU time of the epoch's steps."""
        self.clock.lap(self.current_epoch + 1)
        super().on_train_epoch_end(train_outputs)

    def on_epoch_end(self) -> None:
        """Hand over the epoch, then write its state."""
        self.after_epoch(self.current_epoch + 1)
        super().on_epoch_end()

    def train_step(self, batch: dict) -> dict:
        """Do a step; on a CPU with precision bfloat16 as nnU-Net's own, but for autocast and layout."""
        if not self.casts:
            return super().train_step(batch)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.network(batch["data"].contiguous(memory_format=torch.channels_last))
        loss = self.loss([output.float() for output in outputs], batch["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        return {"loss": loss.detach().numpy()}

    def save_checkpoint(self, filename: str) -> None:
        """Write a state, complete or not at all; the best epoch by training slices is not kept."""
        if Path(filename).name != UNUSED:
            with atomic_path(filename) as path:
                super().save_checkpoint(str(path))

    def plot_network_architecture(self) -> None:
        """Leave the drawing out."""

    def segment(self, images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Segment slices (n, h, w) uint8 by nnU-Net's predictor; return masks (n, *size) uint8 of classes 0..3.

        Probabilities come at the slices' size; their logarithm is brought to `size` as our logits are (`to_mask`).
        """
        predictor = nnUNetPredictor(device=self.device, allow_tqdm=False)
        about = self.plans_manager, self.configuration_manager, [self.network.state_dict()], self.dataset_json
        axes = self.inference_allowed_mirroring_axes
        predictor.manual_initialization(self.network, *about, type(self).__name__, axes)
        self.set_deep_supervision_enabled(False)
        masks = np.empty((len(images), *size), np.uint8)
        for place, image in enumerate(images.astype(np.float32)):
            told = predictor.predict_single_npy_array(image[None, None], SPACING, save_or_return_probabilities=True)
            probabilities = torch.from_numpy(told[1][:, 0]).float()
            masks[place] = to_mask(probabilities.clamp(min=torch.finfo(torch.float32).tiny).log(), size)
        self.set_deep_supervision_enabled(True)
        return masks
