"""Scores of volume files: python -m spider_utils score --prediction P --reference R --out CSV."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spider_utils.common.errors import SpiderError, in_a_batch
from spider_utils.common.progress import progress
from spider_utils.common.tables import write_csv
from spider_utils.data.apart import read_apart
from spider_utils.data.labels import CANAL_LABEL, CLASSES, FOREGROUND, four_classes
from spider_utils.data.spider import check_geometry, label_array
from spider_utils.data.volumes import find_volumes, volume_name
from spider_utils.evaluate.challenge import NNUNET, score_structures, summarise_structures
from spider_utils.evaluate.conventions import NUMBERED, folder_convention, refuse_other_order
from spider_utils.evaluate.metrics import METRICS, MM, RATIO
from spider_utils.evaluate.volumes import score_classes

COLUMNS = ["volume", "score", "structure", "metric", "unit", "value"]
CLASS_SCORE, CHALLENGE_SCORE = "classes", "challenge"
ALL = "all"  # in the column volume: the mean over volumes
CHALLENGE_TITLES = {"dice": "Dice", "dice_detected": "of detected", "asd": "ASD mm", "detected": "detected"}


@dataclass(frozen=True)
class FileScores:
    """Scores of pairs of files, and what was not scored.

    `table` is long, with the columns COLUMNS: for each volume the classes' scores, the challenge's means and its single
    structures; at the end, as the volume "all", the mean over the volumes that have a value.
    """

    table: pd.DataFrame
    failed: dict[str, str]  # by volume, what is wrong
    unpaired: tuple[str, ...]  # references that have no prediction

    @property
    def scored(self) -> int:
        """The number of volumes that have a score."""
        return self.table.loc[self.table["volume"] != ALL, "volume"].nunique()


def score_files(
    prediction: Path | str, reference: Path | str, out: Path | str, convention: str | None = None
) -> FileScores:
    """Score a label map file, or those of a folder by name, in 3D against their references; write the CSV `out`.

    The references and the predictions hold SPIDER's label numbers or classes 0..3, which of them is decided for each of
    both folders (see `conventions`); `convention`: what a map without a number above 3 holds, one of CONVENTIONS. The
    four classes are always scored, SPIDER's own score (see `challenge`) where both hold numbers, or the prediction
    nothing at all. A volume that cannot be read or whose prediction has another geometry is left out, and said so in
    the result. The file is written after every volume that was scored. Raises SpiderError where there are no volumes,
    the file cannot be written, or it cannot be told what a folder's label maps hold.
    """
    pairs, failed, unpaired = pair_volumes(prediction, reference)
    predicted, wanted = (folder_convention([pair[side] for pair in pairs.values()], convention) for side in (0, 1))
    tables, table = [], pd.DataFrame(columns=COLUMNS)
    for name, (found, truth) in progress(pairs.items(), desc="score", unit="volume"):
        try:
            tables.append(score_pair(found, truth, predicted, wanted, convention is None).assign(volume=name))
        except Exception as error:
            failed[name] = in_a_batch(found, error)
            continue
        table = with_means(pd.concat(tables))
        write_csv(table, out)
    return FileScores(table, failed, unpaired)


def pair_volumes(
    prediction: Path | str, reference: Path | str
) -> tuple[dict[str, tuple[Path, Path]], dict[str, str], tuple[str, ...]]:
    """Pair predictions and references: two files as they are, else by name.

    Returns (prediction, reference) by name, what is wrong by the name of a prediction without reference, and the names
    of references without prediction. Raises SpiderError when two volumes of a folder have one name.
    """
    predicted, wanted = (_by_name(source) for source in (prediction, reference))
    if [*predicted.values(), *wanted.values()] == [Path(prediction), Path(reference)]:
        name = next(iter(predicted))
        return {name: (predicted[name], Path(reference))}, {}, ()
    pairs = {name: (path, wanted[name]) for name, path in predicted.items() if name in wanted}
    failed = {
        name: f"{path}: expected a reference {name} in {reference}, found none; add it or remove the prediction"
        for name, path in predicted.items()
        if name not in wanted
    }
    return pairs, failed, tuple(name for name in wanted if name not in predicted)


def score_pair(prediction: Path, reference: Path, predicted: str, wanted: str, doubt: bool = True) -> pd.DataFrame:
    """Score a label map against its reference: the columns COLUMNS without the volume.

    `predicted`, `wanted`: what maps of both folders without a number above 3 hold. Raises SpiderError when a file
    cannot be read, the geometry differs, a label is not SPIDER's or, in `doubt`, classes stand in another order.
    """
    truth, labels, spacing = _read_pair(prediction, reference)
    numbered = [has_numbers(one, held) for one, held in ((truth, wanted), (labels, predicted))]
    classes, found = (_classes(one, told) for one, told in zip((truth, labels), numbered, strict=True))
    if doubt and not all(numbered):
        refuse_other_order(prediction, reference, found, classes)
    scored = score_classes(classes, found, spacing)
    tables = [scored.rename(columns={"class": "structure"}).assign(score=CLASS_SCORE)]
    if numbered[0] and (numbered[1] or not labels.any()):
        structures = score_structures(truth, labels, spacing)
        means = summarise_structures(structures).rename(columns={"kind": "structure"}).drop(columns="n")
        single = structures[structures["label"] != CANAL_LABEL]  # the canal is a mean of one
        single = single.assign(structure=single["label"].map(kind_and_number))
        single = single.melt("structure", ["dice", "asd", "detected"], "metric")
        single["unit"] = np.where(single["metric"] == "asd", MM, RATIO)
        tables += [part.assign(score=CHALLENGE_SCORE) for part in (means, single)]
    return pd.concat(tables)[COLUMNS[1:]]


def has_numbers(labels: np.ndarray, held: str) -> bool:
    """Return True where a label map holds SPIDER's numbers: above the classes 0..3, or as its folder `held` does."""
    return held == NUMBERED or bool(labels.max() >= len(CLASSES))


