"""Intervertebral discs: annulus and nucleus between two endplates, worn, bulging or herniated."""

import numpy as np

from spider_utils.data.phantom.anatomy import Disc
from spider_utils.data.phantom.canvas import Canvas
from spider_utils.data.phantom.shapes import capsule, smooth_max, smooth_min
from spider_utils.data.phantom.tissue import Contrast


def paint_disc(canvas: Canvas, disc: Disc, contrast: Contrast, scale: float) -> None:
    """Paint one disc with its label between the endplates of its two vertebrae."""
    low, high, found = disc.lower, disc.upper, disc.findings
    a, b = (low.shape.a + high.shape.a) / 2, (low.shape.b + high.shape.b) / 2
    corners = [
        body.frame.to_patient([[i * a, j * b, sign * (body.shape.h / 2 - 4)] for i in (-1, 1) for j in (-1, 1)])
        for body, sign in ((low, 1), (high, -1))
    ]
    box = canvas.grid.box(np.concatenate(corners), 9)
    if box is None:
        return
    ul, vl, wl = canvas.grid.local(low.frame, box)
    uu, vu, wu = canvas.grid.local(high.frame, box)
    u, v = (ul + uu) / 2, (vl + vu) / 2
    floor = wl - low.shape.endplate(ul, vl, True)
    ceiling = high.shape.endplate(uu, vu, False) - wu
    radius = np.maximum(low.shape.outline(u, v, a, b), np.float32(0.02))
    side = np.sqrt(u * u + v * v) * (1 - 1 / radius) - np.float32(0.5 + 0.4 * found.bulge_mm)
    back = v - np.float32(0.93 * b + found.bulge_mm)
    side = smooth_max(side, back, 3.0)
    between = np.maximum(-floor, -ceiling)
    distance = smooth_max(side, between + np.float32(0.2), 2.0)
    if found.herniation_mm:
        middle = (floor - ceiling) / 2
        tip = [disc.side * a * 0.5, 0.9 * b + found.herniation_mm * 0.45, -0.5]
        reach = [6.5 * scale, found.herniation_mm * 0.6 + 1.5, 4.2 * scale]
        pushed = capsule((u, v, middle), [tip[0], tip[1] - 2, 0], tip, reach)
        distance = smooth_min(distance, np.maximum(pushed, between - 3), 2.0)
    share = np.clip(floor / np.maximum(floor + ceiling, 1), 0, 1)
    outline = low.shape.outline(u, v - np.float32(0.06 * b), a, b)
    core = np.clip((1.2 - (outline / 0.72) ** 2 - ((share - 0.5) / 0.44) ** 2) * 1.7, 0, 1)
    cleft = 0.35 * np.exp(-(((share - 0.5) / 0.10) ** 2)) * (2 <= found.grade <= 3) * (outline < 0.5)
    worn = (found.grade - 1) / 4
    nucleus = contrast.nucleus + (contrast.worn_nucleus - contrast.nucleus) * np.float32(worn**0.7)
    value = contrast.annulus + (nucleus * (1 - cleft) - contrast.annulus) * core
    canvas.paint(box, distance - np.float32(0.8), contrast.ligament)
    canvas.paint(box, distance, value)
    canvas.labels[box][distance < 0] = disc.label
