"""Several networks as one."""

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Several networks as one: the logarithm of their mean softmax stands for the logits."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, slices: Tensor) -> Tensor:
        """Map slices (N, C, H, W) to log probabilities (N, classes, H, W)."""
        mean = sum(network(slices).float().softmax(dim=1) for network in self.networks) / len(self.networks)
        return mean.clamp_min(torch.finfo(torch.float32).tiny).log()
