"""Scales of intensities: each slice's or volume's own, or one for all, that of the slices a network has learnt from.

Grey values of MRI have no unit: another scanner, coil or sequence gives the same tissue other values, and bright fat
presses everything else into the dark. Nyúl, Udupa and Zhang (IEEE Trans. Med. Imaging 19:143, 2000) map the
percentiles of a scan piecewise linearly to fixed landmarks, the mean percentiles of a training set. So does
`standardise`.
"""

from collections.abc import Sequence

import numpy as np

from spider_utils.common.errors import SpiderError

CLIPPED = (0.5, 99.5)  # percentiles of a volume that become 0 and 255
PERCENTILES = (0, 1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
SAMPLE = 8_000_000  # voxels that percentiles are taken from; of a larger volume every n-th row and column


def scale_intensity(image: np.ndarray, method: str) -> np.ndarray:
    """Scale intensities (D, H, W) to uint8 0..255, by each slice's minimum and maximum or the volume's percentiles."""
    if method == "slice_minmax":
        low = image.min(axis=(1, 2), keepdims=True)
        high = image.max(axis=(1, 2), keepdims=True)
    else:
        low, high = np.percentile(image, CLIPPED)
    span = np.where(high > low, high - low, 1)
    return np.rint((np.clip(image, low, high) - low) / span * 255).astype(np.uint8)


def find_landmarks(slices: np.ndarray) -> tuple[float, ...]:
    """Return the mean of each of PERCENTILES over slices (N, H, W) uint8, as a network was shown them."""
    return tuple(float(value) for value in np.mean([np.percentile(one, PERCENTILES) for one in slices], axis=0))


def check_landmarks(landmarks: Sequence[float]) -> tuple[float, ...]:
    """Return landmarks as numbers. Raises SpiderError unless they are one a percentile, ascending, within 0..255."""
    values = np.asarray(landmarks, float)
    fits = values.shape == (len(PERCENTILES),) and (np.diff(values) >= 0).all()
    if not fits or values[0] < 0 or values[-1] > 255:
        raise SpiderError(f"landmarks: expected {len(PERCENTILES)} ascending numbers within 0..255, found {landmarks}")
    return tuple(values.tolist())


def standardise(volume: np.ndarray, landmarks: Sequence[float]) -> np.ndarray:
    """Map intensities (D, H, W) to uint8 (D, H, W) so that the volume's percentiles become the landmarks.

    Linear between neighbouring percentiles (Nyúl et al. 2000), constant outside. Where several percentiles are one
    value, as in a background of zeros, that value takes the lowest of their landmarks.
    """
    step = int(np.ceil(np.sqrt(max(1, volume.size / SAMPLE))))
    own = np.percentile(volume[:, ::step, ::step], PERCENTILES)
    own, first = np.unique(own, return_index=True)
    target = np.asarray(landmarks, float)[first]
    return np.stack([np.rint(np.interp(one, own, target)).astype(np.uint8) for one in volume])
