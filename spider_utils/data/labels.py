"""Label maps: from SPIDER's label numbers, the released grey codes, or the authors' own repair, to the four classes of
the paper.
"""

import numpy as np
from numpy.typing import ArrayLike

from spider_utils.common.errors import SpiderError

CLASSES = ("background", "vertebrae", "canal", "discs")
FOREGROUND = CLASSES[1:]
CANAL_LABEL = 100
GREY_CODES = {0: 0, 76: 1, 150: 2, 29: 3}  # ITU-R 601 luma of black, red, green, blue -> class


def four_classes(label_map: ArrayLike) -> np.ndarray:
    """Map SPIDER's label numbers to classes 0..3 (background, vertebrae, canal, discs).

    Vertebrae are 1..99 and, where only partly visible, 101..125; the canal is 100; discs are 201..225 (van der Graaf et
    al. 2024). Returns uint8 of the same shape. Raises SpiderError on any other value.
    """
    lookup = np.full(226, 255, np.uint8)
    lookup[0] = 0
    lookup[1:126] = 1
    lookup[CANAL_LABEL] = 2
    lookup[201:226] = 3
    values = np.asarray(label_map)
    _refuse_unknown(values, {value for value in range(226) if lookup[value] != 255}, "0, 1..125 or 201..225")
    return _looked_up(lookup, values)


def classes_from_grey(grey: np.ndarray) -> np.ndarray:
    """Map the released masks' grey codes (0, 76, 150, 29) to classes 0..3, uint8.

    Raises SpiderError on any other value.
    """
    values = np.asarray(grey)
    _refuse_unknown(values, set(GREY_CODES), "0, 29, 76 or 150")
    lookup = np.zeros(256, np.uint8)
    for code, number in GREY_CODES.items():
        lookup[code] = number
    return _looked_up(lookup, values)


def as_classes(values: np.ndarray) -> np.ndarray:
    """Return masks that hold the classes 0..3 already, as uint8. Raises SpiderError on any other value."""
    _refuse_unknown(np.asarray(values), set(range(len(CLASSES))), "0, 1, 2 or 3")
    return np.asarray(values).astype(np.uint8)


def class_pixels(classes: np.ndarray) -> np.ndarray:
    """Count the pixels of each class in every slice: (..., H, W) classes to (..., 4) int64."""
    return np.stack([(classes == number).sum(axis=(-2, -1)) for number in range(len(CLASSES))], axis=-1)


def distinct_values(values: np.ndarray) -> np.ndarray:
    """Return which values there are, (n,) as they are stored; of 8 and 16 bits quicker than `np.unique` finds them."""
    if values.dtype.kind not in "ui" or values.itemsize > 2:
        return np.unique(values)
    bits = np.dtype(f"u{values.itemsize}")
    there = np.zeros(256**values.itemsize, bool)
    there[values.view(bits)] = True
    return np.flatnonzero(there).astype(bits).view(values.dtype)


def _looked_up(lookup: np.ndarray, values: np.ndarray) -> np.ndarray:
    return lookup[values if values.dtype.kind in "ui" else values.astype(np.intp)]


def _refuse_unknown(values: np.ndarray, known: set[int], expected: str) -> None:
    unknown = sorted(set(distinct_values(values).tolist()) - known)
    if unknown:
        found = ", ".join(str(value) for value in unknown[:5])
        raise SpiderError(f"label map: expected values {expected}, found {found}; mend or leave out this mask")
