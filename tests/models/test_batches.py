"""Slices at the network's size: no resizing where none is needed, averages kept, labels never invented."""

import numpy as np
import torch

from spider_utils.models.batches import (
    balanced_shares,
    network_images,
    network_inputs,
    network_masks,
    shuffled_batches,
    to_input,
)


def test_same_size_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 64), np.uint8)
    np.testing.assert_array_equal(network_images(images, (32, 64))[:, 0].numpy(), images)
    np.testing.assert_array_equal(network_masks(images % 4, (32, 64)).numpy(), images % 4)


def test_a_step_edge_stays_where_it_is_when_slices_shrink():
    image = np.zeros((1, 64, 64), np.uint8)
    image[:, :, 32:] = 200
    half = network_images(image, (32, 32))[0, 0].numpy()
    assert (half[:, :15] == 0).all() and (half[:, 17:] == 200).all()
    assert half.mean() == 100


def test_masks_get_no_new_labels_and_keep_their_place():
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[:, 16:48, 16:48] = 3
    half = network_masks(mask, (32, 32))[0].numpy()
    expected = np.zeros((32, 32), np.uint8)
    expected[8:24, 8:24] = 3
    np.testing.assert_array_equal(half, expected)


def test_input_is_in_zero_to_one():
    out = to_input(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3), torch.device("cpu"))
    assert out.flatten().tolist() == [0.0, torch.tensor(0.2).item(), 1.0]


def test_neighbours_become_channels_as_if_each_had_been_resized_alone():
    images = np.random.default_rng(1).integers(0, 256, (9, 40, 48), np.uint8)
    around = np.array([[8, 0, 1], [2, 2, 2], [1, 2, 8]])  # out of order, at an end, twice the same
    found = network_inputs(images, around, (20, 32))
    assert found.shape == (3, 3, 20, 32) and found.dtype == torch.uint8
    columns = [network_images(images[around[:, channel]], (20, 32))[:, 0] for channel in range(3)]
    assert torch.equal(found, torch.stack(columns, dim=1))


def test_without_neighbours_and_without_slices_the_shape_is_the_same_as_ever():
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32), np.uint8)
    alone = network_inputs(images, np.arange(5)[:, None], (32, 32))
    assert torch.equal(alone, network_images(images, (32, 32)))
    assert network_inputs(images, np.empty((0, 3), int), (32, 32)).shape == (0, 3, 32, 32)


def test_neighbours_are_read_from_a_file_that_stays_on_disk(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (6, 32, 32), np.uint8)
    np.save(tmp_path / "images.npy", images)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = network_inputs(stored, np.array([[4, 5, 5]]), (32, 32))
    np.testing.assert_array_equal(found.numpy(), images[[[4, 5, 5]]])


def test_rare_sequences_are_drawn_more_often_but_not_as_often_as_all():
    sequences = np.repeat(["T2_SPACE", "T2", "T1"], [400, 36, 4])
    for balance, wanted in ((0.0, (400, 36, 4)), (0.5, (20, 6, 2)), (1.0, (1, 1, 1))):
        shares = balanced_shares(sequences, balance)
        assert abs(shares.sum() - 1) < 1e-12
        by_sequence = [shares[sequences == name].sum() for name in ("T2_SPACE", "T2", "T1")]
        assert np.allclose(by_sequence, np.array(wanted) / sum(wanted))
    drawn, again = (
        np.concatenate(list(shuffled_batches(440, 4, 0, 1, balanced_shares(sequences, 0.5), 5600))) for _ in range(2)
    )
    assert len(drawn) == 5600 and (drawn == again).all()
    counts = [(sequences[drawn] == name).sum() for name in ("T2_SPACE", "T2", "T1")]
    assert np.allclose(counts, (4000, 1200, 400), atol=120)  # four standard deviations
