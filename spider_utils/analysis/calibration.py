"""Are the probabilities right? Reliability curves, calibration error and Brier score on slices of unseen patients.

Probabilities (softmax) stand at the network's size, so they are compared with the reference reduced to it by nearest
neighbour, as in training. Each class has its curve: of all pixels to which it is given a probability in a bin, how many
are of that class? For the *predicted class*: of all pixels whose largest probability lies in a bin, how many have the
right class?

ECE, the expected calibration error (Guo et al., ICML 2017): the mean distance of probability and frequency over BINS
bins of equal width, weighted by their pixels. The Brier score is the mean squared distance of a probability from 0 or
1; for the predicted class the sum of that over the four classes (Brier 1950), 0..2.

Most pixels are air and tissue far from the spine, given to the background with a probability near 1, rightly.
Over *all* pixels they make every ECE small, whatever happens at the structures; so it is told, too, for the pixels
*near* a structure: in the foreground of reference or prediction, or within BAND pixels of it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spider_utils.analysis.uncertainty import band
from spider_utils.analysis.unseen import Unseen
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.bootstrap import estimate, patient_weights
from spider_utils.models.batches import network_masks

BINS = 15  # as Guo et al.
REGIONS = ("all", "near")
TOP = "predicted class"
CURVES = (TOP, *CLASSES)


@dataclass(frozen=True)
class BinSums:
    """What every patient's pixels add up to, by region, curve and bin."""

    patients: np.ndarray  # (P,)
    pixels: np.ndarray  # (P, regions, curves, bins)
    probability: np.ndarray  # the same shape: sums of the probabilities
    right: np.ndarray  # the same shape: pixels of the class, or with the right class
    squares: np.ndarray  # (P, regions, curves): sums of what the Brier score is the mean of


def bin_pixels(unseen: Unseen) -> BinSums:
    """Add up the pixels of every patient by region (REGIONS), curve (CURVES) and bin."""
    patients, code = np.unique(unseen.table["patient"], return_inverse=True)
    sums = np.zeros((3, len(patients), len(REGIONS), len(CURVES), BINS))
    squares = np.zeros((len(patients), len(REGIONS), len(CURVES)))
    slices = zip(code, unseen.reference, unseen.probabilities, strict=True)
    for patient, reference, scores in progress(slices, total=len(unseen), desc="calibration", unit="slice"):
        probabilities = np.asarray(scores, np.float32)
        truth = network_masks(np.asarray(reference)[None], probabilities.shape[1:])[0].numpy()
        found = probabilities.argmax(axis=0)
        near = band((found > 0) | (truth > 0)).ravel()
        right = np.stack([found == truth, *(truth == label for label in range(len(CLASSES)))]).reshape(len(CURVES), -1)
        given = np.concatenate([probabilities.max(axis=0)[None], probabilities]).reshape(len(CURVES), -1)
        for curve in range(len(CURVES)):
            sums[:, patient, :, curve] += _slice_sums(given[curve], right[curve], near)
        distances = (given - right)[1:] ** 2
        distances = np.concatenate([distances.sum(axis=0)[None], distances])
        squares[patient] += np.stack([distances.sum(axis=1), distances[:, near].sum(axis=1)])
    pixels, probability, right_pixels = sums
    return BinSums(patients, pixels, probability, right_pixels, squares)


def reliability_table(sums: BinSums) -> pd.DataFrame:
    """Return the reliability curves, a row a bin: region, class (of CURVES), low and high (of the bin), pixels,
    probability (their mean), frequency, and its 95 % bootstrap interval over patients (ci_low, ci_high).

    Empty bins are left out.
    """
    rows, edges = [], np.linspace(0, 1, BINS + 1)
    drawn = {name: _drawn(getattr(sums, name)) for name in ("pixels", "right")}
    with np.errstate(invalid="ignore", divide="ignore"):
        frequency = drawn["right"] / drawn["pixels"]
    pixels, probability = (getattr(sums, name).sum(axis=0) for name in ("pixels", "probability"))
    for region, curve, place in np.argwhere(pixels > 0):
        values, count = frequency[:, region, curve, place], pixels[region, curve, place]
        row = {"region": REGIONS[region], "class": CURVES[curve], "low": edges[place], "high": edges[place + 1]}
        row |= {"pixels": int(count), "probability": probability[region, curve, place] / count}
        having = int(np.count_nonzero(sums.pixels[:, region, curve, place]))
        rows.append(row | estimate("frequency", values, having))
    return pd.DataFrame(rows)


def calibration_table(sums: BinSums) -> pd.DataFrame:
    """Return region, class (of CURVES), pixels, ece, brier, and confidence (mean probability minus frequency: above 0
    is too sure), each of the three with its 95 % bootstrap interval over patients (_low, _high).
    """
    pixels, probability, right = (_drawn(getattr(sums, name)) for name in ("pixels", "probability", "right"))
    total = pixels.sum(axis=3)
    found = {
        "ece": np.abs(probability - right).sum(axis=3) / total,
        "brier": _drawn(sums.squares) / total,
        "confidence": (probability - right).sum(axis=3) / total,
    }
    rows = []
    for region, curve in np.ndindex(len(REGIONS), len(CURVES)):
        row = {"region": REGIONS[region], "class": CURVES[curve], "pixels": int(total[0, region, curve])}
        for name, values in found.items():
            row |= estimate(name, values[:, region, curve], len(sums.patients), bounds=name)
        rows.append(row)
    return pd.DataFrame(rows)


def _slice_sums(given: np.ndarray, right: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return pixels, probabilities and right pixels of one slice and curve by region and bin, (3, regions, bins)."""
    place = np.minimum((given * BINS).astype(np.intp), BINS - 1) + BINS * near
    far, close = (
        np.stack([np.bincount(place, values, 2 * BINS) for values in (np.ones_like(given), given, right)])
        .reshape(3, 2, BINS)
        .swapaxes(0, 1)
    )
    return np.stack([far + close, close], axis=1)


def _drawn(sums: np.ndarray) -> np.ndarray:
    """Return sums over the patients (P, ...) for every draw of them, (1 + replicates, ...); the first draw is all."""
    return np.tensordot(patient_weights(len(sums)), sums, axes=1)
