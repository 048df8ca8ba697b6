"""How bright each tissue is in each sequence, relative to subcutaneous fat on T1 = 1, and smooth random texture."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from spider_utils.data.phantom.shapes import Grid


@dataclass(frozen=True)
class Contrast:
    """Signal of the tissues in one sequence."""

    fat: float
    muscle: float
    organ: float
    bowel: float
    csf: float
    cord: float
    root: float
    marrow: float
    cortex: float
    ligament: float
    annulus: float
    nucleus: float  # of a healthy disc
    worn_nucleus: float  # of a fully degenerate disc
    vein: float
    blood: float  # flow void in the large vessels
    modic: tuple[float, float, float]  # factor on the marrow for types 1, 2 and 3


CONTRASTS = {
    "T1": Contrast(fat=1.0, muscle=0.30, organ=0.36, bowel=0.28, csf=0.13, cord=0.37, root=0.30, marrow=0.56,
                   cortex=0.05, ligament=0.08, annulus=0.24, nucleus=0.33, worn_nucleus=0.27, vein=0.40, blood=0.09,
                   modic=(0.55, 1.35, 0.5)),
    "T2": Contrast(fat=0.78, muscle=0.16, organ=0.30, bowel=0.42, csf=1.00, cord=0.40, root=0.42, marrow=0.42,
                   cortex=0.04, ligament=0.06, annulus=0.11, nucleus=0.78, worn_nucleus=0.15, vein=0.70, blood=0.06,
                   modic=(1.5, 1.3, 0.5)),
    "T2_SPACE": Contrast(fat=0.66, muscle=0.13, organ=0.26, bowel=0.36, csf=1.10, cord=0.36, root=0.40, marrow=0.34,
                         cortex=0.03, ligament=0.05, annulus=0.10, nucleus=0.62, worn_nucleus=0.13, vein=0.62,
                         blood=0.05, modic=(1.45, 1.3, 0.5)),
}  # fmt: skip


def draw_contrast(sequence: str, rng: np.random.Generator) -> Contrast:
    """Draw one series' contrast: every tissue varies by about 7 %, the marrow (age, fat) by more."""
    usual = CONTRASTS[sequence]
    factors = {field.name: float(np.clip(rng.normal(1, 0.07), 0.8, 1.2)) for field in fields(Contrast)}
    factors["marrow"] = float(rng.uniform(0.82, 1.18))
    varied = {name: getattr(usual, name) * factor for name, factor in factors.items() if name != "modic"}
    return replace(usual, **varied)


@lru_cache(maxsize=4)  # of one series, whose slabs are rendered one after the other
def _grains(seed: int, counts: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(counts, dtype=np.float32) * np.float32(2.4)


def texture(grid: Grid, seed: int, size_mm: tuple[float, float, float]) -> np.ndarray:
    """Smooth random field on the grid, float32, about normal; `size_mm`: length of its grains along the grid's axes.

    The grains hang on patient coordinates, so that every series of a patient shows them in (nearly) the same place.
    """
    counts = tuple(int(np.ceil(600 / size)) + 4 for size in size_mm)
    values = _grains(seed, counts)
    start = grid.axes @ grid.origin
    for axis, (size, positions) in enumerate(zip(size_mm, grid.positions, strict=True)):
        at = np.clip((positions + start[axis] + 300) / size, 0, counts[axis] - 4)
        low = at.astype(int)
        t = (at - low).astype(np.float32).reshape([-1 if other == axis else 1 for other in range(3)])
        weights = (1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3  # cubic B-spline
        values = sum(values.take(low + step, axis) * (weight / 6) for step, weight in enumerate(weights))
    return values
