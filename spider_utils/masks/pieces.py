"""Connected pieces of a mask, of pixels or voxels that touch at a side or a corner."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def label_pieces(mask: np.ndarray, corners: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Number the pieces of a mask (H, W) or (D, H, W) bool from 1, 0 elsewhere; with their sizes in pixels by number.

    Returns the numbers, int32, and the sizes (1 + pieces,) int64, of which the first is 0. Without `corners` what
    touches only at a corner or an edge does not belong together.
    """
    pieces, count = ndimage.label(mask, np.ones((3,) * mask.ndim, bool) if corners else None)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    return pieces, sizes


def small_pieces(mask: np.ndarray, smallest: float, share: float = 0.0, corners: bool = True) -> np.ndarray:
    """Return, as a mask, the pieces that have fewer pixels than `smallest`, or than `share` of the largest piece."""
    pieces, sizes = label_pieces(mask, corners)
    small = sizes < max(smallest, share * sizes.max())
    small[0] = False
    return small[pieces]


def components(mask: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Number the pieces of a mask (D, H, W) bool from 1: (D, H, W) int32, and their volumes in mm3 by number."""
    pieces, sizes = label_pieces(mask)
    return pieces, sizes * float(np.prod(spacing))


def points_of(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Give the mask's voxels as points (n, 3) float32, in the order of np.nonzero."""
    return np.argwhere(mask).astype(np.float32) * np.asarray(spacing, np.float32)
