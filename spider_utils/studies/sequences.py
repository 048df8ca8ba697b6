"""T1 and T2 with masks: what do networks of T2 SPACE score on them, by class and by where in the body a slice lies?

The slices are those of source `pairs`. Each is shown to a network as `predict` shows a PNG slice: scaled by its own
minimum and maximum, stretched to the network's input, with those neighbours that are in the folder; it is scored at its
own resolution, in mm where its pixel size is known.

Nobody is judged by patients that it knows: a network's own record (`trained_on`) says which these are, and beside the
scores on all patients stand those on patients that it has not met. The networks of a study's folds segment those
patients that they hold out. SPIDER's validation subset is left out, as everywhere, and so are masks that nobody drew.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES
from spider_utils.data.series import REFERENCE, Series
from spider_utils.data.sources import find_series, read_stack
from spider_utils.data.store import open_store
from spider_utils.evaluate.bootstrap import estimate, patient_weights
from spider_utils.evaluate.scores import SliceScores, join_scores, score_slices, summarise
from spider_utils.predict.network import SPECIALIST, WEIGHTS, ReadyNetwork, ready_network
from spider_utils.predict.segment import segment_batches
from spider_utils.predict.slices import file_batches, refuse_alone
from spider_utils.studies.folds import study_folds

SOURCE = "pairs"
SHIPPED = tuple(WEIGHTS / f"{name}.safetensors" for name in (SPECIALIST, "paper_baseline"))
ALL, NOT_MET = "all", "not met"  # patients
CANAL, NO_CANAL = "canal", "no canal"  # slices: whether the reference has a pixel of the canal
AGGREGATIONS = ("pooled", "patients")
METRICS = ("dice", "iou", "hd95", "asd", "nsd_1", "nsd_2", "missed")
FALSE_CANAL = "false_canal"  # the share of slices without a canal in which one is found
COLUMNS = ["network", "patients", "sequence", "slices", "class", "aggregation", "metric", "unit"]
COLUMNS += ["value", "ci_low", "ci_high", "n"]


@dataclass(frozen=True)
class Judged:
    """A network, or those of a study's folds, which count as one."""

    name: str
    folds: tuple[tuple[ReadyNetwork, frozenset[int]], ...]  # each with the patients that it alone is to segment
    met: frozenset[int] = frozenset()  # patients that have been learnt from

    def of_patient(self, patient: int) -> ReadyNetwork:
        """Return the network that is to segment a patient: the first one, where nobody is said to."""
        return next((network for network, own in self.folds if patient in own), self.folds[0][0])


@dataclass(frozen=True)
class Segmented:
    """A slice at its own size, and what a network makes of it."""

    network: str
    patient: int
    sequence: str
    slice_index: int
    image: np.ndarray  # (H, W) grey
    reference: np.ndarray  # (H, W) uint8, classes 0..3
    prediction: np.ndarray  # (H, W) uint8, classes 0..3
    pixel_mm: tuple[float, float] | None  # spacing of rows and of columns


def network_of_file(weights: Path | str, device: str = "auto") -> Judged:
    """Load a network that stands for itself. Raises SpiderError where it does not tell the patients that it knows."""
    network = ready_network(weights, device)
    refuse_alone(network)
    split = network.description.get("split", {})  # of a run's own checkpoint; the epoch was chosen on its validation
    patients = network.description.get("trained_on", {}).get("patients")
    patients = patients or [*split.get("train", ()), *split.get("validation", ())]
    if not patients:
        raise SpiderError(
            f"{network.weights.with_suffix('.json')}: expected the patients under 'trained_on', found none; "
            "name a network that tells whom it knows"
        )
    return Judged(network.weights.stem, ((network, frozenset()),), frozenset(map(int, patients)))


def networks_of_study(study: Path | str, arm: str, device: str = "auto") -> Judged:
    """Load the networks of a finished study's folds, each for the patients that it holds out. Raises SpiderError as
    `folds.study_folds`.
    """
    store = open_store(Path(study) / "store")
    folds = []
    for fold in study_folds(Path(study), arm, store):
        network = ready_network(fold.checkpoint, device)
        refuse_alone(network)
        folds.append((network, frozenset(store.table["patient"].iloc[fold.rows].tolist())))
    return Judged(f"{Path(study).name}, {arm}, by fold", tuple(folds))


def find_labelled(data_dir: Path | str) -> list[Series]:
    """List the series of a folder of pairs that may be scored. Raises SpiderError where there is none."""
    found = find_series(SOURCE, data_dir)
    kept = [one for one in found if one.mask_files and one.mask_from == REFERENCE and one.subset != "validation"]
    if not kept:
        raise SpiderError(
            f"{data_dir}: expected slices with reference masks of patients outside SPIDER's validation subset, found "
            "none; add masks/"
        )
    return kept


def segment_pairs(series: list[Series], judged: Judged) -> dict[Path, np.ndarray]:
    """Segment every slice at its own size, as `predict` does; return masks (H, W) uint8 by the image's file.

    Raises SpiderError on an image that cannot be read.
    """
    files: dict[int, list[Path]] = {}
    networks = {id(network): network for network, _ in judged.folds}
    for one in series:
        files.setdefault(id(judged.of_patient(one.patient)), []).extend(one.image_files)
    masks: dict[Path, np.ndarray] = {}
    left_out: dict[Path, str] = {}
    for key, own in files.items():
        network = networks[key]
        for paths, found, _ in segment_batches(
            network, file_batches(own, own[0].parent, network, network.batch_size, left_out)
        ):
            masks |= dict(zip(paths, found, strict=True))
    for why in left_out.values():
        raise SpiderError(why)
    return masks


