"""Where the wrong pixels sit: how near the reference's contours, and in which region of the spine.

Regions are asked for in the order of REGIONS, and a pixel belongs to the first that it fits, so that they are disjoint
and complete. Only the reference says where they are. Lengths are pixels, stated for 640 rows, and scale with them.

- *image border*: within BORDER of the image's edge.
- *canal ends*: canal errors in rows beyond those that both masks' canals share, or within END of the shared range's
  ends.
- *posterior elements*: vertebra errors behind the line through the discs' posterior ends (pedicles, laminae,
  processes), down to the lowest reference pixel there.
- *above the top disc*: vertebra and disc errors above the line through the topmost disc (the top vertebra, which the
  image's upper edge often cuts).
- *disc-vertebra contact*: pixels within CONTACT of a reference disc and of a reference vertebra.
- *below the lowest disc*: vertebra and disc errors farther than RIM from their class, below the line through the lowest
  disc (the sacrum, which looks like a vertebra and is not labelled).
- *body rims*, *disc rims*, *canal walls*: the class's errors within RIM of its contour.
- *elsewhere*: the rest.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.analysis.unseen import Unseen
from spider_utils.analysis.wrong import EVERY, share_table, sort_out
from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.bootstrap import estimate, patient_weights
from spider_utils.masks.conventions import CANAL, DISCS, ISLAND_SHARE, ROWS, VERTEBRAE
from spider_utils.masks.pieces import label_pieces

LIMITS = (1, 2, 3, 5)  # pixels from the contour
BORDER, END, CONTACT, RIM = 4.0, 5.0, 4.0, 3.0
STEEPEST = 1.0  # rows a column: a disc's line is not taken steeper
RIMS = {VERTEBRAE: "body rims", DISCS: "disc rims", CANAL: "canal walls"}
REGIONS = (
    "image border",
    "canal ends",
    "posterior elements",
    "above the top disc",
    "disc-vertebra contact",
    "below the lowest disc",
    *RIMS.values(),
    "elsewhere",
)


@dataclass(frozen=True)
class Landmarks:
    """What a reference mask says of the spine's course. Lines are (row, column, rows a column); empty without discs."""

    top: tuple[float, float, float] | None  # through the topmost disc
    low: tuple[float, float, float] | None  # through the lowest disc
    back_rows: np.ndarray  # (n,) rows of the discs' posterior ends, from above
    back_columns: np.ndarray  # (n,) their columns

    def above_top(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return which pixels lie above the topmost disc's line."""
        return np.zeros(len(row), bool) if self.top is None else row < _line(self.top, column)

    def below_low(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return which pixels lie below the lowest disc's line."""
        return np.zeros(len(row), bool) if self.low is None else row > _line(self.low, column)

    def behind(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return which pixels lie behind the vertebral bodies: behind the line from disc end to disc end, which goes
        on beyond the first and the last as it comes from the one next to it.
        """
        rows, columns = self.back_rows, self.back_columns
        if not len(rows):
            return np.zeros(len(row), bool)
        limit = np.interp(row, rows, columns)
        if len(rows) > 1:
            first, last = ((columns[b] - columns[a]) / (rows[b] - rows[a]) for a, b in ((0, 1), (-2, -1)))
            limit = np.where(row < rows[0], columns[0] + (row - rows[0]) * first, limit)
            limit = np.where(row > rows[-1], columns[-1] + (row - rows[-1]) * last, limit)
        return column > limit


def landmarks(mask: np.ndarray) -> Landmarks:
    """Find the lines of a reference mask (H, W), classes 0..3; pieces of disc smaller than an island do not count."""
    pieces, sizes = label_pieces(mask == DISCS)
    found = []
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        if sizes[number] >= ISLAND_SHARE * mask.size:
            rows, columns = np.nonzero(pieces[box] == number)
            found.append((rows + box[0].start, columns + box[1].start))
    if not found:
        return Landmarks(None, None, np.zeros(0), np.zeros(0))
    found.sort(key=lambda disc: disc[0].mean())
    ends = {float(rows[columns == columns.max()].mean()): float(columns.max()) for rows, columns in found}
    back = sorted(ends.items())
    return Landmarks(_disc_line(*found[0]), _disc_line(*found[-1]), *np.array(back).T)


def add_regions(unseen: Unseen, wrong: pd.DataFrame) -> pd.DataFrame:
    """Return the wrong pixels with a column region, one of REGIONS."""
    return sort_out(unseen, wrong, "region", REGIONS, _regions_of_slice)


def region_table(unseen: Unseen, wrong: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of the regions (see `wrong.share_table`); `wrong` as `add_regions` gives it."""
    return share_table(unseen, wrong, "region")


def distance_table(unseen: Unseen, wrong: pd.DataFrame) -> pd.DataFrame:
    """Return how much of the error lies how near the contour: class, within (pixels), pixels, share, ci_low, ci_high.

    Cumulative: a row counts what the ones before it do. Shares are of the class's wrong pixels, the intervals 95 %
    bootstrap over patients. The last class is "all".
    """
    patients, code = np.unique(unseen.table["patient"], return_inverse=True)
    weights = patient_weights(len(patients))
    owner, rows = code[wrong["slice"].to_numpy()], []
    for name in (*FOREGROUND, EVERY):
        chosen = np.ones(len(wrong), bool) if name == EVERY else (wrong["class"] == name).to_numpy()
        whole = weights @ np.bincount(owner[chosen], minlength=len(patients))
        for limit in LIMITS:
            near = chosen & (wrong["distance"] <= limit).to_numpy()
            with np.errstate(invalid="ignore", divide="ignore"):
                shares = (weights @ np.bincount(owner[near], minlength=len(patients))) / whole
            row = {"class": name, "within": limit, "pixels": int(near.sum())}
            rows.append(row | estimate("share", shares, np.unique(owner[chosen]).size))
    return pd.DataFrame(rows)


def _regions_of_slice(reference: np.ndarray, prediction: np.ndarray, wrong: pd.DataFrame) -> np.ndarray:
    scale = reference.shape[0] / ROWS
    row, column = wrong["row"].to_numpy(int), wrong["column"].to_numpy(int)
    label = wrong["class"].cat.codes.to_numpy() + 1
    lines, bony = landmarks(reference), label != CANAL
    behind = lines.behind(row, column) & (label == VERTEBRAE)
    near = wrong["distance"].to_numpy() <= RIM * scale
    edge = np.minimum.reduce([row, column, reference.shape[0] - 1 - row, reference.shape[1] - 1 - column])
    tests = [
        edge < BORDER * scale,
        (label == CANAL) & _beyond_common(reference == CANAL, prediction == CANAL, row, END * scale),
        behind & (row <= _lowest_behind(reference, lines)),
        bony & lines.above_top(row, column),
        in_contact(reference, row, column, CONTACT * scale),
        bony & ~near & lines.below_low(row, column),
        *(near & (label == one) for one in RIMS),
    ]
    return np.select(tests, range(len(tests)), len(tests)).astype(np.int8)


def _beyond_common(reference: np.ndarray, prediction: np.ndarray, row: np.ndarray, margin: float) -> np.ndarray:
    """Return which rows lie outside the rows that two masks share, or at most `margin` within their ends."""
    sides = [np.flatnonzero(mask.any(axis=1)) for mask in (reference, prediction)]
    if not all(side.size for side in sides):
        return np.ones(len(row), bool)
    first, last = max(side[0] for side in sides), min(side[-1] for side in sides)
    return (row < first + margin) | (row > last - margin)


def _lowest_behind(reference: np.ndarray, lines: Landmarks) -> float:
    rows, columns = np.nonzero(reference == VERTEBRAE)
    rows = rows[lines.behind(rows, columns)]
    return rows.max() if rows.size else -np.inf


def in_contact(reference: np.ndarray, row: np.ndarray, column: np.ndarray, reach: float) -> np.ndarray:
    """Return which pixels have a reference disc and a reference vertebra within `reach`."""
    near = np.ones(len(row), bool)
    for label in (DISCS, VERTEBRAE):
        mask = reference == label
        if not mask.any():
            return np.zeros(len(row), bool)
        near &= (ndimage.distance_transform_edt(~mask) <= reach)[row, column]
    return near


def _disc_line(rows: np.ndarray, columns: np.ndarray) -> tuple[float, float, float]:
    """Return the middle of a disc's pixels and the slope of their least squares line, rows a column."""
    centre = rows.mean(), columns.mean()
    spread = ((columns - centre[1]) ** 2).sum()
    slope = ((rows - centre[0]) * (columns - centre[1])).sum() / spread if spread else 0.0
    return float(centre[0]), float(centre[1]), float(np.clip(slope, -STEEPEST, STEEPEST))


def _line(line: tuple[float, float, float], column: np.ndarray) -> np.ndarray:
    return line[0] + (column - line[1]) * line[2]
