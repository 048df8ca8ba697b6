"""Distances between the boundaries of two masks of one class, in a slice or a volume: ASD, HD95 and NSD.

What empty masks give is said in `evaluate.metrics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import KDTree

from spider_utils.common.errors import SpiderError
from spider_utils.common.monai import monai_module

TOLERANCES = (1.0, 2.0)  # of the NSD, in the unit of the distances (mm or pixels)
HAUSDORFF_QUANTILE = 0.95


@dataclass(frozen=True)
class Boundary:
    """What two boundaries have in common; distances and lengths in the unit of the spacing they were made with.

    The distances are float32, one a boundary pixel, and empty where one mask or both are empty. `length` is that of
    both contours together, `within` the part of it that lies within each of TOLERANCES of the other contour.
    """

    from_prediction: np.ndarray  # of each of the prediction's boundary pixels to the nearest one of the reference
    from_reference: np.ndarray  # the other way round
    length: float
    within: tuple[float, ...]

    @property
    def distance_sum(self) -> float:
        """The sum of the distances of both directions."""
        return float(self.from_prediction.sum(dtype=np.float64) + self.from_reference.sum(dtype=np.float64))

    @property
    def pixels(self) -> int:
        """The number of distances of both directions."""
        return self.from_prediction.size + self.from_reference.size

    @property
    def asd(self) -> float:
        """Average symmetric surface distance: the mean over the distances of both directions; NaN without any."""
        return self.distance_sum / self.pixels if self.pixels else float("nan")

    @property
    def hd95(self) -> float:
        """The larger of the two directions' 95th percentiles (interpolated linearly); NaN without distances."""
        if not self.pixels:
            return float("nan")
        return float(max(np.quantile(side, HAUSDORFF_QUANTILE) for side in (self.from_prediction, self.from_reference)))

    @property
    def nsd(self) -> tuple[float, ...]:
        """Normalised surface Dice at each of TOLERANCES; 0 with one mask empty, NaN with both."""
        return tuple(part / self.length if self.length else float("nan") for part in self.within)

    @property
    def sums(self) -> dict[str, float]:
        """The sums over pixels and lengths that scores are pooled from, by the name of their column."""
        found = {"distance_sum": self.distance_sum, "boundary_pixels": self.pixels, "boundary_length": self.length}
        return found | {f"within_{limit:g}": part for limit, part in zip(TOLERANCES, self.within, strict=True)}


def boundary_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float] = (1.0, 1.0)
) -> Boundary:
    """Measure how far the boundaries of two boolean masks lie apart: (H, W), with the spacing of (rows, columns) in mm
    or pixels, or (D, H, W), with that of (slices, rows, columns).

    What follows is said of slices. In a volume, pixels are voxels, the four neighbours six, and lengths areas.

    ASD and HD95 follow MONAI: a boundary is the set of a mask's pixels that have one of their four neighbours outside
    the mask or outside the image, and distances run between pixel centres, each counted once. (So a mask that reaches
    the edge of the image, as the background does, has boundary there too, mostly at distance 0.) NSD follows MONAI
    with `use_subvoxels=True`, which is the definition of Nikolov et al. (JMIR 2021) in DeepMind's package
    `surface-distance`: contour points lie on pixel corners and are weighted by the length of contour they stand for.

    That package defines ASD and HD95 on corners, too. A boundary pixel and the nearest contour corner are half a pixel
    diagonal apart, either way, so that a distance to the other boundary differs by at most one pixel diagonal between
    the two definitions. Besides, the contour's length weights what MONAI counts: a pixel stands for 1 pixel of contour
    along an axis, for 1.41 along a diagonal, for 2 in a line one pixel wide. Where a few far parts hold close to 5 %
    of the boundary, the two HD95 can therefore lie far apart.

    Raises SpiderError where the masks differ in shape or the spacing is not positive.
    """
    reference, prediction = as_masks(reference, prediction)
    spacing = check_spacing(reference.shape, spacing)
    nothing, nowhere = np.zeros(0, np.float32), (0.0,) * len(TOLERANCES)
    if not (reference.any() or prediction.any()):
        return Boundary(nothing, nothing, 0.0, nowhere)
    both_found = reference.any() and prediction.any()
    prediction, reference = _cropped(prediction, reference)
    contours, lengths = zip(*(_contour(mask, spacing) for mask in (prediction, reference)), strict=True)
    all_lengths = np.concatenate(lengths)
    if not both_found:
        return Boundary(nothing, nothing, float(all_lengths.sum()), nowhere)
    contour_distances = np.concatenate(distances_between(contours[0], contours[1], spacing))
    within = tuple(float(all_lengths[contour_distances <= tolerance].sum()) for tolerance in TOLERANCES)
    distances = distances_between(_edge(prediction), _edge(reference), spacing)
    return Boundary(*distances, float(all_lengths.sum()), within)


