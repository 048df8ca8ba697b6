"""The layers along a network's path, and their counts, against what can be counted by hand."""

import pytest
import torch
from torch import nn

from spider_utils.models.build import MODELS, build_model
from spider_utils.models.facts import multiply_adds, network_facts, path_layers
from spider_utils.models.paper import SameConvTranspose

SLICES = torch.zeros(1, 1, 64, 96)


def kinds(layers) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def test_each_stage_has_its_block_and_the_way_into_it():
    model = build_model("author_code", width=2)
    path = path_layers(model, SLICES)
    block = ["Conv2d", "ReLU", "BatchNorm2d", "Dropout", "Conv2d", "ReLU"]
    assert [kinds(part.block) for part in path] == [block] * 10 + [["Conv2d"]]
    pooled, linear = ["MaxPool2d"], ["ConvTranspose2d"]
    first = ["SameConvTranspose", "BatchNorm2d", "LeakyReLU"]
    ways = [[], pooled, pooled, pooled, pooled, [], first, linear, linear, linear, []]
    assert [kinds(part.way_in) for part in path] == ways
    assert [layer for part in path for layer in part.block] == [
        layer for _, _, b in model.stages() for layer in leaves(b)
    ]


def leaves(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if not list(layer.children())]


def test_tracing_leaves_no_hook_behind():
    model = build_model("paper_text", width=1)
    path_layers(model, SLICES)
    assert not [module for module in model.modules() if module._forward_hooks]


def test_facts_of_the_authors_code_are_those_of_the_public_model():
    facts = network_facts(build_model("author_code"), SLICES)
    assert list(facts.values())[:2] == [8_033_588, 8_037_076]
    assert list(facts.values())[2:] == [21, 1, 3, 1, 11, 1, 20, 1, 4, "4 × 6", 1e-3, 0.01]


def test_facts_of_the_papers_text():
    facts = network_facts(build_model("paper_text"), SLICES)
    channels = [16, 32, 64, 128, 256]
    norms = 2 * (2 * sum(channels) + 512) + sum(channels)  # two a block, one a transposed convolution
    assert facts["with batch normalisation's statistics"] - facts["trainable parameters"] == 2 * norms
    assert list(facts.values())[2:] == [23, 0, 5, 5, 27, 2, 0, 27, 5, "2 × 3", 1e-5, 0.1]


def test_multiply_adds_by_hand():
    """Slices of 8 x 6: every layer's output (or input, where transposed) times its kernel and channels."""
    shared = nn.Conv2d(4, 4, 1)  # passed twice
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),  # 8 x 6, 9 times 1 times 2
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 4, 2, stride=2),  # 4 x 3, 4 times 2 times 4
        shared,  # 4 x 3, 4 times 4
        shared,
        nn.Conv2d(4, 4, 3, padding=1, groups=2),  # 4 x 3, 9 times 2 times 4
        nn.ConvTranspose2d(4, 3, 2, stride=2),  # from 4 x 3, 4 times 4 times 3
        SameConvTranspose(3, 1),  # from 8 x 6, 9 times 3 times 1; what is cut off counts
    )
    expected = 48 * 18 + 12 * 32 + 2 * 12 * 16 + 12 * 72 + 12 * 48 + 48 * 27
    assert multiply_adds(model, torch.zeros(1, 1, 8, 6)) == expected
    assert multiply_adds(model, torch.zeros(5, 1, 8, 6)) == expected
    assert not [module for module in model.modules() if module._forward_hooks]
    assert model.training


@pytest.mark.parametrize("name", MODELS)
def test_multiply_adds_are_those_of_the_layers_by_their_shapes(name):
    model, counted = build_model(name, width=2).eval(), []

    def add(layer, inputs, output):
        pixels = (inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output).shape[-2:]
        counted.append(pixels.numel() * layer.weight.numel())

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    with torch.no_grad():
        model(SLICES)
    for hook in hooks:
        hook.remove()
    assert multiply_adds(model, SLICES) == sum(counted)


def test_counting_that_fails_leaves_no_hook_behind():
    model = build_model("paper_text", width=1)
    with pytest.raises(RuntimeError):
        multiply_adds(model, torch.zeros(1, 2, 64, 96))
    assert model.training and not [module for module in model.modules() if module._forward_hooks]
