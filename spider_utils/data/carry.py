"""Labels carried over: a patient's T2 SPACE masks brought to the same patient's unlabelled slice of another sequence.

Each T2 SPACE slice is registered to the unlabelled one by an affine map of the plane that maximises Mattes' mutual
information (Mattes et al. 2003, IEEE TMI 22(1)) of the pixels around the spine; the slice that fits best lends its
mask. A B-spline after the affine map did not help on the slices with real masks, and is not used. Images are
SimpleITK's, pixel sizes in mm, the head up; one thread and all pixels, so that a repetition is equal.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from spider_utils.common.errors import SpiderError

WIDE_MM, NEAR_MM = 40.0, 12.0  # the pixels compared in the search, and in the last step, lie this near to a label
COARSE_MM, SEARCH_MM, FINE_MM = 4.0, 2.0, 0.6  # pixels of the search for starts, for the slice, and of the last step
SHIFTS_MM = (np.arange(-60, 61, 10), np.arange(-40, 41, 10))  # starts: along rows' axis (head to foot), along columns'
STARTS = 4  # the best of them are followed
MARGIN_MM = 100.0
FIRST_ROWS = 6  # about as many T2 SPACE slices, evenly spread, are tried unmoved
LAST_ROWS = 3  # the best of them are compared in the last step
UNMOVED = sitk.AffineTransform(2)
BINS = 32
# The gate, set by looking at 56 slices of 28 patients: masks that lie wrong had a metric of 0.10 or less, right ones of
# 0.17 or more. Pixel sizes are known, so that little stretching is left to do.
LEAST_METRIC, MOST_STRETCH, MOST_HEAD_GAP_MM = 0.15, 0.03, 4.0
PixelMm = tuple[float, float]  # of a row's height and a column's width


@dataclass(frozen=True)
class Carried:
    """What came of one unlabelled slice."""

    mask: np.ndarray  # (H, W) uint8, classes 0..3, of the slice with its head up
    covered: np.ndarray  # (H, W) bool: inside the T2 SPACE slice
    flipped: bool  # the slice had to be turned upside down
    slice_row: int  # which T2 SPACE slice lent its mask
    metric: float  # mutual information of the spine's surroundings, nats
    stretch: tuple[float, float]  # smallest and largest stretching of the map, 1 = none
    degrees: float  # its rotation
    shift_mm: tuple[float, float]  # of the slices' middles, down and right


def carry_mask(
    image: np.ndarray, pixel_mm: PixelMm, slices: np.ndarray, masks: np.ndarray, slice_pixel_mm: PixelMm
) -> Carried:
    """Carry the mask of the best of a patient's T2 SPACE slices (N, h, w) to an unlabelled slice (H, W).

    `masks` (N, h, w) hold classes 0..3. The T2 SPACE slices have their heads up; the unlabelled one either way. The
    pixel sizes (row, column) are where the search begins, the map may stretch. Raises SpiderError without any label.
    """
    if not masks.any():
        raise SpiderError("T2 SPACE masks: expected labels to carry over, found background alone; leave them out")
    rows = [int(row) for row in np.flatnonzero(masks.any(axis=(1, 2)))]
    sources = {row: _source(slices[row], masks[row], slice_pixel_mm, WIDE_MM, SEARCH_MM) for row in rows}
    targets = [_target(one, pixel_mm, SEARCH_MM) for one in (image, image[::-1])]
    tries = [(target, sources[row], UNMOVED) for target in targets for row in rows[:: len(rows) // FIRST_ROWS + 1]]
    middle = rows[len(rows) // 2]
    far = _source(slices[middle], masks[middle], slice_pixel_mm, WIDE_MM, COARSE_MM)
    for target, one in zip(targets, (image, image[::-1]), strict=True):
        tries += [(target, sources[middle], start) for start in _starts(_target(one, pixel_mm, COARSE_MM), far)]
    found = [(target, *_register(target, source, start)) for target, source, start in tries]
    target, _, start = max(found, key=lambda one: one[1])
    maps = {row: _register(target, source, start) for row, source in sources.items()}
    flipped = target is targets[1]
    target = _target(image[::-1] if flipped else image, pixel_mm, FINE_MM)
    fine = {
        row: _register(target, _source(slices[row], masks[row], slice_pixel_mm, NEAR_MM, FINE_MM), maps[row][1])
        for row in sorted(maps, key=lambda row: -maps[row][0])[:LAST_ROWS]
    }
    row = max(fine, key=lambda row: fine[row][0])
    metric, found_map = fine[row]
    return _carried(image.shape, pixel_mm, masks[row], slice_pixel_mm, found_map, flipped, row, metric)


def complaints(carried: Carried, slices: int, pixel_mm: PixelMm) -> list[str]:
    """Tell why a mask from one of so many T2 SPACE slices is not to be used; [] where it may be.

    "metric": too little in common; "stretch": the map is no patient's movement; "head_gap": vertebrae above the
    T2 SPACE slice would be called background; "outermost_slice": a better one may lie beside those that there are.
    """
    wrong = {
        "metric": carried.metric < LEAST_METRIC,
        "stretch": max(1 - carried.stretch[0], carried.stretch[1] - 1) > MOST_STRETCH,
        "head_gap": head_gap(carried, pixel_mm) > MOST_HEAD_GAP_MM,
        "outermost_slice": carried.slice_row in (0, slices - 1),
    }
    return [name for name, found in wrong.items() if found]


def head_gap(carried: Carried, pixel_mm: PixelMm) -> float:
    """Return how many mm of the unlabelled slice lie above the T2 SPACE slice, in the column where the labels begin."""
    if not carried.mask.any():
        return float("inf")
    top = int(np.argmax(carried.mask.any(axis=1)))
    column = int(np.median(np.flatnonzero(carried.mask[top])))
    return float(np.argmax(carried.covered[:, column]) * pixel_mm[0])


def _carried(
    shape: tuple[int, int], pixel_mm: PixelMm, mask: np.ndarray, mask_pixel_mm: PixelMm, found: sitk.AffineTransform,
    flipped: bool, row: int, metric: float,
) -> Carried:  # fmt: skip
    """Draw the mask through the map; `found` leads from points of the T2 SPACE slice to those of the unlabelled one."""
    target, back = _as_image(np.zeros(shape), pixel_mm), found.GetInverse()
    shown = [
        sitk.GetArrayFromImage(
            sitk.Resample(_as_image(one, mask_pixel_mm), target, back, sitk.sitkNearestNeighbor, 0.0)
        )
        for one in (mask, np.ones(mask.shape))
    ]
    matrix = np.array(found.GetMatrix()).reshape(2, 2)
    turn, stretch, second = np.linalg.svd(matrix)
    rotation = turn @ second
    right, down = found.TransformPoint((0.0, 0.0))
    return Carried(
        shown[0].astype(np.uint8), shown[1] > 0, flipped, row, metric, (float(stretch[1]), float(stretch[0])),
        float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))), (float(down), float(right)),
    )  # fmt: skip


def _as_image(pixels: np.ndarray, pixel_mm: PixelMm) -> sitk.Image:
    """Return pixels (H, W) as an image whose middle lies at (0, 0) mm; points are (right, down)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(pixels, dtype=np.float32))
    image.SetSpacing((pixel_mm[1], pixel_mm[0]))
    image.SetOrigin([-(count - 1) / 2 * mm for count, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)])
    return image


