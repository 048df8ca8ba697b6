"""Label maps for volumes: python -m spider_utils predict --input FILE|DIR --output DIR.

Volumes are read, segmented and written one after the other, each read while the one before is segmented, so that memory
does not grow with their number; a label map lies on its volume's own grid, voxel by voxel. A volume's slices are put
into the common pose, shown to a network as it knows them, and stacked again (`predict_classes`). Nothing is resampled
but the slices on their way to the network's size, whose logits come back to the slices' pixels. How a network is shown
volumes stands in the JSON beside its weights, under "volumes" (see `network.VolumeSettings`); without it slices are
made as those were that it has learnt from.
"""

import math
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import spider_utils
from spider_utils.common.errors import SpiderError, in_a_batch
from spider_utils.common.files import file_digest
from spider_utils.common.progress import progress
from spider_utils.data.apart import begin_reading, read_apart
from spider_utils.data.check.dataset import run_checks
from spider_utils.data.intensity import held_box, scale_intensity, standardise
from spider_utils.data.labels import CLASSES, FOREGROUND, class_pixels
from spider_utils.data.pose import acquired_axis, from_pose, to_pose
from spider_utils.data.preprocess import resampled_grid
from spider_utils.data.store import neighbour_numbers
from spider_utils.data.volumes import find_volumes, volume_name, volume_suffix, write_labels
from spider_utils.masks.levels import Numbered, number_structures
from spider_utils.predict.network import (
    ReadyNetwork,
    VolumeSettings,
    read_volume_settings,
    ready_network,
)
from spider_utils.predict.noted import input_digest, is_kept, note
from spider_utils.predict.segment import inside, on_canvas, predict_masks
from spider_utils.train.description import trained_on

LABELS = ("four", "spider")
FORMATS = ("mha", "input")
MOST_PIXELS = 2**26  # of a slice as the network's input spans it: 300 mm in pixels of 0.037 mm

Spacing = tuple[float, float, float]  # of slices, rows and columns, mm


@dataclass(frozen=True)
class VolumePrediction:
    """What was done to a number of volumes: what was written, and for each volume left out what is wrong with it."""

    label_maps: tuple[Path, ...]
    left_out: dict[Path, str]
    network: str  # what made the label maps, in words


def predict_volumes(
    source: Path | str,
    output: Path | str,
    weights: Path | str | None = None,
    device: str = "auto",
    labels: str = "four",
    file_format: str = "mha",
) -> VolumePrediction:
    """Segment a volume, or every volume of a folder, and write label maps of the same names and grids to `output`.

    `labels`: "four" writes the classes 0..3, "spider" numbers vertebrae and discs as SPIDER does (see `levels`).
    `file_format`: "mha", compressed, or "input", that of each input (MHA for DICOM folders). Beside the label maps lies
    volumes.csv, a row a volume: its grid, the volume of each class in ml, with "spider" numbers of structures, and what
    was doubtful about the volume or its numbers. A label map that an earlier call has made of the same input with the
    same weights and settings is left as it is, by the digests of all three in prediction.json; others are overwritten.

    A volume that cannot be segmented is left out, and said so in the result. Raises SpiderError when there is no
    volume, two of them have one name, the output is the volumes' own folder, the network is missing or does not fit, or
    on unknown labels or formats.
    """
    for name, value, known in (("labels", labels, LABELS), ("format", file_format, FORMATS)):
        if value not in known:
            raise SpiderError(f"{name}: expected one of {', '.join(known)}, found '{value}'")
    source, output = Path(source), Path(output)
    files = find_volumes(source)
    targets = {path: output / (volume_name(path) + output_suffix(path, file_format)) for path in files}
    refuse_clashes(targets)
    network = ready_network(weights, device)
    settings = read_volume_settings(network)
    made_with = {"network": network.name, "labels": labels, "version": spider_utils.__version__}
    files_of_it = {"weights": network.weights, "description": network.weights.with_suffix(".json")}
    made_with |= {part: file_digest(path) for part, path in files_of_it.items()}
    left_out = {}
    for path, made_from, begun in progress(
        begin_each(targets, made_with), total=len(files), desc="predict", unit="volume"
    ):
        target = targets[path]
        try:
            if begun is None:
                continue
            if isinstance(begun, Exception):
                raise begun
            labelled, row = predict_file(path, network, settings, labels, begun)
        except Exception as error:
            problem = in_a_batch(path, error)
            left_out[path] = f"{problem}; {target} is of an earlier run" if target.exists() else problem
            if target.exists():
                note(target, None)
            continue
        write_labels(labelled, target, path)  # where it cannot be written, no other can
        note(target, row, made_from)
    done = tuple(targets[path] for path in files if path not in left_out)
    return VolumePrediction(done, left_out, network.name)


