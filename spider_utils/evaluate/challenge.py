"""SPIDER's own score: vertebra by vertebra and disc by disc, in 3D.

It is described in van der Graaf et al., Scientific Data 11, 264 (2024); what the description leaves open is taken from
the challenge's public code (github.com/DIAGNijmegen/SPIDER-Evaluation, commit 052300b). For each label of the
reference, the predicted label with the most voxels in it is its match: of any kind, so that renumbering a prediction
changes nothing but ties; the lowest one among equals; never the background. A structure is detected when the Dice of
the pair is 0.1 or more. The surface distance runs between the voxels of each mask that have one of their 26 neighbours
outside, and is the mean over both directions' distances together. What is predicted beside the reference's structures
is not punished, unless it is part of a match.

Three things differ from that code, and each is a choice:

- It takes the spacing of a volume's axes in the reverse order of its array's, so its distances are in mm only where
  the spacing is the same along all axes. Here each axis has its own spacing.
- It averages the Dice of vertebrae and of discs over the detected ones, so that missing a difficult one costs nothing
  but detection. Here that is `dice_detected`; `dice` is the mean over all structures of the reference, where one
  without any overlap has 0. ASD is averaged over the detected ones here: the match of a missed structure is another
  structure, or there is none. That code averages it over all that have a match, and has no value for a volume where
  one has none.
- It leaves labels 101..125, vertebrae that are only partly visible, out of these means. Here they are vertebrae.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.data.labels import CLASSES, FOREGROUND, four_classes
from spider_utils.evaluate.boundaries import check_spacing, distances_between
from spider_utils.evaluate.metrics import MM, RATIO, confusion, dice

DETECTED_DICE = 0.1
LABELS = 226  # 0..225
ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)
STRUCTURE_COLUMNS = ["label", "kind", "match", "dice", "asd", "detected"]
SUMMARY_COLUMNS = ["kind", "metric", "unit", "value", "n"]

# Of nnU-Net on the challenge's sequestered patients (van der Graaf et al. 2024): mean Dice and ASD in mm.
NNUNET = {"vertebrae": (0.92, 0.51), "canal": (0.92, 0.46), "discs": (0.86, 0.58)}


def score_structures(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> pd.DataFrame:
    """Score each structure of a reference in SPIDER's label numbers (D, H, W), uint8 or uint16; a prediction likewise.

    `spacing` of (slices, rows, columns) in mm. Returns a row a label of the reference, in ascending order: label, kind
    (vertebrae, canal or discs), match (the predicted label, 0 for none), dice, asd (mm; NaN without a match), detected.
    Raises SpiderError where the shapes differ, the spacing is not positive, or a label is not SPIDER's.
    """
    spacing = check_spacing(reference.shape, spacing)
    four_classes(np.array([reference.max(), prediction.max()]))  # none beyond the table of LABELS
    counts = confusion(reference, prediction, LABELS)
    of_reference, of_prediction = counts.sum(axis=1), counts.sum(axis=0)
    four_classes(np.flatnonzero(of_reference + of_prediction))
    boxes = ndimage.find_objects(reference), ndimage.find_objects(prediction)
    rows = []
    for label in np.flatnonzero(of_reference[1:]) + 1:
        match = int(counts[label, 1:].argmax()) + 1
        kind, common = CLASSES[four_classes(label)], counts[label, match]
        if common == 0:
            rows.append((int(label), kind, 0, 0.0, float("nan"), False))
            continue
        value = float(dice(common, of_prediction[match] - common, of_reference[label] - common))
        box = _around(boxes[0][label - 1], boxes[1][match - 1])
        distance = surface_distance(reference[box] == label, prediction[box] == match, spacing)
        rows.append((int(label), kind, match, value, distance, value >= DETECTED_DICE))
    return pd.DataFrame(rows, columns=STRUCTURE_COLUMNS)


def summarise_structures(table: pd.DataFrame) -> pd.DataFrame:
    """Average the rows of `score_structures`, or of several volumes, to the long table kind, metric, unit, value, n.

    For vertebrae, canal and discs, those that the reference has: dice over all structures, dice_detected and asd over
    the detected ones, detected (their share). n is the number of structures that the value is the mean of.
    """
    rows = []
    for kind in FOREGROUND:
        part = table[table["kind"] == kind]
        if part.empty:
            continue
        found = part[part["detected"]]
        rows += [
            (kind, "dice", RATIO, part["dice"].mean(), len(part)),
            (kind, "dice_detected", RATIO, found["dice"].mean(), len(found)),
            (kind, "asd", MM, found["asd"].mean(), len(found)),
            (kind, "detected", RATIO, part["detected"].mean(), len(part)),
        ]
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def surface_distance(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> float:
    """Return the mean symmetric surface distance of two masks (D, H, W) bool that are not empty, in the spacing's unit.

    Surface are the voxels with one of their 26 neighbours outside the mask or outside the array.
    """
    surfaces = [mask & ~ndimage.binary_erosion(mask, ALL_NEIGHBOURS) for mask in (prediction, reference)]
    return float(np.concatenate(distances_between(*surfaces, spacing)).mean(dtype=np.float64))


def _around(box: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return the box around two boxes."""
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, other, strict=True))
