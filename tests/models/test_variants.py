"""The networks beyond the paper's: what each of them changes, by hand, and that nothing else has changed."""

import math

import pytest
import torch
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.models.build import MODELS, SUPERVISED, build_model, count_parameters, trace_stages
from spider_utils.models.paper import conv_block
from spider_utils.models.variants import AttentionGate, NestedUNet, ResidualBlock, attention_maps

CHANNELS = [16, 32, 64, 128, 256, 512]
NODES = [(level, column) for level in range(5) for column in range(1, 6 - level)]


def fill(module: nn.Module, weight: float, bias: float) -> None:
    nn.init.constant_(module.weight, weight)
    nn.init.constant_(module.bias, bias)


def worn(model: nn.Module) -> nn.Module:
    """A network whose batch normalisations have met data, in evaluation mode."""
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(4, 1, 64, 64))
    return model.eval()


def followed(modules: dict[str, nn.Module], model: nn.Module, slices: torch.Tensor) -> dict[str, tuple]:
    """Inputs and output of each named module while the slices pass the network."""
    seen: dict[str, tuple] = {}
    hooks = [
        module.register_forward_hook(lambda _, inputs, out, name=name: seen.update({name: (*inputs, out)}))
        for name, module in modules.items()
    ]
    with torch.no_grad():
        model(slices)
    for hook in hooks:
        hook.remove()
    return seen


# all of them


@pytest.mark.parametrize("name", MODELS)
def test_every_network_takes_neighbours_as_channels_and_keeps_the_size(name):
    model = build_model(name, in_channels=3, classes=5, width=2)
    assert model(torch.rand(2, 3, 96, 64)).shape == (2, 5, 96, 64)


@pytest.mark.parametrize(("name", "deep"), [*((name, False) for name in MODELS), ("unetpp", True)])
def test_every_parameter_gets_a_gradient(name, deep):
    torch.manual_seed(0)
    model = build_model(name, width=4, deep_supervision=deep)
    (model(torch.randn(2, 1, 64, 64)) * torch.randn(4, 1, 1)).square().mean().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), label
        # a bias before a batch normalisation changes nothing; every weight must
        assert parameter.ndim == 1 or parameter.grad.abs().max() > 0, label


@pytest.mark.parametrize(
    ("name", "deep", "heads"),
    [("attention", False, 1), ("residual", False, 1), ("unetpp", False, 1), ("unetpp", True, 5)],
)
def test_stages_name_every_block_once(name, deep, heads):
    stages, outputs = trace_stages(build_model(name, width=2, deep_supervision=deep), torch.rand(1, 1, 64, 32))
    decoders = 15 if name == "unetpp" else 5
    assert [stage.kind for stage in stages] == (
        ["encoder"] * 5 + ["bottleneck"] + ["decoder"] * decoders + ["head"] * heads
    )
    assert len({stage.name for stage in stages}) == len(stages)
    assert [stage.height for stage in stages[:6]] == [64, 32, 16, 8, 4, 2]
    assert [tuple(out.shape[1:]) for out in outputs[-heads:]] == [(4, 64, 32)] * heads


@pytest.mark.parametrize("name", [name for name in MODELS if name not in SUPERVISED])
def test_deep_supervision_of_another_network_is_refused(name):
    with pytest.raises(SpiderError, match=f"deep_supervision: expected false for '{name}'"):
        build_model(name, deep_supervision=True)


# attention


def test_a_gate_by_hand():
    """One channel: the mean of the skip's 2 x 2 pixels plus the first channel from below, ReLU, sigmoid."""
    gate = AttentionGate(1, 2)
    fill(gate.from_skip, 0.25, 0.0)
    fill(gate.from_below, 0.0, 0.0)
    nn.init.constant_(gate.from_below.weight[:, :1].data, 1.0)
    fill(gate.to_weight, 2.0, -1.0)
    skip = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).expand(1, 1, 2, 2)
    for first, expected in ((1.5, 1 / (1 + math.exp(-5))), (-4.0, 1 / (1 + math.e))):  # 2 * 3 - 1 and -1 in
        below = torch.tensor([first, 9.0]).reshape(1, 2, 1, 1)
        assert gate.weights(skip, below).flatten().tolist() == pytest.approx([expected] * 4, rel=1e-6)
        assert torch.allclose(gate(skip, below), expected * skip)


