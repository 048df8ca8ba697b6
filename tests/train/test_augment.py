"""Augmentation: image and mask move together, masks stay class numbers, the seed decides, spines keep their front."""

import math

import pytest
import torch
import torch.nn.functional as F

from spider_utils.train import augment as module
from spider_utils.train.augment import LEVELS, LIGHT, STRONG, Motion, augment, cropped_grid, deformed_grid, moved

STILL = Motion(rotation=0, scaling=0, shift=0)
MOVING = [name for name in LEVELS if name != "none"]
CHANGES = ("gamma", "contrast", "brightness", "bias_field", "blur", "low_resolution", "noise")


@pytest.fixture
def batch():
    """Slices whose grey value says the class: a mask that moves with its image still fits it."""
    masks = torch.zeros(6, 64, 48, dtype=torch.long)
    masks[:, 10:30, 8:20], masks[:, 30:50, 16:28], masks[:, 20:40, 32:44] = 1, 2, 3
    return masks[:, None].float() / 3, masks


def still_grid(count: int, height: int, width: int) -> torch.Tensor:
    """Where each pixel is, -1..1 from rim to rim of the image: (N, H, W, 2), x first."""
    x, y = ((2 * torch.arange(length) + 1) / length - 1 for length in (width, height))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1).expand(count, -1, -1, -1)


def test_none_leaves_everything(batch):
    images, masks = augment(*batch, "none")
    assert torch.equal(images, batch[0]) and torch.equal(masks, batch[1])


@pytest.mark.parametrize("level", MOVING)
def test_a_level_changes_every_slice_and_keeps_range_and_class_numbers(batch, level):
    torch.manual_seed(0)
    images, masks = augment(*batch, level)
    assert images.shape == batch[0].shape and masks.shape == batch[1].shape and masks.dtype == batch[1].dtype
    assert images.min() >= 0 and images.max() <= 1
    assert set(masks.unique().tolist()) == {0, 1, 2, 3}
    assert all((images[k] != batch[0][k]).any() and (masks[k] != batch[1][k]).any() for k in range(6))


@pytest.mark.parametrize("level", MOVING)
def test_the_same_seed_gives_the_same_batch(batch, level):
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augment(*batch, level))
    assert all(torch.equal(first, again) for first, again in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0]) and not torch.equal(results[0][1], results[2][1])


# how slices move


@pytest.mark.parametrize(("motion", "margin"), [(LIGHT, 0.01), (STRONG, 0.05)])
def test_the_mask_moves_with_its_image(batch, motion, margin):
    """Of the geometry alone: the moved image is the moved mask, but for the edges that interpolation mixes."""
    torch.manual_seed(1)
    images, masks = moved(*batch, motion)
    agree = ((images[:, 0] * 3 - masks).abs() < 0.02).float().mean()
    unmoved = ((images[:, 0] * 3 - batch[1]).abs() < 0.02).float().mean()
    assert agree > 0.85 and agree > unmoved + margin


def test_a_still_motion_is_the_identity(batch):
    assert torch.allclose(deformed_grid(batch[0], STILL), still_grid(6, 64, 48), atol=1e-6)
    images, masks = moved(*batch, STILL)
    assert torch.allclose(images, batch[0], atol=1e-4) and torch.equal(masks, batch[1])


def test_a_rotation_keeps_the_shape_of_a_disc():
    """On an image that is not square a rotation must not shear: a disc stays a disc."""
    rows, columns = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(64) - 31.5, indexing="ij")
    disc = ((rows**2 + columns**2) < 20**2).float().expand(4, 1, -1, -1)
    torch.manual_seed(0)
    turned = F.grid_sample(disc, deformed_grid(disc, Motion(1.0, 0, 0)), align_corners=False)
    assert (turned - disc).abs().mean() < 0.01


