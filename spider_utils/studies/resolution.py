"""Is it resolution? Slices of T2 SPACE made as coarse as T2, and scored by networks that have not met their patients.

The paper says that T2 SPACE scores best for its resolution. Here its slices lose it: in the slice by a low-pass to T2's
pixel and back, across slices by the mean of those neighbours that a slice of T2's thickness would cover. The reference
stays the mask of the slice in the middle. T2's pixel and thickness are those of SPIDER's overview.csv, the medians over
its T2 series and, as the worst case, the largest.

Every slice is shown alone, scaled by its own minimum and maximum, whatever its condition; the networks are those of a
finished study's folds, each on the patients that it holds out. Slices whose neighbours are not all there are left out
of every condition. Three things are told apart: resolution (the same slices, as they are and coarse), contrast and all
else by which T2 differs (coarse T2 SPACE and T2, slices with the canal), and lateral position (T2 with and without it).

The released slices of T2 SPACE have 640 x 512 pixels. So has the array of 23 of their 30 series in SPIDER's table, with
pixels of 0.469 x 0.469 mm; the others, resized, lie within 3 % of that. A scanner's pixel can be smaller than what it
resolves, since it interpolates; T2's true resolution may be coarser.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.intensity import scale_intensity
from spider_utils.data.store import SliceStore, neighbour_rows
from spider_utils.evaluate.bootstrap import estimate
from spider_utils.evaluate.overlap import patients_with, replicated_dice
from spider_utils.evaluate.scores import SliceScores, join_scores, score_slices
from spider_utils.models.batches import resize_images
from spider_utils.predict.network import ReadyNetwork, ready_network
from spider_utils.predict.segment import predict_masks
from spider_utils.studies.folds import study_folds
from spider_utils.studies.paired import paired_table, patient_table

SPACE_MM = (0.46875, 0.46875)  # spacing of rows and columns of a released slice, 640 x 512, as in series_geometry.csv
SPACE_SLICE_MM = 1.0  # its slices lie 1 mm apart and are 0.9 mm thick
AS_IS, PIXEL, THICK, BOTH, COARSEST = "as it is", "T2's pixel", "T2's thickness", "both", "both, T2's coarsest"
OUTER = "vertebrae and discs"  # the mean of the two classes that slices without the canal have, too
STEPS = {  # what changes: from one group of slices to another
    "resolution": (f"T2 SPACE, {AS_IS}", f"T2 SPACE, {BOTH}"),
    "contrast and all else": (f"T2 SPACE, {BOTH}", "T2, canal"),
    "lateral position": ("T2, canal", "T2, no canal"),
}


@dataclass(frozen=True)
class Grid:
    """How coarse slices are: the pixel's rows and columns and the slice's thickness, in mm."""

    pixel_mm: float
    thick_mm: float


def t2_grids(overview: pd.DataFrame) -> dict[str, Grid]:
    """Return T2's resolution by overview.csv, as `typical` (medians over its T2 series) and `coarsest` (the largest).

    Raises SpiderError where the table does not tell it.
    """
    rows = overview[overview["new_file_name"].str.fullmatch(r"\d+_t2")]
    pixels = [max(ast.literal_eval(text)) for text in rows.get("PixelSpacing", pd.Series(dtype=str)).dropna()]
    thick = pd.to_numeric(rows.get("SliceThickness", pd.Series(dtype=float)), errors="coerce").dropna()
    if not pixels or thick.empty:
        raise SpiderError(
            "overview.csv: expected PixelSpacing and SliceThickness of T2 series, found none; give SPIDER's own table"
        )
    return {
        "typical": Grid(float(np.median(pixels)), float(thick.median())),
        "coarsest": Grid(max(pixels), float(thick.max())),
    }


def conditions(grids: dict[str, Grid]) -> dict[str, Grid]:
    """Return what T2 SPACE is degraded to, by condition; 0 mm: not at all."""
    typical = grids["typical"]
    return {
        AS_IS: Grid(0.0, 0.0),
        PIXEL: Grid(typical.pixel_mm, 0.0),
        THICK: Grid(0.0, typical.thick_mm),
        BOTH: typical,
        COARSEST: grids["coarsest"],
    }


def slice_weights(thick_mm: float, slice_mm: float = SPACE_SLICE_MM) -> np.ndarray:
    """Return what share each slice has in one of `thick_mm` about the middle one, (1 + 2 neighbours,); their sum is 1.

    A slice stands for the `slice_mm` about it: 4 mm of slices 1 mm apart are three whole and two halves.
    """
    ratio = max(thick_mm / slice_mm, 1.0)
    half = int(np.ceil((ratio - 1) / 2 - 1e-9))
    away = np.abs(np.arange(-half, half + 1))
    weights = np.clip(ratio / 2 - (away - 0.5), 0, 1)
    weights[half] = 1.0
    return weights / weights.sum()


def thicken(images: np.ndarray, around: np.ndarray, thick_mm: float) -> np.ndarray:
    """Return the weighted mean of slices (N, H, W) and their neighbours, (m, H, W) float32.

    `around` (m, 1 + 2 neighbours) are rows of `images`, at least as many neighbours as the thickness needs.
    """
    weights = slice_weights(thick_mm)
    spare = (around.shape[1] - len(weights)) // 2
    used = around[:, spare : spare + len(weights)]
    return sum(np.float32(weight) * images[used[:, place]].astype(np.float32) for place, weight in enumerate(weights))


def coarsen(images: np.ndarray, pixel_mm: float, own_mm: tuple[float, float] = SPACE_MM) -> np.ndarray:
    """Return slices (n, H, W) float32 with a pixel of `pixel_mm`, resized back to their own grid of `own_mm`.

    A pixel that is finer than their own changes nothing.
    """
    height, width = images.shape[1:]
    size = tuple(
        min(count, round(count * own / pixel_mm)) if pixel_mm > 0 else count
        for count, own in zip((height, width), own_mm, strict=True)
    )
    small = resize_images(torch.from_numpy(images).unsqueeze(1), (size[0], size[1]))
    return resize_images(small, (height, width)).squeeze(1).numpy()


def degrade(images: np.ndarray, around: np.ndarray, grid: Grid, own_mm: tuple[float, float] = SPACE_MM) -> np.ndarray:
    """Return slices as coarse as a grid, scaled to 0..255 each, (m, H, W) uint8; arguments as in `thicken`."""
    return scale_intensity(coarsen(thicken(images, around, grid.thick_mm), grid.pixel_mm, own_mm), "slice_minmax")


def whole_stacks(table: pd.DataFrame, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows around each slice, (N, 1 + 2 neighbours), and which slices have all these neighbours, (N,)."""
    around = neighbour_rows(table, neighbours)
    numbers = table["slice_index"].to_numpy()
    wanted = numbers[:, None] + np.arange(-neighbours, neighbours + 1)
    return around, (numbers[around] == wanted).all(axis=1)


