"""From series to the slice store: intensity, labels, size, and which slices are kept.

The order is the paper's: scale every slice to 0..255, resize it, then look at its classes.
"""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, read_json, write_json
from spider_utils.common.locks import alone
from spider_utils.common.progress import progress
from spider_utils.data.apta import apta
from spider_utils.data.filters import FILTER_REASON, FILTERS, kept_by
from spider_utils.data.intensity import scale_intensity
from spider_utils.data.labels import CLASSES, class_pixels
from spider_utils.data.series import Series, SliceStack
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import fingerprint, read_stack, refuse_other_data
from spider_utils.data.store import (
    COUNTS,
    KEEPS,
    STORE_FILE,
    SliceStore,
    open_store,
    refuse_other_store,
    with_version,
    write_store,
)

WORKERS = min(4, os.cpu_count() or 1)  # series at a time: each takes up to 1 GB, and NumPy and SimpleITK leave the GIL


@dataclass(frozen=True)
class Processed:
    """A series as it would be stored, before slices are dropped."""

    images: np.ndarray  # (D, height, width) uint8
    masks: np.ndarray  # (D, height, width) uint8, classes 0..3
    pixel_mm: tuple[float, float] | None  # (row, column) spacing of the stored pixels in mm
    pixels: np.ndarray  # (D, 4) int64, pixels of each class
    passed: np.ndarray  # (D,) bool, has a mask with min_classes classes
    kept: np.ndarray  # (D,) bool
    reasons: tuple[str, ...]  # why each slice is kept or dropped


def resampled_grid(
    shape: tuple[int, int], pixel_mm: tuple[float, float], size: tuple[int, int], geometry: str
) -> tuple[float, float]:
    """Return the stored pixel's (row, column) spacing in mm for slices of `shape` pixels that become `size` pixels."""
    stretched = shape[0] * pixel_mm[0] / size[0], shape[1] * pixel_mm[1] / size[1]
    return stretched if geometry == "stretch" else (max(stretched), max(stretched))


def resize_stack(
    stack: np.ndarray, pixel_mm: tuple[float, float], size: tuple[int, int], geometry: str, nearest: bool
) -> np.ndarray:
    """Resize (D, H, W) to (D, *size) about the slice's centre; bilinear, or nearest neighbour for masks.

    Outside is 0.
    """
    depth, height, width = stack.shape
    new_mm = resampled_grid((height, width), pixel_mm, size, geometry)
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((pixel_mm[1], pixel_mm[0], 1.0))
    image.SetOrigin((-(width - 1) / 2 * pixel_mm[1], -(height - 1) / 2 * pixel_mm[0], 0.0))
    grid = sitk.ResampleImageFilter()
    grid.SetSize((size[1], size[0], depth))
    grid.SetOutputSpacing((new_mm[1], new_mm[0], 1.0))
    grid.SetOutputOrigin((-(size[1] - 1) / 2 * new_mm[1], -(size[0] - 1) / 2 * new_mm[0], 0.0))
    grid.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
    if nearest:
        return sitk.GetArrayFromImage(grid.Execute(image))
    resized = sitk.GetArrayFromImage(grid.Execute(sitk.Cast(image, sitk.sitkFloat32)))
    return np.rint(resized).astype(stack.dtype) if stack.dtype == np.uint8 else resized


def grey_masks(label_maps: np.ndarray) -> np.ndarray:
    """Scale label values (D, H, W) to grey 0..255, uint8, by each slice's minimum and maximum: the authors' first step.

    Their code casts to uint8, which cuts the decimals off. It matters: vertebra 9 under disc 209 is 10.98, which stays
    below APTA's limit of 10 only when cut, not when rounded.
    """
    low = label_maps.min(axis=(1, 2), keepdims=True)
    span = label_maps.max(axis=(1, 2), keepdims=True) - low
    return ((label_maps - low) / np.maximum(span, 1) * 255).astype(np.uint8)


def apta_greys(stack: SliceStack, settings: PreprocessSettings) -> np.ndarray:
    """Return a series' masks as the authors' masks were before their repair: grey values resized like an image.

    (D, height, width) uint8, bilinear without smoothing, rounded to the nearest value. (OpenCV, which the authors used,
    reckons in fixed point: on the phantom it gives a grey of one less in 0.2 % of the pixels, and after APTA another
    class in 0.03 %.) Raises SpiderError for released masks, which are what APTA made of such greys, and on an unknown
    label value.
    """
    if stack.coding != "spider":
        raise SpiderError(
            "labels 'apta': expected SPIDER's label values, found masks of four classes, as in the released slices; "
            "there is nothing left to repair, so take labels 'direct'"
        )
    stack.classes()  # refuses an unknown label
    assert stack.labels is not None  # only labelled series have masks to store
    spacing = stack.pixel_mm or (1.0, 1.0)
    return resize_stack(grey_masks(stack.labels), spacing, settings.size, settings.geometry, nearest=False)


def stored_masks(stack: SliceStack, settings: PreprocessSettings) -> np.ndarray:
    """Return the classes of a labelled series at the stored size, (D, height, width) uint8, by `settings.labels`.

    Raises SpiderError like `apta_greys`.
    """
    if settings.labels == "apta":
        return np.stack([apta(grey) for grey in apta_greys(stack, settings)])
    classes = stack.classes()
    assert classes is not None  # the series is labelled
    return resize_stack(classes, stack.pixel_mm or (1.0, 1.0), settings.size, settings.geometry, nearest=True)


