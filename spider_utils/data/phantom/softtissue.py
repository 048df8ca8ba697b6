"""Everything around the spine: skin, subcutaneous fat, muscles, abdomen, vessels and nerve roots."""

import numpy as np

from spider_utils.data.phantom.anatomy import Anatomy, Vertebra
from spider_utils.data.phantom.canal import PATIENT_FRAME, Course
from spider_utils.data.phantom.canvas import Canvas, coverage
from spider_utils.data.phantom.shapes import Frame, Grid, capsule
from spider_utils.data.phantom.tissue import Contrast, texture


def background(anatomy: Anatomy, course: Course, contrast: Contrast, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Paint the soft tissue without vessels; returns the signal and the depth below the back's skin in mm."""
    x, y, z = grid.local(PATIENT_FRAME)
    behind = y - course.at(course.y, z)
    fascia = course.at(course.fascia, z) - np.float32(0.0015) * x * x - y  # positive in front of the fascia
    front = -behind - course.at(course.front, z)  # positive in front of the vertebral bodies
    streaks = texture(grid, anatomy.texture_seed, (6.0, 13.0, 3.2))
    fine = texture(grid, anatomy.texture_seed + 2, (4.5, 4.0, 4.5))
    blobs = texture(grid, anatomy.texture_seed + 1, (12.0, 13.0, 11.0)) + 0.35 * fine
    signal = _back_muscles(anatomy, contrast, x, behind, streaks + 0.3 * fine)
    abdomen = _abdomen(contrast, front, blobs, fine)
    signal += (abdomen - signal) * np.clip(0.5 - (behind + 4) / 6, 0, 1)
    signal += (contrast.ligament - signal) * np.clip(1.4 - np.abs(fascia), 0, 1) * 0.9
    fat = contrast.fat * (1 + np.float32(0.05) * streaks)
    signal += (fat - signal) * coverage(fascia, 1.2)
    thickness = anatomy.fat_mm * (1.15 - 0.3 * np.clip(z / 200, -0.5, 1))
    depth = fascia + thickness
    belly = behind + np.float32(anatomy.belly_mm) + 20 * np.cos(z / 70)  # positive behind the skin of the abdomen
    signal += (contrast.fat - signal) * coverage(belly - np.float32(0.6 * anatomy.fat_mm + 6), 2)
    skin = np.minimum(depth, belly)
    signal += (0.45 * contrast.fat - signal) * coverage(skin - 1.5, 1.2)
    signal *= coverage(-skin, 1.2)
    return signal, depth


def _back_muscles(
    anatomy: Anatomy, contrast: Contrast, x: np.ndarray, behind: np.ndarray, streaks: np.ndarray
) -> np.ndarray:
    """Erector spinae streaked with fat; between the spinous processes fat and ligament instead."""
    midline = np.clip(1.5 - np.abs(x) / 5, 0, 1)
    fat = np.clip(streaks * 0.55 + 1.3 * (anatomy.infiltration - 0.55) + 0.45 * midline, 0, 1)
    fat += np.clip(1 - np.abs(behind - 12) / 10, 0, 1) * 0.35  # around the facets and in the foramina
    return contrast.muscle + (contrast.fat * 0.9 - contrast.muscle) * np.clip(fat, 0, 1)


def _abdomen(contrast: Contrast, front: np.ndarray, blobs: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Retroperitoneal fat next to the spine; farther in front organs and bowel between fat."""
    organ = np.clip((blobs - 0.1) * 1.6 + np.clip(front - 24, -24, 14) * 0.05, 0, 1)
    bowel = np.clip((-blobs - 0.6) * 2, 0, 1) * np.clip((front - 30) / 10, 0, 1)
    fat = contrast.fat * (0.85 + np.float32(0.08) * fine)
    signal = fat + (contrast.organ * (1 + 0.15 * fine) - fat) * organ
    return signal + (contrast.bowel * np.clip(1 + 0.5 * fine, 0.2, 2) - signal) * bowel


def paint_vessels_and_psoas(canvas: Canvas, anatomy: Anatomy, contrast: Contrast) -> None:
    """The psoas beside the bodies; aorta (left) and vena cava (right), which divide in front of L4."""
    scale = anatomy.scale
    bodies = anatomy.vertebrae
    for side in (-1, 1):
        for low, high in zip(bodies[:5], bodies[1:5], strict=False):
            size = scale * np.interp(low.frame.origin[2], [0, 160], [1.0, 0.6])
            ends = [body.frame.to_patient([[side * (body.shape.a + 11 * size), 4, 0]])[0] for body in (low, high)]
            _paint_tube(canvas, ends[1], ends[0], 17 * size, contrast.muscle, None)
    sides = {1: 9.5 * scale, -1: 10.5 * scale}
    for side, radius in sides.items():
        offset = side * (10 if side > 0 else 13) * scale
        trunk = [_before(body, offset, radius + 2.5) for body in bodies[3:]]
        fork = _before(bodies[1], side * 9 * scale, radius + 1)
        branches = [fork, _before(bodies[0], side * 20 * scale, 9), _before(anatomy.sacrum[0], side * 38 * scale, 4)]
        for start, stop in zip(branches, branches[1:], strict=False):
            _paint_tube(canvas, start, stop, radius * 0.6, contrast.blood, contrast.muscle)
        middle = _before(bodies[2], offset, radius + 2)
        for start, stop in zip([fork, middle, *trunk], [middle, *trunk], strict=False):
            _paint_tube(canvas, start, stop, radius, contrast.blood, contrast.muscle)


def _before(body: Vertebra, across_mm: float, gap_mm: float) -> np.ndarray:
    """A point in front of a vertebral body, to the left by `across_mm`."""
    return body.frame.to_patient([[across_mm, -body.shape.b - gap_mm, 0]])[0]


def _paint_tube(
    canvas: Canvas, start: np.ndarray, stop: np.ndarray, radius: float, value: float, wall: float | None
) -> None:
    box = canvas.grid.box(np.array([start, stop]), radius + 2)
    if box is None:
        return
    distance = capsule(canvas.grid.local(PATIENT_FRAME, box), start, stop, np.full(3, radius))
    if wall is not None:
        inside = canvas.signal[box] > value * 1.5  # the segment before this one keeps its lumen
        canvas.paint(box, np.where(inside, distance - 1, 1e3), wall)
    canvas.paint(box, distance, value)


def paint_roots(canvas: Canvas, anatomy: Anatomy, contrast: Contrast) -> None:
    """The spinal nerves in the fat of the foramina, and the yellow ligament behind the sac at every disc."""
    scale = anatomy.scale
    for vertebra, disc in zip(anatomy.vertebrae, anatomy.discs, strict=True):
        shape, frame = vertebra.shape, vertebra.frame
        low = -shape.h / 2
        thick = 2.0 + 3.0 * (1 - disc.findings.stenosis)
        for side in (-1, 1):
            start, stop = [side * 11 * scale, shape.b + 6, 3 + low], [side * 24 * scale, shape.b + 4, low + 2]
            _paint_local(canvas, frame, start, stop, [2.4, 2.4, 3.2], contrast.root)
            start, stop = [side * 3, shape.b + 19 * scale, low + 1], [side * 8, shape.b + 17 * scale, low - 7]
            _paint_local(canvas, frame, start, stop, [4.0, thick, 5.0], contrast.ligament)


def _paint_local(canvas: Canvas, frame: Frame, start: list, stop: list, radii: list, value: float) -> None:
    box = canvas.grid.box(frame.to_patient([start, stop]), max(radii) + 1)
    if box is not None:
        canvas.paint(box, capsule(canvas.grid.local(frame, box), start, stop, radii), value)
