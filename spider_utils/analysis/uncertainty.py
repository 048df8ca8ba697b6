"""Does uncertainty find the failures? Scores that need no reference, beside what the slices' Dice turns out to be.

Of a slice, each higher where the network is less certain:

- *entropy*: the mean entropy of the class probabilities, 0..1 (of log 4), in the predicted foreground and within BAND
  pixels of it. The rest of a slice is air and muscle that no network doubts.
- *expected error*: 1 minus the Dice to expect if the probabilities are right, see `expected_dice`.
- *views*: 1 minus the mean Dice of the masks of several test-time views with the mask of the slice as it is, after the
  agreement of samples of Roy et al. (NeuroImage 195:11, 2019) and the views of Wang et al. (Neurocomputing 338:34,
  2019).
- *place*: how far the slice lies from the middle of its series, 0..1. It needs no network: what uncertainty is to beat.

The networks of the folds must not be asked together: every patient but those that a fold holds out is known to it. So
there is no spread of an ensemble here.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.stats import mannwhitneyu, spearmanr

from spider_utils.analysis.unseen import Fold, Unseen
from spider_utils.analysis.worst import slice_table
from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.progress import progress
from spider_utils.data.labels import CLASSES
from spider_utils.data.store import SliceStore, neighbour_rows
from spider_utils.evaluate.bootstrap import estimate, patient_weights
from spider_utils.evaluate.metrics import class_counts, confusion, dice
from spider_utils.evaluate.scores import lateral_position
from spider_utils.models.batches import to_input
from spider_utils.predict.network import ready_network
from spider_utils.predict.segment import stored_batches
from spider_utils.predict.views import VIEWS, predict_probabilities

BAND = 10  # pixels at the network's size
SPREAD_VIEWS = ("shift_up", "shift_right", "scale_0.9", "scale_1.1")
SCORES = ("entropy", "expected_error", "views", "place")
WORST = 0.1  # the share of the slices, lowest Dice first, that is to be found
LOOKED_AT = (0.1, 0.2)  # the shares of the slices, most uncertain first, that somebody would look at


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the mean entropy of each slice's probabilities (N, 4, h, w) in and around its predicted foreground, (N,)
    in 0..1; NaN without foreground.
    """
    means = np.full(len(probabilities), np.nan)
    for number, one in enumerate(probabilities):
        found = one.argmax(axis=0) > 0
        if found.any():
            inside = one[:, band(found)].astype(np.float32)
            bits = -inside * np.log(inside, out=np.zeros_like(inside), where=inside > 0)
            means[number] = bits.sum(axis=0).mean() / np.log(len(CLASSES))
    return means


def band(foreground: np.ndarray) -> np.ndarray:
    """Return a mask (h, w) bool with what lies within BAND pixels of it."""
    if not foreground.any():
        return foreground
    return ndimage.distance_transform_edt(~foreground) <= BAND


def expected_dice(probabilities: np.ndarray) -> np.ndarray:
    """Return the Dice of each slice's own mask to expect if its probabilities (N, 4, h, w) are right, (N,).

    With the mask where a class is the most probable one, a class's Dice is twice the sum of its probability within the
    mask over the sum of its pixels and its probability everywhere; then the mean of the foreground classes. A class
    without a pixel counts as 0 where its probability adds up to a pixel or more, else not. NaN where no class counts.
    """
    values = np.full((len(probabilities), len(CLASSES) - 1), np.nan)
    for number, one in enumerate(probabilities):
        found = one.argmax(axis=0)
        for label in range(1, len(CLASSES)):
            own, mask = one[label].astype(np.float64), found == label
            if mask.any() or own.sum() >= 1:
                values[number, label - 1] = 2 * own[mask].sum() / (own.sum() + mask.sum())
    counted = np.isfinite(values).sum(axis=1)
    return np.divide(np.nansum(values, axis=1), counted, out=np.full(len(values), np.nan), where=counted > 0)


def view_spread(folds: list[Fold], store: SliceStore, unseen: Unseen, folder: Path | str) -> np.ndarray:
    """Return 1 minus the mean Dice of the masks of SPREAD_VIEWS with the mask of one look at the slice, (N,).

    Masks are taken at the network's size, each slice's from the network that has not met its patient. Kept in
    `folder`, that of `unseen`, as views.npy.
    """
    folder = Path(folder)
    made_from = read_json(folder / "unseen.json") | {"views": list(SPREAD_VIEWS)}
    if read_json(folder / "views.json") != made_from:
        with atomic_path(folder / "views.npy") as path, path.open("wb") as file:
            np.save(file, _spread(folds, store, unseen))
        write_json(folder / "views.json", made_from)
    return np.load(folder / "views.npy", allow_pickle=False)


