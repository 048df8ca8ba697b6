"""What can be wrong with one image, with one mask, and between the two. Every check returns what it finds.

SPIDER's labels: van der Graaf et al., Scientific Data 11, 264 (2024). A set in which a vertebra is missing can still be
trained on, so what is odd about the numbering is a warning; what cannot be read or would be scored wrongly is an error.
"""

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.check.findings import ERROR, WARNING, Finding
from spider_utils.data.labels import CANAL_LABEL
from spider_utils.data.numbering import refuse_foreign
from spider_utils.data.pose import acquired_axis, posed_grid, sagittal_angle
from spider_utils.data.spider import geometry_differences
from spider_utils.data.volumes import reading_notes

LARGEST_ANGLE = 30.0  # degrees from straight sagittal slices
PIXEL_MM = (0.05, 2.0)  # SPIDER's files have sides of 0.077 to 1.24, finer than its overview.csv says
PLANE_MM = (50.0, 1000.0)  # height and width of a slice: SPIDER's have 240 to 343; a scan told in cm or 0.1 mm has not
LARGEST_SLICE_MM = 10.0  # SPIDER's are 0.86 to 9.63 apart


@dataclass(frozen=True)
class Mask:
    """A mask as it was read, beside its image, and the labels in it."""

    volume: sitk.Image
    image: sitk.Image | None  # None where none of its series can be read
    values: np.ndarray  # the distinct ones
    labels: frozenset[int]  # those above 0
    vertebrae: frozenset[int]  # counted from the bottom, whole (1..99) or partly visible (101..125)
    discs: frozenset[int]  # counted from the bottom: disc n lies under vertebra n

    @classmethod
    def of(cls, volume: sitk.Image, image: sitk.Image | None) -> "Mask":
        """Look at the voxels of a mask."""
        values = np.unique(sitk.GetArrayViewFromImage(volume))
        labels = frozenset(int(value) for value in values if value > 0)
        whole = {label for label in labels if label < CANAL_LABEL}
        partly = {label - 100 for label in labels if 100 < label < 126}
        discs = frozenset(label - 200 for label in labels if 200 < label < 226)
        return cls(volume, image, values, labels, frozenset(whole | partly), discs)


def no_contrast(where: str, image: sitk.Image) -> list[Finding]:
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.min() < voxels.max():
        return []
    problem = f"expected an image with contrast, found {voxels.min():g} in every voxel"
    return [Finding(ERROR, where, problem, "export it again or remove it")]


def not_sagittal(where: str, image: sitk.Image) -> list[Finding]:
    axis, angle = acquired_axis(image), sagittal_angle(image)
    spacing = " x ".join(f"{value:.3g}" for value in image.GetSpacing())
    if axis in ("axial", "coronal"):
        problem = f"expected sagittal slices, found {axis} ones ({spacing} mm)"
        return [Finding(ERROR, where, problem, "use a sagittal acquisition")]
    if angle > LARGEST_ANGLE:
        problem = f"expected slices within {LARGEST_ANGLE:g} degrees of sagittal, found {angle:.0f} degrees"
        return [Finding(WARNING, where, problem, "look whether the slices show the spine lengthwise")]
    return []


def implausible_spacing(where: str, image: sitk.Image) -> list[Finding]:
    """Look at the spacing in the common pose. That of an axial or coronal stack is `not_sagittal`'s."""
    if acquired_axis(image) in ("axial", "coronal"):
        return []
    _, (column_mm, row_mm, slice_mm) = posed_grid(image)
    found = []
    low, high = PIXEL_MM
    if not all(low <= value <= high for value in (row_mm, column_mm)):
        found.append(f"expected pixels of {low:g} to {high:g} mm, found {row_mm:.3g} x {column_mm:.3g} mm")
    if slice_mm > LARGEST_SLICE_MM:
        found.append(f"expected slices at most {LARGEST_SLICE_MM:g} mm apart, found {slice_mm:.3g} mm")
    return [Finding(WARNING, where, problem, "check the spacing in its header") for problem in found]


def implausible_plane(where: str, image: sitk.Image) -> list[Finding]:
    """Look at height and width of the sagittal plane. An axial or coronal stack is `not_sagittal`'s."""
    if acquired_axis(image) in ("axial", "coronal"):
        return []
    width, height, _ = (count * step for count, step in zip(*posed_grid(image), strict=True))
    low, high = PLANE_MM
    if all(low <= extent <= high for extent in (height, width)):
        return []
    problem = f"expected a sagittal plane of {low:g} to {high:g} mm, found {height:.4g} mm high and {width:.4g} mm wide"
    return [Finding(ERROR, where, problem, "mend the spacing in its header")]


def doubtful_header(where: str, image: sitk.Image) -> list[Finding]:
    """Tell what was doubtful about its header when an image was read."""
    remedy = "look whether it lies right over the others of this patient"
    return [Finding(WARNING, where, note, remedy) for note in reading_notes(image)]


def other_geometry(where: str, mask: Mask) -> list[Finding]:
    """Return a finding for each of size, spacing, origin and direction that a mask does not share with its image."""
    if mask.image is None:
        return []
    return [
        Finding(
            ERROR,
            where,
            f"expected the {name} of its image, {expected}, found {found}",
            "use the mask that belongs to this image",
        )
        for name, expected, found in geometry_differences(mask.image, mask.volume)
    ]


def unknown_labels(where: str, mask: Mask) -> list[Finding]:
    try:
        refuse_foreign(mask.values)
    except SpiderError as error:
        problem, _, remedy = str(error).removeprefix("label map: ").rpartition("; ")
        return [Finding(ERROR, where, problem, remedy)]
    return []


def empty_mask(where: str, mask: Mask) -> list[Finding]:
    problem = "expected labels, found background alone"
    return [] if mask.labels else [Finding(ERROR, where, problem, "use the mask that belongs to this image")]


def gap_in_vertebrae(where: str, mask: Mask) -> list[Finding]:
    return _gap(where, "vertebrae", mask.vertebrae)


def gap_in_discs(where: str, mask: Mask) -> list[Finding]:
    return _gap(where, "discs", {200 + number for number in mask.discs})


def disc_without_vertebra(where: str, mask: Mask) -> list[Finding]:
    """Look for discs that have no vertebra above them; the one on top of the topmost vertebra needs none."""
    lone = sorted(mask.discs - mask.vertebrae - {max(mask.vertebrae, default=0) + 1})
    return [
        Finding(
            WARNING, where, f"expected vertebra {number} above disc {200 + number}, found none", "check the numbering"
        )
        for number in lone
    ]


def no_canal(where: str, mask: Mask) -> list[Finding]:
    if not mask.labels or CANAL_LABEL in mask.labels:
        return []
    problem = f"expected the spinal canal, label {CANAL_LABEL}, found none"
    return [Finding(WARNING, where, problem, "check whether it was drawn")]


def _gap(where: str, structures: str, numbers: Set[int]) -> list[Finding]:
    missing = sorted(set(range(min(numbers, default=0), max(numbers, default=0))) - numbers)
    if not missing:
        return []
    listed = ", ".join(map(str, missing))
    problem = f"expected {structures} {min(numbers)} to {max(numbers)} without a gap, found no {listed}"
    return [Finding(WARNING, where, problem, "check the numbering")]
