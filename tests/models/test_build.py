"""The network: sizes that can be counted by hand, and what the paper's text says of it."""

import math

import pytest
import torch
from torch import nn

from spider_utils.common.errors import SpiderError
from spider_utils.models.build import MODELS, build_model, count_parameters, trace_stages
from spider_utils.models.paper import LEAKY_SLOPE, conv_block, upsample_block


def block_parameters(before: int, after: int) -> int:
    convolutions = 9 * before * after + after + 9 * after * after + after
    return convolutions + 2 * 2 * after  # two batch normalisations, scale and shift each


def test_parameter_count_equals_the_sum_by_hand():
    channels = [16, 32, 64, 128, 256, 512]
    expected = sum(block_parameters(a, b) for a, b in zip([1, *channels], channels, strict=False))
    for below, here in zip(channels[1:], channels, strict=False):
        expected += 4 * below * here + here + 2 * here  # transposed 2x2, bias, batch normalisation
        expected += block_parameters(2 * here, here)
    expected += 16 * 4 + 4
    assert count_parameters(build_model("paper_text")) == expected


@pytest.mark.parametrize(("height", "width"), [(160, 128), (64, 96)])
def test_logits_keep_the_size_of_the_slices(height, width):
    model = build_model("paper_text", in_channels=2, classes=5, width=2)
    assert model(torch.rand(2, 2, height, width)).shape == (2, 5, height, width)


def test_glorot_uniform_fills_the_interval_and_not_more():
    weight = build_model("paper_text").encoder[2][4].weight  # 64 -> 64, 3 x 3
    limit = math.sqrt(6 / (9 * 64 + 9 * 64))
    assert weight.abs().max() <= limit
    assert weight.abs().max() > 0.99 * limit
    assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", MODELS)
def test_every_convolution_of_every_network_is_filled_by_glorots_rule(name):
    for label, module in build_model(name, width=8).named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            taps = module.kernel_size[0] * module.kernel_size[1]
            limit = math.sqrt(6 / (taps * (module.in_channels + module.out_channels)))
            assert not module.bias.any(), label
            assert module.weight.abs().max() <= limit, label
            # of n uniform numbers one lies in the upper half of the interval, but for a chance of 2^-n
            assert module.weight.numel() < 30 or module.weight.abs().max() > 0.5 * limit, label


def test_every_activation_is_leaky_relu_with_slope_a_tenth():
    slopes = [
        module.negative_slope for module in build_model("paper_text").modules() if isinstance(module, nn.LeakyReLU)
    ]
    assert slopes == [LEAKY_SLOPE] * (2 * 11 + 5)
    assert not [module for module in build_model("paper_text").modules() if isinstance(module, nn.ReLU)]


def test_a_block_passes_a_tenth_of_what_is_negative():
    block = conv_block(1, 1, 0.0).eval()
    for module in (block[0], block[4]):
        nn.init.dirac_(module.weight)
        nn.init.zeros_(module.bias)
    out = block(torch.full((1, 1, 4, 4), -1.0))
    assert out.mean().item() == pytest.approx(
        -0.01, rel=1e-3
    )  # -1 -> -0.1 -> -0.01, batch norm in its untrained averages


def test_upsample_block_doubles_the_size():
    assert upsample_block(8, 4)(torch.rand(1, 8, 5, 3)).shape == (1, 4, 10, 6)


def test_dropout_rates_are_the_papers():
    rates = [module.p for module in build_model("paper_text").encoder.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]


def test_stages_follow_the_path_and_halve_the_size_five_times():
    model = build_model("paper_text", width=2)
    stages, outputs = trace_stages(model, torch.rand(1, 1, 64, 32))
    assert [stage.height for stage in stages] == [64, 32, 16, 8, 4, 2, 4, 8, 16, 32, 64, 64]
    assert [stage.kind for stage in stages] == ["encoder"] * 5 + ["bottleneck"] + ["decoder"] * 5 + ["head"]
    assert [tuple(out.shape[1:]) for out in outputs] == [(s.channels, s.height, s.width) for s in stages]
    assert model.training


def test_unknown_model_and_width_are_refused_by_name():
    with pytest.raises(SpiderError, match="'vgg'"):
        build_model("vgg")
    with pytest.raises(SpiderError, match="width"):
        build_model("paper_text", width=0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("activation", "kind"), [("relu", torch.nn.ReLU), ("leaky_relu", torch.nn.LeakyReLU)])
def test_an_activation_stands_everywhere_and_changes_no_weight(name, activation, kind):
    torch.manual_seed(0)
    published = build_model(name, width=2)
    torch.manual_seed(0)
    changed = build_model(name, width=2, activation=activation)
    kinds = {type(module) for module in changed.modules() if "ReLU" in type(module).__name__}
    assert kinds == {kind}
    assert all(
        torch.equal(a, b) for a, b in zip(published.state_dict().values(), changed.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
def test_an_initialiser_reaches_every_convolution(name):
    torch.manual_seed(0)
    model = build_model(name, width=8, initialiser="he_normal")
    for label, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 1000:
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15), label


def test_he_initialisation_has_the_spread_of_its_rule():
    torch.manual_seed(0)
    model = build_model("paper_text", width=16, initialiser="he_normal")
    weight = model.encoder[4][0].weight  # 256 x 128 x 3 x 3
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    glorot = build_model("paper_text", width=16).encoder[4][0].weight
    assert glorot.abs().max().item() <= (6 / ((128 + 256) * 9)) ** 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"activation": "tanh"}, "activation: expected one of published"), ({"initialiser": "zeros"}, "initialiser")],
)
def test_unknown_activations_and_initialisers_are_named(options, message):
    with pytest.raises(SpiderError, match=message):
        build_model("paper_text", **options)
