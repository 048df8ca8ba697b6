"""The released slices: images/ and masks/ of 2D sagittal PNG files, as Ahmed et al. (2025) published them.

From the authors' public repository istiak769/Lumbar-Spine-MRI-Segmentation, folder Data/t2_SPACE; a derivative of
SPIDER (van der Graaf et al. 2024, CC BY 4.0). The masks hold grey codes (see labels.GREY_CODES); the files tell neither
their spacing nor whether the slice numbers rise towards the patient's left or right.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from spider_utils.common.errors import SpiderError
from spider_utils.data.png import png_files, read_grey
from spider_utils.data.series import CODINGS, Series, SliceStack

# T2 SPACE patients of SPIDER's official validation subset (its overview.csv); all other released patients are training.
OFFICIAL_VALIDATION = (11, 35, 61, 107, 118, 129, 136, 152, 161, 177, 234)
FILE_NAME = re.compile(r"(\d+)_t2_SPACE_slice(\d+)\.png")
REPOSITORY_FOLDER = Path("Data") / "t2_SPACE"


def find_released_series(data_dir: Path | str) -> tuple[Series, ...]:
    """List the released series, one a patient, slices by their number in the file name.

    `data_dir` holds images/ and masks/, or is a copy of the authors' repository. Without masks/ the set is unlabelled.
    Raises SpiderError on a missing folder, no PNG file, an unknown file name, an image without its mask.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise SpiderError(f"{data_dir}: expected a folder with images/*.png, found no such folder; check the path")
    if not (data_dir / "images").is_dir() and (data_dir / REPOSITORY_FOLDER / "images").is_dir():
        data_dir = data_dir / REPOSITORY_FOLDER
    slices = _slices_by_patient(data_dir / "images")
    masks_dir = data_dir / "masks"
    found = []
    for patient in sorted(slices):
        image_files = tuple(slices[patient])
        mask_files = tuple(masks_dir / path.name for path in image_files) if masks_dir.is_dir() else ()
        for image_file, mask_file in zip(image_files, mask_files, strict=False):
            if not mask_file.is_file():
                raise SpiderError(
                    f"{image_file}: expected its mask at {mask_file}, found none; add it or remove the image"
                )
        found.append(
            Series(
                name=f"{patient}_t2_SPACE",
                patient=patient,
                sequence="T2_SPACE",
                subset="validation" if patient in OFFICIAL_VALIDATION else "training",
                image_files=image_files,
                mask_files=mask_files,
                coding="grey",
            )
        )
    return tuple(found)


def read_released_stack(series: Series) -> SliceStack:
    """Read the slices of a released series; they are in the common pose already and their spacing is not known.

    Raises SpiderError as `read_png_stack`, and on a PNG of 16 bits.
    """
    return read_png_stack(replace(series, index=tuple(_slice_number(path) for path in series.image_files)), bits=8)


def read_png_stack(series: Series, bits: int = 16) -> SliceStack:
    """Read a series of PNG slices that are in the common pose already; `series.index` holds their numbers.

    Raises SpiderError on a PNG that is not readable, not grey or of more than `bits` bits (masks: 8), on slices or
    masks of another size than the first slice, and on a mask value that is not of the series' coding.
    """
    images = [read_grey(path) for path in series.image_files]
    masks = [read_grey(path) for path in series.mask_files]
    height, width = images[0].shape
    depths = [bits] * len(images) + [8] * len(masks)
    for path, pixels, most in zip(series.image_files + series.mask_files, images + masks, depths, strict=True):
        if most == 8 and pixels.dtype != np.uint8:
            raise SpiderError(f"{path}: expected an 8-bit grey PNG, found one of 16 bits; store it as 8-bit grey")
        if pixels.shape != (height, width):
            raise SpiderError(
                f"{path}: expected {width} x {height} pixels as in {series.image_files[0].name}, "
                f"found {pixels.shape[1]} x {pixels.shape[0]}; use slices and masks of one size in a series"
            )
    for path, pixels in zip(series.mask_files, masks, strict=True):
        try:
            CODINGS[series.coding](np.unique(pixels))
        except SpiderError as error:
            raise SpiderError(f"{path}: {error}") from error
    return SliceStack(
        image=np.stack(images).astype(np.float32),
        labels=np.stack(masks).astype(np.uint16) if masks else None,
        pixel_mm=series.pixel_mm,
        slice_mm=series.slice_mm,
        index=np.array(series.index),
        coding=series.coding,
    )


def _slice_number(path: Path) -> int:
    match = FILE_NAME.fullmatch(path.name)
    assert match is not None  # a series has no files of other names
    return int(match[2])


def _slices_by_patient(images_dir: Path) -> dict[int, list[Path]]:
    """Group the image files by their patient, each patient's by their slice numbers."""
    if not images_dir.is_dir():
        raise SpiderError(f"{images_dir.parent}: expected a folder images/ with PNG files, found none; check the path")
    slices: dict[int, list[Path]] = {}
    for path in png_files(images_dir):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise SpiderError(f"{path}: expected a name like 12_t2_SPACE_slice61.png; rename or remove it")
        slices.setdefault(int(match[1]), []).append(path)
    if not slices:
        raise SpiderError(
            f"{images_dir}: expected PNG files such as 12_t2_SPACE_slice61.png, found none; check the path"
        )
    return slices
