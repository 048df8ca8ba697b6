"""Measurements in mm from SPIDER's label numbers, and how far two readings of them agree.

A label map lies in the common pose, (D, H, W): slices from the patient's right to the left, rows from superior to
inferior, columns from anterior to posterior; spacing is (slice, row, column) in mm. What is measured is the length of a
structure along straight lines and its area in a plane, the mask interpolated linearly between the centres of voxels.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import find_objects, map_coordinates
from scipy.signal import savgol_filter

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CANAL_LABEL, four_classes
from spider_utils.masks.checks import check_spacing

# The numbers count from below, and 1 is taken to be L5. Where a spine has a transitional vertebra, or the lowest one
# that is labelled is another, all names are off by one and the measurements are not.
VERTEBRAE = ("S1", *(f"L{n}" for n in range(5, 0, -1)), *(f"T{n}" for n in range(12, 0, -1)),
             *(f"C{n}" for n in range(7, -1, -1)))  # fmt: skip
FIRST_DISC = 201
STEP_MM = 0.25  # between the samples of a line
DISC_PARTS = {"anterior_mm": (0.2, 0.4), "middle_mm": (0.4, 0.6), "posterior_mm": (0.6, 0.8)}  # of a disc's depth
DISC_EDGE = 0.25  # of a slice's greatest thickness: a disc's depth ends where it is thinner
COURSE_MM = 25.0  # of the canal that a parabola is fitted to, to smooth its course
STRETCH_MM = 4.0  # of the canal's course that a level's diameter and area are averaged over
CANAL_REACH_MM = (18.0, 25.0)  # from the course, where the canal is looked for: in the sagittal plane, sideways
FEWEST_SLICES = 3  # through the canal, for an area
HEIGHT_COLUMNS = ["label", "name", "height_mm", *DISC_PARTS, "depth_mm", "complete"]
CANAL_COLUMNS = ["label", "name", "level", "ap_mm", "area_mm2"]


def structure_name(label: int) -> str:
    """Name a label of SPIDER: 1 is "L5", 201 (the disc under it) "L5/S1", 202 "L4/L5", 100 "canal".

    That 1 is L5 is an assumption. Raises SpiderError on a label that SPIDER does not have.
    """
    kind = int(four_classes(np.array([label]))[0])
    number = label % 100
    return ("background", VERTEBRAE[number], "canal", f"{VERTEBRAE[number]}/{VERTEBRAE[number - 1]}")[kind]


def disc_heights(labels: np.ndarray, spacing: tuple[float, float, float]) -> pd.DataFrame:
    """Measure every disc of a label map (D, H, W), from the lowest upwards; a row each with HEIGHT_COLUMNS.

    A disc has a mid plane of its own: within the slices it runs along the major axis of the disc's voxels (about the
    middle of their slice, all slices together), and from slice to slice as their middles rise or fall (least squares).
    Thickness is measured perpendicular to it, as Frobin et al. (Clinical Biomechanics 12 Suppl 1, 1997) measure height
    perpendicular to the bisector of two endplates, so neither tilt nor scoliosis adds to it. Lines start from the mid
    plane in the middle third of the disc's slices, every 0.25 mm. Along each slice the disc's depth ends where its
    thickness falls below a quarter of the greatest.

    anterior_mm, middle_mm, posterior_mm: mean thickness over 20 to 40, 40 to 60 and 60 to 80 % of the depth;
    height_mm: the mean of the three, which is the volume of the disc's central part over that part's area in the mid
    plane (rims, osteophytes and herniations lie outside it); depth_mm: the depth. Each is averaged over the slices.
    complete: False where the disc touches the edge of a slice; then nothing is measured (NaN).

    Raises SpiderError on another number of axes, a spacing that is not positive, or a label that SPIDER does not have.
    """
    rows = []
    for label, disc in _discs(labels, spacing).items():
        complete = not disc.cut
        measured = _disc_measures(disc) if complete else {}
        rows.append({"label": label, "name": structure_name(label), "complete": complete} | measured)
    return pd.DataFrame(rows, columns=HEIGHT_COLUMNS)


def canal_diameters(labels: np.ndarray, spacing: tuple[float, float, float]) -> pd.DataFrame:
    """Measure the canal at every disc and vertebra of a label map (D, H, W), from below; a row each, CANAL_COLUMNS.

    The canal's course joins the middles of its rows, smoothed (a parabola through 25 mm around each). A disc's level is
    the place where the disc's mid plane (see `disc_heights`) meets the course; a vertebra's lies half way between those
    of its two discs, along the course.

    ap_mm: antero-posterior diameter, the canal's length along a line through the course, in the sagittal plane and
    perpendicular to the course there, averaged over 4 mm of the course. area_mm2: the canal's area in the plane
    perpendicular to the course, in the same way (on tubes of known area and slices 4 mm apart within a tenth); NaN with
    fewer than three slices through the canal, and where it reaches the first or the last slice of the volume.

    Where the canal, a disc, or one of a vertebra's two discs is missing or not complete, the value is NaN. Raises
    SpiderError like `disc_heights`.
    """
    boxes = _boxes(labels, spacing)
    discs = _discs(labels, spacing)
    canal = _structure(labels, boxes[CANAL_LABEL], CANAL_LABEL, spacing) if CANAL_LABEL in boxes else None
    course = _course(canal) if canal is not None else np.empty((0, 3))
    places = {label: _place_of_disc(course, disc) for label, disc in discs.items()}
    for number in (label for label in boxes if label < CANAL_LABEL):
        below, above = (places.get(FIRST_DISC - 1 + number + step) for step in (0, 1))
        places[number] = None if below is None or above is None else (below + above) // 2
    rows = []
    for label in sorted(places, key=lambda label: (label % 100, -label)):
        level = "disc" if label >= FIRST_DISC else "vertebra"
        measured = {} if places[label] is None else _canal_measures(canal, course, places[label])
        rows.append({"label": label, "name": structure_name(label), "level": level} | measured)
    return pd.DataFrame(rows, columns=CANAL_COLUMNS).astype({"ap_mm": float, "area_mm2": float})


@dataclass(frozen=True)
class _Structure:
    """One label of a volume, cut out with a margin of one voxel of background; lengths and places in mm."""

    inside: np.ndarray  # (d, h, w) float32, 1 inside
    first: np.ndarray  # (3,) index of its first voxel in the volume
    spacing: np.ndarray  # (3,)
    cut: bool  # it touches the edge of a slice
    slices: int  # of the volume

    def points(self) -> np.ndarray:
        """Return the centres of its voxels, (n, 3)."""
        return (np.argwhere(self.inside > 0) + self.first) * self.spacing

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return its share, 0..1, at points (..., 3), interpolated linearly."""
        index = np.moveaxis(points / self.spacing - self.first, -1, 0)
        return map_coordinates(self.inside, index, order=1, mode="constant")


