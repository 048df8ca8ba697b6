"""Surface scores as the authors' public script computes them: all test slices stacked to one object.

Source: `main.py` of github.com/istiak769/Lumbar-Spine-MRI-Segmentation, commit d4fa3b8. For each class the masks of
all test slices, at 256 x 256 and in the order of a random split, become one array (N, H, W) that is treated as a
single object in three dimensions with unit spacing.

Why that flatters. The next slice in the stack shows another patient, so that most pixels inside a structure touch
background in front or behind and count as surface; where prediction and reference agree on them, their distance is 0.
And an error, however large, is 1 away from the other surface as soon as the slice before or behind it, of
somebody else, has surface at that place, so that it is within the tolerance of 1.
"""

import numpy as np
import pandas as pd
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES
from spider_utils.data.splits import SplitSettings
from spider_utils.data.store import SliceStore
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.evaluate.metrics import dice, overlap_counts, pool_boundaries
from spider_utils.models.batches import network_masks
from spider_utils.studies.copying import every_slice_once

SIZE = (256, 256)  # (height, width) of the public script
TOLERANCE = 1.0  # of its NSD, in pixels or slices, which it does not tell apart
SMOOTH = 1.0  # of its Dice


def stacked_boundary(reference: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """Return ASD and NSD at 1 of two boolean stacks (N, H, W), each taken for one object with unit spacing.

    Surface is what a mask loses to an erosion with the six nearest neighbours, beyond the edge counting as outside.
    Both scores are the mean of the two directions' means: of the distances, and of the share of them up to 1. NaN where
    a stack is empty, as in the script. Raises SpiderError where the shapes differ or are not (N, H, W).
    """
    if reference.ndim != 3 or reference.shape != prediction.shape:
        raise SpiderError(
            f"stacked masks: expected two of one shape (N, H, W), found {reference.shape} and {prediction.shape}"
        )
    surfaces = [mask & ~binary_erosion(mask) for mask in (reference, prediction)]
    if not all(surface.any() for surface in surfaces):
        return float("nan"), float("nan")
    directions = [_distances(*surfaces), _distances(*surfaces[::-1])]
    asd = np.mean([distances.mean() for distances in directions])
    nsd = np.mean([(distances <= TOLERANCE).mean() for distances in directions])
    return float(asd), float(nsd)


def stacked_table(
    reference: np.ndarray, prediction: np.ndarray, size: tuple[int, int] = SIZE, seed: int = 0
) -> pd.DataFrame:
    """Score class maps (n, H, W) uint8 twice: as the public script does, and slice by slice.

    Both at `size` (height, width; nearest neighbour), distances in pixels of it. Returns class, metric ("asd", "nsd_1",
    "dice"), as_public_code, per_slice. as_public_code shuffles the slices by `seed` and takes ASD and NSD from
    `stacked_boundary`; its Dice is the mean over slices of (2 tp + 1) / (reference + prediction + 1), the script's
    smoothed Dice, here of masks instead of probabilities. per_slice takes `boundary_distances` of each slice
    and all slices pooled, as `scores.summarise` does, and the Dice of pooled pixels.
    """
    order = np.random.default_rng(seed).permutation(len(reference))
    reference, prediction = (network_masks(maps, size).numpy()[order] for maps in (reference, prediction))
    rows = []
    for label, name in enumerate(CLASSES):
        truth, found = reference == label, prediction == label
        public, own = _public_scores(truth, found), _pooled_scores(truth, found)
        rows += [{"class": name, "metric": key, "as_public_code": public[key], "per_slice": own[key]} for key in own]
    return pd.DataFrame(rows)


def stacked_copies(store: SliceStore, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Return `stacked_table` of the copying baseline: each slice predicted as its nearest training slice's mask.

    Slices are dealt to `folds` parts at random (LEAKY) and all are scored once, as in `copying.copying_table`; a slice
    without a training slice of its series is predicted as background.
    """
    settings = SplitSettings(split="random_slice", folds=folds, validation_share=0.0, split_seed=seed)
    pairs = every_slice_once(store.table, settings)
    masks = network_masks(store.masks, SIZE).numpy()
    copied = masks[pairs["donor"]]
    copied[pairs["donor"] < 0] = 0
    return stacked_table(masks[pairs["row"]], copied, SIZE, seed)


def _distances(surface: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance of every point of a surface (N, H, W) to the nearest point of the other one."""
    shared = other[surface]
    distances = np.zeros(shared.size)
    if not shared.all():
        distances[~shared], _ = cKDTree(np.argwhere(other)).query(np.argwhere(surface)[~shared])
    return distances


def _public_scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    asd, nsd = stacked_boundary(truth, found)
    both, pixels = (truth & found).sum(axis=(1, 2)), truth.sum(axis=(1, 2)) + found.sum(axis=(1, 2))
    return {"asd": asd, "nsd_1": nsd, "dice": float(((2 * both + SMOOTH) / (pixels + SMOOTH)).mean())}


def _pooled_scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    boundaries = [boundary_distances(*pair) for pair in zip(truth, found, strict=True)]
    scores = {name: pool_boundaries(name, boundaries) for name in ("asd", "nsd_1")}
    return scores | {"dice": float(dice(*overlap_counts(truth, found)))}
