"""Networks that go beyond the paper's: each is its U-Net (`paper.PaperTextUNet`: same levels, width, blocks,
dropout, initialisation) with one idea changed, so that a comparison shows what the idea is worth.

`attention`: additive gates on the skip connections (Oktay et al. 2018). `unetpp`: dense nested skip connections, deep
supervision as an option (Zhou et al. 2018). `residual`: a shortcut round every block (He et al. 2016).
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spider_utils.models.paper import (
    DECODER_DROPOUT,
    LEVELS,
    PaperTextUNet,
    conv_block,
    encoder_blocks,
    glorot_uniform,
    upsample_block,
)


class AttentionGate(nn.Module):
    """Additive attention: how much of each pixel of a skip connection is passed on (Oktay et al. 2018, equation 1).

    Both inputs are brought to the coarser grid, added, and one number in 0..1 a pixel is made of them and brought back
    to the skip's grid.
    """

    def __init__(self, skip_channels: int, below_channels: int):
        super().__init__()
        between = max(skip_channels // 2, 1)
        self.from_skip = nn.Conv2d(skip_channels, between, 2, stride=2)
        self.from_below = nn.Conv2d(below_channels, between, 1)
        self.relu = nn.ReLU()
        self.to_weight = nn.Conv2d(between, 1, 1)

    def weights(self, skip: Tensor, below: Tensor) -> Tensor:
        """Return the gate of each pixel, (N, 1, H, W) in 0..1; skip is (N, C, H, W), below (N, 2C, H/2, W/2)."""
        coarse = self.to_weight(self.relu(self.from_skip(skip) + self.from_below(below))).sigmoid()
        return F.interpolate(coarse, size=skip.shape[-2:], mode="bilinear")

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        return skip * self.weights(skip, below)


class AttentionUNet(PaperTextUNet):
    """The paper's U-Net with an additive attention gate on every skip connection."""

    def __init__(self, in_channels: int = 1, classes: int = 4, width: int = 16):
        super().__init__(in_channels, classes, width)
        channels = [width * level for level in LEVELS]
        self.gates = nn.ModuleList(AttentionGate(*pair) for pair in zip(channels, channels[1:], strict=False))
        self.gates.apply(glorot_uniform)

    def skip(self, level: int, features: Tensor, below: Tensor) -> Tensor:
        return self.gates[level](features, below)


def attention_maps(model: AttentionUNet, slices: Tensor) -> list[Tensor]:
    """Send slices (N, C, H, W) through the network; return each gate's weights, (N, 1, H / 2^level, W / 2^level)."""
    maps: dict[int, Tensor] = {}

    def keep(level: int) -> Callable[..., None]:
        return lambda gate, inputs, _: maps.update({level: gate.weights(*inputs)})

    hooks = [gate.register_forward_hook(keep(level)) for level, gate in enumerate(model.gates)]
    was_training = model.training
    with torch.no_grad():
        model.eval()(slices)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return [maps[level] for level in sorted(maps)]


class ResidualBlock(nn.Module):
    """The paper's block with a shortcut: Leaky ReLU(block without its last activation + shortcut).

    The shortcut is the input itself, or a 1x1 convolution with batch normalisation where the channels change.
    """

    def __init__(self, channels_in: int, channels_out: int, dropout: float):
        super().__init__()
        *layers, self.activation = conv_block(channels_in, channels_out, dropout)
        self.layers = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            convolution = nn.Conv2d(channels_in, channels_out, 1)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.layers(x) + self.shortcut(x))


class ResidualUNet(PaperTextUNet):
    """The paper's U-Net with a shortcut round every block."""

    block = ResidualBlock


class NestedUNet(nn.Module):
    """U-Net++: between encoder and decoder lies a grid of blocks, node (i, j) at level i in column j.

    Node (i, 0) is the encoder's block; node (i, j) takes all nodes of its level before it and the upsampled node
    (i + 1, j - 1). With `deep_supervision` every node (0, j > 0) has a head: in training, forward returns the logits of
    all heads (heads, N, classes, H, W), each of which the loss is taken of; in evaluation their mean. Without it there
    is one head, at the last node.
    """

    def __init__(self, in_channels: int = 1, classes: int = 4, width: int = 16, deep_supervision: bool = False):
        super().__init__()
        channels = [width * level for level in LEVELS]
        self.encoder = encoder_blocks(conv_block, in_channels, channels)
        self.pool = nn.MaxPool2d(2)
        self.upsample, self.nodes = nn.ModuleDict(), nn.ModuleDict()
        for level, column in self.grid():
            own = channels[level]
            self.upsample[f"{level}_{column}"] = upsample_block(channels[level + 1], own)
            self.nodes[f"{level}_{column}"] = conv_block((column + 1) * own, own, DECODER_DROPOUT[level])
        heads = len(LEVELS) - 1 if deep_supervision else 1
        self.heads = nn.ModuleList(nn.Conv2d(channels[0], classes, 1) for _ in range(heads))
        self.apply(glorot_uniform)

    @staticmethod
    def grid() -> list[tuple[int, int]]:
        """List the nodes (level, column) right of the encoder, in the order of their use."""
        last = len(LEVELS) - 1
        return [(level, column) for column in range(1, last + 1) for level in range(last - column + 1)]

    def forward(self, slices: Tensor) -> Tensor:
        """Map slices (N, C, H, W) to logits (N, classes, H, W), or those of all heads, see above."""
        rows: list[list[Tensor]] = []
        x = slices
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            rows.append([x])
        for level, column in self.grid():
            name = f"{level}_{column}"
            up = self.upsample[name](rows[level + 1][column - 1])
            rows[level].append(self.nodes[name](torch.cat([*rows[level][:column], up], dim=1)))
        ends = rows[0][-len(self.heads) :]
        logits = torch.stack([head(end) for head, end in zip(self.heads, ends, strict=True)])
        return logits if self.training and len(self.heads) > 1 else logits.mean(0)

    def stages(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Give (name, kind, module) in the order of their use: kind is encoder, bottleneck, decoder or head."""
        last = len(self.encoder) - 1
        for level, block in enumerate(self.encoder):
            yield (f"encoder {level + 1}", "encoder", block) if level < last else ("bottleneck", "bottleneck", block)
        for level, column in self.grid():
            yield f"node {level + 1}, {column}", "decoder", self.nodes[f"{level}_{column}"]
        for number, head in enumerate(self.heads, start=1):
            yield "head" if len(self.heads) == 1 else f"head {number}", "head", head
