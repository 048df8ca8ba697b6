"""From a volume of the four classes to SPIDER's label numbers: which vertebra and which disc a voxel belongs to.

Discs part the spine into levels (see `spine`). What lies before the canal between two discs is a vertebral body; which
arch belongs to it is found in `arches`.

Numbers count from the lowest vertebra that is found, which gets 1. Whether that is L5 cannot be told from a mask: where
L5 lies below the volume, or a network has painted the sacrum as a vertebra, all numbers are off by as many. A missing
level in between is counted, so that the numbers above it stay right.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy import ndimage

from spider_utils.data.labels import CANAL_LABEL
from spider_utils.masks.arches import grow_levels
from spider_utils.masks.checks import check_classes, check_numbers, check_spacing
from spider_utils.masks.conventions import CANAL, DISCS, VERTEBRAE
from spider_utils.masks.pieces import components, points_of
from spider_utils.masks.spine import (
    Border,
    Spine,
    borders_between,
    canal_course,
    distances,
    find_discs,
    levels_between,
)

DISC_LABEL = 200  # plus the number of the vertebra above
DROPPED = np.uint16(65535)
WORKING_MM = 1.0  # decisions are made on about this grid; finer voxels follow the nearest one of it
USUAL_PITCH_MM = 35.0  # from disc to disc in an adult's lumbar spine, where the volume does not tell
SMALL_DISC = 0.2  # of the median disc: from smaller ones the usual distance is not told
CLOSEST = 0.7  # of the usual distance; closer discs are looked at twice
SLAB_MM = 1.5  # on either side of a disc's plane


@dataclass(frozen=True)
class LevelSettings:
    """What counts as a structure; volumes in mm3, lengths in mm.

    The volumes were chosen on the 30 released stacks of reference masks, which are 13 to 30 mm wide: their smallest
    disc has 900 mm3 and the next smaller piece of that class 14.
    """

    fragment_mm3: float = 200.0  # of the vertebra class: smaller pieces go
    disc_mm3: float = 300.0  # smaller pieces are no disc by themselves
    body_mm3: float = 1000.0  # a level with less of a vertebral body has no vertebra
    body_share: float = 0.25  # the same, of the median body; a vertebra that the volume's edge cuts may have less
    canal_share: float = 0.05  # of the canal's largest piece; smaller ones go
    level_mm: float = 6.0  # pieces of disc whose middles lie this close to one plane are one disc
    pitch_mm: tuple[float, float] = (20.0, 50.0)  # from disc to disc, at least and at most, for a single vertebra

    def __post_init__(self) -> None:
        check_numbers(asdict(self))


DEFAULTS = LevelSettings()


@dataclass(frozen=True)
class Numbered:
    """A label map with SPIDER's numbers, (D, H, W) uint16, and what was doubtful about it, in sentences."""

    labels: np.ndarray
    notes: tuple[str, ...]


