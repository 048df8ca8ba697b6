"""Views of a slice: there and back again, and their mean."""

import math

import pytest
import torch
from torch import nn

from spider_utils.models.build import build_model
from spider_utils.models.paper import DIVISOR
from spider_utils.predict.views import VIEWS, Identity, Scale, Shift, predict_probabilities

SIZE = (96, 64)


def smooth(channels: int = 1) -> torch.Tensor:
    """Slices without fine detail, (2, channels, 96, 64) in 0..1."""
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 96), torch.linspace(0, 2, 64), indexing="ij")
    waves = torch.stack([(rows * k).sin() * (columns + k).cos() for k in range(1, 2 * channels + 1)])
    return (waves.reshape(2, channels, *SIZE) + 1) / 2


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_model("paper_text", width=2).eval()


def test_a_shift_moves_down_and_right_and_repeats_the_edge():
    image = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])[None, None]
    moved = Shift(1, -1).apply(image)
    assert moved[0, 0].tolist() == [[2, 3, 3], [2, 3, 3], [5, 6, 6]]
    assert Shift(1, -1).undo(moved, (3, 3))[0, 0].tolist() == [[2, 2, 3], [5, 5, 6], [5, 5, 6]]


@pytest.mark.parametrize(("rows", "columns"), [(-6, 0), (6, 0), (0, -6), (0, 6), (5, -3)])
def test_a_shift_is_undone_exactly_away_from_the_edge(rows, columns):
    images = torch.rand(2, 3, *SIZE, generator=torch.manual_seed(0))
    view = Shift(rows, columns)
    back = view.undo(view.apply(images), SIZE)
    margin = 6
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(back[inner], images[inner], rtol=0, atol=0)
    assert not torch.equal(view.apply(images)[inner], images[inner])


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_scale_is_undone_for_smooth_slices(factor):
    images, view = smooth(), Scale(factor)
    seen = view.apply(images)
    height, width = round(96 * factor), round(64 * factor)
    assert seen.shape[-2:] == (-(-height // DIVISOR) * DIVISOR, -(-width // DIVISOR) * DIVISOR)
    inner = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(view.undo(seen, SIZE)[inner], images[inner], rtol=0, atol=0.01)


def test_a_scale_enlarges_the_anatomy_about_the_upper_left_and_pads_with_the_edge():
    image = torch.zeros(1, 1, *SIZE)
    image[..., 20:40, 10:30] = 1  # 400 pixels, its centre at (30, 20)
    seen = Scale(1.5).apply(image)[0, 0]
    assert seen.sum().item() == pytest.approx(400 * 1.5**2, rel=0.01)
    rows, columns = torch.meshgrid(torch.arange(144) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    assert seen.shape == (160, 96)
    centre = [(seen[:144] * at).sum().item() / seen.sum().item() for at in (rows, columns)]
    assert centre == pytest.approx([45, 30], abs=0.1)
    image[..., -1, :] = 1
    assert (Scale(1.5).apply(image)[0, 0, 144:] == 1).all()


def test_one_identical_view_is_plain_softmax(network):
    images = smooth()
    with torch.no_grad():
        wanted = torch.softmax(network(images), dim=1)
    torch.testing.assert_close(predict_probabilities(network, images, [Identity()]), wanted, rtol=0, atol=1e-6)


def test_the_mean_of_all_views_is_a_probability(network):
    found = predict_probabilities(network, smooth(), list(VIEWS.values()))
    assert found.shape == (2, 4, *SIZE) and found.dtype == torch.float32 and not found.requires_grad
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, *SIZE), rtol=0, atol=1e-5)


class Halves(nn.Module):
    """A network of two classes that looks at each pixel alone: bright or dark."""

    def __init__(self, steep: float):
        super().__init__()
        self.steep = steep

    def forward(self, slices):
        return torch.cat([slices, -slices], dim=1) * self.steep


class Power(Identity):
    """Another brightness curve: intensities to the power of `power`."""

    def __init__(self, power: float):
        self.power = power

    def apply(self, images):
        return images**self.power


def test_the_mean_is_that_of_probabilities():
    grey = torch.full((1, 1, *SIZE), 0.25)
    found = predict_probabilities(Halves(steep=1), grey, [Identity(), Power(0.5), Power(2)])
    bright = [1 / (1 + math.exp(-2 * value)) for value in (0.25, 0.5, 0.0625)]
    torch.testing.assert_close(found[0, 0], torch.full(SIZE, sum(bright) / 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", VIEWS)
def test_shifts_and_scales_do_not_change_what_a_pixelwise_network_sees(name):
    images, model = smooth() - 0.5, Halves(steep=50)
    plain = predict_probabilities(model, images, [Identity()])
    certain = (plain[:, 0] - 0.5).abs()[:, 8:-8, 8:-8] > 0.49
    found = predict_probabilities(model, images, [VIEWS[name]])
    same = (found.argmax(1) == plain.argmax(1))[:, 8:-8, 8:-8]
    assert certain.float().mean() > 0.5 and same[certain].all()


def test_no_view_is_a_flip():
    image = torch.zeros(1, 1, *SIZE)
    image[..., 20:30, 10:20] = 1  # in the upper left quarter
    for view in VIEWS.values():
        seen = view.apply(image)[0, 0]
        assert seen[:48, :32].sum() > 0.9 * seen.sum()