def test_a_gate_without_an_opinion_passes_half():
    gate = AttentionGate(8, 16)
    fill(gate.to_weight, 0.0, 0.0)
    skip = torch.randn(2, 8, 12, 10)
    assert torch.equal(gate(skip, torch.randn(2, 16, 6, 5)), 0.5 * skip)


def test_gates_lie_between_nothing_and_everything():
    torch.manual_seed(0)
    gate = AttentionGate(8, 16)
    nn.init.normal_(gate.to_weight.weight, std=5.0)
    weights = gate.weights(3 * torch.randn(2, 8, 32, 24), 3 * torch.randn(2, 16, 16, 12))
    assert weights.shape == (2, 1, 32, 24)
    assert 0 <= weights.min() < 0.05 and 0.95 < weights.max() <= 1


def test_with_open_gates_attention_is_the_papers_network():
    torch.manual_seed(0)
    paper = worn(build_model("paper_text", width=2))
    gated = build_model("attention", width=2).eval()
    left = gated.load_state_dict(paper.state_dict(), strict=False)
    assert not left.unexpected_keys and all(key.startswith("gates.") for key in left.missing_keys)
    slices = torch.randn(2, 1, 64, 32)
    assert not torch.allclose(gated(slices), paper(slices), atol=1e-3)
    for gate in gated.gates:
        fill(gate.to_weight, 0.0, 100.0)  # sigmoid(100) is 1 in float32
    assert torch.allclose(gated(slices), paper(slices), atol=1e-6)


def test_attention_adds_the_gates_parameters_by_hand():
    added = 0
    for skip, below in zip(CHANNELS, CHANNELS[1:], strict=False):
        between = skip // 2
        added += 4 * skip * between + between + below * between + between + between + 1
    assert count_parameters(build_model("attention")) - count_parameters(build_model("paper_text")) == added


