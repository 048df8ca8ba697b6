"""Where the spine runs in a volume of four classes: the canal's course, the discs, and the borders between levels.

All points are in mm along the array's axes (slice, row, column) of the common pose, so upwards is (0, -1, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree

from spider_utils.masks.pieces import components, label_pieces, points_of

UP = np.array([0.0, -1.0, 0.0])
HALF_DEPTH_MM = 19.0  # from a disc's centre to the front of the canal, where there is no canal to tell
CANAL_DEPTH_MM = 14.0  # the same, for the canal
BEYOND_MM = 15.0  # a disc this far beyond the canal's end stands for it
# A body's front lies up to 40 mm before the canal, its sides 20 to 28 mm beside the middle.
DEEPEST_MM, WIDEST_MM = 45.0, 32.0
LEANING = np.cos(np.radians(40))  # a disc leans less than 40 degrees against the line to its neighbour
STEEPEST = np.cos(np.radians(70))  # no disc is steeper; L5/S1 reaches some 60 degrees
SPLIT, NECK = 1.5, 0.25  # see `borders_between`


@dataclass(frozen=True)
class Course:
    """The canal at every row: its middle from right to left, its front and its back, (H,) each, in mm."""

    row_mm: float
    middle: np.ndarray
    front: np.ndarray
    back: np.ndarray

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give middle, front and back in the rows of points (n, 3)."""
        rows = np.arange(len(self.front)) * self.row_mm
        return tuple(np.interp(points[:, 1], rows, values) for values in (self.middle, self.front, self.back))

    def bodies(self, points: np.ndarray) -> np.ndarray:
        """Tell which of the points (n, 3) lie where vertebral bodies and discs do: before the canal and near it."""
        middle, front, _ = self.at(points)
        rows = np.arange(len(self.front)) * self.row_mm
        curve = cKDTree(np.stack([rows, self.front], axis=1))
        ahead, _ = curve.query(points[:, 1:], distance_upper_bound=DEEPEST_MM)
        return np.isfinite(ahead) & (points[:, 2] < front) & (np.abs(points[:, 0] - middle) < WIDEST_MM)


@dataclass(frozen=True)
class Border:
    """A plane between two levels: a disc's, or where bodies without a disc between them are parted."""

    point: np.ndarray  # (3,) mm
    normal: np.ndarray  # (3,) of length 1, upwards
    pieces: tuple[int, ...] = ()  # the disc's components; none where there is no disc
    mm3: float = 0.0  # volume of the disc

    def above(self, points: np.ndarray) -> np.ndarray:
        """Give how far points (n, 3) lie above the plane, mm."""
        return (points - self.point) @ self.normal


@dataclass(frozen=True)
class Level:
    """A place for one vertebra between two borders; the lowest and the topmost place are open to one side."""

    centre: np.ndarray  # (3,) mm, of the vertebral body
    up: np.ndarray  # (3,)
    pitch: float  # mm from border to border


@dataclass(frozen=True)
class Spine:
    """What a volume's levels are made of, on the working grid; places and levels count from below."""

    canal: np.ndarray  # (D, H, W) bool
    bone: np.ndarray  # (D, H, W) bool, the vertebra class without fragments
    disc_pieces: np.ndarray  # (D, H, W) numbers of the disc class' components
    points: np.ndarray  # (n, 3) of the bone's voxels
    inside: np.ndarray  # (n,) bool, where bodies lie
    heights: np.ndarray  # (n, borders) above each border, mm
    place: np.ndarray  # (n,) the level that a point lies at
    borders: list[Border]
    levels: list[Level]
    course: Course
    pitch: float


