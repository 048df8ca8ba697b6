"""What the functions of this folder refuse."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES


def check_numbers(values: dict[str, Any]) -> None:
    """Raise SpiderError unless each value, or each of a tuple, is a number of 0 or more."""
    for name, value in values.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < math.inf:
                raise SpiderError(f"{name}: expected a number of 0 or more, found {one!r}")


def check_classes(name: str, classes: np.ndarray, axes: str) -> np.ndarray:
    """Return a mask of classes 0..3, uint8, with the axes "H, W" or "D, H, W". Raises SpiderError on anything else."""
    classes = np.asarray(classes)
    if classes.ndim != len(axes.split(", ")) or classes.dtype != np.uint8 or not classes.size:
        raise SpiderError(f"{name}: expected ({axes}) uint8, found shape {classes.shape} of {classes.dtype}")
    if classes.max() >= len(CLASSES):
        raise SpiderError(f"{name}: expected classes 0..{len(CLASSES) - 1}, found {classes.max()}")
    return classes


def check_spacing(spacing: Sequence[float]) -> np.ndarray:
    """Return a volume's spacing as an array (3,). Raises SpiderError unless it is three positive numbers."""
    steps = np.array(spacing, float)
    if steps.shape != (3,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise SpiderError(
            f"spacing: expected three positive numbers (slice, row, column) in mm, found {tuple(spacing)}"
        )
    return steps
