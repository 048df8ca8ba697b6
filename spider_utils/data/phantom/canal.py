"""The course of the spinal canal as tables over z, and the dural sac with cord and cauda equina."""

from dataclasses import dataclass

import numpy as np

from spider_utils.data.phantom.anatomy import Anatomy
from spider_utils.data.phantom.shapes import Box, Coordinates, Frame, Grid

STEP_MM = 0.5
PATIENT_FRAME = Frame(np.zeros(3), np.eye(3))


@dataclass(frozen=True)
class Course:
    """Tables over z, from `start_mm` in steps of STEP_MM: the canal's centre, tilt, size, and what lies around it."""

    start_mm: float
    x: np.ndarray
    y: np.ndarray
    cosine: np.ndarray  # of the canal's angle to the z axis in the sagittal plane
    half_depth: np.ndarray  # of the dural sac, mm
    half_width: np.ndarray
    front: np.ndarray  # from the canal's centre to the front of the vertebral bodies, mm
    fascia: np.ndarray  # y of the fascia behind the back muscles
    points: np.ndarray  # (n, 3) the canal's control points

    def at(self, table: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Look a table up at heights z (linear), float32."""
        place = np.clip((z - np.float32(self.start_mm)) * np.float32(1 / STEP_MM), 0, len(table) - 1.001)
        low = place.astype(np.int32)
        place -= low
        slope = np.diff(table, append=table[-1])
        return table[low] + place * slope[low]


def make_course(anatomy: Anatomy) -> Course:
    """Draw the canal behind the vertebral bodies; it narrows at stenotic discs and ends at S2/S3."""
    scale = anatomy.scale
    stations = [(v.frame, v.shape, 8.8 * scale) for v in anatomy.vertebrae]
    stations += [(v.frame, v.shape, (7.5 - 0.6 * level) * scale) for level, v in enumerate(anatomy.sacrum)]
    stations.sort(key=lambda station: station[0].origin[2])
    points = np.array([frame.to_patient([[0, shape.b + gap, 0]])[0] for frame, shape, gap in stations])
    fronts = np.array([2 * shape.b + gap for _, shape, gap in stations])
    keep = np.concatenate([[True], np.diff(points[:, 2]) > 2])
    points, fronts = points[keep], fronts[keep]
    z = np.arange(-220, 420, STEP_MM)
    x, y, front = (_smooth(np.interp(z, points[:, 2], values), 5) for values in (points[:, 0], points[:, 1], fronts))
    half_depth = np.full_like(z, anatomy.sac_mm) - 0.8 * (z > anatomy.conus_mm)
    for disc in anatomy.discs:
        if disc.findings.stenosis < 1:
            height = disc.centre[2] + 3.0
            half_depth *= 1 - (1 - disc.findings.stenosis) * np.exp(-(((z - height) / 8.0) ** 2))
    end = anatomy.sacrum[1].frame.origin[2] - 8 * scale
    closing = np.sqrt(np.clip((z - end) / 30, 0, 1))
    offset = np.interp(z, [-90, -55, 5, 250], [24 * scale, 25 * scale, 45 * scale, 45 * scale])
    tables = (x, y, np.cos(np.arctan(np.gradient(y, STEP_MM))), half_depth * closing,
              (anatomy.sac_mm + np.interp(z, [-60, 0, 100, 200], [0, 3, 3, 2])) * closing, front,
              _smooth(y + offset, 18))  # fmt: skip
    arrays = [*(table.astype(np.float32) for table in tables), points]
    return Course(float(z[0]), *arrays)


def _smooth(values: np.ndarray, sigma_mm: float) -> np.ndarray:
    reach = int(3 * sigma_mm / STEP_MM)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * STEP_MM / sigma_mm) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


@dataclass(frozen=True)
class Tube:
    """Coordinates around the canal in one box: sideways and sagittal offset from its centre (mm), and z."""

    box: Box
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    def distance(self, half_width: np.ndarray, half_depth: np.ndarray, shift_mm: float = 0.0) -> np.ndarray:
        """Distance to an elliptical tube around the canal, shifted to posterior; exact at its front and back."""
        safe = np.maximum(half_depth, np.float32(0.05))
        q = np.hypot(self.x / np.maximum(half_width, np.float32(0.05)), (self.y - np.float32(shift_mm)) / safe)
        return (q - 1) * safe + np.where(half_depth < 0.5, np.float32(2), np.float32(0))


def tube_around(grid: Grid, course: Course, lowest_mm: float) -> Tube | None:
    """Give the box around the canal above `lowest_mm`, with coordinates relative to the canal's centre."""
    inside = course.points[course.points[:, 2] > lowest_mm - 40]
    box = grid.box(inside, 22)
    if box is None:
        return None
    x, y, z = grid.local(PATIENT_FRAME, box)
    return Tube(box, x - course.at(course.x, z), (y - course.at(course.y, z)) * course.at(course.cosine, z), z)


def nerve_share(tube_points: Coordinates, anatomy: Anatomy, half_depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the share of (cord, nerve roots) at points inside the sac, each 0..1; points as flat arrays x, y, z."""
    x, y, z = tube_points
    above = z - np.float32(anatomy.conus_mm)
    radius = np.float32(4.6) * np.sqrt(np.clip(above / 28, 0, 1))
    cord = np.clip(0.5 + radius - np.hypot(x / 1.15, y + 0.5), 0, 1) * (radius > 0.3)
    rng = np.random.default_rng(anatomy.texture_seed + 7)
    roots = np.zeros_like(x)
    for side in (-1, 1):
        for _ in range(7):
            slope_x, slope_y = rng.uniform(0, 0.035), rng.uniform(-0.01, 0.006)  # mm sideways and back per mm down
            place_x, place_y = rng.uniform(0.5, 5), rng.uniform(0.0, 0.75)  # mm, and share of the sac's half depth
            dx = x - np.float32(side) * (np.float32(place_x) - np.minimum(above, 0) * np.float32(slope_x))
            dy = y - half_depth * np.float32(place_y) + np.minimum(above, 0) * np.float32(slope_y)
            roots = np.maximum(roots, np.exp(-(dx * dx + dy * dy) / np.float32(1.1)))
    return cord, roots * np.clip(1 - (above - 25) / 20, 0, 1) * 0.85