def kind_and_number(label: int) -> str:
    """Name a label of SPIDER by its kind and number, from below: 2 "vertebra 2", 202 (the disc under it) "disc 2"."""
    if label == CANAL_LABEL:
        return "canal"
    number = label % CANAL_LABEL
    if label > 2 * CANAL_LABEL:
        return f"disc {number}"
    return f"vertebra {number}, in part" if label > CANAL_LABEL else f"vertebra {number}"


def with_means(table: pd.DataFrame) -> pd.DataFrame:
    """Append the mean over volumes, as the volume "all"; a value that is not defined does not count."""
    table = table.astype({"value": float})
    means = table.groupby(COLUMNS[1:-1], sort=False, as_index=False)["value"].mean().assign(volume=ALL)
    return pd.concat([table, means], ignore_index=True)[COLUMNS]


def score_lines(table: pd.DataFrame) -> list[str]:
    """Return the lines to read: the means over volumes, and beside the challenge's score nnU-Net's as published."""
    volumes = table[table["volume"] != ALL].groupby("score")["volume"].nunique()
    means = table[table["volume"] == ALL]
    classes = means[means["score"] == CLASS_SCORE]
    titles = {
        metric: METRICS[metric].title if unit == RATIO else f"{METRICS[metric].title} {unit}"
        for metric, unit in zip(classes["metric"], classes["unit"], strict=True)
    }
    lines = [f"Classes in 3D, mean over volumes ({volumes[CLASS_SCORE]})", *_lines(_wide(classes, titles))]
    if CHALLENGE_SCORE not in volumes:
        return [*lines, "SPIDER's own score: none, as it needs numbered vertebrae and discs in both label maps"]
    challenge = means[(means["score"] == CHALLENGE_SCORE) & means["structure"].isin(FOREGROUND)]
    wide = _wide(challenge, CHALLENGE_TITLES)
    wide["nnU-Net: Dice"], wide["ASD mm*"] = zip(*(NNUNET[kind] for kind in wide.index), strict=True)
    title = f"SPIDER's own score, structure by structure, mean over volumes ({volumes[CHALLENGE_SCORE]})"
    return [*lines, title, *_lines(wide), "* as published, of other patients, whom the challenge keeps secret"]


def _read_pair(prediction: Path, reference: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Return reference, prediction, (D, H, W) uint16 in the order of the file's axes, and their spacing in mm."""
    wanted, found = read_apart(reference), read_apart(prediction)
    check_geometry(reference, wanted, prediction, found, what="reference")
    return label_array(reference, wanted), label_array(prediction, found), wanted.GetSpacing()[::-1]


def _classes(labels: np.ndarray, numbered: bool) -> np.ndarray:
    if not numbered:
        return labels.astype(np.uint8)
    return np.stack([four_classes(one) for one in labels])  # a slice at a time, which needs less memory


def _wide(rows: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    wide = rows.pivot(index="structure", columns="metric", values="value")
    return wide.reindex(index=rows["structure"].unique(), columns=list(titles)).rename(columns=titles)


def _lines(wide: pd.DataFrame) -> list[str]:
    wide = wide.rename_axis(None).rename_axis(None, axis=1)
    return wide.to_string(float_format="{:.3f}".format, na_rep="-").split("\n")


def _by_name(source: Path | str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in find_volumes(source):
        name = volume_name(path)
        if name in named:
            raise SpiderError(f"{path}: has the same name as {named[name]}; volumes are paired by name, rename one")
        named[name] = path
    return named
