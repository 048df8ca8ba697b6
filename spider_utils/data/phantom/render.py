"""Paint one patient's anatomy in one sequence's contrast on a grid: a noise-free signal and the label map."""

from dataclasses import dataclass

import numpy as np

from spider_utils.data.labels import CANAL_LABEL
from spider_utils.data.phantom import bones, discs, softtissue
from spider_utils.data.phantom.anatomy import Anatomy
from spider_utils.data.phantom.canal import Course, make_course, nerve_share, tube_around
from spider_utils.data.phantom.canvas import Canvas, coverage
from spider_utils.data.phantom.shapes import Grid
from spider_utils.data.phantom.tissue import Contrast, texture


@dataclass(frozen=True)
class Rendering:
    """Noise-free signal (float32) and labels (uint8) on the points of a grid, and the depth below the back's skin."""

    signal: np.ndarray  # (S, R, C)
    labels: np.ndarray  # (S, R, C)
    depth: np.ndarray  # (S, R, C) mm, negative in the air behind the patient


def render(anatomy: Anatomy, contrast: Contrast, grid: Grid, edge_mm: float) -> Rendering:
    """Paint soft tissue, canal, discs, sacrum and vertebrae in this order; `edge_mm` is the width of soft edges."""
    course = make_course(anatomy)
    signal, depth = softtissue.background(anatomy, course, contrast, grid)
    canvas = Canvas(grid, signal, np.zeros(grid.shape, np.uint8), np.float32(edge_mm))
    softtissue.paint_vessels_and_psoas(canvas, anatomy, contrast)
    _paint_canal(canvas, anatomy, course, contrast)
    softtissue.paint_roots(canvas, anatomy, contrast)
    for disc in anatomy.sacral_discs + anatomy.discs:
        discs.paint_disc(canvas, disc, contrast, anatomy.scale)
    mottle = texture(grid, anatomy.texture_seed + 3, (4.0, 5.0, 5.0))
    bones.paint_sacral_wings(canvas, anatomy, contrast, mottle)
    for vertebra in anatomy.sacrum + anatomy.vertebrae:
        bones.paint_vertebra(canvas, vertebra, contrast, anatomy.scale, mottle)
    return Rendering(canvas.signal, canvas.labels, depth)


def _paint_canal(canvas: Canvas, anatomy: Anatomy, course: Course, contrast: Contrast) -> None:
    """Epidural fat, the dura, then cerebrospinal fluid with cord and roots; the sac carries the canal's label."""
    tube = tube_around(canvas.grid, course, anatomy.sacrum[2].frame.origin[2])
    if tube is None:
        return
    half_depth, half_width = course.at(course.half_depth, tube.z), course.at(course.half_width, tube.z)
    fat = tube.distance(half_width + 2.0, half_depth * 0 + np.float32(anatomy.sac_mm + 1.6), 1.8)
    canvas.paint(tube.box, fat, contrast.fat * 0.85)
    sac = tube.distance(half_width, half_depth)
    canvas.paint(tube.box, sac - np.float32(0.5), contrast.ligament)
    inside = sac < canvas.edge_mm
    points = tube.x[inside], tube.y[inside], tube.z[inside]
    cord, roots = nerve_share(points, anatomy, half_depth[inside])
    content = contrast.csf + (contrast.root - contrast.csf) * roots
    content += (contrast.cord - content) * cord
    signal, labels = canvas.signal[tube.box], canvas.labels[tube.box]
    signal[inside] += (content - signal[inside]) * coverage(sac[inside], canvas.edge_mm)
    labels[sac < 0] = CANAL_LABEL
