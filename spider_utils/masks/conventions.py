"""What one mask shows of the conventions that it was drawn by: gaps, islands, holes, the vertebra at the upper edge.

All in pixels of the stored slice; what depends on its size is stated for 640 rows and scales with their number.
"""

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.masks.pieces import label_pieces

TOUCHING_GAP = 1.0  # pixels; of the 30 released series here one has a median of 0, the others 2.2 to 4.8
CUT_OFF = (8.0, 90.0)  # rows above the highest disc: with fewer no vertebra is seen, with more the spine left the slice
ROWS = 640  # of a slice that the sizes in pixels are stated for
REACH = 15.0  # pixels: a contour pixel of a disc faces a vertebra that is no farther away
ISLAND_SHARE = 1e-4  # of the slice's pixels: 33 of 640 x 512
ABOVE = 20.0  # pixels above the highest disc in which its upper vertebra is looked for
CLOSE_UP = 108  # pixels: side of the square around a disc that is shown
VERTEBRAE, CANAL, DISCS = (CLASSES.index(name) for name in ("vertebrae", "canal", "discs"))


def disc_gaps(mask: np.ndarray, spacing: tuple[float, float] = (np.nan, np.nan)) -> pd.DataFrame:
    """Measure the gap of every pixel of the discs' contour in one mask (H, W): columns gap, gap_mm, touches, faces.

    A row a contour pixel; `spacing` is (row, column) in mm, NaN where it is not known. Without discs there is no row,
    without vertebrae the gaps are infinite.
    """
    discs, vertebrae = mask == DISCS, mask == VERTEBRAE
    contour = np.argwhere(discs & ~ndimage.binary_erosion(discs, border_value=1))
    nowhere = pd.DataFrame({"gap": np.full(len(contour), np.inf)}).assign(gap_mm=np.nan, touches=False, faces=False)
    if not len(contour):
        return nowhere
    # Nothing farther away than the reach is of interest, so the distances are taken in a box around the discs.
    reach = REACH * mask.shape[0] / ROWS
    low = np.maximum(contour.min(axis=0) - int(reach) - 2, 0)
    high = contour.max(axis=0) + int(reach) + 3
    box = vertebrae[low[0] : high[0], low[1] : high[1]]
    if not box.any():
        return nowhere
    nearest = ndimage.distance_transform_edt(~box, return_distances=False, return_indices=True)
    offset = nearest[:, contour[:, 0] - low[0], contour[:, 1] - low[1]].T - (contour - low)
    distance = np.hypot(*offset.T)
    touches = np.abs(offset).max(axis=1) == 1
    gap = np.where(touches, 0.0, distance - 1)
    gap_mm = gap * np.hypot(*(offset * spacing).T) / distance
    return pd.DataFrame({"gap": gap, "gap_mm": gap_mm, "touches": touches, "faces": distance <= reach})


def is_touching(gap: float, rows: int) -> bool:
    """Tell whether discs touch the vertebrae, by the median gap of a series in pixels of slices of so many rows."""
    return bool(gap < TOUCHING_GAP * rows / ROWS)


def is_cut_off(above: float, rows: int) -> bool:
    """Tell whether a slice of so many rows cuts its topmost vertebra, by the rows `above` the highest disc."""
    low, high = (limit * rows / ROWS for limit in CUT_OFF)
    return low <= above <= high


def remove_islands(mask: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Give a mask (H, W) with its islands made background, and how many there were of each foreground class."""
    smallest, kept, counts = ISLAND_SHARE * mask.size, mask.copy(), {}
    for label, name in enumerate(CLASSES):
        if name in FOREGROUND:
            pieces, sizes = label_pieces(mask == label)
            small = (sizes > 0) & (sizes < smallest)
            kept[small[pieces]] = 0
            counts[name] = int(small.sum())
    return kept, counts


def count_holes(mask: np.ndarray) -> int:
    """Count the background components of a mask (H, W) that one class encloses."""
    found = 0
    for label, box in enumerate(ndimage.find_objects(mask), start=1):
        if box is not None:
            part = mask[box]
            enclosed = ndimage.binary_fill_holes(part == label) & (part == 0)
            found += ndimage.label(enclosed)[1] if enclosed.any() else 0
    return found


def above_top_disc(mask: np.ndarray) -> tuple[float, float]:
    """Look above the highest disc of a mask (H, W) without islands: is the vertebra labelled that must be there?

    Returns the number of rows above the middle half of that disc (median over its columns), and the share of vertebra
    pixels straight above it, in at most ABOVE rows; 0 and 0 where there is no disc or no row.
    """
    pieces, _ = label_pieces(mask == DISCS)
    boxes = ndimage.find_objects(pieces)
    if not boxes:
        return 0.0, 0.0
    highest = min(range(len(boxes)), key=lambda number: boxes[number][0].start)
    disc, columns = pieces == highest + 1, boxes[highest][1]
    quarter = (columns.stop - columns.start) // 4
    chosen = [column for column in range(columns.start + quarter, columns.stop - quarter) if disc[:, column].any()]
    first = [int(np.argmax(disc[:, column])) for column in chosen]
    above = round(ABOVE * mask.shape[0] / ROWS)
    parts = [mask[max(0, row - above) : row, column] for row, column in zip(first, chosen, strict=True)]
    looked_at = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    return float(np.median(first)) if first else 0.0, float(np.mean(looked_at == VERTEBRAE)) if looked_at.size else 0.0


def close_up(mask: np.ndarray) -> tuple[slice, slice]:
    """Give rows and columns of a square around one disc of a mask (H, W): the one with most islands about it, and of
    equals the middle one; without a disc, around the middle of the slice.
    """
    half = round(CLOSE_UP * mask.shape[0] / ROWS / 2)
    kept, _ = remove_islands(mask)
    pieces, sizes = label_pieces(kept == DISCS)
    centres = ndimage.center_of_mass(kept, pieces, range(1, len(sizes))) or [(size / 2 for size in mask.shape)]
    boxes = []
    for centre in sorted(tuple(centre) for centre in centres):
        starts = [int(np.clip(at - half, 0, size - 2 * half)) for at, size in zip(centre, mask.shape, strict=True)]
        boxes.append(tuple(slice(start, start + 2 * half) for start in starts))
    specks = [np.count_nonzero(mask[box] != kept[box]) for box in boxes]
    best = [number for number, speck in enumerate(specks) if speck == max(specks)]
    return boxes[best[len(best) // 2]]
