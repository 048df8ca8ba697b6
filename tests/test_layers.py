"""The layers along a network's path, and their counts, against what can be counted by hand."""

import torch
from torch import nn

from spider_utils.layers import network_facts, path_layers
from spider_utils.models import build_model

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
