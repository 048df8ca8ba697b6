"""Signed distances in mm (negative inside) to the building blocks of a spine, on a regular grid of sample points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

Box = tuple[slice, ...]  # of slices, rows and columns
Coordinates = tuple[np.ndarray, ...]  # three, of one shape


@dataclass(frozen=True)
class Frame:
    """A right-angled frame in patient coordinates (LPS, mm); the rows of `axes` point left, posterior and up."""

    origin: np.ndarray  # (3,)
    axes: np.ndarray  # (3, 3)

    def to_patient(self, points: ArrayLike) -> np.ndarray:
        """Turn local points (n, 3) into patient coordinates (n, 3)."""
        return self.origin + np.asarray(points, float) @ self.axes


@dataclass(frozen=True)
class Grid:
    """Sample points `origin + s[i] axes[0] + r[j] axes[1] + c[k] axes[2]`: slices, rows and columns, in mm."""

    origin: np.ndarray  # (3,) patient coordinates
    axes: np.ndarray  # (3, 3), row 0 along the slices (to the left), row 1 down a slice, row 2 towards posterior
    positions: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.positions)

    def local(self, frame: Frame, box: Box | None = None) -> Coordinates:
        """Give the coordinates of the points of `box` in `frame` as three float32 arrays of the box's shape."""
        box = box or (slice(None),) * 3
        offset = frame.axes @ (self.origin - frame.origin)
        steps = frame.axes @ self.axes.T
        along = [axis[part] for axis, part in zip(self.positions, box, strict=True)]
        coordinates = []
        for row in range(3):
            s, r, c = (np.float32(steps[row, axis]) * along[axis].astype(np.float32) for axis in range(3))
            coordinates.append((s + np.float32(offset[row]))[:, None, None] + (r[:, None] + c[None, :])[None])
        return tuple(coordinates)

    def box(self, points: np.ndarray, margin: float) -> Box | None:
        """Give the smallest box around patient points (n, 3) widened by `margin` mm; None where it is off the grid."""
        along = (np.asarray(points) - self.origin) @ self.axes.T
        parts = []
        for axis, positions in enumerate(self.positions):
            start = int(np.searchsorted(positions, along[:, axis].min() - margin))
            stop = int(np.searchsorted(positions, along[:, axis].max() + margin))
            if start >= stop:
                return None
            parts.append(slice(start, stop))
        return tuple(parts)


def smooth_min(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Union of two distances whose inner edge is rounded over `radius` mm (the polynomial smooth minimum)."""
    overlap = np.maximum(radius - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap * np.float32(0.25 / radius)


def smooth_max(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Intersection of two distances whose outer edge is rounded over `radius` mm."""
    return -smooth_min(-a, -b, radius)


def capsule(coordinates: Coordinates, start: ArrayLike, stop: ArrayLike, radii: ArrayLike) -> np.ndarray:
    """Distance to the segment start..stop swollen by an ellipsoid with the three `radii` (first-order accurate)."""
    radii = np.asarray(radii, np.float32)
    base = np.asarray(start, np.float32) / radii
    direction = np.asarray(stop, np.float32) / radii - base
    length2 = float(direction @ direction)
    scaled = [x / radius - first for x, radius, first in zip(coordinates, radii, base, strict=True)]
    if length2 > 0:
        along = sum(x * np.float32(step / length2) for x, step in zip(scaled, direction, strict=True))
        np.clip(along, 0, 1, out=along)
        scaled = [x - along * step for x, step in zip(scaled, direction, strict=True)]
    q2 = sum(x * x for x in scaled)
    slope2 = sum((x / radius) ** 2 for x, radius in zip(scaled, radii, strict=True))
    return (q2 - np.sqrt(q2)) / np.sqrt(slope2 + np.float32(1e-6))


@dataclass(frozen=True)
class Dent:
    """A hollow in an endplate (Schmorl's node): centre in the plate's plane, radius and depth in mm."""

    u: float
    v: float
    radius: float
    depth: float


@dataclass(frozen=True)
class BodyShape:
    """A vertebral body in its own frame: half width `a`, half depth `b`, height `h` (mm), and further traits."""

    a: float
    b: float
    h: float
    wedge: float = 0.0  # radians between the endplates, positive when taller in front
    taper: float = 0.0  # relative change of width and depth over the height, positive when wider at the top
    waist: float = 0.09
    hollow: float = 2.0  # depth of the endplates' concavity, mm
    lips: tuple[float, float] = (0.0, 0.0)  # osteophytes at the (lower, upper) edge, relative to the radius
    dents: tuple[Dent | None, Dent | None] = (None, None)  # in the (lower, upper) endplate

    def outline(self, u: np.ndarray, v: np.ndarray, a: float, b: float) -> np.ndarray:
        """Radius in units of a superellipse with half axes a, b: below 1 inside."""
        return np.power(np.power(np.abs(u) / np.float32(a), 2.5) + np.power(np.abs(v) / np.float32(b), 2.5), 0.4)

    def endplate(self, u: np.ndarray, v: np.ndarray, upper: bool) -> np.ndarray:
        """Height w of the upper or lower endplate over the plane (u, v), mm."""
        inside = np.maximum(1 - (u / np.float32(self.a)) ** 2 - (v / np.float32(self.b)) ** 2, 0)
        half = self.h / 2 - np.tan(self.wedge / 2) * v - self.hollow * np.sqrt(inside)
        dent = self.dents[int(upper)]
        if dent is not None:
            distance2 = (u - dent.u) ** 2 + (v - dent.v) ** 2
            half = half - dent.depth * np.exp(-distance2 / np.float32(dent.radius**2))
        return half if upper else -half

    def distance(self, coordinates: Coordinates) -> np.ndarray:
        """Signed distance to the body's surface."""
        u, v, w = coordinates
        level = np.clip(w * np.float32(2 / self.h), -1, 1)
        level6 = level**6
        swell = 1 - self.waist * (1 - level * level) + np.float32(self.taper / 2) * level
        if any(self.lips):
            swell = swell + level6 * np.where(level > 0, np.float32(self.lips[1]), np.float32(self.lips[0]))
        u, v = u / swell, v / swell
        radius = np.maximum(self.outline(u, v, self.a, self.b), np.float32(0.02))
        side = np.sqrt(u * u + v * v) * (1 - 1 / radius)
        side = smooth_max(side, v - self.back_wall(u), 2.5)
        plates = np.maximum(w - self.endplate(u, v, True), self.endplate(u, v, False) - w)
        return smooth_max(side, plates, 2.5)

    def back_wall(self, u: np.ndarray) -> np.ndarray:
        """Posterior limit v of the body, hollow in the midline."""
        return np.float32(0.93 * self.b) - np.float32(0.08 * self.b) * np.exp(-((u / np.float32(0.5 * self.a)) ** 2))