def begin_each(targets: dict[Path, Path], made_with: dict) -> Iterator[tuple[Path, dict, Future | Exception | None]]:
    """Yield each volume with what its label map is made from, and its reading, which has begun, as has the next one's.

    None for the reading: the label map is there already. An error of looking at the files comes in its place.
    """
    ahead: list[tuple[Path, dict, Future | Exception | None]] = []
    for path, target in targets.items():
        made_from: dict = dict(made_with)
        begun: Future | Exception | None = None
        try:
            made_from["input"] = input_digest(path)
            begun = None if is_kept(target, made_from) else begin_reading(path)
        except Exception as error:
            begun = error
        yield from ahead
        ahead = [(path, made_from, begun)]
    yield from ahead


def predict_file(
    path: Path, network: ReadyNetwork, settings: VolumeSettings, labels: str, begun: Future | None = None
) -> tuple[sitk.Image, dict[str, object]]:
    """Segment one volume; return the label map on its own grid and its row of volumes.csv.

    `begun`: its reading, if that has begun. Raises SpiderError when the volume cannot be read or is not made of
    sagittal slices.
    """
    volume = read_apart(path, begun)
    axis = acquired_axis(volume)
    if axis in ("coronal", "axial"):
        raise SpiderError(f"{path}: expected sagittal slices, found {axis} ones; give a sagittal or isotropic volume")
    classes, spacing = predict_classes(volume, network, settings)
    row: dict[str, object] = {
        "input": path.name,
        "spacing_mm": " x ".join(f"{step:.4g}" for step in volume.GetSpacing()),
    }
    row |= {"size": " x ".join(map(str, volume.GetSize())), "slices": len(classes)}
    voxels = class_pixels(classes).sum(axis=0)
    row |= {f"{name}_ml": round(voxels[CLASSES.index(name)] * math.prod(spacing) / 1000, 2) for name in FOREGROUND}
    notes = [one.problem for one in run_checks("image", path.name, volume)]
    if labels == "spider":
        numbered = number_structures(classes, spacing)
        classes, row = numbered.labels, row | describe_numbers(numbered)
        notes = [*numbered.notes, *notes]
    if notes:
        row["notes"] = "; ".join(notes)
    return from_pose(classes, volume), row


def predict_classes(
    volume: sitk.Image, network: ReadyNetwork, settings: VolumeSettings | None = None
) -> tuple[np.ndarray, Spacing]:
    """Segment a volume slice by slice: classes (D, H, W) uint8 in the common pose, and their spacing in mm.

    Outer slices of one value, such as padding, are background, and no other slice's neighbours. `settings`: how the
    network is shown volumes; None: as its JSON says.
    """
    settings = settings or read_volume_settings(network)
    posed = to_pose(volume)
    spacing = posed.GetSpacing()[::-1]
    whole = sitk.GetArrayViewFromImage(posed)
    held = held_box(whole)[0]
    voxels = whole[held]
    field = slice_field(voxels.shape[1:], spacing[1:], network, settings)
    slices = prepare_slices(voxels, field, network, settings)
    around = neighbours_at(len(slices), spacing[0], network.neighbours, settings.slice_mm)
    masks = predict_masks(network, slices, around, field, network.batch_size)
    classes = np.zeros(whole.shape, np.uint8)
    classes[held] = masks[:, *inside(voxels.shape[1:], field)]
    return classes, spacing


