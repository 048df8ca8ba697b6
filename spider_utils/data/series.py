"""What travels first: a series as it lies on disk, and the same series as a stack of slices in one common pose."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spider_utils.data.labels import as_classes, classes_from_grey, four_classes

SEQUENCES = ("T1", "T2", "T2_SPACE")
SUBSETS = ("training", "validation", "")  # SPIDER's own; "" where it is not known
STEMS = {"T1": "t1", "T2": "t2", "T2_SPACE": "t2_SPACE"}  # as a series' name has them
REFERENCE = "reference"  # masks that someone has drawn or corrected: what is scored against
CODINGS = {"spider": four_classes, "grey": classes_from_grey, "classes": as_classes}


@dataclass(frozen=True)
class Series:
    """One MRI series of one patient: an image, a mask where there is one, a sequence and a subset."""

    name: str  # as SPIDER names it, e.g. "12_t2_SPACE"
    patient: int
    sequence: str  # one of SEQUENCES
    subset: str  # "training", "validation", or "" where it is not known
    image_files: tuple[Path, ...]  # one volume, or one PNG a slice in slice order
    mask_files: tuple[Path, ...]  # the same for the mask; empty where there is none
    coding: str  # what the mask's values mean, one of CODINGS: SPIDER's numbers, grey 0 / 29 / 76 / 150, or 0..3
    source: str = ""  # one of sources.SOURCES, whose reader reads it; `sources.find_series` sets it
    mask_from: str = REFERENCE  # where its masks come from; others than REFERENCE may be learnt from, never scored
    index: tuple[int, ...] = ()  # each file's slice number, where a table tells it
    pixel_mm: tuple[float, float] | None = None  # spacing of rows and of columns in mm, where a table tells it
    slice_mm: float | None = None  # distance of neighbouring slices in mm, where a table tells it


@dataclass(frozen=True)
class SliceStack:
    """A series in the common pose: anterior at the left of a slice, superior at its top.

    Axis 0 runs from the patient's right to the left, axis 1 (rows) from superior to inferior and axis 2 (columns) from
    anterior to posterior.
    """

    image: np.ndarray  # (D, H, W) float32
    labels: np.ndarray | None  # (D, H, W) uint16, the values as they are stored
    pixel_mm: tuple[float, float] | None  # spacing of rows and of columns in mm; None where it is not known
    slice_mm: float | None  # distance of neighbouring slices in mm
    index: np.ndarray  # (D,) int, a slice's number along the left-right axis
    coding: str

    @property
    def aspect(self) -> float:
        """Row over column spacing, as a picture needs it; 1 where the spacing is not known."""
        return self.pixel_mm[0] / self.pixel_mm[1] if self.pixel_mm else 1.0

    def classes(self) -> np.ndarray | None:
        """Return the four classes, (D, H, W) uint8, or None without a mask. Raises SpiderError on an unknown label."""
        if self.labels is None:
            return None
        return CODINGS[self.coding](self.labels)