@dataclass(frozen=True)
class _MidPlane:
    """A disc's mid plane: a point of it, two directions in it, and its normal; vectors (slice, row, column)."""

    centre: np.ndarray  # mm
    sideways: np.ndarray  # from one slice to the next, as far as the plane rises for each mm
    depth: np.ndarray  # unit, within a slice, towards posterior
    normal: np.ndarray  # unit, towards superior


def _boxes(labels: np.ndarray, spacing: tuple[float, ...]) -> dict[int, tuple[slice, ...]]:
    """Return the box of each label that is there. Raises SpiderError on what is no label map with its spacing."""
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
        raise SpiderError(f"labels: expected whole numbers (D, H, W), found shape {labels.shape} of {labels.dtype}")
    check_spacing(spacing)
    boxes = {number: box for number, box in enumerate(find_objects(labels), start=1) if box is not None}
    four_classes(np.array(list(boxes), int))
    return boxes


def _discs(labels: np.ndarray, spacing: tuple[float, float, float]) -> dict[int, _Structure]:
    boxes = _boxes(labels, spacing)
    return {label: _structure(labels, box, label, spacing) for label, box in boxes.items() if label >= FIRST_DISC}


def _structure(
    labels: np.ndarray, box: tuple[slice, ...], label: int, spacing: tuple[float, float, float]
) -> _Structure:
    inside = np.pad((labels[box] == label).astype(np.float32), 1)
    edges = zip(box[1:], labels.shape[1:], strict=True)
    cut = any(part.start == 0 or part.stop == size for part, size in edges)
    first = np.array([part.start - 1 for part in box])
    return _Structure(inside, first, np.asarray(spacing, float), cut, len(labels))


def _mid_plane(disc: _Structure) -> _MidPlane:
    points = disc.points()
    _, place, count = np.unique(points[:, 0], return_inverse=True, return_counts=True)
    middles = np.stack([np.bincount(place, points[:, axis]) / count for axis in range(3)], axis=1)
    within = (points - middles[place])[:, 1:]
    depth = np.linalg.eigh(within.T @ within)[1][:, -1]
    depth = depth if depth[1] > 0 else -depth
    up = np.array([-depth[1], depth[0]])
    centre = points.mean(axis=0)
    across, height = (middles - centre)[:, 0], (middles - centre)[:, 1:] @ up
    spread = count @ across**2
    slope = count @ (across * height) / spread if spread > 0 else 0.0
    return _MidPlane(
        centre,
        sideways=np.array([1.0, *(slope * up)]),
        depth=np.array([0.0, *depth]),
        normal=np.array([-slope, *up]) / np.hypot(1, slope),
    )


