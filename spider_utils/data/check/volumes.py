"""What can be wrong with one image, with one mask, and between the two. Every rule returns what it finds.

SPIDER's labels: van der Graaf et al., Scientific Data 11, 264 (2024). A set in which a vertebra is missing can still be
trained on, so what is odd about the numbering is a warning; what cannot be read or would be scored wrongly is an error.
"""

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.check.findings import ERROR, WARNING, Finding
from spider_utils.data.labels import CANAL_LABEL, four_classes
from spider_utils.data.pose import acquired_axis, sagittal_angle, to_pose
from spider_utils.data.spider import geometry_differences

LARGEST_ANGLE = 30.0  # degrees from straight sagittal slices
PIXEL_MM = (0.2, 2.0)  # SPIDER's lie between 0.29 and 1.06
LARGEST_SLICE_MM = 10.0  # SPIDER's are at most 4.8 apart


def check_image(where: str, image: sitk.Image) -> list[Finding]:
    """Return what is wrong with an image: no contrast, not sagittal, implausible spacing."""
    return no_contrast(where, image) + not_sagittal(where, image) + implausible_spacing(where, image)


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
    column_mm, row_mm, slice_mm = to_pose(image).GetSpacing()
    found = []
    low, high = PIXEL_MM
    if not all(low <= value <= high for value in (row_mm, column_mm)):
        found.append(f"expected pixels of {low:g} to {high:g} mm, found {row_mm:.3g} x {column_mm:.3g} mm")
    if slice_mm > LARGEST_SLICE_MM:
        found.append(f"expected slices at most {LARGEST_SLICE_MM:g} mm apart, found {slice_mm:.3g} mm")
    return [Finding(WARNING, where, problem, "check the spacing in its header") for problem in found]


def mask_geometry(where: str, image: sitk.Image, mask: sitk.Image) -> list[Finding]:
    """Return a finding for each of size, spacing, origin and direction that a mask does not share with its image."""
    return [
        Finding(
            ERROR,
            where,
            f"expected the {name} of its image, {expected}, found {found}",
            "use the mask that belongs to this image",
        )
        for name, expected, found in geometry_differences(image, mask)
    ]


def check_labels(where: str, values: np.ndarray) -> list[Finding]:
    """Return what is wrong with the distinct values of a mask: unknown or no labels, gaps, a disc without vertebra."""
    labels = {int(value) for value in values if value > 0}
    rules = (gap_in_vertebrae, gap_in_discs, disc_without_vertebra, no_canal)
    found = unknown_labels(where, values) + empty_mask(where, labels)
    return found + [finding for rule in rules for finding in rule(where, labels)]


def vertebrae_of(labels: set[int]) -> set[int]:
    """Return the numbers of the vertebrae, counted from the bottom, whole (1..99) or partly visible (101..125)."""
    return {label for label in labels if label < CANAL_LABEL} | {label - 100 for label in labels if 100 < label < 126}


def discs_of(labels: set[int]) -> set[int]:
    """Return the numbers of the discs, counted from the bottom: disc n lies under vertebra n."""
    return {label - 200 for label in labels if 200 < label < 226}


def unknown_labels(where: str, values: np.ndarray) -> list[Finding]:
    try:
        four_classes(values)
    except SpiderError as error:
        problem, _, remedy = str(error).removeprefix("label map: ").rpartition("; ")
        return [Finding(ERROR, where, problem, remedy)]
    return []


def empty_mask(where: str, labels: set[int]) -> list[Finding]:
    problem = "expected labels, found background alone"
    return [] if labels else [Finding(ERROR, where, problem, "use the mask that belongs to this image")]


def gap_in_vertebrae(where: str, labels: set[int]) -> list[Finding]:
    return _gap(where, "vertebrae", vertebrae_of(labels))


def gap_in_discs(where: str, labels: set[int]) -> list[Finding]:
    return _gap(where, "discs", {200 + number for number in discs_of(labels)})


def disc_without_vertebra(where: str, labels: set[int]) -> list[Finding]:
    """Look for discs that have no vertebra above them; the one on top of the topmost vertebra needs none."""
    vertebrae = vertebrae_of(labels)
    lone = sorted(discs_of(labels) - vertebrae - {max(vertebrae, default=0) + 1})
    return [
        Finding(
            WARNING, where, f"expected vertebra {number} above disc {200 + number}, found none", "check the numbering"
        )
        for number in lone
    ]


def no_canal(where: str, labels: set[int]) -> list[Finding]:
    if not labels or CANAL_LABEL in labels:
        return []
    problem = f"expected the spinal canal, label {CANAL_LABEL}, found none"
    return [Finding(WARNING, where, problem, "check whether it was drawn")]


def _gap(where: str, structures: str, numbers: set[int]) -> list[Finding]:
    missing = sorted(set(range(min(numbers, default=0), max(numbers, default=0))) - numbers)
    if not missing:
        return []
    listed = ", ".join(map(str, missing))
    problem = f"expected {structures} {min(numbers)} to {max(numbers)} without a gap, found no {listed}"
    return [Finding(WARNING, where, problem, "check the numbering")]
