"""Why pixels are wrong: a taxonomy in which every wrong pixel has exactly one cause.

Pieces are components of eight neighbours of one class in one slice; a piece is *met* where the other mask has the class
on LEAST or more of it. A pixel is *deep* farther than NEAR from its class's contour, or within NEAR + 1 of such a
pixel that is wrong the same way, so that a bite is deep from the contour on. Lengths are pixels, stated for 640 rows,
and scale with them. Causes are asked for in the order of CAUSES:

- *reference error*: the reference audit's rules, and one of our own, put the fault on the reference (see `add_faults`).
- *wrong class*: both masks say foreground, not the same, and the pixel is deep, or its piece is not met.
- *missed part*: the reference's piece is not met, or the pixel is deep: a structure or a bite of it is missed.
- *extra island*: the predicted piece is not met, and not all of it lies along the contour: the structure is not there.
- *outgrowth*: the predicted piece is met, but the pixel is deep: a structure grows too far.
- *boundary*: the rest, along the contour of a structure that both masks have.
"""

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.analysis.unseen import Unseen
from spider_utils.analysis.where import landmarks
from spider_utils.analysis.wrong import share_table, sort_out, speck
from spider_utils.data.labels import CLASSES
from spider_utils.masks.conventions import (
    DISCS,
    ROWS,
    VERTEBRAE,
    above_top_disc,
    disc_gaps,
    is_cut_off,
    is_touching,
    remove_islands,
)
from spider_utils.masks.pieces import label_pieces, small_pieces

NEAR = 3.0
LEAST = 0.1
USUAL_GAP = 4.0  # from disc to vertebra: the audit's median of 29 of the 30 released series is 2.2 to 4.8 pixels
CAUSES = ("reference error", "wrong class", "missed part", "extra island", "outgrowth", "boundary")
FAULTS = ("speck", "hole", "no top vertebra", "no gap", "unlike both neighbours")
NO_FAULT = "none"


def add_faults(unseen: Unseen, wrong: pd.DataFrame) -> pd.DataFrame:
    """Return the wrong pixels with a column fault: what is wrong with the reference there, of FAULTS, or "none".

    The first that fits counts:

    - *speck*: a missed piece of the reference that is smaller than an island of the audit;
    - *hole*: background smaller than an island that one class of the reference encloses, predicted as that class;
    - *no top vertebra*: vertebra predicted above the topmost disc, in a slice where the reference labels none there
      though the image's edge does not end there (the audit's rule, slice by slice);
    - *no gap*: in a series whose discs touch the vertebrae in the reference, unlike all others: vertebra or disc that
      is missed within USUAL_GAP of the other;
    - *unlike both neighbours*: the slices before and after agree with the prediction, not with the reference, on a
      patch larger than an island that is not near the contour.
    """
    table = unseen.table
    position = {key: place for place, key in enumerate(zip(table["series"], table["slice_index"], strict=True))}
    touching = touching_series(unseen)

    def sort_slice(reference: np.ndarray, prediction: np.ndarray, part: pd.DataFrame) -> np.ndarray:
        series, index = table.loc[part["slice"].iloc[0], ["series", "slice_index"]]
        around = [position.get((series, index + step)) for step in (-1, 1)]
        both = None if None in around else [np.asarray(unseen.reference[place]) for place in around]
        return _faults_of_slice(reference, prediction, part, both, series in touching, speck(unseen))

    return sort_out(unseen, wrong, "fault", (*FAULTS, NO_FAULT), sort_slice)


def add_causes(unseen: Unseen, wrong: pd.DataFrame) -> pd.DataFrame:
    """Return the wrong pixels with the columns fault (see `add_faults`) and cause, one of CAUSES."""
    wrong = wrong if "fault" in wrong else add_faults(unseen, wrong)
    return sort_out(unseen, wrong, "cause", CAUSES, _causes_of_slice)


