"""What a network is made of: the layers that a slice passes, stage by stage, and their counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spider_utils.models.build import Stage, count_parameters, trace_stages


@dataclass(frozen=True)
class StageLayers:
    """One stage of the path with its layers in the order of their use.

    `way_in` are those between the stage before and this one: pooling, or a transposed convolution and what follows it.
    """

    stage: Stage
    way_in: tuple[nn.Module, ...]
    block: tuple[nn.Module, ...]


def path_layers(model: nn.Module, slices: Tensor) -> list[StageLayers]:
    """Send slices (N, C, H, W) through the network and note every layer that they pass."""
    used: list[nn.Module] = []
    layers = [module for module in model.modules() if not list(module.children())]
    hooks = [layer.register_forward_hook(lambda layer, _, __: used.append(layer)) for layer in layers]
    stages, _ = trace_stages(model, slices)
    for hook in hooks:
        hook.remove()
    path = []
    for stage, (_, _, module) in zip(stages, model.stages(), strict=True):
        inside = set(module.modules())
        way_in = tuple(takewhile(lambda layer, inside=inside: layer not in inside, used))
        block = tuple(takewhile(inside.__contains__, used[len(way_in) :]))
        path.append(StageLayers(stage, way_in, block))
        used = used[len(way_in) + len(block) :]
    return path


def network_facts(model: nn.Module, slices: Tensor) -> dict[str, int | float | str]:
    """Count what a network has and uses, with slices (N, C, H, W) sent through it; the keys are readable names.

    `slices` must be large enough for the network's poolings. Batch normalisation's statistics are its running means and
    variances; Keras counts them as parameters, PyTorch does not.
    """
    path = path_layers(model, slices)
    ups = [part.way_in for part in path if part.way_in and isinstance(part.way_in[0], nn.ConvTranspose2d)]
    layers = [layer for part in path for layer in (*part.way_in, *part.block)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    deepest = min((part.stage for part in path), key=lambda stage: stage.height)
    return {
        "trainable parameters": count_parameters(model),
        "with batch normalisation's statistics": count_parameters(model) + sum(2 * norm.num_features for norm in norms),
        "convolutions": _count(layers, nn.Conv2d),
        "transposed convolutions, 3 × 3": sum(up[0].kernel_size == (3, 3) for up in ups),
        "transposed convolutions, 2 × 2": sum(up[0].kernel_size == (2, 2) for up in ups),
        "transposed convolutions with batch normalisation": sum(_count(up, nn.BatchNorm2d) for up in ups),
        "batch normalisations": len(norms),
        "batch normalisations a block": max(_count(part.block, nn.BatchNorm2d) for part in path),
        "ReLU": _count(layers, nn.ReLU),
        "Leaky ReLU": _count(layers, nn.LeakyReLU),
        "max poolings": _count(layers, nn.MaxPool2d),
        "deepest resolution": f"{deepest.height} × {deepest.width}",
        "batch normalisation's epsilon": norms[0].eps,
        "batch normalisation's momentum": norms[0].momentum,
    }


def multiply_adds(model: nn.Module, slices: Tensor) -> int:
    """Count the multiplications with a weight that one slice of `slices` (N, C, H, W) costs in evaluation mode.

    Those of convolutions and transposed convolutions, each followed by an addition; biases, normalisation, activations,
    pooling and interpolation are left out, being small beside them. A convolution takes its kernel at every pixel of
    its output, padding included; a transposed one at every pixel of its input, whatever is cut off afterwards.
    """
    was_training = model.training
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.eval()(slices)
    finally:
        model.train(was_training)
    return counter.get_total_flops() // (2 * len(slices))  # torch counts the additions, too


def _count(layers: Sequence[nn.Module], kind: type[nn.Module]) -> int:
    return sum(isinstance(layer, kind) for layer in layers)
