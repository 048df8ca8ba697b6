"""Augmentation: image and mask move together, masks stay class numbers, the seed decides, spines keep their front."""

import pytest
import torch

from spider_utils.augment import augment, deformed_grid


@pytest.fixture
def batch():
    """Slices whose grey value says the class: a mask that moves with its image still fits it."""
    masks = torch.zeros(6, 64, 48, dtype=torch.long)
    masks[:, 10:30, 8:20], masks[:, 30:50, 16:28], masks[:, 20:40, 32:44] = 1, 2, 3
    return masks[:, None].float() / 3, masks


def test_none_leaves_everything(batch):
    images, masks = augment(*batch, "none")
    assert torch.equal(images, batch[0]) and torch.equal(masks, batch[1])


def test_strong_changes_every_slice_and_keeps_range_and_class_numbers(batch):
    torch.manual_seed(0)
    images, masks = augment(*batch, "strong")
    assert images.shape == batch[0].shape and masks.shape == batch[1].shape and masks.dtype == batch[1].dtype
    assert images.min() >= 0 and images.max() <= 1
    assert set(masks.unique().tolist()) == {0, 1, 2, 3}
    assert all((images[k] != batch[0][k]).any() and (masks[k] != batch[1][k]).any() for k in range(6))


def test_the_mask_moves_with_its_image(batch):
    """Of the geometry alone: the moved image is the moved mask, but for the edges that interpolation mixes."""
    torch.manual_seed(1)
    grid = deformed_grid(batch[0])
    sample = torch.nn.functional.grid_sample
    image = sample(batch[0], grid, mode="bilinear", align_corners=False)
    mask = sample(batch[1][:, None].float(), grid, mode="nearest", align_corners=False)
    agree = ((image * 3 - mask).abs() < 0.02).float().mean()
    unmoved = ((image * 3 - batch[1][:, None]).abs() < 0.02).float().mean()
    assert agree > 0.85 and agree > unmoved + 0.05


def test_a_still_grid_is_the_identity(batch, monkeypatch):
    for name in ("ROTATION", "SCALING", "SHIFT", "ELASTIC"):
        monkeypatch.setattr(f"spider_utils.augment.{name}", 0.0)
    moved = torch.nn.functional.grid_sample(batch[0], deformed_grid(batch[0]), align_corners=False)
    assert torch.allclose(moved, batch[0], atol=1e-4)


def test_a_rotation_keeps_the_shape_of_a_disc(monkeypatch):
    """On an image that is not square a rotation must not shear: a disc stays a disc."""
    for name in ("SCALING", "SHIFT", "ELASTIC"):
        monkeypatch.setattr(f"spider_utils.augment.{name}", 0.0)
    monkeypatch.setattr("spider_utils.augment.ROTATION", 1.0)
    rows, columns = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(64) - 31.5, indexing="ij")
    disc = ((rows**2 + columns**2) < 20**2).float().expand(4, 1, -1, -1)
    torch.manual_seed(0)
    moved = torch.nn.functional.grid_sample(disc, deformed_grid(disc), align_corners=False)
    assert (moved - disc).abs().mean() < 0.01


def test_the_front_stays_in_front():
    """No flips: of a slice whose left half is bright, the left stays brighter."""
    images = torch.zeros(32, 1, 64, 48)
    images[..., :24] = 0.8
    torch.manual_seed(2)
    moved, _ = augment(images, torch.zeros(32, 64, 48, dtype=torch.long), "strong")
    assert (moved[..., :20].mean((1, 2, 3)) > moved[..., 28:].mean((1, 2, 3))).all()


def test_same_seed_same_batch(batch):
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augment(*batch, "strong")[0])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
