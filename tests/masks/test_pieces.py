"""Pieces of a mask, their sizes, and which of them are small."""

import numpy as np
import pytest

from spider_utils.masks.pieces import components, label_pieces, small_pieces


@pytest.fixture
def mask() -> np.ndarray:
    """Pieces of 6 pixels, of 2, and of 1 that touches the first at a corner."""
    mask = np.zeros((6, 9), bool)
    mask[0:2, 0:3] = mask[4, 4:6] = mask[2, 3] = True
    return mask


def test_pieces_hold_together_by_corners_or_by_sides(mask):
    pieces, sizes = label_pieces(mask)
    assert sizes.tolist() == [0, 7, 2] and (pieces > 0).tolist() == mask.tolist()
    assert label_pieces(mask, corners=False)[1].tolist() == [0, 6, 1, 2]
    assert label_pieces(np.zeros((3, 3), bool))[1].tolist() == [0]


def test_a_piece_is_small_by_its_pixels_or_by_its_share_of_the_largest(mask):
    assert small_pieces(mask, 3).sum() == 2 and not small_pieces(mask, 2).any()
    assert small_pieces(mask, 2, corners=False).sum() == 1
    assert small_pieces(mask, 0, share=1).sum() == 2 and not small_pieces(mask, 0).any()
    assert not small_pieces(~mask & mask, 5).any()


def test_voxels_have_volumes():
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 0, :2] = mask[2, 3, 4] = True
    mask[2, 2, 3] = True  # touches the last one at an edge
    assert components(mask, (3.0, 1.0, 0.5))[1].tolist() == [0, 3, 3]