def _disc_measures(disc: _Structure) -> dict[str, float]:
    plane = _mid_plane(disc)
    offsets = disc.points() - plane.centre
    slices = np.unique(offsets[:, 0])
    from_middle = np.abs(slices - (slices[0] + slices[-1]) / 2)
    third = (slices[-1] - slices[0] + disc.spacing[0]) / 6
    slices = slices[from_middle <= max(third, from_middle.min())]
    along, height = (_samples(offsets @ axis) for axis in (plane.depth, plane.normal))
    lines = plane.centre + slices[:, None, None] * plane.sideways + along[:, None] * plane.depth
    thickness = STEP_MM * disc.at(lines[:, :, None] + height[:, None] * plane.normal).sum(axis=-1)  # (slices, along)
    measured = {name: [] for name in (*DISC_PARTS, "depth_mm")}
    for profile in thickness:
        thick = np.flatnonzero(profile >= DISC_EDGE * profile.max())
        front, depth = thick[0] - 0.5, thick[-1] - thick[0] + 1  # in samples
        for name, part in DISC_PARTS.items():
            places = front + depth * np.linspace(*part, 21)
            measured[name].append(np.interp(places, np.arange(len(profile)), profile).mean())
        measured["depth_mm"].append(depth * STEP_MM)
    means = {name: float(np.mean(values)) for name, values in measured.items()}
    return {"height_mm": float(np.mean([means[name] for name in DISC_PARTS]))} | means


def _samples(values: np.ndarray, margin_mm: float = 2.0) -> np.ndarray:
    return np.arange(values.min() - margin_mm, values.max() + margin_mm, STEP_MM)


def _course(canal: _Structure) -> np.ndarray:
    """Return the canal's course from above to below as points in steps of STEP_MM, (n, 3); none for a lone row."""
    points = canal.points()
    rows, place, count = np.unique(points[:, 1], return_inverse=True, return_counts=True)
    if len(rows) < 3:
        return np.empty((0, 3))
    steps = np.arange(rows[0], rows[-1] + canal.spacing[1] / 2, canal.spacing[1])
    middles = [np.interp(steps, rows, np.bincount(place, points[:, axis]) / count) for axis in (0, 2)]
    fitted = min(round(COURSE_MM / canal.spacing[1]), len(steps) - 1) // 2 * 2 + 1  # rows, an odd number
    across, back = (savgol_filter(values, fitted, 2, mode="interp") for values in middles)
    course = np.stack([across, steps, back], axis=1)
    length = np.concatenate([[0], np.linalg.norm(np.diff(course, axis=0), axis=1).cumsum()])
    even = np.arange(0, length[-1], STEP_MM)
    return np.stack([np.interp(even, length, values) for values in course.T], axis=1)


def _place_of_disc(course: np.ndarray, disc: _Structure) -> int | None:
    """Return the number of the course's point that lies in a disc's mid plane, None where they do not meet."""
    if disc.cut or not len(course):
        return None
    plane = _mid_plane(disc)
    above = (course - plane.centre) @ plane.normal
    behind = (course - plane.centre) @ plane.depth > 0
    meeting = np.flatnonzero((above[:-1] > 0) & (above[1:] <= 0) & behind[1:])
    return int(meeting[0]) if len(meeting) else None


def _canal_measures(canal: _Structure, course: np.ndarray, place: int) -> dict[str, float]:
    """Measure the canal around one point of its course."""
    before, after = max(place - 4, 0), min(place + 4, len(course) - 1)
    tangent = (course[after] - course[before]) / np.linalg.norm(course[after] - course[before])
    down = np.array([0.0, *tangent[1:]]) / np.linalg.norm(tangent[1:])
    back = np.array([0.0, -down[2], down[1]])  # perpendicular to the course, and to `down`
    aside = np.cross(tangent, back)
    stretch = np.linspace(-STRETCH_MM / 2, STRETCH_MM / 2, 9)[:, None]
    depth, width = (np.arange(-reach, reach + STEP_MM, STEP_MM)[:, None] for reach in CANAL_REACH_MM)
    lines = course[place] + (stretch * down)[:, None] + depth * back
    ap = STEP_MM * canal.at(lines).sum(axis=-1)
    if ap.min() == 0:
        return {}
    planes = course[place] + (stretch * tangent)[:, None, None] + (depth * back)[:, None] + width * aside
    share = canal.at(planes)
    reached = np.unique(np.round(planes[share > 0.5][:, 0] / canal.spacing[0]).astype(int))
    whole = len(reached) >= FEWEST_SLICES and reached[0] > 0 and reached[-1] < canal.slices - 1
    area = STEP_MM**2 * share.sum(axis=(1, 2)).mean() if whole else np.nan
    return {"ap_mm": float(ap.mean()), "area_mm2": float(area)}
