"""The authors' Adaptive Pixel Transformation Algorithm (APTA): four classes from masks scaled and interpolated."""

import numpy as np

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES

# Neighbours as (dx, dy), x the column and y the row, in the order in which the authors' script looks at them.
CROSS = ((1, 0), (-1, 0), (0, 1), (0, -1))
RING = tuple((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0))
APTA_PASSES = ("thresholds", "lone pixels", "4 neighbours", "8 neighbours", "lone pixels again", "no red")
OUTSIDE = len(CLASSES)  # stands for what is not in the image, and is no class


def apta(grey: np.ndarray) -> np.ndarray:
    """Recover classes 0..3 from an interpolated grey mask as the authors did: their Adaptive Pixel Transformation
    Algorithm, all six passes (see `apta_stages`).

    `grey`: (H, W) uint8, label values scaled to 0..255 and resized. Returns (H, W) uint8. Raises SpiderError on another
    type or shape.
    """
    return apta_stages(grey)[-1][1]


def apta_stages(grey: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the name of each of APTA's six passes and the classes after it, (H, W) uint8 each.

    Ahmed et al. (2025) describe the algorithm in words; the order and the ties are those of their public script, which
    works on colours: red vertebrae, green canal, blue discs, and black, a colour like the others. Each pass reads the
    image that the one before it made; neighbours outside the image are left out; of colours that are equally common,
    the one that is met first counts.

    1. grey 1..10 becomes red, 90..180 green, 181..255 blue, all else black;
    2. a pixel that none of its 8 neighbours equals becomes black;
    3. every pixel takes the most common colour of its 4 neighbours (order: CROSS);
    4. and that of its 8 neighbours (order: RING), where these have two colours or more;
    5. a pixel that none of its 8 neighbours equals takes their most common colour;
    6. if there is no red, green and blue pixels become red; black stays black.

    A slice that pass 6 paints ends with two classes at most, and the rule of four classes drops it.

    A pixel without any neighbour (an image of 1 x 1) becomes black in pass 2, and nothing changes it after that. Raises
    SpiderError when `grey` is not (H, W) uint8 with a pixel or more.
    """
    grey = np.asarray(grey)
    if grey.ndim != 2 or grey.dtype != np.uint8 or grey.size == 0:
        raise SpiderError(
            f"grey mask: expected (H, W) uint8, found shape {grey.shape} of {grey.dtype}; scale labels to grey first"
        )
    coloured = _colours_of_grey()[grey]
    cleared = np.where(_is_alone(coloured), np.uint8(0), coloured)
    crossed, _ = _most_common(cleared, CROSS)
    common, colours = _most_common(crossed, RING)
    ringed = np.where(colours >= 2, common, crossed)
    joined = np.where(_is_alone(ringed), _most_common(ringed, RING)[0], ringed)
    painted = joined if (joined == 1).any() else np.minimum(joined, 1)
    images = (coloured, cleared, crossed, ringed, joined, painted)
    return list(zip(APTA_PASSES, images, strict=True))


def _colours_of_grey() -> np.ndarray:
    """Return APTA's thresholds as a table: grey value 0..255 to class. The earlier rule wins, so 180 is green."""
    table = np.zeros(256, np.uint8)
    table[180:256], table[90:181], table[1:11] = 3, 2, 1
    return table


def _is_alone(classes: np.ndarray) -> np.ndarray:
    """Return where no neighbour out of 8 has a pixel's class, (H, W) bool."""
    around = np.pad(classes, 1, constant_values=OUTSIDE)
    return ~np.logical_or.reduce([_shifted(around, *offset) == classes for offset in RING])


def _most_common(classes: np.ndarray, offsets: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the most common class among each pixel's neighbours, and how many classes they have, (H, W) uint8 each.

    Among equally common classes the one first met in the order of `offsets` is taken. Without neighbours a pixel keeps
    its class.
    """
    around = np.pad(classes, 1, constant_values=OUTSIDE)
    rank = _ranks(len(offsets))
    winner, best, colours = classes.copy(), np.zeros_like(classes), np.zeros_like(classes)
    for number in range(len(CLASSES)):
        here = (around == number).view(np.uint8)
        found = np.zeros_like(classes)  # bit k is set where neighbour k has this class
        for place, offset in enumerate(offsets):
            found |= _shifted(here, *offset) << place
        ranked = rank[found]
        winner[ranked > best] = number
        np.maximum(best, ranked, out=best)
        colours += found > 0
    return winner, colours


def _ranks(neighbours: int) -> np.ndarray:
    """Rank every set of neighbours that have one class (bit k: neighbour k): by their number, then by the first."""
    sets = np.arange(2**neighbours)[:, None] >> np.arange(neighbours) & 1
    ranks = 16 * sets.sum(axis=1) + neighbours - sets.argmax(axis=1)
    return np.where(sets.any(axis=1), ranks, 0).astype(np.uint8)


def _shifted(around: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Return the neighbours at (dx, dy) of all pixels of an image with a margin of one pixel."""
    height, width = around.shape
    return around[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx]
