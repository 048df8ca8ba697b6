"""Scales of intensities: each slice's or volume's own, or one for all, that of the slices a network has learnt from.

Grey values of MRI have no unit: another scanner, coil or sequence gives the same tissue other values, and bright fat
presses everything else into the dark. Nyúl, Udupa and Zhang (IEEE Trans. Med. Imaging 19:143, 2000) map the
percentiles of a scan's foreground piecewise linearly to fixed landmarks, the mean percentiles of a training set. So
does `standardise`. What is no patient (padding, air, what a scanner has blanked) counts nowhere but in "slice_minmax",
the paper's: see `find_body`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from spider_utils.common.errors import SpiderError

CLIPPED = 99.5  # percentile of the body that becomes 255
PERCENTILES = (0, 1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)
SAMPLE = 8_000_000  # voxels that percentiles are taken from; of a larger volume every n-th row and column
NO_SIGNAL, BRIGHT, BRIGHTEST = 0.1, 90, 99.9  # percentiles: of all voxels, of the body's, and where its search begins
SIGNAL = 0.1  # the body is brighter than this share of the way from no signal to its BRIGHT percentile
CONSTANT = 0.05  # a value of most corners that so many voxels have is a background, dark or not


def scale_intensity(image: np.ndarray, method: str) -> np.ndarray:
    """Scale intensities (D, H, W) to uint8 0..255: by each slice's minimum and maximum ("slice_minmax"), or from no
    signal to the CLIPPED percentile of the volume's body ("volume_percentile").
    """
    if method == "slice_minmax":
        low = image.min(axis=(1, 2), keepdims=True)
        high = image.max(axis=(1, 2), keepdims=True)
    else:
        low, body = find_body(image)
        high = np.percentile(body, CLIPPED)
    span = np.where(high > low, high - low, 1)
    scaled = np.clip(image, low, high) - low
    scaled /= span  # in place: a volume has some hundred MB
    scaled *= 255
    return np.rint(scaled, out=scaled).astype(np.uint8)


def held_box(voxels: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the box of a volume (D, H, W) without outer planes of one value, such as padding; of one value: all."""
    box = [slice(0, count) for count in voxels.shape]
    for axis in (0, 1, 2) * 2:  # twice, as planes may be of one value only when others are gone
        part, others = voxels[tuple(box)], tuple(other for other in range(3) if other != axis)
        varied = np.flatnonzero(part.max(axis=others) > part.min(axis=others)) + box[axis].start
        if varied.size:
            box[axis] = slice(int(varied[0]), int(varied[-1]) + 1)
    return box[0], box[1], box[2]


def find_body(volume: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the value of no signal in a volume (D, H, W), and the values of its body's voxels, (n,).

    The body is what is brighter than SIGNAL of its own BRIGHT percentile, found from the brightest values downwards: no
    voxel that is darker has a say in where that lies, so that more or less air around the patient changes nothing.
    Padding counts neither here nor there: outer planes of one value, and voxels of the value that most corners have, if
    these are many and it is not the dark of air. Of a large volume SAMPLE voxels are looked at; of one value
    throughout, all is body.
    """
    part = volume[held_box(volume)]
    step = int(np.ceil(np.sqrt(max(1, part.size / SAMPLE))))
    values = part[:, ::step, ::step].ravel()
    corner, corners = max(Counter(part[np.ix_(*[(0, -1)] * 3)].flat).items(), key=lambda one: one[1])
    others = values[values != corner]
    if corners > 4 and 0 < others.size < (1 - CONSTANT) * values.size:
        low, limit = _dark(others)
        dark = corner <= limit and (corner >= 0 or corner >= 2 * low - limit)
        values = values if dark else others
    low, limit = _dark(values)
    while (body := values[values > limit]).size:
        lower = low + SIGNAL * (float(np.percentile(body, BRIGHT)) - low)
        if lower >= limit:
            return low, body
        limit = lower
    return low, values


def _dark(values: np.ndarray) -> tuple[float, float]:
    """Return the value of no signal, and what is surely brighter than air, of values (n,) whatever they show."""
    low, brightest = (float(value) for value in np.percentile(values, (NO_SIGNAL, BRIGHTEST)))
    return low, low + SIGNAL * (brightest - low)


def find_landmarks(slices: np.ndarray) -> tuple[float, ...]:
    """Return the mean of each of PERCENTILES of the body over slices (N, H, W) uint8, as a network was shown them."""
    own = [np.percentile(find_body(one[None])[1], PERCENTILES) for one in slices]
    return tuple(float(value) for value in np.mean(own, axis=0))


def check_landmarks(landmarks: Sequence[float]) -> tuple[float, ...]:
    """Return landmarks as numbers. Raises SpiderError unless they are one a percentile, ascending, within 0..255."""
    listed = landmarks if isinstance(landmarks, Sequence | np.ndarray) else ()
    numbers = [one for one in listed if isinstance(one, int | float) and not isinstance(one, bool)]
    fits = len(numbers) == len(listed) == len(PERCENTILES) and (np.diff(numbers) >= 0).all()
    if not fits or numbers[0] < 0 or numbers[-1] > 255:
        raise SpiderError(f"landmarks: expected {len(PERCENTILES)} ascending numbers within 0..255, found {landmarks}")
    return tuple(map(float, numbers))


def standardise(volume: np.ndarray, landmarks: Sequence[float]) -> np.ndarray:
    """Map intensities (D, H, W) to uint8 (D, H, W) so that the percentiles of the volume's body become the landmarks.

    Linear between neighbouring percentiles (Nyúl et al. 2000), and from no signal, which becomes 0, to the lowest of
    them; constant outside. Where several percentiles are one value, that value takes the lowest of their landmarks.
    """
    low, body = find_body(volume)
    own, first = np.unique([low, *np.percentile(body, PERCENTILES)], return_index=True)
    target = np.array([0.0, *landmarks])[first]
    return np.stack([np.rint(np.interp(one, own, target)).astype(np.uint8) for one in volume])
