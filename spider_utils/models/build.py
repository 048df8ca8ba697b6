"""The networks, made by name: the paper's two (`paper`) and those that go beyond it (`variants`). All take slices
(N, C, H, W) and give logits (N, classes, H, W).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spider_utils.common.errors import SpiderError
from spider_utils.models.paper import LEAKY_SLOPE, AuthorCodeUNet, PaperTextUNet, glorot_uniform
from spider_utils.models.variants import AttentionUNet, NestedUNet, ResidualUNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "paper_text": PaperTextUNet,
    "author_code": AuthorCodeUNet,
    "attention": AttentionUNet,
    "unetpp": NestedUNet,
    "residual": ResidualUNet,
}
SUPERVISED = ("unetpp",)  # networks that have deep supervision as an option


def he_normal(module: nn.Module) -> None:
    """Fill a convolution's weights by the rule for ReLU (He et al. 2015) and its bias with zeros."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE),
}
INITIALISERS: dict[str, Callable[[nn.Module], None]] = {"glorot_uniform": glorot_uniform, "he_normal": he_normal}


def build_model(
    name: str,
    in_channels: int = 1,
    classes: int = 4,
    width: int = 16,
    activation: str = "published",
    initialiser: str = "glorot_uniform",
    deep_supervision: bool = False,
) -> nn.Module:
    """Build a network by name. `width` is the number of channels at full resolution (the paper: 16).

    `activation` is a name of ACTIVATIONS that then stands everywhere, or "published": what the network's source has.
    `deep_supervision` is for SUPERVISED networks.
    Raises SpiderError on an unknown name, deep supervision of another network, or a width below 1.
    """
    choices = {"model": (name, MODELS), "activation": (activation, ("published", *ACTIVATIONS))}
    for what, (chosen, known) in (choices | {"initialiser": (initialiser, INITIALISERS)}).items():
        if chosen not in known:
            raise SpiderError(f"{what}: expected one of {', '.join(known)}, found '{chosen}'")
    if width < 1:
        raise SpiderError(f"width: expected 1 channel or more, found {width}")
    if deep_supervision and name not in SUPERVISED:
        raise SpiderError(f"deep_supervision: expected false for '{name}'; only {', '.join(SUPERVISED)} has it")
    options = {"deep_supervision": True} if deep_supervision else {}
    model = MODELS[name](in_channels=in_channels, classes=classes, width=width, **options)
    if initialiser != "glorot_uniform":  # which the networks have from their constructors
        model.apply(INITIALISERS[initialiser])
    if activation != "published":
        replace_activations(model, ACTIVATIONS[activation])
    return model


def replace_activations(model: nn.Module, make: Callable[[], nn.Module]) -> None:
    """Put a new activation in the place of every ReLU and Leaky ReLU."""
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if isinstance(module, nn.ReLU | nn.LeakyReLU):
                setattr(parent, name, make())


def count_parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@dataclass(frozen=True)
class Stage:
    """One block on the path through a network, as it is drawn: its output is (channels, height, width)."""

    name: str
    kind: str  # "encoder", "bottleneck", "decoder" or "head"
    channels: int
    height: int
    width: int


def stages_of(model: Any) -> list[tuple[str, str, nn.Module]]:
    """List a network's blocks along the path, (name, kind, module); every network of MODELS tells its own."""
    return list(model.stages())


def trace_stages(model: nn.Module, slices: Tensor) -> tuple[list[Stage], list[Tensor]]:
    """Send slices (N, C, H, W) through the network; return its stages and their outputs, in the order of the path."""
    outputs: dict[str, Tensor] = {}
    named = stages_of(model)
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out.detach()}))
        for name, _, module in named
    ]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model(slices)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    stages = [Stage(name, kind, *outputs[name].shape[1:]) for name, kind, _ in named]
    return stages, [outputs[name] for name, _, _ in named]
