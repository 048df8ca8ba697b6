"""The losses. All take logits (N, C, H, W) and a target (N, H, W) of class numbers, and give a scalar.

Source: Ahmed et al. (2025), combined loss = alpha * Focal + (1 - alpha) * Dice with alpha = 0.6 and gamma = 4.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 4.0) -> Tensor:
    """Mean over all pixels of (1 - p)^gamma * -log p, p the softmax probability of the pixel's true class.

    Lin et al. 2017. The paper's formula has class weights alpha_i without giving them; here all are 1. gamma = 0 is
    cross-entropy. The clamp keeps the gradient finite where p is 1 and gamma below 1.
    """
    log_p = -F.cross_entropy(logits.float(), target, reduction="none")
    return (-((1 - log_p.exp()).clamp_min(1e-7) ** gamma) * log_p).mean()


def dice_loss(logits: Tensor, target: Tensor, epsilon: float = 1e-6) -> Tensor:
    """One minus the soft Dice, per class over the whole batch, averaged over all classes (background included)."""
    p = logits.float().softmax(dim=1)
    y = F.one_hot(target, logits.shape[1]).movedim(-1, 1)
    axes = (0, 2, 3)
    dice = (2 * (y * p).sum(axes) + epsilon) / (y.sum(axes) + p.sum(axes) + epsilon)
    return 1 - dice.mean()


class CombinedLoss(nn.Module):
    """focal_share * Focal(gamma) + (1 - focal_share) * Dice: the paper's 0.6 and 0.4."""

    def __init__(self, focal_share: float = 0.6, gamma: float = 4.0):
        super().__init__()
        self.focal_share, self.gamma = focal_share, gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        focal = focal_loss(logits, target, self.gamma)
        return self.focal_share * focal + (1 - self.focal_share) * dice_loss(logits, target)
