"""The losses against hand-computed values, MONAI (ours), their formulas (MONAI's) and special cases."""

import math

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss, FocalLoss

from spider_utils.common.errors import SpiderError
from spider_utils.train.losses import (
    LOSSES,
    boundary_loss,
    combined_boundary_loss,
    combined_loss,
    cross_entropy_dice_loss,
    dice_loss,
    focal_loss,
    focal_tversky_loss,
    generalised_dice_loss,
    make_loss,
    signed_distance,
    tversky_loss,
    tversky_losses,
)
from spider_utils.train.settings import TrainSettings


def sums(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of each class over the batch, in double precision: overlap, predicted and reference pixels, (C,) each."""
    p = logits.double().softmax(dim=1)
    y = torch.nn.functional.one_hot(target, logits.shape[1]).movedim(-1, 1)
    return (y * p).sum((0, 2, 3)), p.sum((0, 2, 3)), y.sum((0, 2, 3)).double()


def assert_same(loss, formula, logits: torch.Tensor, target: torch.Tensor) -> None:
    """Two losses give the same value and the same gradient."""
    values, gradients = [], []
    for each in (loss, formula):
        given = logits.clone().requires_grad_()
        value = each(given, target)
        value.backward()
        values.append(value.item())
        gradients.append(given.grad)
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6 * gradients[1].abs().max().item())


def certain(masks: torch.Tensor, classes: int = 4) -> torch.Tensor:
    """Logits of a prediction that is as good as sure of these classes."""
    return 60 * torch.nn.functional.one_hot(masks, classes).movedim(-1, 1).float()


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


def test_a_class_in_neither_mask_counts_as_found():
    nothing = torch.zeros(1, 3, 3, dtype=torch.long)
    assert dice_loss(certain(nothing), nothing).item() == pytest.approx(0, abs=1e-5)
    half = torch.zeros(1, 2, 1, 2)  # either class with a probability of one half, and the first one true
    found = (2 * 1 / (2 + 1) + 0) / 2
    assert dice_loss(half, torch.zeros(1, 1, 2, dtype=torch.long)).item() == pytest.approx(1 - found, abs=1e-5)


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


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "boundary"])
def test_a_perfect_mask_costs_nothing_and_any_other_more(batch, name):
    target, loss = batch[1], make_loss(name)
    # focal Tversky's exponent 3/4 makes its clamp at 1e-7 a cost of 6e-6
    assert loss(certain(target), target).item() == pytest.approx(0, abs=1e-5)
    wrong = target.clone()
    wrong[0, 4, 3] = (wrong[0, 4, 3] + 1) % 4
    assert loss(certain(wrong), target).item() > 1e-3


def test_combined_loss_is_six_parts_focal_and_four_parts_dice(batch):
    expected = 0.6 * focal_loss(*batch, gamma=4.0) + 0.4 * dice_loss(*batch)
    assert combined_loss(*batch).item() == pytest.approx(expected.item(), rel=1e-6)
    other = 0.6 * focal_loss(*batch, reduction="sum") + 0.4 * dice_loss(*batch, over="image")
    assert combined_loss(*batch, focal_reduction="sum", dice_over="image").item() == pytest.approx(
        other.item(), rel=1e-6
    )
    assert combined_loss(*batch, focal_share=1.0).item() == pytest.approx(focal_loss(*batch).item(), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.4, 4.0])
@pytest.mark.parametrize("true_class", [0, 1])
def test_gradients_are_finite_for_sure_and_wrong_pixels(gamma, true_class):
    logits = torch.tensor([200.0, -200.0, 0.0, 0.0]).reshape(1, 4, 1, 1).requires_grad_()
    combined_loss(logits, torch.tensor([true_class]).reshape(1, 1, 1), gamma=gamma).backward()
    assert torch.isfinite(logits.grad).all()
    assert true_class == 0 or logits.grad.abs().sum() > 0


# beyond the paper's


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_one_number_with_a_finite_gradient(batch, name):
    logits, target = batch[0].clone().requires_grad_(), batch[1]
    loss = make_loss(name)(logits, target)
    assert loss.shape == () and torch.isfinite(loss)
    loss.backward()
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().max() > 0
    in_half = make_loss(name)(batch[0].bfloat16(), target)
    assert in_half.dtype == torch.float32  # the sums are not taken in half precision
    assert in_half.item() == pytest.approx(make_loss(name)(batch[0].bfloat16().float(), target).item(), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_stay_finite_where_a_batch_is_perfect_and_lacks_classes(name):
    target = torch.zeros(2, 6, 5, dtype=torch.long)
    target[0, 2:4, 1:3] = 2
    logits = certain(target).requires_grad_()
    make_loss(name)(logits, target).backward()
    assert torch.isfinite(logits.grad).all()


def test_tversky_with_one_half_is_dice(batch):
    assert tversky_loss(*batch, fp_weight=0.5).item() == pytest.approx(dice_loss(*batch).item(), abs=1e-6)


@pytest.mark.parametrize("fp_weight", [0.3, 0.5, 0.9])
def test_tversky_agrees_with_its_formula(batch, fp_weight):
    def formula(logits, target):
        tp, predicted, true = sums(logits, target)
        weighted = tp + fp_weight * (predicted - tp) + (1 - fp_weight) * (true - tp)
        return 1 - ((tp + 1e-6) / (weighted + 1e-6)).mean()

    assert_same(lambda logits, target: tversky_loss(logits, target, fp_weight), formula, *batch)


PREDICTED = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]]).reshape(1, 2, 4)
TRUE = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0]]).reshape(1, 2, 4)
# class 1: one true, two false, one missed pixel; background: four true, one false, two missed
INDICES = [4 / (4 + 0.3 * 1 + 0.7 * 2), 1 / (1 + 0.3 * 2 + 0.7 * 1)]


def test_tversky_by_hand_weighs_false_and_missed_pixels():
    logits = certain(PREDICTED, 2)
    assert (1 - tversky_losses(logits, TRUE, 0.3)).tolist() == pytest.approx(INDICES, rel=1e-5)
    assert tversky_loss(logits, TRUE, 0.3).item() == pytest.approx(1 - sum(INDICES) / 2, rel=1e-5)


def test_focal_tversky_by_hand():
    expected = sum((1 - index) ** 0.75 for index in INDICES) / 2  # 1 / gamma, gamma = 4/3
    assert focal_tversky_loss(certain(PREDICTED, 2), TRUE, 0.3).item() == pytest.approx(expected, rel=1e-5)


def test_focal_tversky_with_exponent_one_is_tversky(batch):
    ours = focal_tversky_loss(*batch, fp_weight=0.2, gamma=1.0).item()
    assert ours == pytest.approx(tversky_loss(*batch, fp_weight=0.2).item(), rel=1e-6)


@pytest.mark.parametrize("lacking", [(), (3,), (0, 2)])
@pytest.mark.parametrize("repeated", [1, 30])  # in large batches the weights are tiny
def test_generalised_dice_agrees_with_its_formula_also_where_classes_are_absent(batch, lacking, repeated):
    def formula(logits, target):
        tp, predicted, true = sums(logits, target)
        weights = torch.where(true > 0, true.clamp_min(1) ** -2, (true[true > 0] ** -2).max())
        return 1 - 2 * (weights * tp).sum() / (weights * (predicted + true)).sum()

    logits, target = batch[0].repeat(1, 1, repeated, repeated), batch[1].repeat(1, repeated, repeated)
    for label in lacking:
        target = torch.where(target == label, 1, target)
    assert_same(generalised_dice_loss, formula, logits, target)


def test_generalised_dice_by_hand():
    # weights 1/36 and 1/4: background has 6 pixels, class 1 has 2; 4 and 1 of them are right
    expected = 1 - 2 * (4 / 36 + 1 / 4) / ((6 + 5) / 36 + (2 + 3) / 4)
    assert generalised_dice_loss(certain(PREDICTED, 2), TRUE).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_and_dice_are_their_sum(batch):
    def formula(logits, target):
        return torch.nn.functional.cross_entropy(logits, target) + dice_loss(logits, target)

    assert_same(cross_entropy_dice_loss, formula, *batch)


# the boundary loss


def brute_force_distance(masks: np.ndarray, classes: int) -> np.ndarray:
    """For each pixel look at every other one."""
    distances = np.zeros((len(masks), classes, *masks.shape[1:]))
    pixels = np.stack(np.indices(masks.shape[1:]), axis=-1).reshape(-1, 2)
    apart = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).sum(-1))
    for number, mask in enumerate(masks):
        for label in range(classes):
            inside = mask.ravel() == label
            if inside.any() and not inside.all():
                to_inside, to_outside = apart[:, inside].min(1), apart[:, ~inside].min(1)
                signed = np.where(inside, 0.5 - to_outside, to_inside - 0.5)
                distances[number, label] = signed.reshape(mask.shape)
    return distances


def test_signed_distance_by_hand():
    found = signed_distance(torch.tensor([[[0, 1, 1, 1, 0]]]), 3)[0, :, 0]
    assert found[1].tolist() == [0.5, -0.5, -1.5, -0.5, 0.5]
    assert found[0].tolist() == [-0.5, 0.5, 1.5, 0.5, -0.5]
    assert found[2].tolist() == [0, 0, 0, 0, 0]  # a class that the slice lacks
    assert not signed_distance(torch.ones(1, 3, 4, dtype=torch.long), 2).any()  # or is full of


def test_signed_distance_agrees_with_a_look_at_all_pairs(batch):
    smooth = torch.zeros(3, 9, 7, dtype=torch.long)
    smooth[0, 2:7, 1:5], smooth[1, 4:, 2:], smooth[1, 0, 0] = 1, 2, 3
    for masks in (smooth, batch[1]):
        found = signed_distance(masks, 5)
        assert found.shape == (3, 5, 9, 7) and found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), brute_force_distance(masks.numpy(), 5), atol=1e-5)


def test_boundary_by_hand():
    """Two classes, one row: probabilities of class 1 times its distances, over 4 pixels; background does not count."""
    target = torch.tensor([[[0, 1, 1, 0]]])  # distances 0.5, -0.5, -0.5, 0.5
    p = torch.tensor([0.1, 0.8, 0.4, 0.3])
    logits = torch.log(torch.stack([1 - p, p])).reshape(1, 2, 1, 4)
    assert boundary_loss(logits, target).item() == pytest.approx((0.05 - 0.4 - 0.2 + 0.15) / 4, rel=1e-5)


def blocks() -> torch.Tensor:
    """Two slices that show all four classes."""
    masks = torch.zeros(2, 12, 10, dtype=torch.long)
    for number, shift in enumerate((0, 2)):
        for label, (row, column) in enumerate(((1, 1), (5, 4), (8, 0)), start=1):
            masks[number, row : row + 3, column + shift : column + shift + 4] = label
    return masks


def test_boundary_is_lowest_for_the_perfect_mask():
    target = blocks()[:1]
    assert all((each == label).any() for each in target for label in range(4))
    best = boundary_loss(certain(target), target)
    assert best < 0
    for number, row, column in np.ndindex(*target.shape):
        for label in range(4):  # each pixel to each other class
            flipped = target.clone()
            flipped[number, row, column] = label
            if label != target[number, row, column]:
                assert boundary_loss(certain(flipped), target) > best + 1e-4
    torch.manual_seed(0)
    for share in (0.02, 0.2, 1.0):  # and random perturbations, hard and soft
        for _ in range(20):
            chosen = torch.rand(target.shape) < share
            other = torch.where(chosen, torch.randint(0, 4, target.shape), target)
            soft = certain(target) + 100 * share * torch.randn(1, 4, 12, 10)
            assert boundary_loss(certain(other), target) >= best - 1e-6
            assert boundary_loss(soft, target) >= best - 1e-6


def test_boundary_costs_more_the_further_away_the_error():
    target, costs = blocks(), []
    for column in (7, 8, 9):  # class 1 ends at column 4 in this row
        wrong = target.clone()
        wrong[0, 1, column] = 1
        costs.append(boundary_loss(certain(wrong), target).item())
    assert costs[0] < costs[1] < costs[2]


def test_boundary_says_nothing_of_a_class_that_a_slice_lacks():
    target = torch.where(blocks() == 3, 0, blocks())
    wrong = target.clone()
    wrong[0, 0, 0] = 3
    best = boundary_loss(certain(target), target)
    assert boundary_loss(certain(wrong), target).item() == pytest.approx(best.item(), abs=1e-6)


# by name


def test_boundary_begins_as_the_combined_loss_and_its_share_rises(batch):
    combined, distance = make_loss("combined", gamma=2.0)(*batch), boundary_loss(*batch)
    for progress, share in ((0.0, 0.0), (0.5, 0.1), (1.0, 0.2)):
        loss = make_loss("boundary", gamma=2.0, boundary_share=0.2, progress=progress)(*batch)
        assert loss.item() == pytest.approx(((1 - share) * combined + share * distance).item(), rel=1e-5)


def test_what_is_not_said_is_as_the_settings_say(batch):
    """The functions' own defaults are those of a training."""
    told = TrainSettings()
    pairs = [
        (tversky_loss(*batch), tversky_loss(*batch, fp_weight=told.fp_weight)),
        (focal_tversky_loss(*batch), focal_tversky_loss(*batch, fp_weight=told.fp_weight, gamma=4 / 3)),
        (focal_loss(*batch), focal_loss(*batch, gamma=told.gamma, reduction=told.focal_reduction)),
        (dice_loss(*batch), dice_loss(*batch, over=told.dice_over)),
        (
            combined_boundary_loss(*batch),
            combined_boundary_loss(*batch, boundary_share=told.boundary_share, progress=1.0),
        ),
    ]
    for unsaid, said in pairs:
        assert torch.equal(unsaid, said)


def test_make_loss_gives_each_loss_its_parameters(batch):
    expected = {
        "combined": combined_loss(*batch, 0.5, 2.0, "sum", "image"),
        "tversky": tversky_loss(*batch, fp_weight=0.8),
        "focal_tversky": focal_tversky_loss(*batch, fp_weight=0.8),
        "generalised_dice": generalised_dice_loss(*batch),
        "cross_entropy_dice": cross_entropy_dice_loss(*batch),
    }
    assert {*expected, "boundary"} == set(LOSSES)
    assert torch.equal(make_loss()(*batch), combined_loss(*batch))
    for name, value in expected.items():
        made = make_loss(name, focal_share=0.5, gamma=2.0, focal_reduction="sum", dice_over="image", fp_weight=0.8)
        assert made(*batch).item() == pytest.approx(value.item(), rel=1e-6)


def test_another_loss_is_added_in_one_place(batch, monkeypatch):
    def hinge(logits, target, gamma=1.0):
        return gamma * (1 - logits.gather(1, target[:, None])).clamp_min(0).mean()

    monkeypatch.setitem(LOSSES, "hinge", (hinge, ("gamma",)))
    made = TrainSettings(loss="hinge", gamma=3.0).make_loss(1)
    assert made(*batch).item() == pytest.approx(3 * make_loss("hinge")(*batch).item(), rel=1e-6)


def test_an_unknown_loss_is_named():
    with pytest.raises(SpiderError, match="loss: expected one of combined, tversky, .*, found 'hinge'"):
        make_loss("hinge")
    with pytest.raises(SpiderError, match="loss: expected one of combined, .*, found 'hinge'"):
        TrainSettings(loss="hinge")
