"""How SPIDER's files are sampled: shape, spacing and order of the axes of the 360 series of its training subset.

series_geometry.csv beside this module is SPIDER's (van der Graaf et al., Scientific Data 11, 264, 2024; dataset doi
10.5281/zenodo.10159290, CC BY 4.0): of each series the shape of its array (z, y, x), the spacing of the same axes in mm
and which of them runs from left to right. Where that is the last (x), rows lie along z and columns along y; where it is
the first (z), rows lie along y and columns along x, as a scanner stores sagittal slices.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

TABLE = Path(__file__).with_name("series_geometry.csv")


@dataclass(frozen=True)
class Geometry:
    """The grid of one series; all triples are in the order slices, rows (head to foot), columns (front to back)."""

    like: str  # the series of SPIDER that is sampled so, "" for none
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    slices_first: bool  # in the stored array; otherwise they are last

    @property
    def rows_mm(self) -> float:
        """Field of view from head to foot."""
        return self.shape[1] * self.spacing_mm[1]

    def stored_mm(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Return the pixel size (row, column) in mm of the series' whole slices resized to `shape` (H, W)."""
        height, width = (count * mm for count, mm in zip(self.shape[1:], self.spacing_mm[1:], strict=True))
        return height / shape[0], width / shape[1]

    def coarser(self, most_pixels: int, slices_too: bool) -> "Geometry":
        """Lower the resolution until a slice has about `most_pixels`; 0 leaves the series as it is.

        Rows, columns and, with `slices_too`, slices become fewer by one factor; the field of view and so the ratio of
        the spacings are kept (but for whole numbers of pixels).
        """
        factor = (self.shape[1] * self.shape[2] / most_pixels) ** 0.5 if most_pixels else 1.0
        if factor <= 1:
            return self
        slices = max(1, round(self.shape[0] / factor)) if slices_too else self.shape[0]
        rows, columns = (max(1, round(count / factor)) for count in self.shape[1:])
        mm = [count * step for count, step in zip(self.shape, self.spacing_mm, strict=True)]
        return replace(self, shape=(slices, rows, columns), spacing_mm=(mm[0] / slices, mm[1] / rows, mm[2] / columns))


@cache
def spider_geometries() -> dict[str, tuple[Geometry, ...]]:
    """Read the table: for each sequence the geometries of its series."""
    found: dict[str, list[Geometry]] = {}
    for row in pd.read_csv(TABLE).itertuples(index=False):
        first = row.slice_axis_in_array == 0
        shape, spacing = (row.x, row.z, row.y), (row.sx, row.sz, row.sy)
        if first:
            shape, spacing = (row.z, row.y, row.x), (row.sz, row.sy, row.sx)
        sequence = row.series.split("_", 1)[1].upper()
        found.setdefault(sequence, []).append(Geometry(row.series, shape, spacing, first))
    return {sequence: tuple(geometries) for sequence, geometries in found.items()}


def find_geometry(series: str) -> Geometry | None:
    """Return how a series such as "12_t2_SPACE" is sampled; None for one that is not in the table."""
    grids = spider_geometries().get(series.split("_", 1)[-1].upper(), ())
    return next((one for one in grids if one.like == series), None)