def furthest(motion: Motion, draws: int = 400) -> torch.Tensor:
    """How far the point that moves furthest does so in each of many draws, pixels of a 64 x 48 image."""
    images = torch.zeros(draws, 1, 64, 48)
    way = (deformed_grid(images, motion) - still_grid(draws, 64, 48)) * torch.tensor([24.0, 32.0])
    return way.norm(dim=-1).amax((1, 2))


def limit(motion: Motion) -> float:
    """No point of a 64 x 48 image can move further, pixels: turned, then scaled, then shifted, from a corner."""
    scale = math.exp(motion.scaling)
    return math.hypot(24, 32) * (scale * 2 * math.sin(motion.rotation / 2) + scale - 1 + motion.shift)


def test_light_moves_less_than_strong_and_both_as_far_as_their_motion_says():
    torch.manual_seed(0)
    light = furthest(LIGHT)
    stiff = furthest(Motion(STRONG.rotation, STRONG.scaling, STRONG.shift))
    for found, motion in ((light, LIGHT), (stiff, STRONG)):
        assert 0.4 * limit(motion) < found.max() <= limit(motion)
    assert limit(LIGHT) < 0.5 * limit(STRONG)
    assert light.median() < 0.5 * furthest(STRONG).median()


def test_elastic_bends_by_its_standard_deviation():
    """The corners lie on control points; between these a bicubic surface spreads less than they do."""
    torch.manual_seed(0)
    way = deformed_grid(torch.zeros(400, 1, 64, 48), Motion(0, 0, 0, elastic=0.03)) - still_grid(400, 64, 48)
    assert way.mean(dim=0).abs().max() < 0.01
    corners = way[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.std().item() == pytest.approx(0.03, rel=0.1)
    assert 0.015 < way.std().item() < 0.03


def test_channels_move_together(batch):
    """Neighbouring slices are channels of one image: they must be deformed alike, and as a single one would be."""
    torch.manual_seed(5)
    alone, mask = moved(*batch, STRONG)
    torch.manual_seed(5)
    together, same_mask = moved(batch[0].expand(-1, 3, -1, -1), batch[1], STRONG)
    assert torch.equal(mask, same_mask)
    assert all(torch.allclose(together[:, channel], alone[:, 0], atol=1e-6) for channel in range(3))


@pytest.mark.parametrize("motion", [LIGHT, STRONG])
def test_nothing_is_flipped(motion):
    """Of many draws of a slice that grows brighter to the right and to the foot, none does so the other way."""
    ramp = still_grid(300, 64, 48) / 2 + 0.5
    masks = torch.zeros(300, 64, 48, dtype=torch.long)
    masks[:, 5:60, 20:30] = 1
    torch.manual_seed(2)
    images, masks = moved(ramp.movedim(-1, 1), masks, motion)
    inner = images[:, :, 20:44, 14:34]  # nothing from outside the image comes here
    assert (inner[:, 0, :, -1].mean(1) > inner[:, 0, :, 0].mean(1) + 0.05).all()
    assert (inner[:, 1, -1].mean(1) > inner[:, 1, 0].mean(1) + 0.05).all()


@pytest.mark.parametrize("level", ("light", "strong", "field"))  # the others may turn bright to dark
def test_the_front_stays_in_front(level):
    """Of a whole level: where the left half is bright and its mask there, the left stays brighter and has the mask."""
    images, masks = torch.zeros(64, 1, 64, 48), torch.zeros(64, 64, 48, dtype=torch.long)
    images[..., :24], masks[..., 22:24] = 0.8, 1  # the mask at the edge: a part round it shows both sides
    torch.manual_seed(2)
    images, masks = augment(images, masks, level)
    assert masks.flatten(1).any(1).all()
    for image, mask in zip(images[:, 0], masks, strict=True):
        columns = mask.nonzero()[:, 1]
        inside = torch.arange(48)[None].expand(64, -1)
        edge = columns.float().mean()
        left, right = image[(inside < edge - 8)], image[(inside > edge + 8)]
        assert left.mean() > right.mean()


# parts along the spine


def spots(count: int = 300) -> torch.Tensor:
    """Masks with one pixel of foreground each, anywhere: at the rim and in the corners too."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(count, 64, 48, dtype=torch.long)
    rows, columns = (torch.randint(0, length, (count,), generator=generator) for length in (64, 48))
    rows[:4], columns[:4] = torch.tensor([0, 0, 63, 63]), torch.tensor([0, 47, 0, 47])
    masks[torch.arange(count), rows, columns] = 2
    return masks


def test_a_part_stays_inside_the_image_and_holds_the_chosen_foreground():
    masks, still = spots(), still_grid(300, 64, 48)
    torch.manual_seed(0)
    grid = cropped_grid(still, masks, Motion(0, 0, 0, crop=1.0, crop_size=0.6))
    low, high = grid.amin((1, 2)), grid.amax((1, 2))  # centres of its outermost pixels
    assert low.min() >= -1 and high.max() <= 1
    size = (high - low) / (still[0].amax((0, 1)) - still[0].amin((0, 1)))
    assert torch.allclose(size[:, 0], size[:, 1], atol=1e-5)  # height and width by the same share
    assert 0.6 <= size.min() < 0.62 and 0.98 < size.max() <= 1
    middle, half = (low + high) / 2, size
    spot = torch.stack([still[number][mask > 0][0] for number, mask in enumerate(masks)])
    assert ((spot - middle).abs() <= half + 1e-5).all()
    # where the rim does not forbid it, the chosen pixel is the middle of the part
    free = (spot.abs() < 1 - size).all(1)
    assert free.sum() > 5 and torch.allclose(middle[free], spot[free], atol=1e-5)


def test_a_slice_without_foreground_is_left_as_it_is():
    masks = spots()
    masks[::2] = 0
    still = still_grid(300, 64, 48)
    torch.manual_seed(0)
    grid = cropped_grid(still, masks, Motion(0, 0, 0, crop=1.0))
    changed = (grid != still).flatten(1).any(1)
    assert not changed[::2].any() and changed[1::2].all()


def test_so_many_slices_are_cropped_as_the_motion_says():
    torch.manual_seed(0)
    still = still_grid(300, 64, 48)
    grid = cropped_grid(still, spots(), Motion(0, 0, 0, crop=0.3))
    changed = (grid != still).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 300))


def test_a_part_shows_the_spine_larger():
    masks = torch.zeros(50, 64, 48, dtype=torch.long)
    masks[:, 30:34, 22:26] = 1
    torch.manual_seed(0)
    _, larger = moved(masks[:, None].float(), masks, Motion(0, 0, 0, crop=1.0, crop_size=0.5))
    pixels = larger.flatten(1).count_nonzero(1)
    assert pixels.min() >= 16 and 40 < pixels.max() <= 81  # 16 pixels, at half the size four times as many


# grey values


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_of_grey_values_meets_half_of_the_slices(name):
    torch.manual_seed(0)
    images = torch.rand(400, 1, 16, 12)
    changed = (getattr(module, name)(images) != images).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 400))


@pytest.mark.parametrize("name", CHANGES[:-1])
def test_each_change_but_noise_treats_neighbouring_slices_alike(name):
    torch.manual_seed(0)
    images = torch.rand(40, 1, 16, 12).expand(-1, 3, -1, -1)
    changed = getattr(module, name)(images)
    assert (changed != images).any()
    assert torch.allclose(changed[:, :1].expand(-1, 3, -1, -1), changed, atol=1e-6)


def test_gamma_and_contrast_change_by_one_number_a_slice():
    torch.manual_seed(0)
    images = 0.1 + 0.8 * torch.rand(200, 1, 16, 12)
    exponent = (module.gamma(images).log() / images.log()).flatten(1)
    mean = images.mean((1, 2, 3), keepdim=True)
    away = (images - mean).abs() > 0.1
    factor = torch.where(away, (module.contrast(images) - mean) / (images - mean), torch.nan).flatten(1)
    for found, low, high in ((exponent, math.exp(-0.4), math.exp(0.4)), (factor, 0.75, 1.25)):
        middle = found.nanmedian(1).values
        assert (found - middle[:, None]).nan_to_num().abs().max() < 1e-3
        assert low - 1e-4 <= middle.min() < 0.85 and 1.15 < middle.max() <= high + 1e-4
    ends = torch.tensor([0.0, 1.0]).repeat(6).expand(200, 1, 16, 12)
    assert torch.equal(module.gamma(ends), ends)  # black stays black, white white


def test_what_the_other_changes_must_keep():
    torch.manual_seed(0)
    images, flat = torch.rand(200, 1, 16, 12), torch.full((200, 1, 16, 12), 0.4)
    step = (module.brightness(images) - images).flatten(1)
    assert (step.std(1) < 1e-6).all() and 0.09 < step.abs().max() <= 0.1 + 1e-6
    for change in (module.blur, module.low_resolution):
        assert torch.allclose(change(flat), flat, atol=1e-6)
        assert change(images).std() < images.std()
    assert 0.04 < (module.noise(flat) - flat).flatten(1).std(1).max() < 0.06
    assert (module.bias_field(images) >= 0).all()
    shade = (module.bias_field(flat) / flat).log()
    assert 0.2 < shade[:, 0, 0, 0][shade[:, 0, 0, 0] != 0].std() < 0.4  # a corner is a control point: 0.3
    assert shade.diff(dim=-1).abs().max() < 0.5  # and smooth between them


# what differs from sequence to sequence and scanner to scanner


def test_a_grey_curve_is_one_function_of_the_grey_value_and_stays_in_range():
    """Pixels of one grey value share one new value; about half of the curves rise or leave the slice as it is."""
    ramp = torch.linspace(0, 1, 64).repeat(400, 1, 2, 1)  # both rows alike, grey rising to the right
    torch.manual_seed(0)
    changed = module.grey_curve(ramp)
    assert torch.equal(changed[..., 0, :], changed[..., 1, :])
    assert changed.min() >= 0 and changed.max() <= 1
    untouched = (changed == ramp).flatten(1).all(1)
    assert 0.4 < untouched.float().mean() < 0.6
    steps = changed[~untouched][:, 0, 0].diff(dim=1)
    rising, falling = (steps >= -1e-6).all(1).float().mean(), (steps <= 1e-6).all(1).float().mean()
    assert 0.4 < rising < 0.6 and 0.15 < falling < 0.35 and rising + falling < 0.95


def test_a_coarser_slice_keeps_its_mean_and_loses_its_detail():
    flat, stripes = torch.full((100, 2, 32, 48), 0.3), torch.zeros(100, 2, 32, 48)
    stripes[..., ::2] = 1.0
    torch.manual_seed(0)
    assert torch.allclose(module.coarser(flat), flat, atol=1e-6)
    changed = module.coarser(stripes)
    assert changed.shape == stripes.shape and abs(changed.mean() - 0.5) < 0.03
    spread = changed.std(dim=(1, 2, 3))
    assert 0.4 < (spread > 0.49).float().mean() < 0.75 and spread.min() < 0.2
    assert torch.equal(changed[:, 0], changed[:, 1])  # a slice and its neighbours alike


def test_another_field_of_view_changes_sizes_more_than_light_does():
    masks = torch.zeros(300, 64, 64, dtype=torch.long)
    masks[:, 24:40, 24:40] = 1
    images, sizes = masks[:, None].float(), {}
    for level in ("light", "field"):
        torch.manual_seed(0)
        _, found = augment(images, masks, level)
        sizes[level] = (found > 0).sum(dim=(1, 2)).float().log().std()
    # The area's logarithm has two axes of uniform 0.1 each, sqrt(2 / 3) * 0.1 = 0.08; the zoom adds 2 * 0.35 / sqrt(3).
    assert abs(sizes["light"] - 0.08) < 0.03 and abs(sizes["field"] - 0.41) < 0.06