def test_attention_maps_are_what_the_skips_were_multiplied_by():
    torch.manual_seed(0)
    model = build_model("attention", width=2)
    slices = torch.randn(2, 1, 64, 32)
    maps = attention_maps(model, slices)
    assert model.training and not [module for module in model.modules() if module._forward_hooks]
    assert [tuple(each.shape) for each in maps] == [(2, 1, 64 // 2**k, 32 // 2**k) for k in range(5)]
    seen = followed({str(level): gate for level, gate in enumerate(model.gates)}, model.eval(), slices)
    for level, weights in enumerate(maps):
        skip, _, out = seen[str(level)]
        assert torch.allclose(out, weights * skip, atol=1e-6)
        assert weights.std() > 0


# residual


def silent(block: ResidualBlock) -> ResidualBlock:
    for module in block.layers:
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            fill(module, 0.0, 0.0)
    return block.eval()


def test_a_silent_block_is_leaky_relu_of_its_input():
    x = torch.randn(2, 6, 8, 8)
    assert torch.allclose(silent(ResidualBlock(6, 6, 0.1))(x), torch.where(x > 0, x, 0.1 * x))


def test_a_silent_block_that_changes_the_channels_is_leaky_relu_of_its_projection():
    block, x = silent(ResidualBlock(3, 6, 0.1)), torch.randn(2, 3, 8, 8)
    convolution = block.shortcut[0]
    projected = torch.einsum("oc,nchw->nohw", convolution.weight[:, :, 0, 0], x) + convolution.bias[:, None, None]
    projected = projected / (1 + 1e-5) ** 0.5  # batch normalisation in its untrained averages
    assert torch.allclose(block(x), torch.where(projected > 0, projected, 0.1 * projected), atol=1e-6)


def test_without_its_shortcut_a_block_is_the_papers():
    block, papers = ResidualBlock(6, 6, 0.1).eval(), conv_block(6, 6, 0.1).eval()
    papers.load_state_dict(block.layers.state_dict())
    block.shortcut = nn.Threshold(float("inf"), 0.0)  # gives 0 for everything
    x = torch.randn(2, 6, 8, 8)
    assert torch.allclose(block(x), papers(x), atol=1e-6)


def test_residual_adds_a_projection_to_each_of_the_eleven_blocks():
    pairs = [*zip([1, *CHANNELS], CHANNELS, strict=False), *((2 * channels, channels) for channels in CHANNELS[:-1])]
    added = sum(before * after + after + 2 * after for before, after in pairs)
    assert len(pairs) == 11
    assert count_parameters(build_model("residual")) - count_parameters(build_model("paper_text")) == added


# U-Net++


def test_the_grid_has_fifteen_nodes_in_an_order_in_which_they_can_be_made():
    grid = NestedUNet.grid()
    assert sorted(grid) == NODES and len(NODES) == 15
    made = {(level, 0) for level in range(6)}
    for level, column in grid:
        assert {(level + 1, column - 1), *((level, before) for before in range(column))} <= made
        made.add((level, column))


def test_each_node_is_fed_by_all_before_it_and_by_the_one_below():
    torch.manual_seed(0)
    model = build_model("unetpp", width=2).eval()
    for level, column in NODES:
        assert model.nodes[f"{level}_{column}"][0].in_channels == (column + 1) * 2 * 2**level
    modules = {f"{level}_0": block for level, block in enumerate(model.encoder)}
    modules |= dict(model.nodes) | {f"up {name}": module for name, module in model.upsample.items()}
    seen = followed(modules, model, torch.randn(1, 1, 64, 32))
    for level, column in NODES:
        before = [seen[f"{level}_{k}"][-1] for k in range(column)]
        below, up = seen[f"up {level}_{column}"]
        assert torch.equal(below, seen[f"{level + 1}_{column - 1}"][-1])
        assert torch.equal(seen[f"{level}_{column}"][0], torch.cat([*before, up], dim=1))


def test_unetpp_has_the_parameters_of_its_grid_by_hand():
    def block(before: int, after: int) -> int:
        return 9 * before * after + 9 * after * after + 2 * after + 4 * after

    expected = sum(block(before, after) for before, after in zip([1, *CHANNELS], CHANNELS, strict=False))
    for level, column in NODES:
        own, below = CHANNELS[level], CHANNELS[level + 1]
        expected += 4 * below * own + own + 2 * own + block((column + 1) * own, own)
    head = 16 * 4 + 4
    assert count_parameters(build_model("unetpp")) == expected + head
    assert count_parameters(build_model("unetpp", deep_supervision=True)) == expected + 5 * head


def test_without_deep_supervision_there_is_one_head():
    model = build_model("unetpp", width=2)
    for each in (model.train(), model.eval()):
        assert len(each.heads) == 1 and each(torch.rand(2, 1, 32, 32)).shape == (2, 4, 32, 32)


def test_with_it_training_gives_all_heads_and_evaluation_their_mean():
    torch.manual_seed(0)
    model, slices = build_model("unetpp", width=2, deep_supervision=True), torch.rand(3, 1, 64, 32)
    assert model.train()(slices).shape == (5, 3, 4, 64, 32)
    ends = {f"0_{column}": model.nodes[f"0_{column}"] for column in range(1, 6)}
    seen = followed(ends | {f"head {k}": head for k, head in enumerate(model.heads, start=1)}, model.eval(), slices)
    for column in range(1, 6):
        assert torch.equal(seen[f"head {column}"][0], seen[f"0_{column}"][-1])
    mean = sum(seen[f"head {column}"][-1] for column in range(1, 6)) / 5
    assert torch.allclose(model(slices), mean, atol=1e-6)
