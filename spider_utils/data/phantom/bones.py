"""Vertebrae: body and posterior elements, mottled marrow within a dark cortical rim; and the wings of the sacrum."""

import numpy as np

from spider_utils.data.phantom.anatomy import Anatomy, Vertebra
from spider_utils.data.phantom.canvas import Canvas, coverage
from spider_utils.data.phantom.shapes import Coordinates, capsule, smooth_min
from spider_utils.data.phantom.tissue import Contrast

ROUGHNESS_MM = np.float32(0.3)  # of the bones' surface
Part = tuple[np.ndarray, ...]  # start, stop, radii of a capsule in the vertebra's frame, mm


def paint_vertebra(canvas: Canvas, vertebra: Vertebra, contrast: Contrast, scale: float, mottle: np.ndarray) -> None:
    """Paint one vertebra with its label (label 0 takes a label away: it is drawn but not labelled)."""
    shape = vertebra.shape
    for part in posterior_parts(vertebra, scale):
        _paint_part(canvas, vertebra, part, contrast, mottle)
    corners = [[i * shape.a, j * shape.b, k * shape.h / 2] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]
    box = canvas.grid.box(vertebra.frame.to_patient(corners), 5)
    if box is None:
        return
    coordinates = canvas.grid.local(vertebra.frame, box)
    distance = shape.distance(coordinates) + ROUGHNESS_MM * mottle[box]
    near = distance < 2
    u, v, w = (axis[near] for axis in coordinates)
    inner = distance[near]
    marrow = contrast.marrow * vertebra.marrow * (1 + np.float32(0.06) * mottle[box][near])
    marrow = _modic(marrow, vertebra, contrast, (u, v, w))
    vein = capsule((u, v, w), [0, shape.b * 0.2, 0], [0, shape.b, 0], [5 * scale, 2, 1.3 * scale])
    marrow = marrow + (contrast.vein - marrow) * coverage(vein, 2.5) * 0.8
    value = np.full_like(distance, contrast.cortex)
    value[near] += (marrow - contrast.cortex) * coverage(inner + np.float32(0.8), canvas.edge_mm)
    canvas.paint(box, distance - np.float32(0.3), value)
    canvas.labels[box][distance < 0] = vertebra.label


def _modic(marrow: np.ndarray, vertebra: Vertebra, contrast: Contrast, points: Coordinates) -> np.ndarray:
    """Change the marrow beside a degenerate disc (Modic types 1 to 3), fading over 8 mm from the endplate."""
    u, v, w = points
    for upper, kind in enumerate(vertebra.modic):
        if kind:
            below = vertebra.shape.endplate(u, v, True) - w if upper else w - vertebra.shape.endplate(u, v, False)
            share = np.clip(1.4 - np.hypot(below / 8, (v + 0.3 * vertebra.shape.b) / (1.3 * vertebra.shape.b)), 0, 1)
            marrow = marrow * (1 + (contrast.modic[kind - 1] - 1) * share)
    return marrow


def posterior_parts(vertebra: Vertebra, scale: float) -> list[Part]:
    """Pedicles, articular and transverse processes, laminae and spinous process as flattened capsules."""
    if not vertebra.spinous:
        return []
    shape, parts = vertebra.shape, []
    b, half, wide = shape.b / scale, shape.h / scale / 2, shape.a / scale
    across = wide * 0.62
    lumbar = vertebra.label <= 5
    reach = 40 if lumbar else 30
    drop = 5 if lumbar else 14
    for side in (-1, 1):
        parts += [
            ([side * across, b * 0.7, 4], [side * (across + 1), b + 9, 4], [4.6, 4, 7.0]),  # pedicle
            ([side * (across + 3), b + 10, 3], [side * reach, b + 14, 5], [3.0, 3.0, 4.5]),  # transverse process
            ([side * (across + 1.5), b + 11, 3], [side * (across + 3), b + 12.5, half + 6], [3.6, 3.6, 4.0]),
            ([side * (across - 0.5), b + 13, 3], [side * (across - 1.5), b + 18.5, -half - 6], [4.0, 3.4, 4.5]),
            ([side * (across - 1), b + 16, -1], [0, b + 22.5, -6], [3.2, 3.0, 7.5]),  # lamina
        ]
    length = 23 * vertebra.spinous
    parts.append(([0, b + 25, -6], [0, b + 25 + length - 4, -6 - drop], [3.2, 4.0, 8.5 if lumbar else 6.0]))
    return [tuple(np.asarray(values) * scale for values in part) for part in parts]


def _paint_part(canvas: Canvas, vertebra: Vertebra, part: Part, contrast: Contrast, mottle: np.ndarray) -> None:
    start, stop, radii = part
    ends = np.array([end + np.array([i, j, k]) * radii for end in (start, stop)
                     for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])  # fmt: skip
    box = canvas.grid.box(vertebra.frame.to_patient(ends), 1.5)
    if box is None:
        return
    distance = capsule(canvas.grid.local(vertebra.frame, box), start, stop, radii) + ROUGHNESS_MM * mottle[box]
    inner = coverage(distance + np.float32(1.1), canvas.edge_mm)
    marrow = contrast.cortex + (contrast.marrow * vertebra.marrow * 1.05 - contrast.cortex) * inner
    # A pedicle runs into the body and a lamina into its spinous process: where bone of this vertebra already lies, the
    # marrow stays joined instead of being cut by a new rim.
    joined = canvas.labels[box] == vertebra.label
    value = np.where(joined, np.maximum(marrow, canvas.signal[box]), marrow)
    canvas.paint(box, distance - np.float32(0.3), value)
    canvas.labels[box][distance < 0] = vertebra.label


def paint_sacral_wings(canvas: Canvas, anatomy: Anatomy, contrast: Contrast, mottle: np.ndarray) -> None:
    """The lateral masses and the median crest of the sacrum in one piece, unlabelled like its bodies."""
    frame = anatomy.sacrum[0].frame
    parts = []
    for level, vertebra in enumerate(anatomy.sacrum[:4]):
        size = anatomy.scale * (1 - 0.17 * level)
        b = vertebra.shape.b
        shapes = [([0, b + 18 * size, 0], [0, b + 21 * size, -6], [3.5, 3.5, 10])]
        for side in (-1, 1):
            shapes += [
                ([side * 24 * size, 3 * size, 1], [side * 45 * size, 9 * size, 0], [10, 14, 19]),
                ([side * 13 * size, b * 1.1, 6], [side * 11 * size, b + 14 * size, 3], [4, 3, 5]),
            ]
        for start, stop, radii in shapes:
            ends = (vertebra.frame.to_patient([start, stop]) - frame.origin) @ frame.axes.T
            parts.append((*ends, np.asarray(radii) * size))
    ends = np.concatenate([part[:2] for part in parts])
    box = canvas.grid.box(frame.to_patient(ends), 18)
    if box is None:
        return
    coordinates = canvas.grid.local(frame, box)
    distance = np.full(coordinates[0].shape, 1e3, np.float32)
    for part in parts:
        distance = smooth_min(distance, capsule(coordinates, *part), 6.0)
    distance += ROUGHNESS_MM * mottle[box]
    marrow = contrast.marrow * (1 + np.float32(0.06) * mottle[box])
    inner = coverage(distance + np.float32(1.1), canvas.edge_mm)
    canvas.paint(box, distance - np.float32(0.3), contrast.cortex + (marrow - contrast.cortex) * inner)
