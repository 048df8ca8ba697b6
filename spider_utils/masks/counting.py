"""How many vertebrae and discs a mid-sagittal mask shows: pieces of plausible size, in their order along the spine.

A line through the middles of the discs, from the top down, stands for the spine. Discs are the pieces of their class
near it; those at one level are one disc. The discs part the vertebrae: between two neighbouring discs there is one
vertebra where that class has enough pixels near the line, which leaves the posterior elements out, and more than one
where two pieces or more have the size of a body, as beside a disc that was missed. All sizes are shares of those of the
same mask, so that pixels of any size and shape will do.

Sizes were chosen on the 622 released reference masks; how far the count of these is off says what the method itself
costs (see `studies.counting`).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spider_utils.data.labels import CLASSES
from spider_utils.masks.pieces import label_pieces

LARGEST = 5  # a lumbar slice holds at least five of each: the median of the five largest is a usual size
PIECE = 0.12  # of the usual size, what is smaller is no structure
CUT_PIECE = 0.05  # the same, where the slice's upper edge cuts the structure
WHOLE = 0.4  # of the usual size, what is larger is a structure of its own
LEVEL = 0.4  # of the distance from disc to disc, pieces that lie closer are at one level
REACH = 0.6  # of a disc's width, what lies farther from the line is no body and no disc


@dataclass(frozen=True)
class SpineCount:
    """How many structures of each kind a slice shows."""

    vertebrae: int
    discs: int


@dataclass(frozen=True)
class Pieces:
    """The connected pieces of one class."""

    area: np.ndarray  # (n,) pixels
    centre: np.ndarray  # (n, 2) row, column
    width: np.ndarray  # (n,) columns
    cut: np.ndarray  # (n,) bool: touches the slice's upper edge

    def chosen(self, which: np.ndarray) -> "Pieces":
        """Return the pieces of these numbers, or where this is true."""
        return Pieces(*(values[which] for values in vars(self).values()))

    def plausible(self) -> np.ndarray:
        """Tell which pieces are large enough for a structure, (n,) bool."""
        return self.area >= np.where(self.cut, CUT_PIECE, PIECE) * usual_size(self.area)


def count_structures(mask: np.ndarray) -> SpineCount:
    """Count vertebral bodies and discs of a mask (H, W) of classes 0..3, the head at the top and the front at the left.

    Where fewer than two discs are found there is no line, and no vertebra is counted.
    """
    discs = find_pieces(mask == CLASSES.index("discs"))
    large = discs.chosen(discs.area >= WHOLE * usual_size(discs.area))
    line = level_centres(large)
    if len(line) < 2:
        return SpineCount(0, len(line))
    reach, near = REACH * np.median(large.width), LEVEL * np.median(np.diff(along_line(line, line)[0]))
    along, across = along_line(discs.centre, line)
    borders = first_of_each(along[(across <= reach) & discs.plausible()], near)
    return SpineCount(count_bodies(mask == CLASSES.index("vertebrae"), line, borders, reach), len(borders))


def count_bodies(mask: np.ndarray, line: np.ndarray, borders: np.ndarray, reach: float) -> int:
    """Count the vertebral bodies of a mask (H, W) bool: those between `borders` (n,), places on the line (k, 2)."""
    pieces, sizes = label_pieces(mask)
    along, across = along_line(np.argwhere(mask), line)
    inside = across <= reach
    places = np.searchsorted(borders, along[inside])
    shape = len(borders) + 1, len(sizes)
    areas = np.bincount(places * shape[1] + pieces[mask][inside], minlength=shape[0] * shape[1]).reshape(shape)
    total = areas.sum(axis=1)
    if not total.any():
        return 0
    usual = usual_size(total[total > 0])
    whole = (areas >= WHOLE * usual).sum(axis=1)
    smallest = np.full(len(total), PIECE)
    smallest[0] = CUT_PIECE if mask[0].any() else PIECE
    return int(np.where(total >= smallest * usual, np.maximum(whole, 1), 0).sum())


def find_pieces(mask: np.ndarray) -> Pieces:
    """Find the connected pieces of a mask (H, W) bool."""
    pieces, sizes = label_pieces(mask)
    boxes = ndimage.find_objects(pieces)
    return Pieces(
        area=sizes[1:],
        centre=np.array(ndimage.center_of_mass(mask, pieces, np.arange(1, len(sizes)))).reshape(-1, 2),
        width=np.array([columns.stop - columns.start for _, columns in boxes], int),
        cut=np.array([rows.start == 0 for rows, _ in boxes], bool),
    )


def usual_size(sizes: np.ndarray) -> float:
    """Return the median of the LARGEST largest sizes; 0 where there is none."""
    return float(np.median(np.sort(sizes)[-LARGEST:])) if len(sizes) else 0.0


def level_centres(discs: Pieces) -> np.ndarray:
    """Return the middles of the discs from the top down, (k, 2); the pieces of one level have theirs in common."""
    discs = discs.chosen(np.argsort(discs.centre[:, 0]))
    if len(discs.area) < 2:
        return discs.centre
    rows = discs.centre[:, 0]
    near = LEVEL * np.median(np.diff(rows))
    level = np.searchsorted(first_of_each(rows, near), rows, side="right") - 1
    weighted = [np.bincount(level, weights=discs.area * values) for values in discs.centre.T]
    return np.stack(weighted, axis=1) / np.bincount(level, weights=discs.area)[:, None]


def first_of_each(places: np.ndarray, near: float) -> np.ndarray:
    """Return the first place of every group, rising; a group ends `near` after its first place."""
    kept: list[float] = []
    for place in np.sort(places):
        if not kept or place - kept[-1] >= near:
            kept.append(place)
    return np.array(kept)


def along_line(points: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far along a line of straight parts (k, 2) points (n, 2) lie, and how far from it, in pixels.

    Beyond its ends the line goes straight on; there the place is below 0, or above the line's length.
    """
    steps = np.diff(line, axis=0)
    lengths = np.hypot(*steps.T)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    first, last = np.zeros(len(steps)), lengths.copy()
    first[0], last[-1] = -np.inf, np.inf
    best, across = np.zeros(len(points)), np.full(len(points), np.inf)
    for origin, step, length, start, low, high in zip(line, steps, lengths, starts, first, last, strict=False):
        place = np.clip((points - origin) @ (step / length), low, high)
        away = np.hypot(*(points - origin - place[:, None] * step / length).T)
        best = np.where(away < across, start + place, best)
        across = np.minimum(away, across)
    return best, across
