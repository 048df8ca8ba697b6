"""The settings of a training: every default in one place."""

from dataclasses import dataclass

from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import check_choices
from spider_utils.models.build import ACTIVATIONS, INITIALISERS, MODELS, SUPERVISED, build_model
from spider_utils.models.paper import DIVISOR
from spider_utils.models.saved import NETWORK
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
    deep_supervision: bool = False  # a loss at every head of U-Net++
    neighbours: int = 0  # slices on either side that the network sees as channels ("2.5D")
    epochs: int = 100  # at most
    learning_rate: float = 1e-3
    schedule: str = "plateau"  # or "cosine": from the learning rate to 0 over all epochs
    lr_factor: float = 0.5  # the learning rate is multiplied by this ...
    lr_patience: int = 5  # ... after more than so many epochs without a better validation mean IoU
    stop_patience: int = 20  # training ends after so many
    loss: str = "combined"  # the paper's; or another of losses.LOSSES
    focal_share: float = 0.6
    gamma: float = 4.0
    focal_reduction: str = "mean"  # over pixels, or "sum" over the pixels of an image
    dice_over: str = "batch"  # the pixels of the whole batch, or of each "image"
    fp_weight: float = 0.3  # of a false pixel in the Tversky losses, 1 less this of a missed one
    boundary_share: float = 0.1  # of the boundary loss at the last epoch
    augmentation: str = "none"  # or "light", "strong"
    precision: str = "auto"  # of training: float16 where autocast has it on CUDA, else float32; or "bfloat16"
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
        for name in ("focal_share", "fp_weight", "boundary_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SpiderError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        for name in ("gamma", "neighbours"):
            if getattr(self, name) < 0:
                raise SpiderError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        check_choices(self, CHOICES)
        if self.deep_supervision and self.model not in SUPERVISED:
            raise SpiderError(f"deep_supervision: expected false for '{self.model}'; {', '.join(SUPERVISED)} has it")

    @property
    def size(self) -> tuple[int, int]:
        """The network's input size, (height, width) in pixels."""
        return self.train_height, self.train_width

    def network(self) -> nn.Module:
        """Build the network, its weights drawn from torch's generator."""
        channels = 1 + 2 * self.neighbours
        return build_model(self.model, in_channels=channels, **{name: getattr(self, name) for name in NETWORK})

    def make_loss(self, epoch: int) -> Loss:
        """Make the loss of an epoch; only the boundary loss has a weight that changes."""
        return make_loss(**vars(self), progress=epoch / self.epochs)
