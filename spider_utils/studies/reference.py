"""The reference audit: by what conventions were the masks drawn, series by series?

Terms, all in pixels of the stored slice; what depends on its size is stated for 640 rows and scales with their number.

- *Contour* of the discs: disc pixels with one of their four neighbours outside the discs; the image's edge is none.
- *Gap*: from a contour pixel to the nearest vertebra pixel the distance of their centres minus one, that is the
  background between them; 0 where they touch (one of the eight neighbours is a vertebra). Only contour pixels with a
  vertebra within 15 pixels count (they *face* one): the lower side of the lowest disc does not.
- *Convention*: "touching" where the median gap is below TOUCHING_GAP, else "gap".
- *Island*: a component (eight neighbours) of one class that is smaller than 1/10000 of the slice (33 pixels of
  640 x 512). Islands are left out before gaps are measured, structures counted or levels named.
- *Hole*: a background component (four neighbours) enclosed by one class.
- *Speckled*: a series with at least SPECKLED islands a slice.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage

from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.data.store import SliceStore
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.evaluate.metrics import dice, overlap_counts, pool_boundaries
from spider_utils.masks.conventions import (
    DISCS,
    VERTEBRAE,
    above_top_disc,
    count_holes,
    disc_gaps,
    is_cut_off,
    is_touching,
    remove_islands,
)
from spider_utils.masks.pieces import label_pieces
from spider_utils.studies.copying import copying_scores, slices_apart

SPECKLED = 2.0  # islands a slice; of the 30 released series here twenty have fewer than 1, ten have 2.8 to 39
JUMPS = [f"next_{name}{end}" for name in FOREGROUND for end in ("", "_min")]


def audit_reference(store: SliceStore) -> pd.DataFrame:
    """Measure the masks of every series, a row each; what cannot be measured is NaN or "".

    series, patient, sequence, slices; gap_median, gap_q1, gap_q3 (pixels), gap_mm (median; NaN where the pixel size is
    not known), facing (share of the discs' contour that faces a vertebra), touching (share of that part that touches
    one), convention; top_rows (median over slices of the rows above the highest disc), top_slices (slices in which the
    vertebra above that disc is labelled) and top_vertebra (whether the one cut off by the upper edge is "labelled",
    "missing" or, as none is cut off, "outside"); vertebrae, discs (components on the middle slice; posterior elements
    are vertebrae, too), lowest (which of the two is labelled lowest there); islands, islands_canal, holes (mean number
    a slice), edges ("clean" or "speckled"); next_<class> and next_<class>_min (median and lowest Dice of neighbouring
    slices); eroded_dice, eroded_nsd_1, eroded_nsd_2 (discs, see `eroded_overlap`); clean_canal_dice, clean_canal_hd95,
    clean_canal_nsd_1 (see `island_cost`).
    """
    rows = []
    jumps = _jumps(store.masks, store.table)
    groups = store.table.groupby("series", sort=False)
    for series, part in progress(groups, total=groups.ngroups, desc="auditing series", unit="series"):
        masks = [np.asarray(store.masks[row]) for row in part.index]
        first = part.iloc[0]
        spacing = (first["pixel_mm_row"], first["pixel_mm_col"])
        row = {name: first[name] for name in ("series", "patient", "sequence")} | {"slices": len(part)}
        cleaned = [remove_islands(mask) for mask in masks]
        row |= _gap_columns([disc_gaps(mask, spacing) for mask, _ in cleaned], masks[0].shape)
        row |= _level_columns([mask for mask, _ in cleaned])
        row |= _speck_columns([islands for _, islands in cleaned], [count_holes(mask) for mask in masks])
        row |= jumps.get(series, dict.fromkeys(JUMPS, np.nan))
        row |= {f"eroded_{name}": value for name, value in eroded_overlap(masks).items() if name != "hd95"}
        row |= {f"clean_canal_{name}": value for name, value in island_cost(masks).items() if name != "nsd_2"}
        rows.append(row)
    return pd.DataFrame(rows)


def eroded_overlap(masks: Sequence[np.ndarray], name: str = "discs") -> dict[str, float]:
    """Score a class eroded by one pixel (four neighbours) against itself: what one pixel of convention is worth.

    `masks`: (H, W) each. Returns dice, nsd_1, nsd_2 (pooled) and hd95 (mean over slices) in pixels; NaN without the
    class.
    """
    wanted = [mask == CLASSES.index(name) for mask in masks]
    return _compare([(whole, ndimage.binary_erosion(whole, border_value=1)) for whole in wanted])


def island_cost(masks: Sequence[np.ndarray], name: str = "canal") -> dict[str, float]:
    """Score a class without its islands against itself: what the best prediction loses that draws no islands.

    Returns what `eroded_overlap` returns.
    """
    label = CLASSES.index(name)
    return _compare([(mask == label, remove_islands(mask)[0] == label) for mask in masks])


def audit_summary(audit: pd.DataFrame) -> pd.DataFrame:
    """Give the headline numbers of an audit: measure, value, lowest, highest (over the series) and n (series).

    The value is the median over the series, or a number of series (without lowest and highest).
    """
    speckled = audit["edges"] == "speckled"
    medians = {
        "gap between disc and vertebra, px": "gap_median",
        "touching share of the facing contour": "touching",
        "islands a slice": "islands",
        "holes a slice": "holes",
        "discs of neighbouring slices: Dice": "next_discs",
        "discs against themselves minus 1 px: Dice": "eroded_dice",
        "discs against themselves minus 1 px: NSD at 1 px": "eroded_nsd_1",
        "discs against themselves minus 1 px: NSD at 2 px": "eroded_nsd_2",
    }
    rows = []
    for measure, column in medians.items():
        values = audit[column].dropna()
        rows.append((measure, values.median(), values.min(), values.max(), len(values)))
    canal = audit.loc[speckled, "clean_canal_hd95"].dropna()
    measure = "speckled canals without islands: HD95, px"
    rows.append((measure, canal.median(), canal.min(), canal.max(), len(canal)))
    counted = {
        "series whose discs touch the vertebrae": audit["convention"] == "touching",
        "series with speckled edges": speckled,
        "series lacking the vertebra at the upper edge": audit["top_vertebra"] == "missing",
    }
    for measure, chosen in counted.items():
        rows.append((measure, float(chosen.sum()), np.nan, np.nan, len(audit)))
    return pd.DataFrame(rows, columns=["measure", "value", "lowest", "highest", "n"])


def examples(audit: pd.DataFrame, table: pd.DataFrame) -> dict[str, int]:
    """Choose slices to show: title to row number, the middle slices of the series with the narrowest gap, the widest
    gap and the most islands; a series stands here once.
    """
    measured = audit.dropna(subset=["gap_median"]).sort_values(["gap_median", "touching"], ascending=[True, False])
    speckled = measured[measured["edges"] == "speckled"].sort_values("islands")
    chosen: dict[str, str] = {}
    for part, what in (
        (measured.head(1), "narrowest gap"),
        (measured.tail(1), "widest gap"),
        (speckled.tail(1), "most islands"),
    ):
        for series in part["series"]:
            chosen.setdefault(series, what)
    rows = {series: table.index[table["series"] == series] for series in chosen}
    return {f"{series}: {what}": int(rows[series][len(rows[series]) // 2]) for series, what in chosen.items()}


def _gap_columns(gaps: list[pd.DataFrame], shape: tuple[int, int]) -> dict[str, float | str]:
    table = pd.concat(gaps)
    facing = table[table["faces"]]
    if facing.empty:
        names = ("gap_median", "gap_q1", "gap_q3", "gap_mm", "facing", "touching")
        return dict.fromkeys(names, np.nan) | {"convention": ""}
    low, median, high = facing["gap"].quantile([0.25, 0.5, 0.75])
    row = {"gap_median": median, "gap_q1": low, "gap_q3": high, "gap_mm": facing["gap_mm"].median()}
    row |= {"facing": table["faces"].mean(), "touching": facing["touches"].mean()}
    return row | {"convention": "touching" if is_touching(median, shape[0]) else "gap"}


def _level_columns(masks: list[np.ndarray]) -> dict[str, float | int | str]:
    rows, share = np.transpose([above_top_disc(mask) for mask in masks])
    labelled = share >= 0.5
    top_rows = float(np.median(rows))
    row: dict[str, float | int | str] = {"top_rows": top_rows, "top_slices": int(labelled.sum())}
    if labelled.mean() >= 0.5:
        row["top_vertebra"] = "labelled"
    else:
        row["top_vertebra"] = "missing" if is_cut_off(top_rows, len(masks[0])) else "outside"
    middle, last = masks[len(masks) // 2], {}
    for name, label in (("vertebrae", VERTEBRAE), ("discs", DISCS)):
        row[name] = len(label_pieces(middle == label)[1]) - 1
        found = np.flatnonzero((middle == label).any(axis=1))
        last[name] = found[-1] if found.size else -1
    return row | {"lowest": max(last, key=lambda name: last[name]) if max(last.values()) >= 0 else ""}


def _speck_columns(islands: list[dict[str, int]], holes: list[int]) -> dict[str, float | str]:
    counts = pd.DataFrame(islands)
    mean = float(counts.sum(axis=1).mean())
    row = {"islands": mean, "islands_canal": float(counts["canal"].mean()), "holes": float(np.mean(holes))}
    return row | {"edges": "speckled" if mean >= SPECKLED else "clean"}


def _jumps(masks: np.ndarray, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Median and lowest Dice of neighbouring slices by series and class."""
    pairs = slices_apart(table, 1)
    if pairs.empty:
        return {}
    scores = copying_scores(masks, table, pairs).table
    values = scores.groupby(["series", "class"])["dice"].agg(["median", "min"])
    found: dict[str, dict[str, float]] = {}
    for (series, name), row in values.iterrows():
        if name in FOREGROUND:
            found.setdefault(series, {}).update({f"next_{name}": row["median"], f"next_{name}_min": row["min"]})
    return found


def _compare(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Score pairs of a mask and a part of it, boolean (H, W)."""
    counts, boundaries = np.zeros(3, np.int64), []
    for whole, part in pairs:
        if whole.any():
            box = ndimage.find_objects(whole.astype(np.uint8))[0]
            whole, part = np.pad(whole[box], 1), np.pad(part[box], 1)
            counts += overlap_counts(whole, part)
            boundaries.append(boundary_distances(whole, part))
    hd95 = float(np.nanmean([boundary.hd95 for boundary in boundaries])) if boundaries else np.nan
    scores = {"dice": float(dice(*counts)), "hd95": hd95}
    return scores | {name: pool_boundaries(name, boundaries) for name in ("nsd_1", "nsd_2")}
