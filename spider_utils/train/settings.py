"""The settings of a training: every default in one place."""

import math
from dataclasses import dataclass, replace

from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import SEEDS, check_bounds, check_choices
from spider_utils.models.build import ACTIVATIONS, INITIALISERS, MODELS, SUPERVISED, build_model
from spider_utils.models.saved import NETWORK, check_network, check_size
from spider_utils.train.augment import LEVELS
from spider_utils.train.losses import DICE_SETS, LOSSES, REDUCTIONS, Loss, make_loss

CHOICES = {
    "model": MODELS,
    "activation": ("published", *ACTIVATIONS),
    "initialiser": INITIALISERS,
    "precision": ("auto", "float32", "bfloat16"),
    "schedule": ("plateau", "cosine"),
    "loss": LOSSES,
    "focal_reduction": REDUCTIONS,
    "dice_over": DICE_SETS,
    "augmentation": LEVELS,
}
BOUNDS: dict[str, tuple[float, float]] = {
    **{name: (1, 100_000) for name in ("batch_size", "epochs", "lr_patience", "stop_patience")},
    **{name: (0, 1) for name in ("focal_share", "fp_weight", "boundary_share", "balance", "teacher_share")},
    "threads": (0, 1024),
    **{"small_epochs": (0, 100_000), "shrink": (2, 16)},
    **{"gamma": (0, 100), "epoch_slices": (0, 10_000_000), "seed": SEEDS},
}


@dataclass(frozen=True)
class TrainSettings:
    """One training run. Each default says what it is, and whether it is the paper's or, where that states none, ours.

    The optimiser is Adam, which the authors' code imports; its other numbers are PyTorch's.
    """

    model: str = "paper_text"  # one of models.MODELS; paper: the network of its text
    width: int = 16  # channels at full resolution; paper
    train_height: int = 640  # pixels of the network's input; paper
    train_width: int = 512  # pixels; paper
    small_epochs: int = 0  # the first epochs, in which the network sees slices at a smaller size ...; paper: none
    shrink: int = 2  # ... whose height and width are those above divided by this; ours
    crop_height: int = 0  # in the other epochs it sees a part of each slice, of so many pixels; 0: all; paper: all
    crop_width: int = 0  # pixels; 0: all; paper: all
    batch_size: int = 8  # slices a step; paper
    activation: str = "published"  # what the network's source has; paper. Or one of models.ACTIVATIONS everywhere
    initialiser: str = "glorot_uniform"  # paper; or another of models.INITIALISERS
    deep_supervision: bool = False  # a loss at every head of U-Net++; ours
    neighbours: int = 0  # slices on either side that the network sees as channels ("2.5D"); paper: none
    epochs: int = 100  # at most; paper
    learning_rate: float = 1e-3  # of Adam; ours, the paper states none
    schedule: str = "plateau"  # ours, the authors' code imports it. Or "cosine": to 0 over all epochs
    lr_factor: float = 0.5  # "plateau" multiplies the learning rate by this ...; ours
    lr_patience: int = 5  # ... after more than so many epochs without a better validation mean IoU; ours
    stop_patience: int = 20  # training ends after so many such epochs; the paper stops early, the number is ours
    loss: str = "combined"  # focal and Dice; paper. Or another of losses.LOSSES
    focal_share: float = 0.6  # of the focal loss in the combined one, the rest is Dice; paper
    gamma: float = 4.0  # exponent of the focal loss; paper, in one of two sentences
    focal_reduction: str = "mean"  # over pixels, or "sum" over the pixels of an image; ours
    dice_over: str = "batch"  # the pixels of the whole batch, or of each "image"; ours
    fp_weight: float = 0.3  # of a false pixel in the Tversky losses, 1 minus this of a missed one; ours
    boundary_share: float = 0.1  # of the boundary loss at the last epoch; ours
    teacher_share: float = 0.0  # of what a teacher says, where it has one (see `trainer.train`); paper: no teacher
    augmentation: str = "none"  # paper: none stated. Or another of augment.LEVELS
    epoch_slices: int = 0  # slices drawn an epoch, those of rare sequences more often; 0: every slice once; ours
    balance: float = 0.5  # of the sequences in such draws: 0 all slices alike often, 1 all sequences; ours
    precision: str = "auto"  # of training: float16 where autocast has it on CUDA, else float32; or "bfloat16"; ours
    seed: int = 0  # of weights, order, dropout and augmentation; ours
    device: str = "auto"  # one of models.saved.DEVICES; ours
    threads: int = 0  # of torch on a CPU; 0: one for each core that other processes leave free (models.threads); ours

    def __post_init__(self) -> None:
        check_bounds(vars(self), BOUNDS)
        check_network(vars(self))
        for name, below in {"learning_rate": math.inf, "lr_factor": 1}.items():
            if not 0 < getattr(self, name) < below:
                raise SpiderError(f"{name}: expected more than 0 and less than {below}, found {getattr(self, name)}")
        check_choices(self, CHOICES)
        self._check_sizes()
        if self.deep_supervision and self.model not in SUPERVISED:
            raise SpiderError(f"deep_supervision: expected false for '{self.model}'; {', '.join(SUPERVISED)} has it")

    def _check_sizes(self) -> None:
        """Raise SpiderError unless slices of the first epochs, and parts of slices, have sizes that can be trained."""
        whole = {"crop_height": self.train_height, "crop_width": self.train_width}
        check_bounds(vars(self), {name: (0, side) for name, side in whole.items()})
        check_size(dict(zip(whole, self.crop, strict=True)))
        if not self.small_epochs:
            return
        if self.small_epochs >= self.epochs:
            raise SpiderError(f"small_epochs: expected less than epochs ({self.epochs}), found {self.small_epochs}")
        if self.schedule == "plateau":
            raise SpiderError(
                f"small_epochs: expected 0 for schedule 'plateau', found {self.small_epochs}; it compares epochs, and "
                "scores at two sizes are not alike; take 'cosine'"
            )
        check_size({f"{name} / shrink": getattr(self, name) // self.shrink for name in ("train_height", "train_width")})

    @property
    def size(self) -> tuple[int, int]:
        """The network's input size, (height, width) in pixels."""
        return self.train_height, self.train_width

    @property
    def crop(self) -> tuple[int, int]:
        """The size of what the network sees of a slice of `size` while it trains, (height, width) in pixels."""
        return self.crop_height or self.train_height, self.crop_width or self.train_width

    def at(self, epoch: int) -> "TrainSettings":
        """Return what settings an epoch (from 1) has: in the first `small_epochs` those of a training at that size."""
        if epoch > self.small_epochs:
            return self
        height, width = (side // self.shrink for side in self.size)
        return replace(self, small_epochs=0, train_height=height, train_width=width, crop_height=0, crop_width=0)

    def network(self) -> nn.Module:
        """Build the network, its weights drawn from torch's generator."""
        channels = 1 + 2 * self.neighbours
        return build_model(self.model, in_channels=channels, **{name: getattr(self, name) for name in NETWORK})

    def make_loss(self, epoch: int) -> Loss:
        """Make the loss of an epoch; only the boundary loss has a weight that changes."""
        return make_loss(**vars(self), progress=epoch / self.epochs)
