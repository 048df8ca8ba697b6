"""The losses against hand-computed values, MONAI and special cases."""

import math

import pytest
import torch
from monai.losses import DiceLoss, FocalLoss

from spider_utils.losses import CombinedLoss, dice_loss, focal_loss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 4, 9, 7, generator=generator), torch.randint(0, 4, (3, 9, 7), generator=generator)


def test_focal_of_one_pixel_by_hand():
    logits = torch.log(torch.tensor([0.5, 0.25, 0.125, 0.125])).reshape(1, 4, 1, 1)
    target = torch.tensor([1]).reshape(1, 1, 1)
    assert focal_loss(logits, target, 4.0).item() == pytest.approx(-(0.75**4) * math.log(0.25), rel=1e-5)


def test_focal_without_focus_is_cross_entropy(batch):
    assert focal_loss(*batch, gamma=0.0).item() == pytest.approx(
        torch.nn.functional.cross_entropy(*batch).item(), rel=1e-6
    )


@pytest.mark.parametrize("gamma", [0.4, 2.0, 4.0])
def test_focal_agrees_with_monai(batch, gamma):
    logits, target = batch
    theirs = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma, reduction="none")(logits, target[:, None])
    # MONAI averages over classes as well; a pixel's loss is the sum over them
    assert focal_loss(logits, target, gamma).item() == pytest.approx(theirs.sum(1).mean().item(), rel=1e-4)


def test_dice_agrees_with_monai(batch):
    logits, target = batch
    theirs = DiceLoss(to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-6, smooth_dr=1e-6)(
        logits, target[:, None]
    )
    assert dice_loss(logits, target).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_dice_of_two_hard_masks_by_hand():
    prediction = torch.tensor([[0, 1, 1, 0]]).reshape(1, 2, 2)
    target = torch.tensor([[0, 1, 0, 0]]).reshape(1, 2, 2)
    logits = 50 * torch.nn.functional.one_hot(prediction, 2).movedim(-1, 1).float()
    # background: 2*2/(2+3); foreground: 2*1/(2+1)
    assert dice_loss(logits, target).item() == pytest.approx(1 - (4 / 5 + 2 / 3) / 2, rel=1e-4)


def test_focal_sum_is_the_mean_times_the_pixels_of_an_image(batch):
    pixels = batch[1][0].numel()
    summed = focal_loss(*batch, reduction="sum").item()
    assert summed == pytest.approx(pixels * focal_loss(*batch).item(), rel=1e-5)


def test_dice_of_each_image_agrees_with_monai_and_with_one_image_a_batch(batch):
    logits, target = batch
    theirs = DiceLoss(to_onehot_y=True, softmax=True, smooth_nr=1e-6, smooth_dr=1e-6)(logits, target[:, None])
    ours = dice_loss(logits, target, over="image").item()
    assert ours == pytest.approx(theirs.item(), rel=1e-5)
    alone = [dice_loss(logits[k : k + 1], target[k : k + 1]).item() for k in range(len(logits))]
    assert ours == pytest.approx(sum(alone) / len(alone), rel=1e-5)
    assert ours != pytest.approx(dice_loss(logits, target).item(), rel=1e-4)


def test_a_perfect_mask_costs_nothing(batch):
    target = batch[1]
    logits = 60 * torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float()
    assert CombinedLoss()(logits, target).item() == pytest.approx(0, abs=1e-5)


def test_combined_loss_is_six_parts_focal_and_four_parts_dice(batch):
    expected = 0.6 * focal_loss(*batch, gamma=4.0) + 0.4 * dice_loss(*batch)
    assert CombinedLoss()(*batch).item() == pytest.approx(expected.item(), rel=1e-6)
    other = 0.6 * focal_loss(*batch, reduction="sum") + 0.4 * dice_loss(*batch, over="image")
    assert CombinedLoss(focal_reduction="sum", dice_over="image")(*batch).item() == pytest.approx(
        other.item(), rel=1e-6
    )
    assert CombinedLoss(focal_share=1.0)(*batch).item() == pytest.approx(focal_loss(*batch).item(), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.4, 4.0])
@pytest.mark.parametrize("true_class", [0, 1])
def test_gradients_are_finite_for_sure_and_wrong_pixels(gamma, true_class):
    logits = torch.tensor([200.0, -200.0, 0.0, 0.0]).reshape(1, 4, 1, 1).requires_grad_()
    CombinedLoss(gamma=gamma)(logits, torch.tensor([true_class]).reshape(1, 1, 1)).backward()
    assert torch.isfinite(logits.grad).all()
    assert true_class == 0 or logits.grad.abs().sum() > 0
