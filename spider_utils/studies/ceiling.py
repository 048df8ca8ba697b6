"""How much of a network's error is the reference's own convention, and what score no reader can exceed for it.

The references do not all follow one convention (see `studies.reference`). Two questions, on slices segmented by
networks that had not met their patient:

*Neutralised*: what does the network score where references may disagree? These pixels are left out of both masks.

- EDGES: pixels next to one of another class in the reference (four neighbours): one on either side of every contour.
- TOP: vertebra of either mask above the line through the topmost disc: the vertebra that the image's edge often cuts.
- SPECKS: the reference's islands.
- GAP: foreground of either mask within USUAL_GAP of both a disc and a vertebra of the reference.

An error of the network's own there is forgiven with the rest, so that this is the most that conventions can explain.

*Ideal reader*: what does a mask score that is right, but for the convention? Every reference is rewritten as most
others were drawn, and scored against itself as it is: discs that touch their vertebrae are given the usual gap (of its
WIDTH the discs lose a third, the vertebrae the rest), islands are left out, and a top vertebra that the reference lacks
is added, as large as the network draws it. Contours stay where they are: how far two readings of one slice lie apart
cannot be told from one.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.analysis.causes import USUAL_GAP, lacks_top_vertebra, touching_series
from spider_utils.analysis.unseen import Unseen
from spider_utils.analysis.where import in_contact, landmarks
from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.overlap import count_overlap, pooled_dice
from spider_utils.masks.conventions import DISCS, ROWS, VERTEBRAE, remove_islands
from spider_utils.studies.compare import dice_table, difference_table

EDGES, TOP, SPECKS, GAP = "1 px at the edges", "top vertebra", "specks", "gap"
NONE, TOGETHER = "as it is", "all together"
WIDTH = 3.0  # pixels of gap for 640 rows: the median of the 30 released series is 3.06, see results/reference
CROSS = ndimage.generate_binary_structure(2, 1)

Masks = dict[str, np.ndarray]  # (H, W) each, by convention


def ceiling_tables(unseen: Unseen) -> dict[str, pd.DataFrame]:
    """Return the study's tables, of Dice with 95 % intervals over patients.

    `neutralised` and `ideal_reader`: `compare.dice_table` by convention. `neutralised_gains`: `difference_table` to
    NONE. `ceiling_patients`: patient, touching, lacks_top (slices without the vertebra at the upper edge), specks
    (islands a slice), dice and neutralised (the network's, as it is and with all conventions neutralised) and ideal
    (the ideal reader's), pixels pooled, means of the three classes.

    Raises SpiderError without slices of T2 SPACE, of which the conventions are known.
    """
    chosen = np.flatnonzero(unseen.table["sequence"] == "T2_SPACE")
    if not len(chosen):
        raise SpiderError("study 'ceiling': expected a study with slices of T2 SPACE, found none; name another")
    touching, parts, facts = touching_series(unseen), [], []
    for number in progress(chosen, desc="ceiling", unit="slice"):
        place = unseen.table.iloc[number : number + 1]
        truth, found = np.array(unseen.reference[number]), np.array(unseen.prediction[number])
        touches = place["series"].iloc[0] in touching
        for kind, pairs in (
            ("network", neutralised(truth, found)),
            ("ideal", {name: (truth, mask) for name, mask in ideal_reader(truth, found, touches).items()}),
        ):
            for name, (one, other) in pairs.items():
                parts.append(count_overlap([one], [other], place).assign(kind=kind, arm=name, epoch=0))
        islands = sum(remove_islands(truth)[1].values())
        fact = {"patient": place["patient"].iloc[0], "touching": touches, "specks": islands}
        facts.append(fact | {"lacks_top": lacks_top_vertebra(truth)})
    counts = pd.concat(parts, ignore_index=True)
    network, ideal = (counts[counts["kind"] == kind] for kind in ("network", "ideal"))
    return {
        "neutralised": dice_table(network, ("arm",)),
        "neutralised_gains": difference_table(network, NONE).drop(columns="epoch"),
        "ideal_reader": dice_table(ideal, ("arm",)),
        "ceiling_patients": _patients(network, ideal, pd.DataFrame(facts)),
    }


def disputed(reference: np.ndarray, prediction: np.ndarray) -> Masks:
    """Return the pixels of two masks (H, W) that each convention is about, bool."""
    edge = ndimage.maximum_filter(reference, footprint=CROSS) != ndimage.minimum_filter(reference, footprint=CROSS)
    kept, found = remove_islands(reference)[0], np.maximum(reference, prediction) > 0
    bony = np.isin(reference, (VERTEBRAE, DISCS)) | np.isin(prediction, (VERTEBRAE, DISCS))
    gap = _chosen(found & bony, lambda row, column: in_contact(kept, row, column, USUAL_GAP * len(kept) / ROWS))
    top = _chosen((reference == VERTEBRAE) | (prediction == VERTEBRAE), landmarks(reference).above_top)
    return {EDGES: edge, TOP: top, SPECKS: kept != reference, GAP: gap}


def neutralised(reference: np.ndarray, prediction: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return both masks as they are, and with the pixels of each convention, and of all, made background in both."""
    left_out = disputed(reference, prediction)
    left_out = {NONE: np.zeros(reference.shape, bool)} | left_out | {TOGETHER: np.any([*left_out.values()], axis=0)}
    return {name: (np.where(out, 0, reference), np.where(out, 0, prediction)) for name, out in left_out.items()}


def ideal_reader(reference: np.ndarray, prediction: np.ndarray, touching: bool) -> Masks:
    """Return a reference (H, W) rewritten as most others were drawn, in each convention alone and in all.

    `touching`: its series' discs touch the vertebrae. Of `prediction` only the top vertebra is taken.
    """

    def add_top(mask: np.ndarray) -> np.ndarray:
        if not lacks_top_vertebra(reference):
            return mask
        missing = (prediction == VERTEBRAE) & (reference == CLASSES.index("background"))
        return np.where(_chosen(missing, landmarks(reference).above_top), VERTEBRAE, mask).astype(mask.dtype)

    def open_gap(mask: np.ndarray) -> np.ndarray:
        return with_gap(mask) if touching else mask

    clean = remove_islands(reference)[0]
    alone = {TOP: add_top(reference), SPECKS: clean, GAP: open_gap(reference)}
    return alone | {TOGETHER: add_top(open_gap(clean))}


def with_gap(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) whose vertebrae and discs lie WIDTH apart at least (a gap as in `disc_gaps`).

    First vertebrae give way, by two thirds of it at most, then discs.
    """
    width, opened = WIDTH * len(mask) / ROWS, mask.copy()
    for label, other, reach in ((VERTEBRAE, DISCS, 2 * width / 3), (DISCS, VERTEBRAE, width)):
        if (opened == other).any():
            near = ndimage.distance_transform_edt(opened != other) < reach + 1
            opened[(opened == label) & near] = 0
    return opened


def _chosen(mask: np.ndarray, choose: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return those pixels of a mask (H, W) that `choose` chooses by their rows and columns, as a mask."""
    row, column = np.nonzero(mask)
    chosen = np.zeros(mask.shape, bool)
    chosen[row, column] = choose(row, column)
    return chosen


def _patients(network: pd.DataFrame, ideal: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    table = facts.groupby("patient").agg({"touching": "any", "lacks_top": "sum", "specks": "mean"})
    for name, counts, arm in (("dice", network, NONE), ("neutralised", network, TOGETHER), ("ideal", ideal, TOGETHER)):
        table[name] = pooled_dice(counts[counts["arm"] == arm], ["patient"]).mean(axis=1)
    return table.reset_index()