def choose_slices(pixels: np.ndarray, min_classes: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return which slices hold enough classes, (D,) bool, and a reason each, from the pixels of each class, (D, 4)."""
    present = (pixels > 0).sum(axis=1)
    reasons = []
    for counts, number in zip(pixels, present, strict=True):
        missing = [name for name, count in zip(CLASSES, counts, strict=True) if count == 0]
        reasons.append("kept" if number >= min_classes else f"no {' / '.join(missing)}")
    return present >= min_classes, tuple(reasons)


def preprocess_stack(stack: SliceStack, settings: PreprocessSettings) -> Processed:
    """Bring a series to its stored form. Without a mask no slice is kept, since nothing could be learnt or scored
    from it.

    Raises SpiderError on an unknown label value, and for labels "apta" of released masks.
    """
    spacing = stack.pixel_mm or (1.0, 1.0)
    images = scale_intensity(stack.image, settings.intensity)
    images = resize_stack(images, spacing, settings.size, settings.geometry, nearest=False)
    new_mm = (
        resampled_grid(stack.image.shape[1:], spacing, settings.size, settings.geometry) if stack.pixel_mm else None
    )
    if stack.labels is None:
        masks, none = np.zeros_like(images), np.zeros(len(images), bool)
        return Processed(images, masks, new_mm, class_pixels(masks), none, none, ("no mask",) * len(images))
    masks = stored_masks(stack, settings)
    pixels = class_pixels(masks)
    passed, reasons = choose_slices(pixels, settings.min_classes)
    kept = kept_by(settings.slice_filter, pixels, stack.index, passed)
    filtered = FILTER_REASON + settings.slice_filter
    reasons = tuple(filtered if drop else why for drop, why in zip(passed & ~kept, reasons, strict=True))
    return Processed(images, masks, new_mm, pixels, passed, kept, reasons)


def make_store(series: Sequence[Series], settings: PreprocessSettings, folder: Path | str) -> SliceStore:
    """Preprocess every series into a store at `folder`, or open the store that is there already.

    Series are kept one by one under `folder/parts` until the end, so that a run that is cut off goes on where it
    stopped. Raises SpiderError when a store of other data or other settings is there, when another process makes one,
    on an unreadable series, or if no slice is kept.
    """
    folder = Path(folder)
    info = _made_from(series, settings)
    if not (folder / STORE_FILE).is_file():
        with alone(folder, "preprocessing"):
            if not (folder / STORE_FILE).is_file():  # which another process may have made meanwhile
                write_store(_write_parts(series, settings, folder / "parts"), info, settings.size, folder)
                shutil.rmtree(folder / "parts")
    store = open_store(folder)
    refuse_other_store(store.info, asdict(settings), folder)
    refuse_other_data(store.info["fingerprint"], series, f"{folder}: made")
    if (store.audit["subset"] != store.audit["series"].map({one.name: one.subset for one in series})).any():
        raise SpiderError(f"{folder}: made with other subsets than the data states now; delete the store")
    return store


def _write_parts(series: Sequence[Series], settings: PreprocessSettings, folder: Path) -> list[Path]:
    """Write each series' kept slices and its audit, WORKERS series at a time, each in a thread.

    The first series that cannot be read stops it, once those that are at work are done.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        written = pool.map(lambda one: _write_part(one, settings, folder), series)
        return list(progress(written, total=len(series), desc="preprocess", unit="series"))


def _write_part(series: Series, settings: PreprocessSettings, folder: Path) -> Path:
    """Write a series' kept slices and its audit, if no earlier call has made them of the same files."""
    part = folder / f"{series.name}.npz"
    note, made_from = part.with_suffix(".json"), _made_from([series], settings) | {"subset": series.subset}
    if read_json(note) == made_from:
        return part
    stack = read_stack(series)
    done = preprocess_stack(stack, settings)
    with atomic_path(part) as path:
        np.savez(path, images=done.images[done.kept], masks=done.masks[done.kept])
    with atomic_path(part.with_suffix(".csv")) as path:
        audit_rows(series, stack.index, done).to_csv(path, index=False, na_rep="nan")
    write_json(note, made_from)
    return part


def _made_from(series: Sequence[Series], settings: PreprocessSettings) -> dict:
    return {"preprocess": with_version(asdict(settings)), "fingerprint": fingerprint(series)}


def audit(series: Sequence[Series], settings: PreprocessSettings) -> pd.DataFrame:
    """Return the audit that a store of these series would have, without writing one (see `audit_rows`)."""
    stacks = ((one, read_stack(one)) for one in progress(series, desc="audit", unit="series"))
    parts = [audit_rows(one, stack.index, preprocess_stack(stack, settings)) for one, stack in stacks]
    return pd.concat(parts, ignore_index=True)


def audit_rows(series: Series, index: np.ndarray, done: Processed) -> pd.DataFrame:
    """Return the audit of one series, a row a slice: what it holds, why it is kept or dropped, and in `keeps_<name>`
    whether each named filter would keep it.
    """
    row_mm, col_mm = done.pixel_mm or (np.nan, np.nan)
    rows = pd.DataFrame({"slice_index": index})
    rows = rows.assign(series=series.name, patient=series.patient, sequence=series.sequence, subset=series.subset)
    rows = rows.assign(mask_from=series.mask_from, pixel_mm_row=row_mm, pixel_mm_col=col_mm)
    rows[COUNTS] = done.pixels
    rows["classes_present"] = (done.pixels > 0).sum(axis=1)
    rows["kept"] = done.kept
    rows["reason"] = done.reasons
    for name in FILTERS:
        if name != "none":
            rows[KEEPS + name] = kept_by(name, done.pixels, index, done.passed)
    first = ["series", "patient", "sequence", "subset", "slice_index", "mask_from"]
    return rows[first + [name for name in rows if name not in first]]