def _spread(folds: list[Fold], store: SliceStore, unseen: Unseen) -> np.ndarray:
    views = [VIEWS[name] for name in SPREAD_VIEWS]
    agreement = np.zeros(len(unseen))
    for fold in folds:
        network = ready_network(fold.checkpoint)
        places = np.flatnonzero(unseen.table["fold"] == fold.number)
        around = neighbour_rows(store.table, network.neighbours)[unseen.table["row"].to_numpy()[places]]
        size = unseen.probabilities.shape[2:]
        for part, inputs, _ in stored_batches(store.images, around, size, name=f"views, fold {fold.number}"):
            looked = np.asarray(unseen.probabilities[places[part]]).argmax(axis=1)
            for view in views:
                found = predict_probabilities(network.model, to_input(inputs, network.device), [view])
                pairs = zip(looked, found.argmax(dim=1).cpu().numpy(), strict=True)
                agreement[places[part]] += [mean_dice(*pair) for pair in pairs]
    return 1 - agreement / len(views)


def mean_dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean Dice of the foreground classes of two masks (h, w), those that neither has left out; 1 for two
    masks of background.
    """
    values = dice(*class_counts(confusion(first[None], second[None])))[1:]
    return float(np.nanmean(values)) if np.isfinite(values).any() else 1.0


def uncertainty_table(unseen: Unseen, spread: np.ndarray | None = None) -> pd.DataFrame:
    """Return a row a slice: the columns of `worst.slice_table` up to dice, and SCORES.

    `spread`: of `view_spread`; without it the views are left out.
    """
    table = slice_table(unseen)
    table = table[list(table.columns[: table.columns.get_loc("dice") + 1])]
    probabilities = progress(unseen.probabilities, total=len(unseen), desc="uncertainty", unit="slice")
    found = [(entropy(one[None])[0], 1 - expected_dice(one[None])[0]) for one in probabilities]
    table[["entropy", "expected_error"]] = np.array(found)
    if spread is not None:
        table["views"] = spread
    return table.assign(place=lateral_position(table).abs())


def summarise_uncertainty(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each of the table's SCORES how well it tells the slices with a low Dice.

    Columns: score, slices, patients, and with their 95 % bootstrap intervals over patients (_low, _high): spearman
    (rank correlation with 1 minus Dice), within (the mean of the patients' own correlations: without what tells
    patients apart), auroc (how often a slice of the worst tenth is less certain than another one), found_10 and
    found_20 (share of the worst tenth among the most uncertain tenth and fifth; by chance 0.1 and 0.2). The worst
    tenth is that of the patients drawn. Of the expected error also bias, the mean of expected minus true Dice. A score
    that no slice has (no foreground was found in any) has no row.
    """
    rows = []
    for score in (name for name in SCORES if name in table):
        part = table[table[[score, "dice"]].notna().all(axis=1)]
        if part.empty:
            continue
        patients, code = np.unique(part["patient"], return_inverse=True)
        slices = [np.flatnonzero(code == number) for number in range(len(patients))]
        own = [_correlation(part[score].to_numpy()[rows], 1 - part["dice"].to_numpy()[rows]) for rows in slices]
        values = []
        for weights in patient_weights(len(patients)):
            chosen = np.concatenate([np.tile(slices[number], count) for number, count in enumerate(weights)])
            measured = discrimination(part[score].to_numpy()[chosen], 1 - part["dice"].to_numpy()[chosen])
            within = np.repeat(own, weights)
            values.append(measured | {"within": np.nanmean(within) if np.isfinite(within).any() else np.nan})
        row = {"score": score, "slices": len(part), "patients": len(patients)}
        for name, column in pd.DataFrame(values).items():
            having = int(np.isfinite(own).sum()) if name == "within" else len(patients)
            row |= estimate(name, column.to_numpy(), having, bounds=name)
        bias = (1 - part[score] - part["dice"]).mean() if score == "expected_error" else np.nan
        rows.append(row | {"bias": bias})
    return pd.DataFrame(rows)


def discrimination(score: np.ndarray, error: np.ndarray) -> dict[str, float]:
    """Return spearman, auroc and the shares found of the worst tenth, for scores and errors (n,) of slices."""
    order = np.argsort(-error, kind="stable")
    worst = np.zeros(len(error), bool)
    worst[order[: tenth(len(error), WORST)]] = True
    bad, good = worst.sum(), (~worst).sum()
    above = mannwhitneyu(score[worst], score[~worst], method="asymptotic").statistic if good else np.nan
    auroc = above / (bad * good) if good else np.nan
    found = {}
    for share in LOOKED_AT:
        looked = np.argsort(-score, kind="stable")[: tenth(len(score), share)]
        found[f"found_{100 * share:.0f}"] = worst[looked].sum() / bad
    return {"spearman": _correlation(score, error), "auroc": auroc} | found


def tenth(count: int, share: float) -> int:
    """Return how many of `count` slices a share is, one at least."""
    return max(1, round(count * share))


def _correlation(score: np.ndarray, error: np.ndarray) -> float:
    """Return Spearman's rank correlation; NaN where one of both is constant."""
    if np.ptp(score) == 0 or np.ptp(error) == 0:
        return float("nan")
    return float(spearmanr(score, error).statistic)
