"""Every wrong pixel of segmented slices, as a row of a table, and the shares of a property of theirs.

A pixel is wrong where the prediction is not the reference. It is counted once, for one foreground class:

- *missed*: the reference is a foreground class, the prediction background; it counts for the reference's class.
- *false*: the other way round; it counts for the predicted class.
- *swapped*: both are foreground; it counts for the reference's class.

Its *distance* tells how far it lies from where that class ends in the reference: of a missed or swapped pixel to the
nearest pixel outside the class, of a false one to the nearest pixel of the class (infinite without any). So it is 1 for
pixels along the contour, on either side: those that are right once the contour moves by one pixel. Distances run
between pixel centres, in pixels of the stored slice.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.analysis.unseen import Unseen
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.evaluate.bootstrap import estimate, patient_weights
from spider_utils.masks.conventions import ISLAND_SHARE

KINDS = ("missed", "false", "swapped")
EVERY = "all"  # all foreground classes together


def wrong_pixels(unseen: Unseen) -> pd.DataFrame:
    """Return a row for every wrong pixel: slice (position in `unseen`), row, column, reference and predicted (classes
    0..3), class (its name), kind and distance (pixels).
    """
    parts = []
    pairs = zip(unseen.reference, unseen.prediction, strict=True)
    for number, (truth, found) in enumerate(progress(pairs, total=len(unseen), desc="wrong pixels", unit="slice")):
        parts.append(_wrong_of_slice(np.asarray(truth), np.asarray(found)).assign(slice=number))
    table = pd.concat(parts, ignore_index=True)
    table["slice"] = table["slice"].astype(np.int32)
    table["kind"] = pd.Categorical.from_codes(table["kind"], KINDS)
    table["class"] = pd.Categorical.from_codes(table["class"] - 1, FOREGROUND)
    return table[["slice", "row", "column", "reference", "predicted", "class", "kind", "distance"]]


def sort_out(
    unseen: Unseen,
    wrong: pd.DataFrame,
    name: str,
    categories: Sequence[str],
    sort_slice: Callable[[np.ndarray, np.ndarray, pd.DataFrame], np.ndarray],
) -> pd.DataFrame:
    """Return the wrong pixels with a column `name`, one of `categories`.

    `sort_slice` gives the categories' numbers for one slice, from its reference, its prediction and its wrong pixels.
    """
    codes = np.empty(len(wrong), np.int8)
    groups = wrong.groupby("slice", sort=False).indices
    for number, places in progress(groups.items(), desc=name, unit="slice"):
        reference, prediction = np.asarray(unseen.reference[number]), np.asarray(unseen.prediction[number])
        codes[places] = sort_slice(reference, prediction, wrong.iloc[places])
    return wrong.assign(**{name: pd.Categorical.from_codes(codes, categories)})


def share_table(unseen: Unseen, wrong: pd.DataFrame, by: str, largest: bool = False) -> pd.DataFrame:
    """Return how the wrong pixels are shared out by a column of categories, for each class and for "all" of them.

    Columns: class, `by`, pixels, share (of the class's wrong pixels), ci_low, ci_high (95 % bootstrap over patients),
    share_of_all (of all wrong pixels), slices (share of the slices with more than a speck of it, see `speck`), patients
    (how many have that); with `largest` also largest_in (share of the slices in which it is the largest part).
    """
    patients, code = np.unique(unseen.table["patient"], return_inverse=True)
    weights = patient_weights(len(patients))
    categories, rows = list(wrong[by].cat.categories), []
    for name in (*FOREGROUND, EVERY):
        part = wrong if name == EVERY else wrong[wrong["class"] == name]
        counts = np.zeros((len(unseen), len(categories)), np.int64)
        np.add.at(counts, (part["slice"].to_numpy(), part[by].cat.codes.to_numpy()), 1)
        drawn = weights @ np.stack([np.bincount(code, column, len(patients)) for column in counts.T], axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = drawn / drawn.sum(axis=1, keepdims=True)
        having = len(np.unique(code[counts.any(axis=1)]))
        seen, first = counts > speck(unseen), counts.argmax(axis=1)
        for number, category in enumerate(categories):
            row = {"class": name, by: category, "pixels": int(counts[:, number].sum())}
            row |= estimate("share", shares[:, number], having)
            row |= {"share_of_all": row["pixels"] / max(len(wrong), 1)}
            row |= {"slices": seen[:, number].mean(), "patients": len(np.unique(code[seen[:, number]]))}
            if largest:
                row["largest_in"] = ((first == number) & counts.any(axis=1)).mean()
            rows.append(row)
    return pd.DataFrame(rows)


def speck(unseen: Unseen) -> float:
    """Return the size in pixels below which the reference audit calls a piece an island (33 of 640 x 512)."""
    return ISLAND_SHARE * unseen.reference[0].size


def _wrong_of_slice(truth: np.ndarray, found: np.ndarray) -> pd.DataFrame:
    where = np.nonzero(truth != found)
    reference, predicted = truth[where], found[where]
    kind = np.where(predicted == 0, 0, np.where(reference == 0, 1, 2)).astype(np.int8)
    owner = np.where(reference > 0, reference, predicted)
    distance = np.full(len(owner), np.inf, np.float32)
    for label in range(1, len(CLASSES)):
        inside, outside = (owner == label) & (kind != 1), (owner == label) & (kind == 1)
        mask = truth == label
        if not (mask.any() and (inside.any() or outside.any())):
            continue
        box = _box(mask, found == label)
        part = np.pad(mask[box], 1, mode="edge")  # beyond the image's edge a class does not end
        place = tuple(axis - side.start + 1 for axis, side in zip(where, box, strict=True))
        if inside.any():
            distance[inside] = _to_nearest(part)[tuple(axis[inside] for axis in place)]
        if outside.any():
            distance[outside] = _to_nearest(~part)[tuple(axis[outside] for axis in place)]
    columns = {"row": where[0].astype(np.int16), "column": where[1].astype(np.int16), "reference": reference}
    return pd.DataFrame(columns | {"predicted": predicted, "class": owner, "kind": kind, "distance": distance})


def _to_nearest(mask: np.ndarray) -> np.ndarray:
    """Return the distance of every pixel of a mask to the nearest one outside it; infinite where the mask is all."""
    return np.full(mask.shape, np.inf) if mask.all() else ndimage.distance_transform_edt(mask)


def _box(*masks: np.ndarray) -> tuple[slice, ...]:
    """Return the rows and columns that hold all masks, one pixel wider where the image goes on."""
    box = ndimage.find_objects(np.logical_or.reduce(masks).view(np.uint8))[0]
    sizes = masks[0].shape
    return tuple(slice(max(0, s.start - 1), min(size, s.stop + 1)) for s, size in zip(box, sizes, strict=True))
