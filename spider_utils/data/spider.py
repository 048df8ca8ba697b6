"""The SPIDER folder: images/*.mha, masks/*.mha and two tables. The phantom is written in the same format.

van der Graaf et al., Scientific Data 11, 264 (2024); dataset doi 10.5281/zenodo.10159290.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.tables import read_csv
from spider_utils.data.labels import distinct_values
from spider_utils.data.numbering import refuse_foreign
from spider_utils.data.pose import to_pose
from spider_utils.data.series import SEQUENCES, SUBSETS, Series, SliceStack
from spider_utils.data.volumes import read_volume

OVERVIEW = "overview.csv"
GRADINGS = "radiological_gradings.csv"
FILE_NAME = re.compile(r"(\d+)_(t1|t2|t2_SPACE)\.mha")
SPACING_TOLERANCE_MM = 1e-4
ORIGIN_TOLERANCE_MM = 1e-2
DIRECTION_TOLERANCE = 1e-3


def find_spider_series(data_dir: Path | str) -> tuple[Series, ...]:
    """List the series of a SPIDER folder by patient and sequence.

    The subset comes from overview.csv and is "" where that file or its row is absent. Without a masks folder the set is
    unlabelled. Raises SpiderError on a missing folder, no MHA file, a file name that is not SPIDER's, an image without
    its mask.
    """
    data_dir = Path(data_dir)
    files = _list_volumes(data_dir)
    subsets = _read_subsets(data_dir)
    masks_dir = data_dir / "masks"
    found = []
    for path in files:
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise SpiderError(
                f"{path}: expected a name like 12_t2_SPACE.mha (patient, then t1, t2 or t2_SPACE); rename or remove it"
            )
        mask_files: tuple[Path, ...] = ()
        if masks_dir.is_dir():
            mask_files = (masks_dir / path.name,)
            if not mask_files[0].is_file():
                raise SpiderError(
                    f"{path}: expected its mask at {mask_files[0]}, found none; add it or remove the image"
                )
        found.append(
            Series(
                name=path.stem,
                patient=int(match[1]),
                sequence=match[2].upper(),
                subset=subsets.get(path.stem, ""),
                image_files=(path,),
                mask_files=mask_files,
                coding="spider",
            )
        )
    return tuple(sorted(found, key=lambda series: (series.patient, SEQUENCES.index(series.sequence))))


def read_overview(data_dir: Path | str) -> pd.DataFrame:
    """Read overview.csv, one row a series, blanks around texts removed. Raises SpiderError when it is missing."""
    return _read_table(Path(data_dir) / OVERVIEW, ("new_file_name", "subset"))


def read_gradings(data_dir: Path | str) -> pd.DataFrame:
    """Read radiological_gradings.csv, one row a disc (IVD label 1 is L5/S1, upwards). Raises SpiderError if absent."""
    return _read_table(Path(data_dir) / GRADINGS, ("Patient", "IVD label"))


def read_spider_stack(series: Series) -> SliceStack:
    """Read a series and turn it into the common pose by its direction cosines.

    An oblique volume takes the nearest order and flips of its axes; nothing is resampled. Raises SpiderError like
    `volumes.read_volume`, when mask and image differ in geometry, and on labels that are not SPIDER's.
    """
    image = read_volume(series.image_files[0])
    labels = None
    if series.mask_files:
        mask = read_volume(series.mask_files[0])
        check_geometry(series.image_files[0], image, series.mask_files[0], mask)
        labels = label_array(series.mask_files[0], to_pose(mask))
    image = to_pose(image)
    column_mm, row_mm, slice_mm = image.GetSpacing()
    voxels = sitk.GetArrayFromImage(image).astype(np.float32)
    return SliceStack(
        image=voxels,
        labels=labels,
        pixel_mm=(row_mm, column_mm),
        slice_mm=slice_mm,
        index=np.arange(len(voxels)),
        coding=series.coding,
    )


def label_array(path: Path, mask: sitk.Image) -> np.ndarray:
    """Return a label map's numbers as uint16, (D, H, W) in the order of its axes; `path` is what an error names.

    Raises SpiderError like `refuse_foreign`.
    """
    labels = sitk.GetArrayFromImage(mask)
    try:
        refuse_foreign(distinct_values(labels))
    except SpiderError as error:
        raise SpiderError(f"{path}: {error}") from error
    return labels.astype(np.uint16)


def check_geometry(image_path: Path, image: sitk.Image, mask_path: Path, mask: sitk.Image, what: str = "image") -> None:
    """Raise SpiderError unless a mask has the size, spacing, origin and direction of its image, or its `what`."""
    for name, expected, found in geometry_differences(image, mask):
        raise SpiderError(
            f"{mask_path}: expected the {name} of its {what} {image_path}, {expected}, found {found}; "
            f"use the mask that belongs to this {what}"
        )


def geometry_differences(image: sitk.Image, mask: sitk.Image) -> list[tuple[str, str, str]]:
    """Return which of size, spacing, origin and direction a mask does not share with its image, but for rounding.

    Each comes with the image's and the mask's values as text, fastest axis first.
    """
    geometry = (
        ("size", image.GetSize(), mask.GetSize(), 0.0),
        ("spacing", image.GetSpacing(), mask.GetSpacing(), SPACING_TOLERANCE_MM),
        ("origin", image.GetOrigin(), mask.GetOrigin(), ORIGIN_TOLERANCE_MM),
        ("direction", image.GetDirection(), mask.GetDirection(), DIRECTION_TOLERANCE),
    )
    return [
        (name, _numbers(expected), _numbers(found))
        for name, expected, found, tolerance in geometry
        if not np.allclose(expected, found, rtol=0, atol=tolerance)
    ]


def _list_volumes(data_dir: Path) -> list[Path]:
    if not data_dir.is_dir():
        raise SpiderError(f"{data_dir}: expected a folder with images/*.mha, found no such folder; check the path")
    images_dir = data_dir / "images"
    if not images_dir.is_dir():
        raise SpiderError(f"{data_dir}: expected a folder images/ with MHA files in it, found none; check the path")
    files = [path for path in images_dir.glob("*.mha") if not path.name.startswith(".")]
    if not files:
        raise SpiderError(f"{images_dir}: expected MHA files such as 12_t2_SPACE.mha, found none; check the path")
    return sorted(files)


def _read_subsets(data_dir: Path) -> dict[str, str]:
    if not (data_dir / OVERVIEW).is_file():
        return {}
    table = read_overview(data_dir)
    subsets = dict(zip(table["new_file_name"], table["subset"].fillna(""), strict=True))
    unknown = sorted(set(subsets.values()) - set(SUBSETS))
    if unknown:
        raise SpiderError(
            f"{data_dir / OVERVIEW}: expected the subset training, validation or nothing, found {unknown[0]!r}; mend it"
        )
    return subsets


def _read_table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise SpiderError(f"{path}: expected SPIDER's table, found no file; fetch it from zenodo.org/records/10159290")
    return read_csv(path, needed)


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