def segment_alone(network: ReadyNetwork, images: np.ndarray) -> np.ndarray:
    """Segment slices (n, H, W) uint8 without their neighbours, each standing for them; masks of the same shape."""
    around = np.repeat(np.arange(len(images))[:, None], 1 + 2 * network.neighbours, axis=1)
    return predict_masks(network, images, around)


def score_study(study: Path, arm: str, store: SliceStore, grids: dict[str, Grid]) -> dict[str, SliceScores]:
    """Score T2 SPACE in each condition, and T1 and T2 by whether the canal is there: groups of slices by their name.

    Raises SpiderError as `folds.study_folds`, and where no slice of T2 SPACE has the neighbours that it takes.
    """
    wanted = conditions(grids)
    widest = max(len(slice_weights(grid.thick_mm)) // 2 for grid in wanted.values())
    around, whole = whole_stacks(store.table, widest)
    parts: dict[str, list[SliceScores]] = {f"T2 SPACE, {name}": [] for name in wanted}
    for network, rows in fold_series(study, arm, store):
        if store.table["sequence"].iloc[rows[0]] == "T2_SPACE":
            rows = rows[whole[rows]]
            shown = {f"T2 SPACE, {name}": (rows, grid) for name, grid in wanted.items() if len(rows)}
        else:
            name = store.table["sequence"].iloc[rows[0]]
            canal = store.table["n_canal"].iloc[rows].to_numpy() > 0
            split = {f"{name}, canal": rows[canal], f"{name}, no canal": rows[~canal]}
            shown = {group: (own, Grid(0.0, 0.0)) for group, own in split.items() if len(own)}
        for group, (own, grid) in shown.items():
            found = segment_alone(network, degrade(store.images, around[own], grid))
            scores = score_slices(store.masks[own], found, store.table.iloc[own])
            parts.setdefault(group, []).append(scores)
    if not parts[f"T2 SPACE, {AS_IS}"]:
        raise SpiderError(
            f"{store.path}: expected slices of T2 SPACE with {widest} neighbours on either side, found none; take a "
            "study of the released slices"
        )
    return {group: join_scores(own) for group, own in parts.items()}


def fold_series(study: Path, arm: str, store: SliceStore) -> Iterator[tuple[ReadyNetwork, np.ndarray]]:
    """Yield each series that a fold holds out, as its rows of the store, with the fold's network."""
    for fold in study_folds(study, arm, store):
        network = ready_network(fold.checkpoint)
        table = store.table.iloc[fold.rows].assign(row=fold.rows)
        for _, part in progress(table.groupby("series", sort=False), desc=f"fold {fold.number}", unit="series"):
            yield network, part["row"].to_numpy()


def group_dice(groups: dict[str, SliceScores]) -> dict[str, dict[str, np.ndarray]]:
    """Return the pooled Dice of every group and class, the foreground's and OUTER, for every draw of patients.

    One draw of patients serves all groups, so that differences are paired where patients are the same.
    """
    patients = np.unique(np.concatenate([scores.table["patient"] for scores in groups.values()]))
    found = {}
    for group, scores in groups.items():
        dice = replicated_dice(scores.table, patients)["pooled"]
        found[group] = dice | {OUTER: (dice["vertebrae"] + dice["discs"]) / 2}
        if group.endswith("no canal"):  # a false one would count as 0, a mean of three as a mean of two
            del found[group]["canal"], found[group]["foreground"]
    return found


def _patients_with(table: pd.DataFrame) -> dict[str, int]:
    """Count the patients that have a Dice of each class, the foreground's and OUTER (see `overlap.patients_with`)."""
    found = patients_with(table)
    return found | {OUTER: min(found["vertebrae"], found["discs"])}


def resolution_tables(groups: dict[str, SliceScores], grids: dict[str, Grid]) -> dict[str, pd.DataFrame]:
    """Return the study's tables, of Dice over pooled pixels with 95 % intervals over patients.

    `resolution`: a row a group and class, with pixel_mm and thick_mm that it was degraded to (0: as it is).
    `resolution_paired`: each condition of T2 SPACE beside AS_IS, see `paired.paired_table`.
    `resolution_steps`: what each of STEPS changes, of the classes that both sides have.
    """
    dice, rows = group_dice(groups), []
    made = {f"T2 SPACE, {name}": grid for name, grid in conditions(grids).items()}
    for group, by_class in dice.items():
        table = groups[group].table
        sizes = {"patients": table["patient"].nunique()}
        sizes["slices"] = len(table.drop_duplicates(["series", "slice_index"]))
        having = _patients_with(table)
        place = {"group": group} | vars(made.get(group, Grid(0.0, 0.0)))
        for name, values in by_class.items():
            if name != "background":
                rows.append(place | {"class": name} | estimate("value", values, having[name]) | sizes)
    space = {group.removeprefix("T2 SPACE, "): groups[group] for group in made}
    steps = []
    for step, (before, after) in STEPS.items():
        sides = [_patients_with(groups[side].table) for side in (before, after) if side in groups]
        for name in dice.get(after, {}):
            if name in dice[before] and name != "background":
                change = dice[after][name] - dice[before][name]
                place = {"step": step, "from": before, "to": after, "class": name}
                steps.append(place | estimate("difference", change, min(having[name] for having in sides)))
    columns = ["step", "from", "to", "class", "difference", "ci_low", "ci_high"]
    return {
        "resolution": pd.DataFrame(rows),
        "resolution_paired": paired_table(patient_table(space), AS_IS),
        "resolution_steps": pd.DataFrame(steps, columns=columns),
    }
