"""The common pose of all volumes, the way into it and back, and how a volume lies in the patient.

An axis is named by the letter of the side towards which it runs: R or L, A or P, I or S, as read off the direction
cosines; an oblique volume takes the nearest ones. Nothing here resamples.
"""

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError

# Fastest axis first: columns run to the posterior, rows to the inferior, slices to the patient's left.
COMMON_POSE = "PIL"
OPPOSITE = dict(zip("LRAPIS", "RLPASI", strict=True))
PLANES = {"L": "sagittal", "R": "sagittal", "A": "coronal", "P": "coronal", "I": "axial", "S": "axial"}
COARSER = 1.5  # times the next spacing: from here on a volume is a stack of slices along its coarsest axis


def to_pose(image: sitk.Image) -> sitk.Image:
    """Turn a volume into the common pose: as an array (D, H, W) from right to left, superior to inferior and anterior
    to posterior. Voxels keep their values and their places in the patient.
    """
    return sitk.DICOMOrient(image, COMMON_POSE)


def from_pose(labels: np.ndarray, like: sitk.Image) -> sitk.Image:
    """Put labels (D, H, W) of the volume `like` in the common pose back onto its own grid.

    Size, spacing, origin and direction are those of `like`, bit for bit. Raises SpiderError when the shape is not that
    of `like` in the common pose.
    """
    code, sources = _axis_code(like), _sources(like)
    expected = tuple(like.GetSize()[axis] for axis in reversed(sources))
    if labels.shape != expected:
        raise SpiderError(f"labels: expected (D, H, W) {expected} for this volume, found {labels.shape}")
    flipped = tuple(2 - axis for axis in range(3) if code[sources[axis]] != COMMON_POSE[axis])
    targets = [2 - source for source in reversed(sources)]  # of the array's axes, slowest first
    stored = np.flip(labels, flipped).transpose(np.argsort(targets))
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored))
    image.CopyInformation(like)
    return image


def posed_grid(image: sitk.Image) -> tuple[list[int], list[float]]:
    """Return size and spacing (mm) that a volume has in the common pose: columns, rows, slices. Turns no voxels."""
    sources = _sources(image)
    return [image.GetSize()[axis] for axis in sources], [image.GetSpacing()[axis] for axis in sources]


def sagittal_angle(image: sitk.Image) -> float:
    """Return the angle in degrees between the axis along which the common pose stacks slices and the patient's
    left-right axis: 0 for straight sagittal slices.
    """
    axis = next(axis for axis, letter in enumerate(_axis_code(image)) if letter in "LR")
    return float(np.degrees(np.arccos(min(1.0, abs(image.GetDirection()[axis])))))


def acquired_axis(image: sitk.Image) -> str:
    """Return along which axis a volume was acquired, by its coarsest spacing, as the plane of its slices: "sagittal",
    "coronal" or "axial". It is "isotropic" when no spacing is 1.5 times both others.
    """
    spacing = image.GetSpacing()
    coarsest = int(np.argmax(spacing))
    if spacing[coarsest] < COARSER * sorted(spacing)[1]:
        return "isotropic"
    return PLANES[_axis_code(image)[coarsest]]


def _sources(image: sitk.Image) -> list[int]:
    """Return for each axis of the pose, fastest first, the axis of a volume with the same letter or its opposite."""
    code = _axis_code(image)
    return [next(axis for axis in range(3) if code[axis] in (letter, OPPOSITE[letter])) for letter in COMMON_POSE]


def _axis_code(image: sitk.Image) -> str:
    """Return the letters of a volume's axes, fastest first, e.g. PIL."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
