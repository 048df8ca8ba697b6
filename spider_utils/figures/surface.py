"""Smooth surfaces of the four classes, lit and seen from any side, as arrays of pixels.

Each class becomes a field of signed distances to its surface. One ray a pixel walks through the field, each step as
long as the distance at hand, until it meets the surface (sphere tracing: Hart, The Visual Computer 12, 1996); what it
meets is lit by Lambert's law. Points and directions are (slice, row, column) in the common pose: to the patient's left,
to inferior, to posterior.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates, zoom

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES, FOREGROUND

GRID_MM = 1.0  # between the points of a field
SMOOTH_MM = 1.0  # standard deviation of the smoothing
COURSE_MM = 8.0  # standard deviation of the smoothing of the canal's course
MARGIN_MM = 4.0  # of a field around the structures
STEPS = 100  # of a ray at most
MET_MM = 0.1  # so near a ray has met the surface
LIGHT = (-0.4, -0.5, -1.0)  # towards the light, in the picture: from the left, from above, from the eye
AMBIENT, DIFFUSE, GLOSS = 0.45, 0.72, 0.15
NOOK_MM = (2.0, 6.0)  # where something else is as near as this, less of the ambient light arrives
NOOK_SHADE = 0.5
GLASS, GLASS_RIM = 0.2, 0.75  # opacity of glass seen face on, and what its rims add


@dataclass(frozen=True)
class View:
    """From where a spine is seen: the eye goes round it by `azimuth` and up by `elevation`, both in degrees."""

    name: str
    azimuth: float  # 0 in front of the patient, 90 at the left, 180 behind
    elevation: float = 0.0
    glass: tuple[str, ...] = ()  # classes that can be seen through
    cut: bool = False  # what lies to the left of the canal's middle is taken away


VIEWS = (
    View("from the left", 90),
    View("from behind", 180),
    View("vertebrae as glass", 145, 12, glass=("vertebrae",)),
    View("cut along the canal", 75, cut=True),
)


def distance_fields(classes: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Return for each foreground class that is there the distance to its smoothed surface in mm, negative inside.

    `classes`: (D, H, W) of 0..3 in the common pose; `spacing`: slice, row and column in mm. All fields have one shape,
    cover the foreground with a margin, and have a point every mm; between thick slices the distances are interpolated.
    Raises SpiderError where nothing is foreground.
    """
    coarser = [max(1, int(GRID_MM / step)) for step in spacing]  # what is finer than the fields is thinned out
    classes = classes[tuple(slice(None, None, step) for step in coarser)]
    apart = np.multiply(spacing, coarser)  # mm between those that are left
    filled = [np.flatnonzero(classes.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(filled[0]):
        raise SpiderError("surfaces: expected vertebrae, canal or discs in the label map, found background only")
    box = classes[tuple(slice(part[0], part[-1] + 1) for part in filled)]
    box = np.pad(box, [(int(np.ceil(MARGIN_MM / step)),) * 2 for step in apart])
    smoothing = np.maximum(SMOOTH_MM, 0.4 * apart) / GRID_MM
    fields = {}
    for name in FOREGROUND:
        inside = box == CLASSES.index(name)
        if inside.any():
            field = (_distance(inside, apart) - _distance(~inside, apart)) / 2  # 0 half way between two voxels
            field = zoom(field, apart / GRID_MM, order=1, grid_mode=True, mode="nearest")
            fields[name] = gaussian_filter(field, smoothing)
    return fields


def render(
    fields: Mapping[str, np.ndarray],
    colours: Mapping[str, tuple[float, float, float]],
    view: View,
    pixel_mm: float = 0.35,
) -> np.ndarray:
    """Return a picture (H, W, 4) of distance fields, 0..1: red, green, blue and opacity, 0 where nothing is.

    It is seen without perspective, so that a mm is the same everywhere. `colours`: red, green and blue 0..1 by class.
    """
    scene = _halved(fields) if view.cut else dict(fields)
    camera = _camera(view)  # rows: right and down in the picture, and ahead
    half = (np.array(next(iter(scene.values())).shape) - 1) / 2
    reach = np.abs(camera) @ half
    across, along = (np.arange(-size, size, pixel_mm / GRID_MM) for size in reach[:2])
    eyes = half + across[None, :, None] * camera[0] + along[:, None, None] * camera[1] - reach[2] * camera[2]
    size, eyes = eyes.shape[:2], eyes.reshape(-1, 3)
    depths = {name: _march(field, eyes, camera[2], 2 * reach[2]) for name, field in scene.items()}
    solid = [name for name in scene if name not in view.glass]
    first = np.minimum.reduce([depths[name] for name in solid], initial=np.inf)
    around = np.minimum.reduce([scene[name] for name in solid] or list(scene.values()))
    picture = np.zeros((len(eyes), 4))
    for name in sorted(scene, key=lambda name: name in view.glass):
        seen = np.isfinite(depths[name]) & (depths[name] <= first)
        points = eyes[seen] + depths[name][seen, None] * camera[2]
        normal = _normals(scene[name], points)
        colour = _lit(colours[name], normal, camera)
        if name in solid:
            picture[seen] = np.column_stack([colour * _nook_light(around, points, normal), np.ones(len(points))])
        else:
            facing = np.clip(-normal @ camera[2], 0, 1)
            picture[seen] = _over(colour, GLASS + GLASS_RIM * (1 - facing) ** 1.5, picture[seen])
    return picture.reshape(*size, 4)


def _distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the distance of every voxel to the outermost voxels of a mask in mm, negative further inside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1].tolist())
    return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True))


