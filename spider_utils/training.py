"""Training: batch 8, Adam. By default ("plateau") the learning rate is reduced on plateau, and early stopping and the
checkpoint go by the validation mean IoU. With the schedule "cosine" all epochs are done, no validation side is needed,
and the last epoch is the result: for studies, which must not choose an epoch on what they score.

Everything an epoch needs is written at its end, in one file (`last.safetensors`): a run that is cut off goes on where
it stopped and gives what an uncut run gives, since order and dropout of an epoch depend on the seed and the epoch's
number alone.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from spider_utils.augment import LEVELS, augment
from spider_utils.batches import memory_format, shuffled_batches, to_input
from spider_utils.errors import SpiderError
from spider_utils.files import atomic_path, write_json
from spider_utils.inference import NETWORK, select_device
from spider_utils.labels import CLASSES
from spider_utils.losses import DICE_SETS, REDUCTIONS, CombinedLoss
from spider_utils.models import ACTIVATIONS, DIVISOR, INITIALISERS, MODELS, build_model
from spider_utils.progress import progress

AfterEpoch = Callable[[int, nn.Module], None]
SHOWN = ("epoch", "train_loss", "val_mean_iou")  # beside the progress bar
CHOICES = {
    "model": tuple(MODELS),
    "activation": ("published", *ACTIVATIONS),
    "initialiser": tuple(INITIALISERS),
    "schedule": ("plateau", "cosine"),
    "focal_reduction": REDUCTIONS,
    "dice_over": DICE_SETS,
    "augmentation": tuple(LEVELS),
}


@dataclass(frozen=True)
class TrainSettings:
    """One training run. The paper states batch size, epochs and the loss; the rest is ours (see the README)."""

    model: str = "paper_text"
    width: int = 16  # channels at full resolution
    train_height: int = 640  # the network's input, pixels
    train_width: int = 512
    batch_size: int = 8
    activation: str = "published"  # or one of models.ACTIVATIONS everywhere
    initialiser: str = "glorot_uniform"
    epochs: int = 100  # at most
    learning_rate: float = 1e-3
    schedule: str = "plateau"  # or "cosine": from the learning rate to 0 over all epochs
    lr_factor: float = 0.5  # the learning rate is multiplied by this ...
    lr_patience: int = 5  # ... after more than so many epochs without a better validation mean IoU
    stop_patience: int = 20  # training ends after so many
    focal_share: float = 0.6
    gamma: float = 4.0
    focal_reduction: str = "mean"  # over pixels, or "sum" over the pixels of an image
    dice_over: str = "batch"  # the pixels of the whole batch, or of each "image"
    augmentation: str = "none"  # or "strong"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("width", "batch_size", "epochs", "lr_patience", "stop_patience", "train_height", "train_width"):
            if getattr(self, name) < 1:
                raise SpiderError(f"{name}: expected 1 or more, found {getattr(self, name)}")
        for name in ("train_height", "train_width"):
            if getattr(self, name) % DIVISOR:
                raise SpiderError(f"{name}: expected a multiple of {DIVISOR}, found {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise SpiderError(f"learning_rate: expected more than 0, found {self.learning_rate}")
        if not 0 <= self.focal_share <= 1:
            raise SpiderError(f"focal_share: expected 0 to 1, found {self.focal_share}")
        if self.gamma < 0:
            raise SpiderError(f"gamma: expected 0 or more, found {self.gamma}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise SpiderError(f"{name}: expected one of {', '.join(known)}, found '{getattr(self, name)}'")

    @property
    def size(self) -> tuple[int, int]:
        """The network's input size, (height, width) in pixels."""
        return self.train_height, self.train_width

    def network(self) -> nn.Module:
        """Build the network, its weights drawn from torch's generator."""
        return build_model(self.model, **{name: getattr(self, name) for name in NETWORK})


@dataclass(frozen=True)
class Slices:
    """Slices at the network's size: images (n, 1, h, w) uint8 and masks (n, h, w) uint8."""

    images: Tensor
    masks: Tensor


