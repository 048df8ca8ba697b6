"""Dropout: so many values vanish, the mean stays, the seed decides, and nothing happens in evaluation."""

import math

import pytest
import torch
from torch import nn

from spider_utils.models.dropout import Dropout
from spider_utils.models.paper import DECODER_DROPOUT, ENCODER_DROPOUT

LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("p", sorted({*ENCODER_DROPOUT, *DECODER_DROPOUT}))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_so_many_values_vanish_and_the_rest_grow(p, layout):
    torch.manual_seed(0)
    x = torch.rand(4, 8, 65, 63).add(0.5).contiguous(memory_format=layout)
    found = Dropout(p).train()(x)
    kept = found != 0
    margin = 4 * math.sqrt(p * (1 - p) / x.numel())
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=margin)
    torch.testing.assert_close(found[kept], (x / (1 - p))[kept], rtol=2e-5, atol=0)
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_neighbours_vanish_independently_of_each_other(layout):
    torch.manual_seed(1)
    kept = (Dropout(0.3).train()(torch.ones(4, 8, 64, 64).contiguous(memory_format=layout)) != 0).float() - 0.7
    for axis in range(4):
        length = kept.shape[axis] - 1
        pairs = kept.narrow(axis, 0, length) * kept.narrow(axis, 1, length)
        assert abs(pairs.mean().item()) < 5 * 0.21 / math.sqrt(pairs.numel())


def test_the_seed_decides_and_the_gradient_is_that_of_what_was_kept():
    x = torch.rand(2, 3, 8, 8).add(0.5).requires_grad_()
    torch.manual_seed(3)
    first = Dropout(0.5).train()(x)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5).train()(x), first) and not torch.equal(Dropout(0.5).train()(x), first)
    first.sum().backward()
    torch.testing.assert_close(x.grad, (first != 0) * 2.0)


def test_parts_of_a_tensor_that_is_not_dense_are_taken_as_they_are():
    torch.manual_seed(4)
    x = torch.rand(4, 6, 8, 10).add(0.5)[:, ::2, :, 1:]
    found = Dropout(0.1).train()(x)
    torch.testing.assert_close(found[found != 0], (x / 0.9)[found != 0], rtol=2e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_type_stays(dtype):
    assert Dropout(0.2).train()(torch.ones(1, 2, 4, 4, dtype=dtype)).dtype == dtype


def test_in_evaluation_and_with_a_chance_of_0_nothing_happens():
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(Dropout(0.5).eval()(x), x) and torch.equal(Dropout(0.0).train()(x), x)
    assert isinstance(Dropout(0.5), nn.Dropout)