def check_spacing(shape: tuple[int, ...], spacing: Sequence[float]) -> tuple[float, ...]:
    """Return the spacing of masks as numbers. Raises SpiderError unless it has a positive one for each axis, and the
    masks have two axes or three.
    """
    spacing = tuple(float(step) for step in spacing)
    if not 2 <= len(shape) <= 3 or len(spacing) != len(shape) or not all(0 < step < np.inf for step in spacing):
        raise SpiderError(
            f"spacing: expected a positive number for each axis of masks (H, W) or (D, H, W), found {spacing} for the "
            f"shape {shape}; mend the slice table, or the volume's header"
        )
    return spacing


def distances_between(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of every point of two boundaries to the nearest point of the other one, float32.

    The boundaries are boolean arrays of one shape, (H, W) or (D, H, W), with a point or more each. Distances are in the
    order of a boundary's points in the array. What both have in common is at distance 0, and not looked for.
    """
    return _to_nearest(prediction, reference, spacing), _to_nearest(reference, prediction, spacing)


def _to_nearest(points: np.ndarray, others: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return the distance of every point, True in an array, to the nearest of the others."""
    apart = ~others.ravel()[np.flatnonzero(points)]
    distances = np.zeros(len(apart), np.float32)
    if apart.any():
        tree = KDTree(_places(others, spacing), leafsize=32, compact_nodes=False, balanced_tree=False)
        distances[apart] = tree.query(_places(points & ~others, spacing))[0]
    return distances


def _places(points: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return where an array is True, in the unit of the spacing, (n, axes) float64."""
    return np.stack(np.unravel_index(np.flatnonzero(points), points.shape), axis=1) * np.asarray(spacing)


def counted_quantile(values: np.ndarray, counts: np.ndarray, quantile: float = HAUSDORFF_QUANTILE) -> float:
    """Return np.quantile of ascending `values`, each repeated `counts` times (integers); NaN where all counts are 0."""
    ranks = np.cumsum(counts)
    if not ranks.size or ranks[-1] == 0:
        return float("nan")
    position = quantile * (ranks[-1] - 1)
    below, above = values[np.searchsorted(ranks, [np.floor(position), np.ceil(position)], side="right")]
    return float(below + (above - below) * (position % 1))


def as_masks(reference: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two masks of one shape as contiguous arrays, bool."""
    check_shapes(reference, prediction)
    return np.ascontiguousarray(reference, dtype=bool), np.ascontiguousarray(prediction, dtype=bool)


def check_shapes(reference: np.ndarray, prediction: np.ndarray) -> None:
    """Raise SpiderError where two masks or maps differ in shape."""
    if reference.shape != prediction.shape:
        raise SpiderError(
            f"masks: expected a prediction of the reference's shape {reference.shape}, found {prediction.shape}; "
            "bring the prediction to the slices' full resolution"
        )


def _cropped(prediction: np.ndarray, reference: np.ndarray) -> list[np.ndarray]:
    """Cut two masks to the box of what they hold, with one pixel of nothing around it."""
    union, box = prediction | reference, []
    for axis in range(union.ndim):
        held = np.flatnonzero(union.any(axis=tuple(other for other in range(union.ndim) if other != axis)))
        box.append(slice(held[0], held[-1] + 1))
    return [np.pad(mask[tuple(box)], 1) for mask in (prediction, reference)]


def _edge(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask that have one of their neighbours along the axes outside it; its margin is empty."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        first, last = _shifted(mask.ndim, axis)
        inner[first] &= mask[last]
        inner[last] &= mask[first]
    return mask & ~inner


def _shifted(axes: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the indices of all but the last plane of an array along an axis, and of all but the first."""
    before, after = (slice(None),) * axis, (slice(None),) * (axes - 1 - axis)
    return (*before, slice(0, -1), *after), (*before, slice(1, None), *after)


def _contour(mask: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the contour of a mask with an empty margin, bool on pixel corners, and the length at each of its points.

    A corner's pixels are the digits of its code, which MONAI's table turns into a length.
    """
    codes = mask.view(np.uint8)
    for axis in reversed(range(mask.ndim)):
        first, last = _shifted(mask.ndim, axis)
        codes = (codes[first] << 2 ** (mask.ndim - 1 - axis)) | codes[last]
    contour = (codes > 0) & (codes < 2**2**mask.ndim - 1)
    return contour, _lengths(tuple(spacing))[codes[contour]]


@lru_cache(maxsize=64)
def _lengths(spacing: tuple[float, ...]) -> np.ndarray:
    """Return the length of contour that each code of a corner stands for."""
    return np.asarray(monai_module("metrics.utils").get_code_to_measure_table(spacing)[0])