def _flattened(pixels: np.ndarray) -> np.ndarray:
    """Return the square root of a slice's values between its 1st and 99th hundredth, 0..1: dark tissue counts too."""
    low, high = np.percentile(pixels, (1, 99))
    return np.sqrt(np.clip((pixels.astype(np.float32) - low) / ((high - low) or 1.0), 0, 1))


def _source(
    pixels: np.ndarray, mask: np.ndarray, pixel_mm: PixelMm, around: float, mm: float
) -> tuple[sitk.Image, sitk.Image]:
    """Return a T2 SPACE slice at this pixel size, and the zone of it that lies within `around` mm of a label."""
    apart = _coarser(_as_image(mask > 0, pixel_mm), mm, sitk.sitkNearestNeighbor)
    near = ndimage.distance_transform_edt(sitk.GetArrayFromImage(apart) == 0, sampling=mm) <= around
    zone = sitk.GetImageFromArray(near.astype(np.uint8))
    zone.CopyInformation(apart)
    return _coarser(_as_image(_flattened(pixels), pixel_mm), mm), zone


def _target(pixels: np.ndarray, pixel_mm: PixelMm, mm: float) -> sitk.Image:
    """Return an unlabelled slice at this pixel size with a black margin, so that no point goes uncompared outside."""
    margin = [int(MARGIN_MM / mm)] * 2
    return sitk.ConstantPad(_coarser(_as_image(_flattened(pixels), pixel_mm), mm), margin, margin, 0.0)


def _coarser(image: sitk.Image, mm: float, mode: int = sitk.sitkLinear) -> sitk.Image:
    """Resample an image to square pixels of this size, smoothed to it."""
    if mode == sitk.sitkLinear:
        image = sitk.DiscreteGaussian(image, [(mm / 2) ** 2] * 2)
    size = [max(int(round(n * own / mm)), 1) for n, own in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    origin = [-(count - 1) / 2 * mm for count in size]
    return sitk.Resample(image, size, sitk.Transform(), mode, origin, (mm, mm), (1, 0, 0, 1), 0.0)


def _method(zone: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(zone)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _starts(target: sitk.Image, source: tuple[sitk.Image, sitk.Image]) -> list[sitk.AffineTransform]:
    """Return the shifts of the T2 SPACE slice that fit best, of a grid of them."""
    method, tried = _method(source[1]), []
    for down, right in product(*SHIFTS_MM):
        shift = sitk.AffineTransform(2)
        shift.SetTranslation((float(right), float(down)))
        method.SetInitialTransform(shift)
        tried.append((method.MetricEvaluate(source[0], target), shift))
    return [shift for _, shift in sorted(tried, key=lambda one: one[0])[:STARTS]]


def _register(
    target: sitk.Image, source: tuple[sitk.Image, sitk.Image], start: sitk.AffineTransform
) -> tuple[float, sitk.AffineTransform]:
    """Improve a map from the T2 SPACE slice to the unlabelled one; return their mutual information and it."""
    method, found, mm = _method(source[1]), sitk.AffineTransform(start), source[0].GetSpacing()[0]
    method.SetInitialTransform(found, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=mm, minStep=0.01 * mm, numberOfIterations=100, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    try:
        method.Execute(source[0], target)
    except RuntimeError:  # it left the slice
        return 0.0, sitk.AffineTransform(start)
    return -float(method.GetMetricValue()), found
