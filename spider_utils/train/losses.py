"""The losses. All take logits (N, C, H, W) and a target (N, H, W) of class numbers, and give a scalar.

Source: Ahmed et al. (2025), combined loss = alpha * Focal + (1 - alpha) * Dice with alpha = 0.6 and gamma = 4. The
others are those that the field would try next; each names its paper. All classes count, background included, except in
the boundary loss. A soft overlap is taken over the pixels of the whole batch.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from spider_utils.common.errors import SpiderError

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES = ("combined", "tversky", "focal_tversky", "boundary", "generalised_dice", "cross_entropy_dice")
LOSS = ("loss", "focal_share", "gamma", "focal_reduction", "dice_over", "fp_weight", "boundary_share")  # of make_loss
REDUCTIONS = ("mean", "sum")
DICE_SETS = ("batch", "image")
EPSILON = 1e-6
FOCAL_TVERSKY_GAMMA = 4 / 3  # Abraham & Khan's choice


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 4.0, reduction: str = "mean") -> Tensor:
    """(1 - p)^gamma * -log p, p the softmax probability of the pixel's true class: the mean over all pixels, or the
    sum over the pixels of an image, averaged over the images ("sum").

    Lin et al. 2017. The paper's formula has class weights alpha_i without giving them; here all are 1. gamma = 0 is
    cross-entropy. The clamp keeps the gradient finite where p is 1 and gamma below 1.
    """
    log_p = -F.cross_entropy(logits.float(), target, reduction="none")
    pixels = -((1 - log_p.exp()).clamp_min(1e-7) ** gamma) * log_p
    return pixels.mean() if reduction == "mean" else pixels.sum(dim=(1, 2)).mean()


def dice_loss(logits: Tensor, target: Tensor, epsilon: float = EPSILON, over: str = "batch") -> Tensor:
    """One minus the soft Dice, averaged over all classes (background included).

    The Dice of a class is taken over the pixels of the whole batch, or of each image and then averaged ("image"),
    where a class that an image lacks counts nearly 0 as soon as any of it is predicted.
    """
    p, y = _probabilities(logits, target)
    axes = (0, 2, 3) if over == "batch" else (2, 3)
    dice = (2 * (y * p).sum(axes) + epsilon) / (y.sum(axes) + p.sum(axes) + epsilon)
    return 1 - dice.mean()


def tversky_index(logits: Tensor, target: Tensor, fp_weight: float) -> Tensor:
    """Soft Tversky index of each class, (C,): TP / (TP + a FP + (1 - a) FN), a = `fp_weight`. 0.5 makes it the Dice."""
    p, y = _probabilities(logits, target)
    tp = (y * p).sum((0, 2, 3))
    fp, fn = p.sum((0, 2, 3)) - tp, y.sum((0, 2, 3)) - tp
    return (tp + EPSILON) / (tp + fp_weight * fp + (1 - fp_weight) * fn + EPSILON)


def tversky_loss(logits: Tensor, target: Tensor, fp_weight: float = 0.3) -> Tensor:
    """One minus the Tversky index, averaged over the classes; below 0.5 a missed pixel costs more than a false one.

    Salehi et al. 2017, who found 0.3 for false and 0.7 for missed pixels best.
    """
    return 1 - tversky_index(logits, target, fp_weight).mean()


def focal_tversky_loss(
    logits: Tensor, target: Tensor, fp_weight: float = 0.3, gamma: float = FOCAL_TVERSKY_GAMMA
) -> Tensor:
    """(1 - Tversky index)^(1 / gamma), averaged over the classes: poorly found classes weigh more.

    Abraham & Khan 2019. The clamp keeps the gradient finite where a class is perfect.
    """
    return ((1 - tversky_index(logits, target, fp_weight)).clamp_min(1e-7) ** (1 / gamma)).mean()


def generalised_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the Dice of all classes together, each weighted by 1 / (its reference pixels)^2.

    Sudre et al. 2017. A class that the batch lacks gets the largest weight of those that it has.
    """
    p, y = _probabilities(logits, target)
    sizes = y.sum((0, 2, 3)).double()
    weights = 1 / sizes.clamp_min(1) ** 2
    weights = torch.where(sizes > 0, weights, weights[sizes > 0].max()).float()
    both, either = (y * p).sum((0, 2, 3)), y.sum((0, 2, 3)) + p.sum((0, 2, 3))
    return 1 - 2 * (weights * both).sum() / (weights * either).sum()


