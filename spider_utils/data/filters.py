"""Rules that choose slices by their class pixels: the paper's ratio both ways round, and what else it could have meant.

The paper drops slices whose "imbalance ratio", the highest class weight over the lowest, is above 55 %, where a class
weight is the class's pixels over the image's. The published version inverts both fractions. Here each reading has a
name, so that it can be applied, and be tested against the slices that the authors released.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from spider_utils.data.store import COUNTS

IMBALANCE_LIMIT = 0.55  # of the paper: above it a slice is dropped
FILTER_REASON = "filter "  # how the audit's reason begins for a slice that the chosen filter dropped


def keep_all(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Keep every slice."""
    return np.ones(len(pixels), bool)


def text_ratio(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Keep highest over lowest class weight up to 0.55, as the text says: never true, since the ratio is 1 or more."""
    lowest, highest = _extremes(pixels)
    return highest / lowest <= IMBALANCE_LIMIT


def text_ratio_foreground(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Keep what `text_ratio` keeps without the background: never true either."""
    return text_ratio(pixels[:, 1:], index)


def published_ratio(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Keep lowest over highest class count up to 0.55, as the published version says: drops the balanced slices."""
    lowest, highest = _extremes(pixels)
    return lowest / highest <= IMBALANCE_LIMIT


def published_ratio_foreground(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Keep what `published_ratio` keeps without the background."""
    return published_ratio(pixels[:, 1:], index)


def largest_share(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Keep a largest foreground class of up to 0.55 of the foreground."""
    return largest_shares(pixels) <= IMBALANCE_LIMIT


def central_run(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Keep the longest run of slices without a gap in their numbers; of equally long runs the first."""
    kept = np.zeros(len(index), bool)
    kept[max(_runs(index), key=len)] = True
    return kept


# Each takes the pixels of each class in the slices of one series that hold enough classes, (D, 4), and their numbers
# along the left-right axis, (D,) rising, and returns which are kept, (D,) bool.
FILTERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "none": keep_all,
    "text_ratio": text_ratio,
    "text_ratio_foreground": text_ratio_foreground,
    "published_ratio": published_ratio,
    "published_ratio_foreground": published_ratio_foreground,
    "largest_share": largest_share,
    "central_run": central_run,
}


def kept_by(name: str, pixels: np.ndarray, index: np.ndarray, passed: np.ndarray) -> np.ndarray:
    """Return which slices of one series a filter keeps, (D,) bool, out of those that `passed` the count of classes.

    `pixels`: (D, 4) of each class; `index`: (D,) slice numbers, rising; `passed`: (D,) bool.
    """
    kept = np.zeros(len(pixels), bool)
    kept[passed] = FILTERS[name](pixels[passed], index[passed])
    return kept


def largest_shares(pixels: np.ndarray) -> np.ndarray:
    """Return the largest foreground class's share of the foreground, (D,), from (D, 4); NaN without a foreground."""
    foreground = pixels[:, 1:]
    whole = foreground.sum(axis=1)
    return np.divide(foreground.max(axis=1), whole, out=np.full(len(pixels), np.nan), where=whole > 0)


def filter_table(audit: pd.DataFrame) -> pd.DataFrame:
    """Return what each filter keeps of an audit's slices that hold enough classes, a row a filter.

    Columns: filter, kept, of (slices), share, with_gaps (series in which what is kept is not one run without a gap).
    """
    audit = audit[audit["kept"] | audit["reason"].str.startswith(FILTER_REASON)]
    rows = []
    for name in FILTERS:
        kept, with_gaps = 0, 0
        for _, part in audit.sort_values("slice_index").groupby("series"):
            index = part["slice_index"].to_numpy()
            chosen = index[FILTERS[name](part[COUNTS].to_numpy(), index)]
            kept += len(chosen)
            with_gaps += len(_runs(chosen)) > 1
        rows.append((name, kept, len(audit), kept / max(len(audit), 1), with_gaps))
    return pd.DataFrame(rows, columns=["filter", "kept", "of", "share", "with_gaps"])


def verdicts(released: pd.DataFrame) -> pd.DataFrame:
    """Test each filter against the audit of the released slices; return `filter_table` with a verdict and its reason.

    The authors kept every slice that they released. A filter that drops one of them is refuted as what made the
    released set; one that drops none is not, which does not prove that it was used.
    """
    table = filter_table(released)
    dropped = table["of"] - table["kept"]
    table["verdict"] = np.where(dropped > 0, "refuted", "not refuted")
    table["reason"] = [
        f"would have dropped {n} of the {of} released slices" if n else "keeps every released slice"
        for n, of in zip(dropped, table["of"], strict=True)
    ]
    return table


def _extremes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest count of the classes that are present, (D,) each; NaN where there is none."""
    counts = np.where(pixels > 0, pixels, np.nan)
    return np.fmin.reduce(counts, axis=1), np.fmax.reduce(counts, axis=1)


def _runs(index: np.ndarray) -> list[np.ndarray]:
    """Split the positions of rising slice numbers (D,) into runs without a gap."""
    return np.split(np.arange(len(index)), np.flatnonzero(np.diff(index) != 1) + 1)
