"""Painting with soft edges: what a later structure covers, it replaces, in the signal and in the label map alike."""

from dataclasses import dataclass

import numpy as np

from spider_utils.data.phantom.shapes import Box, Grid


def coverage(distance: np.ndarray, edge_mm: float | np.float32) -> np.ndarray:
    """Share of a pixel inside a structure, 0..1, from the signed distance of its centre (mm)."""
    return np.clip(np.float32(0.5) - distance / np.float32(edge_mm), 0, 1)


@dataclass(frozen=True)
class Canvas:
    """Signal and labels under construction on the points of a grid."""

    grid: Grid
    signal: np.ndarray  # (S, R, C) float32
    labels: np.ndarray  # (S, R, C) uint8
    edge_mm: np.float32

    def paint(self, box: Box, distance: np.ndarray, value: np.ndarray | float, label: int | None = None) -> None:
        """Blend `value` in where `distance` is negative; set `label` there unless it is None."""
        signal = self.signal[box]
        signal += (value - signal) * coverage(distance, self.edge_mm)
        if label is not None:
            self.labels[box][distance < 0] = label
