"""Slices at the network's size: no resizing where none is needed, averages kept, labels never invented."""

import numpy as np
import torch

from spider_utils.batches import network_images, network_masks, to_input


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
