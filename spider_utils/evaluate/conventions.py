"""Whether label maps hold the classes 0..3 or SPIDER's numbers, decided for all of a folder.

A number above 3 tells. Of a map without one it tells where its numbers lie: SPIDER's vertebrae 1, 2, 3 stand one above
the other, while vertebrae, canal and discs run side by side along the spine. What neither tells, and no other map of
the folder, is refused unless the user says it.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES
from spider_utils.data.pose import to_pose
from spider_utils.data.volumes import read_volume
from spider_utils.evaluate.metrics import confusion

CLASS_MAPS, NUMBERED = CONVENTIONS = ("four", "spider")
ANY, UNCLEAR = "any", "unclear"  # only vertebrae or nothing, which is the same in both; or not to be told
STACKED, BESIDE = 0.6, 0.25  # steps between the middles of two numbers, as shares of the larger one's height


def convention_of(labels: np.ndarray) -> str:
    """Tell what a label map (D, H, W) in the common pose holds: CLASS_MAPS, NUMBERED, ANY or UNCLEAR."""
    found = [int(number) for number in np.unique(labels) if number]
    if found and max(found) >= len(CLASSES):
        return NUMBERED
    if found in ([], [1]):
        return ANY
    places = [_rows(labels == number) for number in found]
    pairs = list(zip(places, places[1:], strict=False))
    steps = [(lower[1] - upper[1]) / max(lower[2] - lower[0], upper[2] - upper[0], 1) for lower, upper in pairs]
    if steps and min(steps) >= STACKED:
        return NUMBERED
    return CLASS_MAPS if steps and max(map(abs, steps)) <= BESIDE else UNCLEAR


def folder_convention(files: Iterable[Path], stated: str | None = None) -> str:
    """Tell what the label maps of a folder hold, CLASS_MAPS or NUMBERED; `stated`: of those without a number above 3.

    A file that cannot be read is passed over. Raises SpiderError where maps hold different things, or nothing tells.
    """
    seen: dict[str, Path] = {}
    for path in files:
        try:
            labels = sitk.GetArrayFromImage(to_pose(read_volume(path)))
        except SpiderError:
            continue
        seen.setdefault(convention_of(labels), path)
    if stated:
        return stated
    if CLASS_MAPS in seen and NUMBERED in seen:
        raise SpiderError(
            f"{seen[NUMBERED]}: expected classes 0..3 as in {seen[CLASS_MAPS]}, found SPIDER's numbers; put label maps "
            "of one kind into a folder, or say with --convention what those without a number above 3 hold"
        )
    if UNCLEAR in seen and not {CLASS_MAPS, NUMBERED} & set(seen):
        raise SpiderError(
            f"{seen[UNCLEAR]}: expected classes 0..3 or SPIDER's numbers, found values that may be either; "
            "say which with --convention four or --convention spider"
        )
    return NUMBERED if NUMBERED in seen else CLASS_MAPS


def refuse_other_order(prediction: Path, reference: Path, found: np.ndarray, truth: np.ndarray) -> None:
    """Raise SpiderError where classes of a prediction (D, H, W) lie in others of the reference, each in its own.

    Networks of nnU-Net number their classes as their dataset.json says, in any order.
    """
    common = confusion(truth, found, len(CLASSES))[1:, 1:]
    there = np.flatnonzero(common.any(axis=0))
    best = {int(number) + 1: int(common[:, number].argmax()) + 1 for number in there}
    if set(best) == set(best.values()) and any(own != other for own, other in best.items()):
        lies = ", ".join(f"{own} in {CLASSES[other]}" for own, other in best.items())
        raise SpiderError(
            f"{prediction}: expected 1 vertebrae, 2 canal, 3 discs, found {lies} of {reference}, as nnU-Net "
            "may number; renumber one of them, or say --convention four"
        )


def _rows(mask: np.ndarray) -> tuple[float, float, float]:
    """Return the row, from the head, with 5 % of a mask's voxels (D, H, W) above it, their mean, and that of 95 %."""
    voxels = mask.sum(axis=(0, 2))
    upper, lower = np.searchsorted(np.cumsum(voxels) / voxels.sum(), (0.05, 0.95))
    return float(upper), float(np.arange(len(voxels)) @ voxels / voxels.sum()), float(lower)
