import pytest
import torch
from torch import nn

from spider_utils.models.build import MODELS, build_model
from spider_utils.models.inference import for_inference


def with_statistics(model: nn.Module) -> nn.Module:
    """Give every batch normalisation other statistics, weights and biases than it starts with."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.running_mean, -1, 1), (module.running_var, 0.2, 3), (module.weight, -1.5, 1.5),
                (module.bias, -1, 1),
            ):  # fmt: skip
                nn.init.uniform_(value, low, high)
    return model.eval()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("name", "kept"), [(name, 10 if name == "author_code" else 0) for name in MODELS])
def test_a_network_made_quick_gives_the_same_logits_and_has_no_normalisation_left_that_can_be_folded(
    name, kept, channels_last
):
    options = {"deep_supervision": True} if name == "unetpp" else {}
    model = with_statistics(build_model(name, in_channels=3, width=2, **options))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    slices = torch.rand(2, 3, 64, 96).contiguous(memory_format=layout)
    with torch.no_grad():
        wanted, before = model(slices), slices.clone()
        quick = for_inference(model)
        found = quick(slices)
        again = quick(slices)
    spread = wanted.std().item()
    assert spread > 0 and (found - wanted).abs().max() < 1e-4 * spread
    assert torch.equal(found, again) and torch.equal(slices, before), "it overwrites what it is given"
    assert sum(isinstance(module, nn.BatchNorm2d) for module in quick.modules()) == kept
