"""Which vertebral arch belongs to which body: bodies and sure parts of arches grow through the vertebra class.

The growth parts the class where it is narrow, as at the facet joints, where the arches of two vertebrae touch.
"""

import numpy as np
from scipy import ndimage

from spider_utils.masks.pieces import components, points_of
from spider_utils.masks.spine import Spine, grow

NEAR_DISC = 0.25  # of a body's height: so close to its discs a body's voxels are no markers, the growth decides
ARCH_HANGS = 0.3  # of the pitch: the arch of a vertebra lies so much below the middle of its body
ARCH_REACH = 0.75  # of the pitch: a loose piece farther from where an arch should be belongs to none


def grow_levels(spine: Spine, spacing: np.ndarray) -> tuple[np.ndarray, int]:
    """Give every voxel of the bone a level: (D, H, W) its place from below, counted from 1, 0 for none; and how many
    loose pieces went to the level that they are nearest to. `spacing`: of slices, rows and columns in mm.
    """
    markers = np.zeros(spine.bone.shape, np.uint16)
    markers[spine.bone] = _markers(spine)
    grown = grow(markers, spine.bone, spacing)
    return grown, _place_loose(grown, spine, spacing)


def _markers(spine: Spine) -> np.ndarray:
    """Return from which of the bone's points each level grows: its place from 1, 0 where the growth decides, (n,).

    Sure of their level are the bodies away from their discs, the laminae behind the canal below the middle of a body,
    and at the height of a disc the articular processes: those of the lower vertebra before, of the upper one behind.
    """
    points, value = spine.points, np.zeros(len(spine.points), np.uint16)
    middle, front, back = spine.course.at(points)
    aside, behind = np.abs(points[:, 0] - middle), points[:, 2] - back
    arch = ~spine.inside
    for level, place in enumerate(spine.levels):
        mine = spine.inside & (spine.place == level)
        value[mine & _central(spine, mine, level)] = level + 1
        height = (points - place.centre) @ place.up / place.pitch
        lamina = (behind > -1) & (behind < 15) & (aside < 8) & (height > -0.45) & (height < -0.1)
        value[arch & lamina] = level + 1
        if level < len(spine.borders):
            above = spine.heights[:, level] / spine.pitch
            spinous = (above > -0.2) & (above < 0.25) & (behind > 0) & (behind < 15) & (aside < 8)
            value[arch & spinous] = level + 2
            pedicle = (points[:, 2] > front + 1) & (points[:, 2] < (front + back) / 2) & (aside > 8) & (aside < 25)
            value[arch & pedicle & (above > -0.3) & (above < 0.15)] = level + 1
    return value


def _central(spine: Spine, mine: np.ndarray, level: int) -> np.ndarray:
    """Tell which points of a level's body lie well away from its discs; a border without a disc needs no distance."""
    low = spine.heights[:, level - 1] if level else None
    high = -spine.heights[:, level] if level < len(spine.borders) else None
    margins = [NEAR_DISC * bool(spine.borders[at].pieces) if 0 <= at < len(spine.borders) else 0.0
               for at in (level - 1, level)]  # fmt: skip
    if low is not None and high is not None:
        return (low >= margins[0] * (low + high)) & (high >= margins[1] * (low + high))
    one, margin = (low, margins[0]) if low is not None else (high, margins[1])
    assert one is not None  # a spine has a border
    if not mine.any() or not margin:
        return one >= 0
    return one >= min(margin * spine.pitch, 0.5 * float(one[mine].max()))


def _place_loose(grown: np.ndarray, spine: Spine, spacing: np.ndarray) -> int:
    """Give pieces of bone that nothing has grown into to a level, in place; return how many found one.

    Before the canal a piece goes to the level between whose borders it lies; behind it, to the one whose arch should
    be there.
    """
    pieces, _ = components(spine.bone & (grown == 0), spacing)
    placed = 0
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == number
        centre = (points_of(piece, spacing) + np.array([part.start for part in box]) * spacing).mean(axis=0)
        _, front, _ = spine.course.at(centre[None])
        level = None
        if centre[2] >= front[0]:
            off = [(centre - place.centre) @ place.up / place.pitch + ARCH_HANGS for place in spine.levels]
            nearest = int(np.abs(off).argmin())
            level = nearest if abs(off[nearest]) <= ARCH_REACH else None
        elif spine.course.bodies(centre[None])[0]:
            level = sum(bool(border.above(centre[None])[0] > 0) for border in spine.borders)
        if level is not None:
            grown[box][piece] = level + 1
            placed += 1
    return placed
