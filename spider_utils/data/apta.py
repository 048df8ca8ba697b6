"""The authors' Adaptive Pixel Transformation Algorithm (APTA): four classes from masks scaled and interpolated."""

from functools import cache

import numpy as np

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES

# Neighbours as (dx, dy), x the column and y the row, in the order in which the authors' script looks at them.
CROSS = ((1, 0), (-1, 0), (0, 1), (0, -1))
RING = tuple((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0))
APTA_PASSES = ("thresholds", "lone pixels", "4 neighbours", "8 neighbours", "lone pixels again", "no red")
OUTSIDE = len(CLASSES)  # stands for what is not in the image, and is no class
INSIDE = slice(1, -1), slice(1, -1)  # of an image with a margin of it, one pixel wide


def apta(grey: np.ndarray) -> np.ndarray:
    """Recover classes 0..3 from an interpolated grey mask as the authors did: their Adaptive Pixel Transformation
    Algorithm, all six passes (see `apta_stages`).

    `grey`: (H, W) uint8, label values scaled to 0..255 and resized. Returns (H, W) uint8. Raises SpiderError on another
    type or shape.
    """
    return _passes(grey)[-1]


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
    return list(zip(APTA_PASSES, _passes(grey), strict=True))


def _passes(grey: np.ndarray) -> list[np.ndarray]:
    """Return the classes after each pass. No pass changes a pixel that all of its neighbours equal, so that each looks
    at the others alone, which are few.
    """
    grey = np.asarray(grey)
    if grey.ndim != 2 or grey.dtype != np.uint8 or grey.size == 0:
        raise SpiderError(
            f"grey mask: expected (H, W) uint8, found shape {grey.shape} of {grey.dtype}; scale labels to grey first"
        )
    around = np.full((grey.shape[0] + 2, grey.shape[1] + 2), OUTSIDE, np.uint8)
    around[INSIDE] = _colours(grey)
    flat, images = around.ravel(), [around[INSIDE].copy()]
    for change in (_lone_to_black, _like_four, _like_eight, _lone_like_eight):
        where = _mixed(around)
        near = flat.take(where + _steps(RING, around.shape[1]))
        flat[where] = change(flat.take(where), near)
        images.append(around[INSIDE].copy())
    joined = images[-1]
    return [*images, joined if (joined == 1).any() else np.minimum(joined, 1)]


def _colours(grey: np.ndarray) -> np.ndarray:
    """Apply APTA's thresholds. The earlier rule wins, so 180 is green."""
    red, green_or_blue, blue = grey - np.uint8(1) < 10, grey >= 90, grey > 180  # 0 - 1 is 255
    return red + (green_or_blue.view(np.uint8) << 1) + blue


def _mixed(around: np.ndarray) -> np.ndarray:
    """Return the places (n,), in the flattened image with its margin, of pixels that not all 8 neighbours equal."""
    flat, width = around.ravel(), around.shape[1]
    across, down = flat[1:] != flat[:-1], flat[width:] != flat[:-width]
    across = across[1:] | across[:-1]
    found = np.zeros(flat.shape, bool)
    inner = found[width + 1 : -width - 1]  # from the first pixel to the last
    np.logical_or(across[: inner.size], across[width:-width], out=inner)
    for other in (across[2 * width :], down[1 : inner.size + 1], down[width + 1 :][: inner.size]):
        inner |= other
    found.reshape(around.shape)[:, [0, -1]] = False
    return np.flatnonzero(found)


def _steps(offsets: tuple[tuple[int, int], ...], width: int) -> np.ndarray:
    """Return how far neighbours lie away in a flattened image, (k, 1)."""
    return np.array([dx + dy * width for dx, dy in offsets])[:, None]


# The rules of the passes, for pixels (n,) and their neighbours in the order of RING, (8, n).


def _lone_to_black(own: np.ndarray, near: np.ndarray) -> np.ndarray:
    return np.where((near == own).any(axis=0), own, np.uint8(0))


def _like_four(own: np.ndarray, near: np.ndarray) -> np.ndarray:
    return _most_common(own, near[[RING.index(offset) for offset in CROSS]])[0]


def _like_eight(own: np.ndarray, near: np.ndarray) -> np.ndarray:
    common, colours = _most_common(own, near)
    return np.where(colours >= 2, common, own)


def _lone_like_eight(own: np.ndarray, near: np.ndarray) -> np.ndarray:
    alone = ~(near == own).any(axis=0)
    changed = own.copy()
    changed[alone] = _most_common(own[alone], near[:, alone])[0]
    return changed


def _most_common(own: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most common class among each pixel's neighbours (k, n), and how many classes they have, (n,) each.

    Among equally common classes the first of the neighbours' is taken. Without neighbours a pixel keeps its class.
    """
    rank = _ranks(len(near))
    winner, best, colours = own.copy(), np.zeros_like(own), np.zeros_like(own)
    for number in range(len(CLASSES)):
        found = np.zeros_like(own)  # bit k is set where neighbour k has this class
        for place, here in enumerate((near == number).view(np.uint8)):
            found |= here << place
        ranked = rank.take(found)
        np.copyto(winner, number, where=ranked > best)
        np.maximum(best, ranked, out=best)
        colours += found > 0
    return winner, colours


@cache
def _ranks(neighbours: int) -> np.ndarray:
    """Rank every set of neighbours that have one class (bit k: neighbour k): by their number, then by the first."""
    sets = np.arange(2**neighbours)[:, None] >> np.arange(neighbours) & 1
    ranks = 16 * sets.sum(axis=1) + neighbours - sets.argmax(axis=1)
    return np.where(sets.any(axis=1), ranks, 0).astype(np.uint8)