def cross_entropy_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus Dice loss, the sum that nnU-Net trains with (Isensee et al. 2021)."""
    return F.cross_entropy(logits.float(), target) + dice_loss(logits, target)


def boundary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over pixels and foreground classes of softmax probability times signed distance to the class's boundary.

    Kervadec et al. 2019. It is lowest, and negative, for the reference itself, and has no scale against overlap losses,
    with which it is combined (`make_loss`).
    """
    distance = signed_distance(target, logits.shape[1])[:, 1:]
    return (logits.float().softmax(dim=1)[:, 1:] * distance).mean()


def signed_distance(target: Tensor, classes: int) -> Tensor:
    """Signed distance of each pixel to each class's boundary, pixels: (N, H, W) to (N, classes, H, W) float32.

    Negative inside, positive outside, half a pixel on either side of the boundary; 0 everywhere for a class that a
    slice lacks or is full of. Computed on the CPU, where the distance transform is.
    """
    masks = target.cpu().numpy()
    distances = np.zeros((len(masks), classes, *masks.shape[1:]), np.float32)
    for number, mask in enumerate(masks):
        for label in np.unique(mask):
            inside = mask == label
            if inside.all():
                continue
            outside = distance_transform_edt(~inside)
            depth = distance_transform_edt(inside)
            distances[number, label] = np.where(inside, 0.5 - depth, outside - 0.5)
    return torch.from_numpy(distances).to(target.device)


class CombinedLoss(nn.Module):
    """focal_share * Focal(gamma) + (1 - focal_share) * Dice: the paper's 0.6 and 0.4."""

    def __init__(
        self, focal_share: float = 0.6, gamma: float = 4.0, focal_reduction: str = "mean", dice_over: str = "batch"
    ):
        super().__init__()
        self.focal_share, self.gamma = focal_share, gamma
        self.focal_reduction, self.dice_over = focal_reduction, dice_over

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        focal = focal_loss(logits, target, self.gamma, self.focal_reduction)
        return self.focal_share * focal + (1 - self.focal_share) * dice_loss(logits, target, over=self.dice_over)


def make_loss(
    loss: str = "combined",
    focal_share: float = 0.6,
    gamma: float = 4.0,
    focal_reduction: str = "mean",
    dice_over: str = "batch",
    fp_weight: float = 0.3,
    boundary_share: float = 0.1,
    progress: float = 1.0,
) -> Loss:
    """Make a loss by its name in LOSSES; each takes of the other parameters what it has.

    "boundary" is (1 - share) * combined + share * boundary loss. Kervadec et al. 2019 let the share rise by 0.01 an
    epoch; here it is `boundary_share * progress`, `progress` the part of the training that is done, 0 to 1, so that
    short and long trainings see the same schedule. Raises SpiderError on an unknown name.
    """
    combined = CombinedLoss(focal_share, gamma, focal_reduction, dice_over)
    share = boundary_share * progress
    made: dict[str, Loss] = {
        "combined": combined,
        "tversky": partial(tversky_loss, fp_weight=fp_weight),
        "focal_tversky": partial(focal_tversky_loss, fp_weight=fp_weight),
        "boundary": lambda logits, target: (
            (1 - share) * combined(logits, target) + share * boundary_loss(logits, target)
        ),
        "generalised_dice": generalised_dice_loss,
        "cross_entropy_dice": cross_entropy_dice_loss,
    }
    if loss not in made:
        raise SpiderError(f"loss: expected one of {', '.join(made)}, found '{loss}'")
    return made[loss]


def _probabilities(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return softmax and one-hot target, both (N, classes, H, W)."""
    return logits.float().softmax(dim=1), F.one_hot(target, logits.shape[1]).movedim(-1, 1)
