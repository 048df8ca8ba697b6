"""Training: batch 8, Adam. By default ("plateau") the learning rate is reduced on plateau, and early stopping and the
checkpoint go by the validation mean IoU. With the schedule "cosine" all epochs are done, no validation side is needed,
and the last epoch is the result: for studies, which must not choose an epoch on what they score.

Everything an epoch needs is written at its end, in one file (`last.safetensors`): a run that is cut off goes on where
it stopped and gives what an uncut run gives, since order and dropout of an epoch depend on the seed and the epoch's
number alone. A loss or a weight that is not finite ends the training; what is written is then that of the epoch before.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.common.locks import alone
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES
from spider_utils.models.batches import (
    balanced_shares,
    memory_format,
    shuffled_batches,
    to_input,
)
from spider_utils.models.ensemble import Ensemble
from spider_utils.models.saved import laid_out, refuse_non_finite
from spider_utils.models.threads import keep_memory, threads
from spider_utils.train.augment import augment, cut_out
from spider_utils.train.checkpoints import (
    STATE,
    network_is_of,
    read_state,
    refuse_other_training,
    restore,
    write_network,
    write_state,
)
from spider_utils.train.losses import distillation_loss
from spider_utils.train.processes import Processes
from spider_utils.train.settings import TrainSettings
from spider_utils.train.slices import Slices

AfterEpoch = Callable[[int, nn.Module], None]
SHOWN = ("epoch", "train_loss", "val_mean_iou")  # beside the progress bar


def nothing(epoch: int, model: nn.Module) -> None:
    """Do nothing after an epoch."""


class Trainer:
    """Holds what an epoch changes: the network, the optimiser, the schedule, the log and the best epoch so far."""

    def __init__(
        self, settings: TrainSettings, folder: Path, about: dict, log_file: Path, teachers: Sequence[nn.Module] = ()
    ):
        self.settings, self.folder, self.about, self.log_file = settings, folder, about, log_file
        self.processes = Processes(settings.device)
        self.device = self.processes.device
        keep_memory()
        torch.manual_seed(settings.seed)
        torch.backends.cudnn.deterministic = True
        self.model = laid_out(self.processes.prepare(settings.network()), self.device)
        self.teacher = Ensemble(list(teachers)).eval() if teachers else None
        self.loss = settings.make_loss(0)
        self.dtype = {"auto": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}[settings.precision]
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self.schedule = self.make_schedule()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.mixed and self.dtype == torch.float16)
        self.log: list[dict] = []

    @property
    def mixed(self) -> bool:
        """True when the forward pass runs in half precision: on CUDA by default, elsewhere with bfloat16 only."""
        if self.settings.precision == "auto":
            return self.device.type == "cuda"
        return self.settings.precision == "bfloat16"

    def make_schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        """Make the schedule of the learning rate, which takes a step after every epoch."""
        if self.settings.schedule == "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.settings.epochs)
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, mode="max", factor=self.settings.lr_factor, patience=self.settings.lr_patience
        )

    @property
    def chooses(self) -> bool:
        """True when the validation side chooses the epoch; else it is the last one."""
        return self.settings.schedule == "plateau"

    @property
    def best(self) -> dict:
        """The log row of the epoch with the highest validation mean IoU, or of the last one."""
        return max(self.log, key=lambda row: row["val_mean_iou"]) if self.chooses else self.log[-1]

    @property
    def finished(self) -> bool:
        """True when all epochs are done, or the validation mean IoU has not risen for `stop_patience` epochs."""
        if not self.log:
            return False
        done = self.log[-1]["epoch"]
        return done >= self.settings.epochs or done - self.best["epoch"] >= self.settings.stop_patience

    def forward_loss(
        self, images: Tensor, masks: Tensor, augmentation: str = "none", crop: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return logits and loss of one batch; with several heads those of the last one, and the mean of the losses.

        `crop`: the size (height, width) of the part of each augmented slice that is seen; None: all of it. Raises
        SpiderError when the loss is not finite.
        """
        inputs, target = augment(to_input(images, self.device), masks.to(self.device).long(), augmentation)
        if crop:
            inputs, target = cut_out(inputs, target, crop)
        inputs = self.processes.own(inputs).contiguous(memory_format=memory_format(self.device))
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.mixed):
            logits = self.processes.whole(self.model(inputs))
        if logits.ndim == 5:  # deep supervision: (heads, N, classes, H, W)
            logits, loss = logits[-1], torch.stack([self.loss(head, target) for head in logits]).mean()
        else:
            loss = self.loss(logits, target)
        if self.teacher and self.model.training:
            share = self.settings.teacher_share
            loss = (1 - share) * loss + share * distillation_loss(logits, self.taught(inputs))
        if not math.isfinite(loss.item()):
            raise SpiderError(
                f"{self.folder}: {self.kept}; expected a finite loss in epoch {len(self.log) + 1}, found {loss.item()} "
                f"at learning rate {self.optimizer.param_groups[0]['lr']:g}; take another folder and a smaller "
                "learning_rate"
            )
        return logits, loss

    @torch.no_grad()
    def taught(self, inputs: Tensor) -> Tensor:
        """Return what the teacher says of a batch's slices as they are shown: log probabilities (N, classes, H, W)."""
        assert self.teacher is not None
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.mixed):
            return self.processes.whole(self.teacher(inputs))

    def train_epoch(self, data: Slices, epoch: int, bar: tqdm) -> float:
        """Train for one epoch and return the mean loss over its slices."""
        threads.use(self.settings.threads)
        torch.manual_seed(self.settings.seed * 100_003 + epoch)  # dropout's and augmentation's randomness
        self.loss = self.settings.make_loss(epoch)
        self.model.train()
        total = 0.0
        settings = self.settings.at(epoch)
        shares = balanced_shares(data.sequences, settings.balance) if settings.epoch_slices else None
        seen = settings.epoch_slices or len(data.images)
        for rows in shuffled_batches(
            len(data.images), settings.batch_size, settings.seed, epoch, shares, settings.epoch_slices
        ):
            self.optimizer.zero_grad(set_to_none=True)
            with self.processes.sharing(len(rows)):
                _, loss = self.forward_loss(data.images[rows], data.masks[rows], settings.augmentation, settings.crop)
                self.scaler.scale(loss).backward()
            self.processes.average_gradients(self.model)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total += loss.item() * len(rows)
            bar.update()
        refuse_non_finite(self.model, f"{self.folder}: {self.kept}; expected after epoch {epoch}")
        return total / seen

    @property
    def kept(self) -> str:
        """What the folder holds of the training, in words."""
        return f"the state of epoch {len(self.log)} is kept" if self.log else "no epoch was finished"

    @torch.no_grad()
    def validate(self, data: Slices) -> dict:
        """Return the mean loss and the IoU of each class, pixels pooled, at the network's size."""
        self.model.eval()
        total, pairs = 0.0, torch.zeros(len(CLASSES) ** 2, dtype=torch.long)
        starts = range(0, len(data.images), self.settings.batch_size)
        for start in starts[self.processes.rank :: self.processes.number]:
            part = slice(start, start + self.settings.batch_size)
            logits, loss = self.forward_loss(data.images[part], data.masks[part])
            total += loss.item() * len(logits)
            codes = data.masks[part].long() * len(CLASSES) + logits.argmax(1).cpu()
            pairs += torch.bincount(codes.flatten(), minlength=len(CLASSES) ** 2)
        total = self.processes.sum(torch.tensor(total, dtype=torch.float64)).item()
        iou = class_iou(self.processes.sum(pairs).cpu().reshape(len(CLASSES), len(CLASSES)))
        named = {f"val_iou_{name}": value for name, value in zip(CLASSES, iou.tolist(), strict=True)}
        return {"val_loss": total / len(data.images), "val_mean_iou": iou.mean().item(), **named}

    def fit(self, train: Slices, validation: Slices, after_epoch: AfterEpoch) -> None:
        """Train until finished, or until slices of another size are due; write log and checkpoints every epoch."""
        if self.chooses and not len(validation.images):
            raise SpiderError("schedule 'plateau': needs a validation side; set validation_share, or take 'cosine'")
        batches = -(-(self.settings.epoch_slices or len(train.images)) // self.settings.batch_size)
        done, small = len(self.log), self.settings.small_epochs
        last = small if done < small else self.settings.epochs
        quiet = not self.processes.writes
        with progress(total=last * batches, initial=done * batches, desc="train", unit="batch", disable=quiet) as bar:
            while not self.finished and len(self.log) < last:
                epoch = len(self.log) + 1
                row = {"epoch": epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]}
                row["train_loss"] = self.train_epoch(train, epoch, bar)
                row |= self.validate(validation) if len(validation.images) else {}
                if self.processes.writes:
                    after_epoch(epoch, self.model.eval())
                self.log.append(row)
                self.schedule.step(*([row["val_mean_iou"]] if self.chooses else []))
                if self.processes.writes:
                    self.save()
                self.processes.wait()
                shown = {name: value for name, value in row.items() if name in SHOWN} | threads.told()
                bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()})

    def save(self) -> None:
        """Write the log, the state to go on from and, when the last epoch is the best, the network itself."""
        self.write_log()
        rest = {"settings": asdict(self.settings), "about": self.about, "log": self.log}
        rest |= {"schedule": self.schedule.state_dict(), "scaler": self.scaler.state_dict()}
        write_state(self.model, self.optimizer, rest, self.folder)
        if self.log[-1] is self.best:
            self.write_best()

    def write_best(self) -> None:
        """Write the network, which is the best so far, and the JSON that says what it is."""
        training = asdict(self.settings.at(self.best["epoch"]))
        write_network(self.model, {"training": training, "best": self.best} | self.about, self.folder)

    def write_log(self) -> None:
        """Write the log as a table, one row an epoch."""
        with atomic_path(self.log_file) as path:
            pd.DataFrame(self.log).to_csv(path, index=False)

    def resume(self) -> None:
        """Take up the state of `last.safetensors`. Raises SpiderError when it was made with other settings."""
        tensors, rest = read_state(self.folder)
        refuse_other_training(rest["settings"] | rest["about"], asdict(self.settings) | self.about, self.folder / STATE)
        restore(self.model, self.optimizer, tensors, rest["groups"])
        self.schedule.load_state_dict(rest["schedule"])
        if rest["scaler"]:  # empty when the last session ran without mixed precision
            self.scaler.load_state_dict(rest["scaler"])
        self.log = rest["log"]
        late = self.log[-1] is self.best and not network_is_of(self.folder, self.best)
        if late and self.processes.writes:
            self.write_best()  # the last session ended between the two files