def number_structures(
    classes: np.ndarray, spacing: tuple[float, float, float], settings: LevelSettings = DEFAULTS
) -> Numbered:
    """Number the vertebrae and discs of a mask (D, H, W) uint8 of classes 0..3 in the common pose.

    `spacing`: of slices, rows and columns in mm. Vertebrae get 1.. from below, the canal 100, the disc under vertebra n
    200 + n; there may be a disc above the topmost vertebra. Fragments that belong to nothing become background. Raises
    SpiderError on another type or shape, other classes, or a spacing that is not positive.
    """
    classes, spacing = check_classes("classes", classes, "D, H, W"), check_spacing(spacing)
    labels = np.zeros(classes.shape, np.uint16)
    if not classes.any():
        return Numbered(labels, ("the mask is empty",))
    box = tuple(_extent(classes, axis) for axis in range(3))
    fine = classes[box]
    steps = tuple(max(1, round(WORKING_MM / mm)) for mm in spacing)
    picked = np.ix_(*(np.minimum(np.arange(0, n, k) + k // 2, n - 1) for n, k in zip(fine.shape, steps, strict=True)))
    working, spacing = fine[picked], spacing * steps
    spine = _find_spine(working, spacing, settings)
    if spine is None:
        labels[classes == CANAL] = CANAL_LABEL
        return Numbered(labels, ("no vertebra was found, nothing is numbered",))
    ends = [box[1].start == 0, box[1].stop == classes.shape[1]]  # whether the mask reaches the upper and the lower edge
    sides = [box[0].start == 0, box[0].stop == len(classes)]
    cut = _cut_levels(spine, working.shape, spacing, ends), _cut_levels(spine, working.shape, spacing, sides, axis=0)
    numbers = _number_levels(spine, *cut, float(np.prod(spacing)), settings)
    decided, loose = _decide(working, spine, numbers, spacing)
    labels[box] = _painted(decided, working, fine, steps)
    lost = float(np.count_nonzero((fine > 0) & (labels[box] == 0)) * np.prod(spacing) / np.prod(steps))
    below = np.count_nonzero(spine.inside & (spine.place < np.argmax(numbers > 0))) * float(np.prod(spacing))
    return Numbered(labels, tuple(_notes(spine, numbers, cut[0], loose, lost, below >= settings.body_mm3)))


def _extent(classes: np.ndarray, axis: int) -> slice:
    used = np.flatnonzero(classes.any(axis=tuple(other for other in range(3) if other != axis)))
    return slice(int(used[0]), int(used[-1]) + 1)


def _find_spine(working: np.ndarray, spacing: np.ndarray, settings: LevelSettings) -> Spine | None:
    """Find canal, discs, bodies and levels; None where there is no vertebra."""
    pieces, mm3 = components(working == CANAL, spacing)
    canal = (mm3 >= max(settings.canal_share * mm3.max(), 1e-9))[pieces]
    course = canal_course(canal, np.zeros((0, 3)), spacing)
    limits = settings.disc_mm3, settings.pitch_mm[0], settings.level_mm
    discs, disc_pieces = find_discs(working == DISCS, course, spacing, *limits)
    pitch = _pitch(discs, settings)
    pieces, mm3 = components(working == VERTEBRAE, spacing)
    bone = (mm3 >= max(settings.fragment_mm3, 1e-9))[pieces]
    course = canal_course(canal, np.array([disc.point for disc in discs]).reshape(-1, 3), spacing)
    if not bone.any() or course is None:
        return None
    points = points_of(bone, spacing)
    inside = course.bodies(points)
    if not inside.any():
        return None
    voxels = [points_of(np.isin(disc_pieces, disc.pieces), spacing) for disc in discs]
    least = settings.body_mm3 / float(np.prod(spacing))
    discs = _true_discs(discs, voxels, points[inside], pitch, least, settings.body_share)
    borders = borders_between(points[inside], discs, pitch)
    heights = np.stack([border.above(points) for border in borders], axis=1)
    place = (heights > 0).sum(axis=1)
    levels = levels_between(borders, pitch)
    return Spine(canal, bone, disc_pieces, points, inside, heights, place, borders, levels, course, pitch)


def _pitch(discs: list[Border], settings: LevelSettings) -> float:
    """Return the usual distance of neighbouring discs in mm."""
    large = [disc for disc in discs if disc.mm3 >= SMALL_DISC * np.median([other.mm3 for other in discs])]
    gaps = distances(large)
    gaps = gaps[(gaps >= settings.pitch_mm[0]) & (gaps <= settings.pitch_mm[1])]
    return float(np.median(gaps)) if len(gaps) else USUAL_PITCH_MM


def _true_discs(
    discs: list[Border], voxels: list[np.ndarray], bodies: np.ndarray, pitch: float, least: float, share: float
) -> list[Border]:
    """Leave out what is no disc among those that lie too close to another one, by the points of discs and bodies.

    At the height of a disc there is more disc than bone; of what networks paint at facet joints or into a body there is
    less. Two close discs are one where the body between them has fewer than `least` points, or than `share` of the
    usual ones. A collapsed vertebra stays: its discs are close, too. Closeness is that within the sagittal plane, since
    pieces at facet joints lie aside.
    """

    def is_close(low: Border, high: Border) -> bool:
        return float(np.linalg.norm((high.point - low.point)[1:])) < CLOSEST * pitch

    def between(low: Border, high: Border) -> int:
        return np.count_nonzero((low.above(bodies) > 0) & (high.above(bodies) < 0))

    def outweighs(disc: Border, own: np.ndarray) -> bool:
        bone, painted = (np.count_nonzero(np.abs(disc.above(part)) < SLAB_MM) for part in (bodies, own))
        return painted > bone

    standing = []
    for place, disc in enumerate(discs):
        beside = discs[max(place - 1, 0) : place] + discs[place + 1 : place + 2]
        if not any(is_close(disc, other) for other in beside) or outweighs(disc, voxels[place]):
            standing.append(disc)
    usual = np.median([between(*pair) for pair in zip(standing, standing[1:], strict=False)] or [0])
    kept: list[Border] = []
    for disc in standing:
        if kept and is_close(kept[-1], disc) and between(kept[-1], disc) < max(least, share * usual):
            small, large = sorted((kept.pop(), disc), key=lambda one: one.mm3)
            disc = replace(large, pieces=large.pieces + small.pieces, mm3=large.mm3 + small.mm3)
        kept.append(disc)
    return kept


def _cut_levels(
    spine: Spine, shape: tuple[int, ...], spacing: np.ndarray, reached: list[bool], axis: int = 1
) -> np.ndarray:
    """Tell which levels' bodies touch the volume's first or last layer along an axis, (levels,) bool.

    `reached`: whether the mask reaches the volume's own edge there.
    """
    cut = np.zeros(len(spine.levels), bool)
    along = spine.points[:, axis]
    for edge, at_edge in zip((0.0, (shape[axis] - 1) * spacing[axis]), reached, strict=True):
        if at_edge:
            cut[np.unique(spine.place[spine.inside & (np.abs(along - edge) < spacing[axis] / 2)])] = True
    return cut


def _number_levels(
    spine: Spine, ends: np.ndarray, sides: np.ndarray, voxel_mm3: float, settings: LevelSettings
) -> np.ndarray:
    """Number the levels that have a vertebra from the lowest one, (levels,) int; 0 where there is none.

    The lowest counts when the volume cuts it, a disc lies under it, or it has half a usual body or more: a smaller
    piece under no disc is part of the sacrum.
    """
    volumes = np.bincount(spine.place[spine.inside], minlength=len(spine.levels)) * voxel_mm3
    full = volumes >= settings.body_mm3
    usual = float(np.median(volumes[full])) if full.any() else 0.0
    least = np.where(ends | sides, settings.fragment_mm3, max(settings.body_mm3, settings.body_share * usual))
    there = volumes >= least
    on_disc = np.array([False, *(bool(border.pieces) for border in spine.borders)])
    firsts = np.flatnonzero(there & (ends | on_disc | (volumes > 0.5 * usual)))
    if not len(firsts):
        return np.zeros(len(there), int)
    count = np.arange(len(there)) - firsts[0] + 1
    return np.where(there & (count > 0), count, 0)


def _decide(working: np.ndarray, spine: Spine, numbers: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the label of every voxel of the working grid, DROPPED where it belongs to nothing, and how many loose
    pieces of bone went to the level that they are nearest to.
    """
    decided = np.where(working > 0, DROPPED, np.uint16(0))
    decided[spine.canal] = CANAL_LABEL
    grown, loose = grow_levels(spine, spacing)
    table = np.concatenate([[DROPPED], np.where(numbers > 0, numbers, DROPPED)]).astype(np.uint16)
    decided[spine.bone] = table[grown[spine.bone]]
    numbered = np.flatnonzero(numbers)
    for level, border in enumerate(spine.borders, start=1):
        if border.pieces and len(numbered) and numbered[0] <= level <= numbered[-1] + 1:
            disc = DISC_LABEL + level - numbered[0] + 1
            decided[np.isin(spine.disc_pieces, border.pieces)] = disc
    return decided, loose


def _painted(decided: np.ndarray, working: np.ndarray, fine: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Bring labels of the working grid to all voxels: each takes that of the nearest one of its own class."""
    labels = np.zeros(fine.shape, np.uint16)
    axes = (np.minimum(np.arange(n) // k, m - 1) for n, k, m in zip(fine.shape, steps, decided.shape, strict=True))
    nearest = np.ix_(*axes)
    for number in (VERTEBRAE, CANAL, DISCS):
        here = working == number
        if here.any():
            at = ndimage.distance_transform_edt(~here, sampling=steps, return_distances=False, return_indices=True)
            mine = fine == number
            labels[mine] = decided[tuple(at)][nearest][mine]
    labels[labels == DROPPED] = 0
    return labels


def _notes(
    spine: Spine, numbers: np.ndarray, cut: np.ndarray, loose: int, lost_mm3: float, left_below: bool
) -> list[str]:
    """Say what is doubtful; `left_below`: whether a part of a body below vertebra 1 was left out."""
    there = np.flatnonzero(numbers)
    if not len(there):
        return ["no vertebra was found, only canal and fragments"]
    first, last = there[0], there[-1]
    notes = [f"vertebra {numbers[level]} is cut off by the edge of the volume" for level in there if cut[level]]
    for level in range(first, last + 1):
        if not numbers[level]:
            notes.append(f"there is no body for vertebra {level - first + 1}")
        if level > first and not spine.borders[level - 1].pieces:
            notes.append(f"there is no disc between vertebrae {level - first} and {level - first + 1}")
    if not first or not spine.borders[first - 1].pieces:
        notes.append("there is no disc under vertebra 1, so the numbers may be off")
    if left_below:
        notes.append("a part of a body below vertebra 1 was left out; if it is no sacrum, the numbers are off")
    if loose:
        notes.append(f"loose pieces of bone given to the nearest vertebra: {loose}")
    if lost_mm3 >= 50:
        notes.append(f"removed, since it belongs to nothing: {lost_mm3 / 1000:.1f} ml")
    return notes