def cause_table(unseen: Unseen, wrong: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of the causes (see `wrong.share_table`); `wrong` as `add_causes` gives it."""
    return share_table(unseen, wrong, "cause", largest=True)


def suspected_faults(unseen: Unseen, wrong: pd.DataFrame) -> pd.DataFrame:
    """List what is suspected of the reference, a row a slice, class and fault, those that cost most first.

    Columns: series, patient, slice_index, row (in the store), class, fault, wrong (pixels that are wrong for it), share
    (of the slice's wrong pixels). `wrong`: as `add_faults` gives it. A fault is a suspicion by a rule, not a finding:
    somebody has to look.
    """
    counted = wrong[wrong["fault"] != NO_FAULT].groupby(["slice", "class", "fault"], observed=True).size()
    table = counted.rename("wrong").reset_index()
    everything = wrong.groupby("slice").size()
    table["share"] = table["wrong"] / everything.reindex(table["slice"]).to_numpy()
    place = unseen.table[["series", "patient", "slice_index", "row"]].reset_index(drop=True)
    table = place.iloc[table["slice"]].reset_index(drop=True).join(table.drop(columns="slice"))
    order = ["wrong", "series", "slice_index", "class", "fault"]
    return table.sort_values(order, ascending=[False, True, True, True, True], ignore_index=True)


def touching_series(unseen: Unseen) -> set[str]:
    """Return the series whose discs touch the vertebrae, by the audit's rule."""
    found = set()
    for series, part in unseen.table.groupby("series", sort=False):
        gaps = pd.concat([disc_gaps(remove_islands(np.asarray(unseen.reference[number]))[0]) for number in part.index])
        facing = gaps[gaps["faces"]]
        if len(facing) and is_touching(facing["gap"].median(), unseen.reference.shape[1]):
            found.add(series)
    return found


def _faults_of_slice(
    reference: np.ndarray,
    prediction: np.ndarray,
    wrong: pd.DataFrame,
    around: list[np.ndarray] | None,
    touching: bool,
    island: float,
) -> np.ndarray:
    at = wrong["row"].to_numpy(), wrong["column"].to_numpy()
    truth, found = wrong["reference"].to_numpy(), wrong["predicted"].to_numpy()
    scale = reference.shape[0] / ROWS
    small = np.zeros(len(wrong), bool)
    for label in range(1, len(CLASSES)):
        small |= (truth == label) & small_pieces(reference == label, island)[at]
    enclosed = np.zeros(len(wrong), bool)
    for label in np.unique(found[truth == 0]):
        mask = reference == label
        holes = ndimage.binary_fill_holes(mask) & (reference == 0)
        enclosed |= (truth == 0) & (found == label) & small_pieces(holes, island, corners=False)[at]
    tests = [small, enclosed, np.zeros(len(wrong), bool), np.zeros(len(wrong), bool), np.zeros(len(wrong), bool)]
    if lacks_top_vertebra(reference):
        tests[2] = (truth == 0) & (found == VERTEBRAE) & landmarks(reference).above_top(*at)
    if touching:
        tests[3] = found == 0
        for label, other in ((VERTEBRAE, DISCS), (DISCS, VERTEBRAE)):
            near = ndimage.distance_transform_edt(reference != other) <= USUAL_GAP * scale
            tests[3] &= (truth != label) | near[at]
        tests[3] &= (truth == VERTEBRAE) | (truth == DISCS)
    if around:
        patch = np.zeros(reference.shape, bool)
        alike = (around[0] == around[1]) & (around[0] == prediction)
        far = wrong["distance"].to_numpy() > NEAR * scale
        patch[at] = far & alike[at]
        tests[4] = (patch & ~small_pieces(patch, island))[at]
    return np.select(tests, range(len(tests)), len(FAULTS)).astype(np.int8)


def _causes_of_slice(reference: np.ndarray, prediction: np.ndarray, wrong: pd.DataFrame) -> np.ndarray:
    at = wrong["row"].to_numpy(), wrong["column"].to_numpy()
    truth, found = wrong["reference"].to_numpy(), wrong["predicted"].to_numpy()
    deep = _deep(wrong, NEAR * reference.shape[0] / ROWS)
    unmet_truth, unmet_found = np.zeros(len(wrong), bool), np.zeros(len(wrong), bool)
    for label in range(1, len(CLASSES)):
        unmet_truth |= (truth == label) & _unmet(reference == label, prediction == label)[at]
        unmet = _unmet(prediction == label, reference == label)
        if unmet.any():
            # An island that lies along the contour of its class all over is a frayed boundary.
            pieces, _ = label_pieces(unmet)
            own = (found == label) & unmet[at]
            beyond = np.unique(pieces[at][own & (deep | (truth > 0))])
            unmet_found |= own & np.isin(pieces[at], beyond)
    tests = [
        (wrong["fault"] != NO_FAULT).to_numpy(),
        (truth > 0) & (found > 0) & (deep | unmet_truth | unmet_found),
        (truth > 0) & (deep | unmet_truth),
        unmet_found & (truth == 0),
        deep & (truth == 0),
    ]
    return np.select(tests, range(len(tests)), len(tests)).astype(np.int8)


def _deep(wrong: pd.DataFrame, near: float) -> np.ndarray:
    """Return which wrong pixels are deep; missed and swapped ones are wrong the same way."""
    at = wrong["row"].to_numpy(), wrong["column"].to_numpy()
    deep = wrong["distance"].to_numpy() > near
    ways = wrong["class"].cat.codes.to_numpy() + len(CLASSES) * (wrong["kind"] == "false").to_numpy()
    for way in np.unique(ways[deep]):
        chosen = ways == way
        rows, columns = (axis[chosen] - axis[chosen].min() for axis in at)
        shallow = np.ones((rows.max() + 1, columns.max() + 1), bool)
        shallow[rows[deep[chosen]], columns[deep[chosen]]] = False
        deep[chosen] |= (ndimage.distance_transform_edt(shallow) <= near + 1)[rows, columns]
    return deep


def _unmet(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the pieces of a mask of which the other mask covers less than LEAST."""
    pieces, sizes = label_pieces(mask)
    covered = np.bincount(pieces[other], minlength=len(sizes))
    return (covered < LEAST * sizes)[pieces]


def lacks_top_vertebra(reference: np.ndarray) -> bool:
    """Return True where no vertebra is labelled above the topmost disc though the image shows one (as the audit)."""
    rows, share = above_top_disc(remove_islands(reference)[0])
    return share < 0.5 and is_cut_off(rows, len(reference))