def prepare_slices(
    voxels: np.ndarray, field: tuple[int, int], network: ReadyNetwork, settings: VolumeSettings
) -> np.ndarray:
    """Return the slices of a volume (D, H, W) as the network is shown them, (D, h, w) uint8.

    What `field` (rows, columns) has beyond the slices is black.
    """
    shown = (on_canvas(one, field, network.size) for one in scaled_slices(voxels, network, settings))
    return np.stack(list(shown))


def scaled_slices(voxels: np.ndarray, network: ReadyNetwork, settings: VolumeSettings) -> np.ndarray:
    """Return a volume (D, H, W) with intensities 0..255, uint8: on the landmarks' scale, or scaled as in training."""
    if settings.body_landmarks:
        return standardise(voxels, settings.body_landmarks)
    method = trained_on(network.description).get("intensity", "slice_minmax")
    parts = [voxels[number : number + 1] for number in range(len(voxels))] if method == "slice_minmax" else [voxels]
    return np.concatenate([scale_intensity(part.astype(np.float32), method) for part in parts])


def slice_field(
    shape: tuple[int, int], pixel_mm: tuple[float, float], network: ReadyNetwork, settings: VolumeSettings
) -> tuple[int, int]:
    """Return how many rows and columns of a slice's own pixels the network's input spans, at least the slice's.

    Raises SpiderError where they are so small that these would fill the memory.
    """
    extent = [count * step for count, step in zip(shape, pixel_mm, strict=True)]
    made = trained_on(network.description)
    if settings.field_mm:
        wanted = [max(settings.field_mm, *extent)] * 2
    elif made.get("geometry") == "pad":
        stored = made["store_height"], made["store_width"]
        grid = resampled_grid(shape, pixel_mm, stored, "pad")
        wanted = [count * step for count, step in zip(stored, grid, strict=True)]
    else:
        wanted = extent
    rows, columns = (max(count, round(mm / step)) for count, mm, step in zip(shape, wanted, pixel_mm, strict=True))
    if rows * columns > MOST_PIXELS:
        found = " x ".join(f"{step:g}" for step in pixel_mm)
        raise SpiderError(
            f"spacing: expected pixels of mm, at most {MOST_PIXELS} in the {wanted[0]:g} x {wanted[1]:g} mm that the "
            f"network sees, found pixels of {found} mm; mend the header"
        )
    return rows, columns


def neighbours_at(count: int, slice_mm: float, neighbours: int, trained_mm: float) -> np.ndarray:
    """Return the slices that the network sees for each of `count` slices, (count, 1 + 2 neighbours), lowest first.

    They lie about as far apart as those that it has learnt from (`trained_mm`; 0: the next slices): of thick slices the
    slice stands for its neighbours itself. At the ends stands the outermost slice.
    """
    step = round(trained_mm / slice_mm) if trained_mm else 1
    is_there = range(count).__contains__
    return np.array([neighbour_numbers(number, neighbours, is_there, step) for number in range(count)])


def describe_numbers(numbered: Numbered) -> dict[str, object]:
    """Return how many vertebrae and discs a label map has, and what was doubtful about it."""
    found = np.unique(numbered.labels)
    counts = {"vertebrae": int(((found > 0) & (found < 100)).sum()), "discs": int((found > 200).sum())}
    return counts | {"notes": "; ".join(numbered.notes)}


def output_suffix(path: Path, file_format: str) -> str:
    """Return the suffix of a label map: ".mha", or that of its input."""
    return (volume_suffix(path) if file_format == "input" else "") or ".mha"


def refuse_clashes(targets: dict[Path, Path]) -> None:
    """Raise SpiderError when a label map would overwrite a volume, or two volumes have one label map."""
    owners: dict[Path, Path] = {}
    for path, target in targets.items():
        if target.exists() and any(target.samefile(other) for other in targets if other.exists()):
            raise SpiderError(f"{target}: the label map would overwrite the volume; name another folder for them")
        if target in owners:
            raise SpiderError(f"{path}: has the same name as {owners[target]}; rename one, label maps go by the names")
        owners[target] = path
