"""The losses. All take logits (N, C, H, W) and a target (N, H, W) of class numbers, and give a scalar.

Source: Ahmed et al. (2025), combined loss = alpha * Focal + (1 - alpha) * Dice with alpha = 0.6 and gamma = 4.
"""

import torch.nn.functional as F
from torch import Tensor, nn

REDUCTIONS = ("mean", "sum")
DICE_SETS = ("batch", "image")


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 4.0, reduction: str = "mean") -> Tensor:
    """(1 - p)^gamma * -log p, p the softmax probability of the pixel's true class: the mean over all pixels, or the
    sum over the pixels of an image, averaged over the images ("sum").

    Lin et al. 2017. The paper's formula has class weights alpha_i without giving them; here all are 1. gamma = 0 is
    cross-entropy. The clamp keeps the gradient finite where p is 1 and gamma below 1.
    """
    log_p = -F.cross_entropy(logits.float(), target, reduction="none")
    pixels = -((1 - log_p.exp()).clamp_min(1e-7) ** gamma) * log_p
    return pixels.mean() if reduction == "mean" else pixels.sum(dim=(1, 2)).mean()


def dice_loss(logits: Tensor, target: Tensor, epsilon: float = 1e-6, over: str = "batch") -> Tensor:
    """One minus the soft Dice, averaged over all classes (background included).

    The Dice of a class is taken over the pixels of the whole batch, or of each image and then averaged ("image"),
    where a class that an image lacks counts nearly 0 as soon as any of it is predicted.
    """
    p = logits.float().softmax(dim=1)
    y = F.one_hot(target, logits.shape[1]).movedim(-1, 1)
    axes = (0, 2, 3) if over == "batch" else (2, 3)
    dice = (2 * (y * p).sum(axes) + epsilon) / (y.sum(axes) + p.sum(axes) + epsilon)
    return 1 - dice.mean()


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