def _camera(view: View) -> np.ndarray:
    """Return the picture's axes in the volume, (3, 3): a row each for right, down and ahead."""
    azimuth, elevation = np.radians([view.azimuth, view.elevation])
    level = np.array([-np.sin(azimuth), 0, np.cos(azimuth)])
    down = np.array([0.0, 1.0, 0.0])
    right = np.array([np.cos(azimuth), 0, np.sin(azimuth)])
    sine, cosine = np.sin(elevation), np.cos(elevation)
    return np.stack([right, cosine * down - sine * level, cosine * level + sine * down])


def _halved(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Take away what lies to the left of the canal's middle, row by row, or of the first class without a canal."""
    inside = fields.get("canal", next(iter(fields.values()))) < 0
    slices = np.arange(len(inside), dtype=np.float32)
    count = inside.sum(axis=(0, 2))
    rows = np.flatnonzero(count)
    middles = np.interp(np.arange(len(count)), rows, slices @ inside.sum(axis=2)[:, rows] / count[rows])
    left = slices[:, None] - gaussian_filter1d(middles, COURSE_MM / GRID_MM).astype(np.float32)
    return {name: np.maximum(field, GRID_MM * left[:, :, None]) for name, field in fields.items()}


def _march(field: np.ndarray, eyes: np.ndarray, ahead: np.ndarray, far: float) -> np.ndarray:
    """Return how far ahead of each eye (n, 3) its ray meets the surface, in points of the field; inf where it does not.

    Beyond its edge a field keeps the edge's value, which is never more than the true distance.
    """
    depth = np.zeros(len(eyes))
    going = np.arange(len(eyes))
    for _ in range(STEPS):
        distance = _at(field, eyes[going] + depth[going, None] * ahead)
        going, distance = going[distance > MET_MM], distance[distance > MET_MM]
        depth[going] += distance / GRID_MM
        going = going[depth[going] < far]
    depth[depth >= far] = np.inf
    return depth


def _at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    return map_coordinates(field, points.T, order=1, mode="nearest")


def _normals(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return unit vectors out of the surface, (n, 3)."""
    slope = np.stack([_at(field, points + step) - _at(field, points - step) for step in np.eye(3)], axis=1)
    return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)


def _lit(colour: tuple[float, float, float], normal: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Return a colour under ambient, diffuse (Lambert) and glossy (Blinn) light, (n, 3)."""
    light = np.divide(LIGHT, np.linalg.norm(LIGHT)) @ camera
    between = (light - camera[2]) / np.linalg.norm(light - camera[2])
    matt = AMBIENT + DIFFUSE * np.clip(normal @ light, 0, 1)
    gloss = GLOSS * np.clip(normal @ between, 0, 1) ** 30
    return np.clip(np.multiply.outer(matt, colour) + gloss[:, None], 0, 1)


def _nook_light(around: np.ndarray, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return what share of the light arrives, (n, 1): less in a nook, where a step outwards comes near a surface."""
    free = [np.clip(_at(around, points + step / GRID_MM * normal) / step, 0, 1) for step in NOOK_MM]
    return 1 - NOOK_SHADE * (1 - np.mean(free, axis=0)[:, None])


def _over(colour: np.ndarray, opacity: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Lay a colour (n, 3) of an opacity (n,) over a picture (n, 4)."""
    opacity, below = opacity[:, None], picture[:, 3:] * (1 - opacity[:, None])
    total = opacity + below
    return np.concatenate([(opacity * colour + below * picture[:, :3]) / total, total], axis=1)