def grow(markers: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Grow markers (D, H, W) uint16 through the mask's pieces that hold one, parting them where the mask is narrow.

    A watershed on the distance to the mask's surface, which is what Beucher and Lantuejoul (1979) cut touching bodies
    with. Pieces without a marker stay 0.
    """
    depth = ndimage.distance_transform_edt(mask, sampling=spacing).astype(np.float32)
    relief = np.where(mask, -depth, np.float32(1))  # 1 is above every depth, so the outside is flooded last
    grown = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(relief), sitk.GetImageFromArray(markers), markWatershedLine=False
    )
    pieces, sizes = label_pieces(mask)
    marked = np.zeros(len(sizes), bool)
    marked[pieces[markers > 0]] = True
    marked[0] = False
    return np.where(marked[pieces], sitk.GetArrayFromImage(grown), 0)


def canal_course(canal: np.ndarray, discs: np.ndarray, spacing: Sequence[float]) -> Course | None:
    """Follow the canal (D, H, W) bool down the rows; None where there is nothing to follow.

    Between rows that have canal the course runs straight, beyond them it keeps its column. Where the canal ends, points
    (n, 3) in the middle of discs stand for it.
    """
    slices, columns = canal.sum(axis=2).T, canal.sum(axis=0)  # (H, D) and (H, W) voxels
    rows = np.flatnonzero(columns.any(axis=1))
    share = np.cumsum(columns[rows], axis=1) / columns[rows].sum(axis=1, keepdims=True)
    middle = slices[rows] @ np.arange(len(canal)) / slices[rows].sum(axis=1)
    front, back = (share < 0.05).sum(axis=1), (share < 0.95).sum(axis=1)  # a stray voxel does not move them
    size = max(1, round(5 / spacing[1]))
    lines = [ndimage.median_filter(line.astype(float), size, mode="nearest") for line in (middle, front, back)]
    steps = spacing[0], spacing[2], spacing[2]
    known = [rows * spacing[1], *(line * mm for line, mm in zip(lines, steps, strict=True))]
    if len(rows):
        discs = discs[(discs[:, 1] < known[0][0] - BEYOND_MM) | (discs[:, 1] > known[0][-1] + BEYOND_MM)]
    front = discs[:, 2] + HALF_DEPTH_MM
    by_discs = discs[:, 1], discs[:, 0], front, front + CANAL_DEPTH_MM
    known = [np.concatenate(both) for both in zip(known, by_discs, strict=True)]
    if not len(known[0]):
        return None
    order = np.argsort(known[0])
    every = np.arange(canal.shape[1]) * spacing[1]
    return Course(spacing[1], *(np.interp(every, known[0][order], line[order]) for line in known[1:]))


def find_discs(
    mask: np.ndarray, course: Course | None, spacing: Sequence[float], smallest: float, thickest: float, level_mm: float
) -> tuple[list[Border], np.ndarray]:
    """Find the discs in a mask (D, H, W) bool: from the bottom up, and the pieces that they are made of (D, H, W).

    A piece of at least `smallest` mm3 in front of the canal is a disc, unless it lies within `level_mm` of the plane of
    a larger one: then it belongs to that, as smaller pieces do. One thicker than `thickest` mm is parted first.
    """
    pieces, mm3 = _part_thick(*components(mask, spacing), spacing, smallest, thickest)
    found: list[Border] = []
    boxes = ndimage.find_objects(pieces)
    for number in np.argsort(-mm3):
        if mm3[number] == 0:
            break
        box = boxes[number - 1]
        points = points_of(pieces[box] == number, spacing) + np.array([part.start for part in box]) * spacing
        centre = points.mean(axis=0)
        if course and not course.bodies(centre[None])[0]:
            continue
        at = [place for place, disc in enumerate(found) if abs(disc.above(centre[None])[0]) < level_mm]
        if at:
            disc = found[at[0]]
            found[at[0]] = replace(disc, pieces=(*disc.pieces, int(number)), mm3=disc.mm3 + mm3[number])
        elif mm3[number] >= smallest:
            found.append(Border(centre, flat_normal(points), (int(number),), float(mm3[number])))
    found.sort(key=lambda disc: -disc.point[1])
    return _straightened(found), pieces


def flat_normal(points: np.ndarray) -> np.ndarray:
    """Give the direction in which points (n, 3) are least spread, upwards; straight up for what stands on end."""
    normal = np.linalg.eigh(np.cov(points, rowvar=False))[1][:, 0] if len(points) > 3 else UP
    return normal * np.sign(normal @ UP) if abs(normal @ UP) > STEEPEST else UP


def _part_thick(
    pieces: np.ndarray, mm3: np.ndarray, spacing: Sequence[float], smallest: float, thickest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Part the pieces that are thicker than a disc, where they are narrow, and number anew."""
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        if mm3[number] < 2 * smallest:
            continue
        piece = pieces[box] == number
        points = points_of(piece, spacing)
        low, high = np.percentile(points @ flat_normal(points), [2, 98])
        if high - low <= thickest:
            continue
        depth = ndimage.distance_transform_edt(np.pad(piece, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        for radius in (1.0, 1.5, 2.0, 3.0):
            cores, sizes = components(depth > radius, spacing)
            cores = np.where((sizes > smallest / 4)[cores], cores, 0)
            if len(np.unique(cores)) > 2:
                grown = grow(cores.astype(np.uint16), piece, spacing)
                pieces[box][piece] = pieces.max() + grown[piece]
                break
    volumes = np.bincount(pieces.ravel()) * float(np.prod(spacing))
    volumes[0] = 0
    return pieces, volumes


def _straightened(discs: list[Border]) -> list[Border]:
    """Give discs that lean too far against the line to their neighbours that line as normal."""
    if len(discs) < 2:
        return discs
    straight = []
    for place, disc in enumerate(discs):
        line = discs[min(place + 1, len(discs) - 1)].point - discs[max(place - 1, 0)].point
        line = line / np.linalg.norm(line)
        straight.append(disc if disc.normal @ line > LEANING else replace(disc, normal=line))
    return straight


def distances(discs: Sequence[Border]) -> np.ndarray:
    """Give the distances of neighbouring discs' centres, mm."""
    return np.array([np.linalg.norm(high.point - low.point) for low, high in zip(discs, discs[1:], strict=False)])


def borders_between(bodies: np.ndarray, discs: list[Border], pitch: float) -> list[Border]:
    """Add the borders that have no disc, from the points (n, 3) of vertebral bodies and the usual distance of discs.

    Two discs more than 1.5 `pitch` apart have more than one body between them, as many as fit; so have two more than
    1.2 apart, when the bodies' cross section falls under a quarter of its median halfway. The border goes where the
    cross section is smallest, within a quarter of `pitch` of equal parts. Above the topmost disc and below the lowest
    one a border goes `pitch` from the last one in the same way, as long as the bodies reach 1.15 of it with a neck
    there, or 1.5 without.
    """
    if not discs:
        lowest = bodies[bodies[:, 1].argmax()]
        discs = [Border(lowest - 0.15 * pitch * UP, UP)]
    borders = [discs[0]]
    for high in discs[1:]:
        borders += [*_splits(bodies, borders[-1], high, pitch), high]
    above = _beyond(bodies, borders[-1], pitch, 1.0)
    below = _beyond(bodies, borders[0], pitch, -1.0)
    return [*below[::-1], *borders, *above]


def levels_between(borders: list[Border], pitch: float) -> list[Level]:
    """Return the places between the borders, and one below the lowest and one above the topmost."""
    lowest, topmost = borders[0], borders[-1]
    levels = [Level(lowest.point - 0.5 * pitch * lowest.normal, lowest.normal, pitch)]
    for low, high in zip(borders, borders[1:], strict=False):
        line = high.point - low.point
        length = float(np.linalg.norm(line))
        levels.append(Level((low.point + high.point) / 2, line / length, length))
    return [*levels, Level(topmost.point + 0.5 * pitch * topmost.normal, topmost.normal, pitch)]


def _splits(bodies: np.ndarray, low: Border, high: Border, pitch: float) -> list[Border]:
    """Return the borders between two discs that have more than one body between them."""
    length = float(np.linalg.norm(high.point - low.point))
    if length < 1.2 * pitch:
        return []
    up = (high.point - low.point) / length
    inside = bodies[(low.above(bodies) > 0) & (high.above(bodies) < 0)]
    area = _cross_section((inside - low.point) @ up, length)
    count = round(length / pitch) if length > SPLIT * pitch else 2
    cuts = [_narrowest(area, length * part / count, NECK * pitch) for part in range(1, count)]
    if length <= SPLIT * pitch and not _is_neck(area, cuts[0]):
        return []
    return [Border(low.point + up * cut, up) for cut in cuts]


def _beyond(bodies: np.ndarray, end: Border, pitch: float, sign: float) -> list[Border]:
    """Part the bodies beyond the last border: above it with sign 1, below it with sign -1."""
    added: list[Border] = []
    while True:
        along = sign * end.above(bodies)
        along = along[along > 0]
        reach = float(np.percentile(along, 99)) if len(along) else 0.0
        if reach < 1.15 * pitch:
            return added
        area = _cross_section(along, reach)
        cut = _narrowest(area, pitch, NECK * pitch)
        if reach < SPLIT * pitch and not _is_neck(area, cut):
            return added
        end = Border(end.point + sign * cut * end.normal, end.normal)
        added.append(end)


def _cross_section(along: np.ndarray, length: float) -> np.ndarray:
    """Count the points in every mm from 0 to `length`, smoothed over 3 mm."""
    return ndimage.uniform_filter1d(np.histogram(along, int(length) + 1, (0, int(length) + 1))[0].astype(float), 3)


def _narrowest(area: np.ndarray, at: float, within: float) -> float:
    """Find the place near `at` where the cross section is smallest, the middle of several."""
    first = max(int(at - within), 0)
    part = area[first : int(at + within) + 1]
    return first + 0.5 + float(np.median(np.flatnonzero(part <= part.min() * 1.05)))


def _is_neck(area: np.ndarray, at: float) -> bool:
    """Tell whether the cross section is much smaller there than it usually is."""
    return area[int(at)] < NECK * np.median(area[area > 0])