def score_pairs(series: list[Series], judged: Judged) -> tuple[SliceScores, list[Segmented]]:
    """Segment and score every slice: its scores, whose table has the columns of `score_slices`, after network, met and
    slices (CANAL or NO_CANAL), and the slices themselves.
    """
    masks, parts, cases = segment_pairs(series, judged), [], []
    for one in series:
        stack = read_stack(one)
        reference = stack.classes()
        assert reference is not None  # only labelled series come here
        prediction = np.stack([masks[path] for path in one.image_files])
        row_mm, col_mm = stack.pixel_mm or (np.nan, np.nan)
        rows = pd.DataFrame({"series": one.name, "patient": one.patient, "sequence": one.sequence}, index=stack.index)
        rows = rows.assign(slice_index=stack.index, pixel_mm_row=row_mm, pixel_mm_col=col_mm)
        scores = score_slices(reference, prediction, rows)
        seen = np.where((reference == CLASSES.index("canal")).any(axis=(1, 2)), CANAL, NO_CANAL)
        added = {"network": judged.name, "met": one.patient in judged.met, "slices": np.repeat(seen, len(CLASSES))}
        table = scores.table.assign(**added)
        table = table[[*added, *(name for name in table if name not in added)]]
        parts.append(SliceScores(table, scores.distances))
        arrays = zip(stack.index.tolist(), stack.image, reference, prediction, strict=True)
        cases += [
            Segmented(judged.name, one.patient, one.sequence, number, image, truth, found, stack.pixel_mm)
            for number, image, truth, found in arrays
        ]
    return join_scores(parts), cases


def summarise_pairs(scores: SliceScores) -> pd.DataFrame:
    """Return a network's scores: COLUMNS, for patients ALL and NOT_MET and slices "all", CANAL and NO_CANAL.

    Values and intervals as in `scores.summarise`. Of the canal where the reference has none only FALSE_CANAL is told;
    the mean of three classes is not.
    """
    parts, table = [], scores.table
    for patients, known in ((ALL, table), (NOT_MET, table[~table["met"]])):
        for slices in ("all", CANAL, NO_CANAL):
            own = known if slices == "all" else known[known["slices"] == slices]
            if own.empty:
                continue
            part = summarise(SliceScores(own, scores.distances), "").assign(patients=patients, slices=slices)
            if slices == NO_CANAL:
                part = part[part["class"].isin(("vertebrae", "discs"))]
                parts.append(false_canals(own).assign(patients=patients, slices=slices))
            parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    shown = whole["metric"].isin((*METRICS, FALSE_CANAL)) & whole["aggregation"].isin(AGGREGATIONS)
    shown &= (whole["sequence"] != "all") & (whole["class"] != "background")
    return whole[shown].assign(network=table["network"].iloc[0])[COLUMNS]


def false_canals(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of slices without a canal in which one is found, by sequence, with its interval over patients.

    `table`: the rows of these slices.
    """
    rows = []
    for sequence, part in table[table["class"] == "canal"].groupby("sequence"):
        patients, code = np.unique(part["patient"], return_inverse=True)
        weights = patient_weights(len(patients))
        drawn = weights @ np.bincount(code, weights=part["fp"] > 0) / (weights @ np.bincount(code))
        row = {"sequence": sequence, "class": "canal", "aggregation": "pooled", "metric": FALSE_CANAL, "unit": "ratio"}
        rows.append(row | estimate("value", drawn, len(patients)) | {"n": len(part)})
    return pd.DataFrame(rows)


def recorded_scores(judged: Judged) -> pd.DataFrame:
    """Return what a shipped network's own record tells of T2 SPACE, COLUMNS: unseen patients, each held out once by a
    network that was trained in the same way. Empty where it tells nothing.
    """
    scores = judged.folds[0][0].description.get("scores", {})
    told = pd.DataFrame(scores.get("table", []))
    if told.empty or "sequence" in told:
        return pd.DataFrame(columns=COLUMNS)
    told["n"] = told["n"].where(told["aggregation"] != "patients", scores["patients"])  # that of Dice counts slices
    # released slices hold all four classes, so each of them shows the canal
    told = told.assign(network=judged.name, patients=NOT_MET, sequence="T2_SPACE", slices=CANAL)
    return told[COLUMNS]


def sequences_tables(
    data_dir: Path | str, judged: list[Judged]
) -> tuple[dict[str, pd.DataFrame], list[Segmented], list[Series]]:
    """Score networks on pairs: tables `sequences` (a row a network, slice and class) and `sequences_summary`; the
    slices that were segmented, and their series.

    Raises SpiderError where a network has met every patient, and where two have one name.
    """
    names = [one.name for one in judged]
    if len(set(names)) < len(names):
        raise SpiderError(f"weights: expected files of different names, found {', '.join(names)}; rename one")
    series = find_labelled(data_dir)
    tables, summaries, cases = [], [], []
    for one in judged:
        if {own.patient for own in series} <= one.met:
            raise SpiderError(
                f"{one.name}: expected a patient of {data_dir} that it has not learnt from, found none; score the "
                "networks of its study's folds: -p study DIR -p arm NAME"
            )
        scores, own = score_pairs(series, one)
        tables.append(scores.table[scores.table["class"] != "background"])
        summaries += [summarise_pairs(scores), recorded_scores(one)]
        cases += own
    dropped = ["distance_sum", "boundary_pixels", "boundary_length", "within_1", "within_2"]
    table = pd.concat(tables, ignore_index=True).drop(columns=dropped)
    summary = pd.concat([part for part in summaries if len(part)], ignore_index=True)
    return {"sequences": table, "sequences_summary": summary}, cases, series
