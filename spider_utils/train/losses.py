"""The losses. All take logits (N, C, H, W) and a target (N, H, W) of class numbers, and give a scalar.

Source: Ahmed et al. (2025), combined loss = alpha * Focal + (1 - alpha) * Dice with alpha = 0.6 and gamma = 4. The
others are those that the field would try next; each names its paper. All classes count, background included, except in
the boundary loss. A soft overlap is taken over the pixels of the whole batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from spider_utils.common.errors import SpiderError
from spider_utils.common.monai import monai_module

Loss = Callable[[Tensor, Tensor], Tensor]

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
    p, y = logits.float().softmax(dim=1), F.one_hot(target, logits.shape[1]).movedim(-1, 1)
    axes = (0, 2, 3) if over == "batch" else (2, 3)
    dice = (2 * (y * p).sum(axes) + epsilon) / (y.sum(axes) + p.sum(axes) + epsilon)
    return 1 - dice.mean()


def combined_loss(
    logits: Tensor,
    target: Tensor,
    focal_share: float = 0.6,
    gamma: float = 4.0,
    focal_reduction: str = "mean",
    dice_over: str = "batch",
) -> Tensor:
    """focal_share * Focal(gamma) + (1 - focal_share) * Dice: the paper's 0.6 and 0.4."""
    focal = focal_loss(logits, target, gamma, focal_reduction)
    return focal_share * focal + (1 - focal_share) * dice_loss(logits, target, over=dice_over)


def tversky_losses(logits: Tensor, target: Tensor, fp_weight: float) -> Tensor:
    """One minus the soft Tversky index of each class, (C,): TP / (TP + a FP + (1 - a) FN), a = `fp_weight`.

    0.5 makes it the Dice.
    """
    return _of_monai(
        "TverskyLoss", logits, target, alpha=fp_weight, beta=1 - fp_weight, reduction="none", epsilon=EPSILON
    )


def tversky_loss(logits: Tensor, target: Tensor, fp_weight: float = 0.3) -> Tensor:
    """One minus the Tversky index, averaged over the classes; below 0.5 a missed pixel costs more than a false one.

    Salehi et al. 2017, who found 0.3 for false and 0.7 for missed pixels best.
    """
    return tversky_losses(logits, target, fp_weight).mean()


def focal_tversky_loss(
    logits: Tensor, target: Tensor, fp_weight: float = 0.3, gamma: float = FOCAL_TVERSKY_GAMMA
) -> Tensor:
    """(1 - Tversky index)^(1 / gamma), averaged over the classes: poorly found classes weigh more.

    Abraham & Khan 2019. The clamp keeps the gradient finite where a class is perfect.
    """
    return (tversky_losses(logits, target, fp_weight).clamp_min(1e-7) ** (1 / gamma)).mean()


def generalised_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the Dice of all classes together, each weighted by 1 / (its reference pixels)^2.

    Sudre et al. 2017. A class that the batch lacks gets the largest weight of those that it has. Nothing is added to
    the fraction: beside weights of 1e-9, even 1e-6 would count.
    """
    return _of_monai("GeneralizedDiceLoss", logits, target, epsilon=0.0)


def cross_entropy_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus Dice loss, the sum that nnU-Net trains with (Isensee et al. 2021)."""
    return _of_monai("DiceCELoss", logits, target, epsilon=EPSILON)


def boundary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over pixels and foreground classes of softmax probability times signed distance to the class's boundary.

    Kervadec et al. 2019. It is lowest, and negative, for the reference itself, and has no scale against overlap losses,
    with which it is combined (`combined_boundary_loss`).
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


def combined_boundary_loss(
    logits: Tensor, target: Tensor, boundary_share: float = 0.1, progress: float = 1.0, **combined: Any
) -> Tensor:
    """(1 - share) * combined + share * boundary loss; `combined`: options of `combined_loss`.

    Kervadec et al. 2019 let the share rise by 0.01 an epoch; here it is `boundary_share * progress`, `progress` the
    part of the training that is done, 0 to 1, so that short and long trainings see the same schedule.
    """
    share = boundary_share * progress
    return (1 - share) * combined_loss(logits, target, **combined) + share * boundary_loss(logits, target)


def distillation_loss(logits: Tensor, taught: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the prediction from a teacher's, `taught` (N, C, H, W) its log probabilities: the
    mean over all pixels. Hinton et al. 2015, at temperature 1.
    """
    found = logits.float().log_softmax(dim=1)
    return F.kl_div(found, taught, reduction="none", log_target=True).sum(dim=1).mean()


COMBINED = ("focal_share", "gamma", "focal_reduction", "dice_over")
# Every loss that a training can have, with the names of its options, which are those of `TrainSettings`, or "progress".
LOSSES: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "combined": (combined_loss, COMBINED),
    "tversky": (tversky_loss, ("fp_weight",)),
    "focal_tversky": (focal_tversky_loss, ("fp_weight",)),
    "boundary": (combined_boundary_loss, (*COMBINED, "boundary_share", "progress")),
    "generalised_dice": (generalised_dice_loss, ()),
    "cross_entropy_dice": (cross_entropy_dice_loss, ()),
}


def make_loss(loss: str = "combined", **options: Any) -> Loss:
    """Make a loss by its name in LOSSES; it takes of the options, which may be a training's settings, what it has.

    Raises SpiderError on an unknown name.
    """
    if loss not in LOSSES:
        raise SpiderError(f"loss: expected one of {', '.join(LOSSES)}, found '{loss}'")
    function, names = LOSSES[loss]
    return partial(function, **{name: options[name] for name in names if name in options})


def _of_monai(name: str, logits: Tensor, target: Tensor, epsilon: float, **options: Any) -> Tensor:
    """Return a loss of MONAI's over all classes and the whole batch, `epsilon` added to both sides of its fractions."""
    options |= {"to_onehot_y": True, "softmax": True, "batch": True, "smooth_nr": epsilon, "smooth_dr": epsilon}
    return getattr(monai_module("losses"), name)(**options)(logits.float(), target[:, None])