class Trainer:
    """Holds what an epoch changes: the network, the optimiser, the schedule, the log and the best epoch so far."""

    def __init__(self, settings: TrainSettings, folder: Path, about: dict, log_file: Path):
        self.settings, self.folder, self.about, self.log_file = settings, folder, about, log_file
        self.device = select_device(settings.device)
        torch.manual_seed(settings.seed)
        torch.backends.cudnn.deterministic = True
        model = settings.network()
        self.model = model.to(self.device, memory_format=memory_format(self.device))
        self.loss = CombinedLoss(settings.focal_share, settings.gamma, settings.focal_reduction, settings.dice_over)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self.schedule = self.make_schedule()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.device.type == "cuda")
        self.log: list[dict] = []

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

    def forward_loss(self, images: Tensor, masks: Tensor, augmentation: str = "none") -> tuple[Tensor, Tensor]:
        """Return logits and loss of one batch, in mixed precision on CUDA."""
        inputs, target = augment(to_input(images, self.device), masks.to(self.device).long(), augmentation)
        inputs = inputs.contiguous(memory_format=memory_format(self.device))
        with torch.autocast("cuda", enabled=self.device.type == "cuda"):
            logits = self.model(inputs)
        return logits, self.loss(logits, target)

    def train_epoch(self, data: Slices, epoch: int, bar: tqdm) -> float:
        """Train for one epoch and return the mean loss over its slices."""
        torch.manual_seed(self.settings.seed * 100_003 + epoch)  # dropout's and augmentation's randomness
        self.model.train()
        total = 0.0
        for rows in shuffled_batches(len(data.images), self.settings.batch_size, self.settings.seed, epoch):
            _, loss = self.forward_loss(data.images[rows], data.masks[rows], self.settings.augmentation)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total += loss.item() * len(rows)
            bar.update()
        return total / len(data.images)

    @torch.no_grad()
    def validate(self, data: Slices) -> dict:
        """Return the mean loss and the IoU of each class, pixels pooled, at the network's size."""
        self.model.eval()
        total, pairs = 0.0, torch.zeros(len(CLASSES) ** 2, dtype=torch.long)
        for start in range(0, len(data.images), self.settings.batch_size):
            part = slice(start, start + self.settings.batch_size)
            logits, loss = self.forward_loss(data.images[part], data.masks[part])
            total += loss.item() * len(logits)
            codes = data.masks[part].long() * len(CLASSES) + logits.argmax(1).cpu()
            pairs += torch.bincount(codes.flatten(), minlength=len(CLASSES) ** 2)
        iou = class_iou(pairs.reshape(len(CLASSES), len(CLASSES)))
        named = {f"val_iou_{name}": value for name, value in zip(CLASSES, iou.tolist(), strict=True)}
        return {"val_loss": total / len(data.images), "val_mean_iou": iou.mean().item(), **named}

    def fit(self, train: Slices, validation: Slices, after_epoch: AfterEpoch) -> None:
        """Train until finished, writing log and checkpoints after every epoch."""
        if self.chooses and not len(validation.images):
            raise SpiderError("schedule 'plateau': needs a validation side; set validation_share, or take 'cosine'")
        batches = -(-len(train.images) // self.settings.batch_size)
        done = len(self.log)
        with progress(total=self.settings.epochs * batches, initial=done * batches, desc="train", unit="batch") as bar:
            while not self.finished:
                epoch = len(self.log) + 1
                row = {"epoch": epoch, "learning_rate": self.optimizer.param_groups[0]["lr"]}
                row["train_loss"] = self.train_epoch(train, epoch, bar)
                row |= self.validate(validation) if len(validation.images) else {}
                after_epoch(epoch, self.model.eval())
                self.log.append(row)
                self.schedule.step(*([row["val_mean_iou"]] if self.chooses else []))
                self.save()
                bar.set_postfix({name: f"{value:.4g}" for name, value in row.items() if name in SHOWN})

    def save(self) -> None:
        """Write the log, the state to go on from and, when the last epoch is the best, the network itself."""
        self.write_log()
        self.write_state()
        if self.log[-1] is self.best:
            self.write_best()

    def write_best(self) -> None:
        """Write the network, which is the best so far, and the JSON that says what it is."""
        with atomic_path(self.folder / "best.safetensors") as path:
            save_file({name: value.contiguous() for name, value in self.model.state_dict().items()}, path)
        write_json(self.folder / "best.json", {"training": asdict(self.settings), "best": self.best} | self.about)

    def best_is_written(self) -> bool:
        """Return True when `best.json` tells of the best epoch so far."""
        description = self.folder / "best.json"
        return description.is_file() and json.loads(description.read_text(encoding="utf-8"))["best"] == self.best

    def write_state(self) -> None:
        """Write all that the next epoch needs into one file."""
        tensors = {f"model.{name}": value.contiguous() for name, value in self.model.state_dict().items()}
        state = self.optimizer.state_dict()
        for number, moments in state["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value.contiguous() for name, value in moments.items()}
        rest = {
            "settings": asdict(self.settings),
            "about": self.about,
            "log": self.log,
            "groups": state["param_groups"],
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        with atomic_path(self.folder / "last.safetensors") as path:
            save_file(tensors, path, metadata={"state": json.dumps(rest)})

    def write_log(self) -> None:
        """Write the log as a table, one row an epoch."""
        with atomic_path(self.log_file) as path:
            pd.DataFrame(self.log).to_csv(path, index=False)

    def resume(self) -> None:
        """Take up the state of `last.safetensors`. Raises SpiderError when it was made with other settings."""
        path = self.folder / "last.safetensors"
        with safe_open(path, framework="pt") as file:
            rest = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        refuse_other(rest["settings"] | rest["about"], asdict(self.settings) | self.about, path)
        self.model.load_state_dict(
            {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        )
        moments: dict[int, dict] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": rest["groups"]})
        self.schedule.load_state_dict(rest["schedule"])
        if rest["scaler"]:  # empty when the last session ran without mixed precision
            self.scaler.load_state_dict(rest["scaler"])
        self.log = rest["log"]
        if self.log[-1] is self.best and not self.best_is_written():
            self.write_best()  # the last session ended between the two files


def class_iou(pairs: Tensor) -> Tensor:
    """Return the IoU of each class from a confusion matrix (reference, prediction); 1 for a class in neither."""
    both = pairs.diag().double()
    either = (pairs.sum(0) + pairs.sum(1)).double() - both
    return torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))


def refuse_other(found: dict, wanted: dict, path: Path) -> None:
    """Raise SpiderError on a checkpoint trained with other settings.

    Another device is no change, nor are more epochs, unless the schedule depends on their number.
    """
    free = ("device",) if wanted.get("schedule") == "cosine" else ("device", "epochs")
    for name, value in wanted.items():
        if name not in free and found.get(name) != value:
            raise SpiderError(
                f"{path}: trained with {name} = {found.get(name)}, now asked for {value}; "
                f"take another run folder or delete the checkpoints"
            )


def train(
    settings: TrainSettings,
    slices_of: Callable[[str], Slices],
    folder: Path | str,
    about: dict,
    log_file: Path | str,
    after_epoch: AfterEpoch = lambda epoch, model: None,
) -> pd.DataFrame:
    """Train a network, or go on with a training that was cut off, and return its log, one row an epoch.

    `slices_of` gives the slices of a side ("train", "validation") and is not called when the training is finished.
    `after_epoch` is given the epoch's number and the network in evaluation mode, before the epoch is written.
    Writes into `folder`: `best.safetensors` (the weights of the best epoch), `best.json` (what they are, with what
    `about` says of the data) and `last.safetensors` (the state to go on from); and the log as CSV. Does no epoch more
    when the training is finished. Raises SpiderError when a training with other settings, or other things in `about`,
    is there already.
    """
    trainer = Trainer(settings, Path(folder), about, Path(log_file))
    if (trainer.folder / "last.safetensors").is_file():
        trainer.resume()
    if not trainer.finished:
        trainer.fit(slices_of("train"), slices_of("validation"), after_epoch)
    return pd.DataFrame(trainer.log)
