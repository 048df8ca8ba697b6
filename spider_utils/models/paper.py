"""The paper's two networks. Both take slices (N, C, H, W) and give logits (N, classes, H, W); softmax is the loss's
business. `models.build_model` makes them by name.

`paper_text` is the modified U-Net as the text and the seed of Ahmed et al. (2025) describe it: blocks of convolution,
batch normalisation and Leaky ReLU (slope 0.1) with dropout, max pooling, 16 to 512 channels, transposed convolutions
with batch normalisation and Leaky ReLU for the way up, skip connections, Glorot uniform initialisation.

`author_code` is the network of the authors' public Keras code (function multi_unet_model2), which differs from the
text: ReLU everywhere but in the first upsample block, one batch normalisation a block, no pooling before the 512
channels.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from spider_utils.models.dropout import Dropout

LEAKY_SLOPE = 0.1
LEVELS = (1, 2, 4, 8, 16, 32)  # channels of each level in units of the width: 16 ... 512 at width 16
DIVISOR = 2 ** (len(LEVELS) - 1)  # every pooling halves height and width, which must come out even
ENCODER_DROPOUT = (0.1, 0.1, 0.2, 0.2, 0.3, 0.3)
DECODER_DROPOUT = (0.1, 0.1, 0.2, 0.2, 0.2)  # from the highest resolution to the lowest


def conv_block(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and Leaky ReLU; dropout between them. Keeps H and W."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(LEAKY_SLOPE),
        Dropout(dropout),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(LEAKY_SLOPE),
    )


def upsample_block(channels_in: int, channels_out: int) -> nn.Sequential:
    """The paper's upsample block: a transposed convolution that doubles H and W, batch normalisation, Leaky ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, 2, stride=2),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(LEAKY_SLOPE),
    )


def encoder_blocks(block: Callable[..., nn.Module], in_channels: int, channels: list[int]) -> nn.ModuleList:
    """Make the blocks of the way down: block(channels in, channels out, dropout), one a level."""
    pairs = zip([in_channels, *channels], channels, ENCODER_DROPOUT, strict=False)
    return nn.ModuleList(block(before, after, dropout) for before, after, dropout in pairs)


class PaperTextUNet(nn.Module):
    """The modified U-Net of the paper's text: six levels, five poolings, so H and W must be divisible by DIVISOR.

    The variants (`spider_utils.models.variants`) are its subclasses with another `block` or another `skip`.
    """

    block: Callable[[int, int, float], nn.Module] = staticmethod(conv_block)

    def __init__(self, in_channels: int = 1, classes: int = 4, width: int = 16):
        super().__init__()
        channels = [width * level for level in LEVELS]
        self.encoder = encoder_blocks(self.block, in_channels, channels)
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.ModuleList(upsample_block(channels[i + 1], channels[i]) for i in range(len(channels) - 1))
        self.decoder = nn.ModuleList(
            self.block(2 * channels[i], channels[i], DECODER_DROPOUT[i]) for i in range(len(channels) - 1)
        )
        self.head = nn.Conv2d(channels[0], classes, 1)
        self.apply(glorot_uniform)

    def forward(self, slices: Tensor) -> Tensor:
        """Map slices (N, C, H, W) to logits (N, classes, H, W)."""
        skips, x = [], slices
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            up = self.upsample[level](x)
            x = self.decoder[level](torch.cat([up, self.skip(level, skips[level], x)], dim=1))
        return self.head(x)

    def skip(self, level: int, features: Tensor, below: Tensor) -> Tensor:
        """Return what the skip connection of a level passes on of its features; `below` comes from the level below."""
        return features

    def stages(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Give (name, kind, module) along the path, for drawing: kind is encoder, bottleneck, decoder or head."""
        last = len(self.encoder) - 1
        for level, block in enumerate(self.encoder):
            yield (f"encoder {level + 1}", "encoder", block) if level < last else ("bottleneck", "bottleneck", block)
        for level in reversed(range(len(self.decoder))):
            yield f"decoder {level + 1}", "decoder", self.decoder[level]
        yield "head", "head", self.head


KERAS_NORM: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01}  # Keras' defaults; its momentum 0.99 is 1 - PyTorch's


def author_block(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    """Convolution, ReLU, batch normalisation, dropout, convolution, ReLU. Keeps H and W."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(channels_out, **KERAS_NORM),
        Dropout(dropout),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.ReLU(),
    )


class SameConvTranspose(nn.ConvTranspose2d):
    """A 3x3 transposed convolution of stride 2 with Keras' "same" padding: it doubles H and W.

    The full output is 2 n + 1 long; Keras cuts the last row and column, where PyTorch's `padding=1, output_padding=1`
    would cut the first.
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x, output_size)[..., :-1, :-1]


class AuthorCodeUNet(nn.Module):
    """The U-Net of the authors' code: four poolings, then 256 and 512 channels at 1/16 of the resolution."""

    def __init__(self, in_channels: int = 1, classes: int = 4, width: int = 16):
        super().__init__()
        down = [width * level for level in LEVELS]
        self.encoder = encoder_blocks(author_block, in_channels, down)
        self.pool = nn.MaxPool2d(2)
        up = down[-2:0:-1]  # channels on the way up: 256, 128, 64, 32 at width 16
        first = nn.Sequential(
            SameConvTranspose(down[-1], up[0]), nn.BatchNorm2d(up[0], **KERAS_NORM), nn.LeakyReLU(LEAKY_SLOPE)
        )
        others = [nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in zip(up, up[1:], strict=False)]
        self.upsample = nn.ModuleList([first, *others])
        skips = down[3::-1]  # 128, 64, 32, 16
        self.decoder = nn.ModuleList(
            author_block(channels + skip, channels, dropout)
            for channels, skip, dropout in zip(up, skips, DECODER_DROPOUT[3::-1], strict=True)
        )
        self.head = nn.Conv2d(up[-1], classes, 1)
        self.apply(glorot_uniform)

    def forward(self, slices: Tensor) -> Tensor:
        """Map slices (N, C, H, W) to logits (N, classes, H, W)."""
        skips, x = [], slices
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if 0 < level < 5 else x)
            skips.append(x)
        for up, block, skip in zip(self.upsample, self.decoder, skips[3::-1], strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
        return self.head(x)

    def stages(self) -> Iterator[tuple[str, str, nn.Module]]:
        """Give (name, kind, module) along the path, for drawing: kind is encoder, bottleneck, decoder or head."""
        for level, block in enumerate(self.encoder):
            name, kind = (f"encoder {level + 1}", "encoder") if level < 4 else (f"middle {level - 3}", "bottleneck")
            yield name, kind, block
        for level, block in zip((4, 3, 2, 1), self.decoder, strict=True):
            yield f"decoder {level}", "decoder", block
        yield "head", "head", self.head


def glorot_uniform(module: nn.Module) -> None:
    """Fill a convolution's weights with Glorot uniform values (Glorot & Bengio 2010) and its bias with zeros."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
