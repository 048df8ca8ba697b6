"""Rows of scoring: all metrics of slices, and the authors' repair of masks."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from benchmarks.inputs import sample_store
from benchmarks.rows import Bench, Pair, Row
from spider_utils.data.apta import apta
from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.scores import score_slices
from tests.helpers.apta_reference import apta_images

SLICES = 4
SPACING = (0.6, 0.45)  # mm
SCORES = ["dice", "iou", "precision", "recall", "asd", "hd95", "nsd_1", "nsd_2"]
GREYS = (0, 5, 120, 255)  # of the classes, as label values become them


def masks(bench: Bench) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return class maps, others like them as predictions (the next slice of the series), and the slices' table."""
    store = sample_store(bench)
    rows = store.table[store.table["series"].duplicated(keep="last")].groupby("series").head(1).index
    rows = rows[: bench.sized(SLICES, 1)].to_numpy()
    table = store.table.iloc[rows].assign(pixel_mm_row=SPACING[0], pixel_mm_col=SPACING[1])
    return np.array(store.masks[rows]), np.array(store.masks[rows + 1]), table


def ours(reference: np.ndarray, prediction: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Return SCORES of every slice and class, (slices, classes, 8)."""
    return score_slices(reference, prediction, table).table[SCORES].to_numpy().reshape(len(table), len(CLASSES), -1)


def by_monai(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the same by MONAI's functions, each called once for all classes of a slice."""
    from monai import metrics

    found = []
    for truth, guess in zip(reference, prediction, strict=True):
        one_hot = (F.one_hot(torch.from_numpy(one).long(), len(CLASSES)) for one in (truth, guess))
        both = dict(zip(("y", "y_pred"), (one.movedim(-1, 0)[None] for one in one_hot), strict=True))
        both["include_background"] = True
        tp, fp, _, fn = metrics.get_confusion_matrix(**both)[0].T
        places = both | {"spacing": SPACING}
        columns = [metrics.compute_dice(**both)[0], metrics.compute_iou(**both)[0], tp / (tp + fp), tp / (tp + fn)]
        columns.append(metrics.compute_average_surface_distance(symmetric=True, **places)[0])
        columns.append(metrics.compute_hausdorff_distance(percentile=95, **places)[0])
        for mm in (1.0, 2.0):
            limits = {"class_thresholds": [mm] * len(CLASSES), "use_subvoxels": True}
            columns.append(metrics.compute_surface_dice(**places, **limits)[0])
        found.append(torch.stack(columns, dim=-1).numpy())
    return np.stack(found)


def by_surface_distance(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the columns dice, asd, hd95, nsd_1 and nsd_2 as that package defines them, (slices, classes, 5)."""
    import surface_distance as peer

    found = []
    for truth, guess in zip(reference, prediction, strict=True):
        for label in range(len(CLASSES)):
            pair = truth == label, guess == label
            far = peer.compute_surface_distances(*pair, SPACING)
            values = [peer.compute_dice_coefficient(*pair), np.mean(peer.compute_average_surface_distance(far))]
            values.append(peer.compute_robust_hausdorff(far, 95))
            found.append(values + [peer.compute_surface_dice_at_tolerance(far, mm) for mm in (1, 2)])
    return np.array(found).reshape(len(reference), len(CLASSES), -1)


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether scores are the same but for float32."""
    return np.allclose(first, second, rtol=1e-5, equal_nan=True)


def against_monai(bench: Bench) -> Pair:
    """Score slices; all values are equal."""
    reference, prediction, table = masks(bench)
    return Pair(lambda: ours(reference, prediction, table), lambda: by_monai(reference, prediction), same)


def against_surface_distance(bench: Bench) -> Pair:
    """Score slices; Dice and NSD are equal, ASD and HD95 are defined in another way there (`boundary_distances`)."""
    reference, prediction, table = masks(bench)

    def equal(first: np.ndarray, second: np.ndarray) -> bool:
        return same(first[..., [0, 6, 7]], second[..., [0, 3, 4]])

    return Pair(lambda: ours(reference, prediction, table), lambda: by_surface_distance(reference, prediction), equal)


def against_published_apta(bench: Bench) -> Pair:
    """Recover classes from an interpolated mask; all pixels are equal."""
    height, width = bench.sized((640, 512), (64, 48))
    classes = torch.from_numpy(np.array(sample_store(bench).masks[0]))[None, None]
    greys = torch.tensor(GREYS)[classes.long()].float()
    coarse = F.interpolate(greys, size=(height * 2 // 3, width * 2 // 3), mode="nearest")
    grey = F.interpolate(coarse, size=(height, width), mode="bilinear")[0, 0].round().byte().numpy()
    rows = grey.tolist()
    return Pair(lambda: apta(grey), lambda: apta_images(rows)[-1], np.array_equal)


ROWS = {
    "metrics_monai": Row("all metrics of 4 slices", "MONAI's functions", 10, against_monai),
    "metrics_surface": Row("all metrics of 4 slices", "surface-distance", 1.5, against_surface_distance),
    "apta": Row(
        "APTA on 512 x 640", "the published six passes in plain Python", 1000, against_published_apta,
        limit="four passes look for borders in the whole slice, then at some 13,000 pixels and their neighbours",
    ),
}  # fmt: skip