def class_iou(pairs: Tensor) -> Tensor:
    """Return the IoU of each class from a confusion matrix (reference, prediction); 1 for a class in neither."""
    both = pairs.diag().double()
    either = (pairs.sum(0) + pairs.sum(1)).double() - both
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))


def train(
    settings: TrainSettings,
    slices_of: Callable[[str, TrainSettings], Slices],
    folder: Path | str,
    about: dict,
    log_file: Path | str,
    after_epoch: AfterEpoch = nothing,
    teachers: Sequence[nn.Module] = (),
) -> pd.DataFrame:
    """Train a network, or go on with a training that was cut off, and return its log, one row an epoch.

    `slices_of` gives the slices of a side ("train", "validation") at the size of some settings, which are those of the
    epochs that come next (see `TrainSettings.at`), and is not called when the training is finished.
    `after_epoch` is given the epoch's number and the network in evaluation mode, before the epoch is written.
    `teachers`: networks, on the training's device, whose mean probabilities it learns from too (`teacher_share`).
    Writes into `folder`: `best.safetensors` (the weights of the best epoch), `best.json` (what they are, with what
    `about` says of the data) and `last.safetensors` (the state to go on from); and the log as CSV. Does no epoch more
    when the training is finished. Raises SpiderError when a training with other settings, or other things in `about`,
    is there already, when another process trains there, when a loss or a weight is not finite, and on a teacher_share
    without teachers.
    """
    if bool(teachers) != (settings.teacher_share > 0):
        raise SpiderError(f"teacher_share: expected more than 0 with teachers alone, found {settings.teacher_share:g}")
    trainer = Trainer(settings, Path(folder), about, Path(log_file), teachers)
    with alone(trainer.folder, "a training") if trainer.processes.writes else nullcontext():
        if (trainer.folder / STATE).is_file():
            trainer.resume()
        while not trainer.finished:
            now = settings.at(len(trainer.log) + 1)
            trainer.fit(slices_of("train", now), slices_of("validation", now), after_epoch)
    return pd.DataFrame(trainer.log)
