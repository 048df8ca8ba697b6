"""Connected pieces of a mask."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), bool)  # neighbours that belong together


def components(mask: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Number the pieces of a mask (D, H, W) bool from 1: (D, H, W) int32, and their volumes in mm3 by number."""
    pieces, count = ndimage.label(mask, TOUCHING)
    mm3 = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(spacing))
    mm3[0] = 0.0
    return pieces, mm3


def points_of(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Give the mask's voxels as points (n, 3) float32, in the order of np.nonzero."""
    return np.argwhere(mask).astype(np.float32) * np.asarray(spacing, np.float32)
