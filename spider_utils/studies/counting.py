"""T1 and T2 without masks: do the numbers of vertebrae and discs that the network finds agree with the recorded ones?

A folder holds one mid-sagittal slice of a series each, <patient>_<t1|t2>.png, the head at the *bottom*, as exported in
the public repository ejd230001/medvisor; SPIDER's overview.csv records how many vertebrae and discs a series' label map
has. The shipped network, which has learnt from T2 SPACE alone, segments each slice. It knows slices of square fields,
so the slice is padded with black to a square, and its intensities are standardised, as volumes are shown to it. This
rule was set before anything was counted; how the slice as it is stored and the training's own scale do stands beside
it. A slice stands for its neighbours itself.

What this does not tell, as there are no masks: Dice, distances, where a boundary runs, the posterior elements, the
canal. A right number can come of wrong masks. And the method counts on one slice what the record counts in the volume:
`space_table` says how often it is right on the reference masks of T2 SPACE, and on what networks predicted there.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spider_utils.analysis.uncertainty import expected_dice
from spider_utils.analysis.unseen import Unseen
from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.intensity import scale_intensity, standardise
from spider_utils.data.png import png_files, read_grey
from spider_utils.evaluate.bootstrap import estimate, patient_weights
from spider_utils.masks.counting import SpineCount, count_structures
from spider_utils.predict.network import ReadyNetwork, read_volume_settings
from spider_utils.predict.segment import inside, on_canvas, segment_batches
from spider_utils.studies.bodies import AS_TRAINED, STANDARD

FILE_NAME = re.compile(r"(\d+)_(t1|t2)\.png")
SQUARE, STRETCHED = "padded to a square", "as stored"
SHIPPED, REFERENCE, UNSEEN = "shipped network", "reference masks", "predicted, unseen patients"
SHOWN = {"field": SQUARE, "intensities": STANDARD}  # how a slice is shown where nothing else is said
SOURCE = "exported"  # where the slices come from (see style.SOURCE_NOTES)
STRUCTURES = {"vertebrae": "num_vertebrae", "discs": "num_discs"}  # the columns of overview.csv
SETUP = ["sequence", "masks", "field", "intensities"]
PAIR = ("T1", "T2")
MINUS = " minus "


@dataclass(frozen=True)
class Segmented:
    """One slice and what the network makes of it, the head at the top and the front at the left."""

    name: str  # as in overview.csv
    field: str  # SQUARE or STRETCHED
    intensities: str  # AS_TRAINED or STANDARD
    image: np.ndarray  # (H, W) grey
    mask: np.ndarray  # (H, W) uint8, classes 0..3
    expected_dice: float  # see `uncertainty.expected_dice`

    @property
    def is_main(self) -> bool:
        """Whether the slice was shown as SHOWN says."""
        return {"field": self.field, "intensities": self.intensities} == SHOWN


def find_exported(folder: Path | str) -> dict[str, Path]:
    """List the slices of a folder by name. Raises SpiderError on another name and where there is none."""
    folder = Path(folder)
    files = png_files(folder) if folder.is_dir() else []
    if not files:
        raise SpiderError(f"{folder}: expected slices <patient>_<t1|t2>.png, found none; check the path")
    for path in files:
        if FILE_NAME.fullmatch(path.name) is None:
            raise SpiderError(f"{path}: expected a name like 12_t1.png (patient, then t1 or t2); rename or remove it")
    return {path.stem: path for path in sorted(files, key=lambda path: name_parts(path.stem))}


def name_parts(name: str) -> tuple[int, str]:
    """Return patient and sequence of a series by its name, such as 12_t2_SPACE."""
    patient, sequence = name.split("_", 1)
    return int(patient), sequence.upper()


def segment_slices(files: dict[str, Path], network: ReadyNetwork) -> Iterator[Segmented]:
    """Segment every slice in both fields and with both scales of intensities.

    Raises SpiderError on a file that is no grey PNG, and where the network's JSON has no body_landmarks.
    """
    landmarks = read_volume_settings(network).body_landmarks
    if not landmarks:
        raise SpiderError(
            f"{network.weights.with_suffix('.json')}: expected body_landmarks under 'volumes', found none"
        )
    for name, path in progress(files.items(), desc="counting", unit="slice"):
        image = read_grey(path)[::-1]
        scaled = {
            AS_TRAINED: scale_intensity(image[None].astype(np.float32), "slice_minmax")[0],
            STANDARD: standardise(image[None], landmarks)[0],
        }
        for field in (SQUARE, STRETCHED):
            for intensities, pixels in scaled.items():
                yield Segmented(name, field, intensities, image, *segment_slice(pixels, field, network))


def segment_slice(pixels: np.ndarray, field: str, network: ReadyNetwork) -> tuple[np.ndarray, float]:
    """Return the mask (H, W) uint8 of a slice (H, W) uint8 that stands for its neighbours, and its expected Dice."""
    size = (max(pixels.shape),) * 2 if field == SQUARE else pixels.shape
    shown = torch.from_numpy(on_canvas(pixels, size, network.size))
    channels = shown.expand(1, 1 + 2 * network.neighbours, -1, -1)
    [(_, (mask,), scores)] = segment_batches(network, [(field, channels, [size])])
    probabilities = scores.softmax(dim=1).cpu().numpy()
    return mask[inside(pixels.shape, size)], float(expected_dice(probabilities)[0])


def counting_table(cases: list[Segmented], overview: pd.DataFrame, met: list[int]) -> pd.DataFrame:
    """Return a row for every segmented slice: sequence, masks, field, intensities, patient, series, met (whether the
    network has learnt from another series of the patient), vertebrae and discs (counted), recorded_vertebrae and
    recorded_discs, expected_dice.

    `met`: the patients that the network has learnt from. Raises SpiderError where the overview has no count.
    """
    rows = []
    for case in cases:
        setup = {"masks": SHIPPED, "field": case.field, "intensities": case.intensities}
        counted = count_row(case.name, setup, count_structures(case.mask), overview)
        rows.append(counted | {"expected_dice": case.expected_dice})
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("series") + 1, "met", table["patient"].isin(met))
    return table


def space_table(unseen: Unseen, overview: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `counting_table` for the middle slice of every series: its reference mask, and the prediction
    of the network that had not met its patient. What is counted of the first is off by the method alone.
    """
    rows = []
    for series, part in unseen.table.groupby("series", sort=False):
        middle = part.sort_values("slice_index").index[len(part) // 2]
        for masks, arrays in ((REFERENCE, unseen.reference), (UNSEEN, unseen.prediction)):
            setup = {"masks": masks, "field": STRETCHED, "intensities": AS_TRAINED}
            row = count_row(series, setup, count_structures(np.asarray(arrays[middle])), overview)
            expected = expected_dice(np.asarray(unseen.probabilities[middle])[None])[0] if masks == UNSEEN else np.nan
            rows.append(row | {"met": False, "expected_dice": float(expected)})
    return pd.DataFrame(rows)


def count_row(name: str, setup: dict[str, str], counted: SpineCount, overview: pd.DataFrame) -> dict:
    """Return a slice's row with the recorded numbers of its series beside the counted ones."""
    patient, sequence = name_parts(name)
    row = {"sequence": sequence} | setup | {"patient": patient, "series": name} | vars(counted)
    known = overview[overview["new_file_name"] == name]
    for structure, column in STRUCTURES.items():
        recorded = known[column] if column in known else pd.Series(dtype=float)
        number = pd.to_numeric(recorded, errors="coerce").dropna()
        if not len(number):
            raise SpiderError(f"overview.csv: expected {column} of {name}, found none; give SPIDER's own table")
        row[f"recorded_{structure}"] = int(number.iloc[0])
    return row


def summarise_counting(table: pd.DataFrame) -> pd.DataFrame:
    """Return how well counted and recorded numbers agree: a row a setup, group of patients and structure.

    Columns: sequence, masks, field, intensities, patients ("all", or those that the network has "not met"), structure,
    slices; exact and within_one (shares of the slices), difference (mean of counted minus recorded) and expected_dice
    (mean), each with its 95 % bootstrap interval over patients (_low, _high). The rows of "T1 minus T2" hold the
    difference of both sequences' values, of the patients that have both.
    """
    rows = []
    for patients, part in (("all", table), ("not met", table[~table["met"]])):
        for setup, own in part.groupby(SETUP, sort=False):
            rows += _rows_of(dict(zip(SETUP, setup, strict=True)), patients, [own])
        for setup, own in part[part["sequence"].isin(PAIR)].groupby(SETUP[1:], sort=False):
            both = [own[own["sequence"] == name] for name in PAIR]
            common = np.intersect1d(*(one["patient"] for one in both))
            if len(common):
                shown = dict(zip(SETUP, (MINUS.join(PAIR), *setup), strict=True))
                rows += _rows_of(shown, patients, [one[one["patient"].isin(common)] for one in both])
    return pd.DataFrame(rows)


def _rows_of(setup: dict, patients: str, parts: list[pd.DataFrame]) -> list[dict]:
    """Return a row a structure for one part, or for the first of two parts minus the second."""
    rows = []
    for structure in STRUCTURES:
        values: dict[str, np.ndarray] = {}
        for part in parts:
            for name, own in _drawn_means(part, structure).items():
                values[name] = values[name] - own if name in values else own
        row = setup | {"patients": patients, "structure": structure, "slices": len(part)}
        for name, drawn in values.items():
            row |= estimate(name, drawn, part["patient"].nunique(), bounds=name)
        rows.append(row)
    return rows


def _drawn_means(part: pd.DataFrame, structure: str) -> dict[str, np.ndarray]:
    """Return exact, within_one, difference and expected_dice for every draw of patients; the first draw is all."""
    off = part[structure] - part[f"recorded_{structure}"]
    columns = {"exact": off == 0, "within_one": off.abs() <= 1, "difference": off}
    columns["expected_dice"] = part["expected_dice"]
    patients, code = np.unique(part["patient"], return_inverse=True)
    weights = patient_weights(len(patients))
    slices = weights @ np.bincount(code)
    return {name: weights @ np.bincount(code, weights=values) / slices for name, values in columns.items()}
