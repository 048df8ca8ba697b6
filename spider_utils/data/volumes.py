"""3D volumes in and label maps out: MetaImage, NIfTI and NRRD files and DICOM series.

The format is told by the file's name and never guessed from its content. SimpleITK reads a truncated or damaged file,
or one whose header lies, with at most a warning, so header and stored voxels are checked before (`data.headers`).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.data.dicom import dicom_files, read_dicom
from spider_utils.data.headers.header import Header, check_header, check_name, check_values, place_as_read
from spider_utils.data.headers.nifti import carry_forms, read_nifti, read_plainly
from spider_utils.data.headers.stored import check_voxels, stored_values
from spider_utils.data.headers.text import read_mha, read_nrrd

IMAGE_IO = {".mha": "MetaImageIO", ".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".nrrd": "NrrdImageIO"}
VOLUME_SUFFIXES = tuple(IMAGE_IO)
DETACHED_SUFFIXES = (".mhd", ".nhdr")  # headers whose voxels lie in another file; found, and refused by name
HEADERS: dict[str, Callable[[Path], Header]] = {
    ".mha": read_mha, ".nii": read_nifti, ".nii.gz": read_nifti, ".nrrd": read_nrrd,
}  # fmt: skip
NOTES = "spider_utils: notes"  # of an image's metadata, a line each
SAME_MM = 0.1  # how far apart the two places of a voxel may be to be the same


def volume_suffix(path: Path | str) -> str:
    """Return the suffix that tells a file's format, in small letters; "" for a folder or another file."""
    path = Path(path)
    if path.is_dir():
        return ""
    suffixes = VOLUME_SUFFIXES + DETACHED_SUFFIXES
    return next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), "")


def volume_name(path: Path | str) -> str:
    """Return a volume's name: its file's without the suffix (.nii.gz as one), or its DICOM folder's."""
    path = Path(path)
    name = path.name or path.resolve().name
    return name[: len(name) - len(volume_suffix(path))]


def find_volumes(source: Path | str) -> list[Path]:
    """List the volumes of `source` by name: one file, a DICOM folder, or a folder that holds such files and folders.

    Hidden files, files of other kinds and folders without DICOM files are left out. Raises SpiderError when nothing is
    left, and where volume files lie among the slices of a DICOM series.
    """
    source = Path(source)
    formats = ", ".join(VOLUME_SUFFIXES)
    if source.is_file():
        if not volume_suffix(source):
            raise SpiderError(
                f"{source}: expected a volume ({formats}), found another file; a DICOM series is a folder"
            )
        return [source]
    if not source.is_dir():
        raise SpiderError(f"{source}: expected a volume or a folder of volumes, found nothing; check the path")
    visible = sorted(path for path in source.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if volume_suffix(path)]
    if dicom_files(source):
        if files:
            raise SpiderError(
                f"{source}: expected the slices of a DICOM series or volume files, found both; "
                f"move {files[0].name} away"
            )
        return [source]
    found = [path for path in visible if path in files or (path.is_dir() and dicom_files(path))]
    if not found and (source / "images").is_dir():
        raise SpiderError(f"{source}: expected volumes, found a folder laid out like SPIDER; give {source / 'images'}")
    if not found:
        raise SpiderError(f"{source}: expected volumes ({formats}, or folders of DICOM slices), found none; check it")
    return found


def read_volume(path: Path | str) -> sitk.Image:
    """Read a 3D volume, file or DICOM folder, with its spacing (mm), origin (mm) and direction cosines (LPS).

    A NIfTI file may have more axes of length 1; where its qform and its sform differ, see `reading_notes`. Raises
    SpiderError when the file is missing, of another format, unreadable, truncated, damaged or longer than its header
    says, not 3D, says no spacing, orientation or place or contradicts itself, has a spacing that is not above 0 or axes
    that are not at right angles, or holds NaN, infinity or the like; for a DICOM folder also like `dicom.read_dicom`.
    """
    path = Path(path)
    check_name(path)
    try:
        volume = read_dicom(path) if path.is_dir() else _read_file(path)
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise SpiderError(
            f"{path}: expected a volume that can be read, found {found}; check it and its permissions"
        ) from error
    voxels = sitk.GetArrayViewFromImage(volume)
    if np.issubdtype(voxels.dtype, np.floating):
        check_values(path, [voxels])
    return volume


def write_labels(labels: sitk.Image, path: Path | str, volume: Path | str | None = None) -> None:
    """Write a label map, compressed (.nii apart, which cannot be), in the format that its name tells.

    `volume`: the file on whose grid it lies; of NIfTI with two places (qform and sform) a NIfTI label map has both.
    Raises SpiderError for another suffix and where nothing can be written.
    """
    path = Path(path)
    check_name(path)
    suffix = volume_suffix(path)
    if suffix not in IMAGE_IO:
        raise SpiderError(
            f"{path}: expected a name that ends in {', '.join(VOLUME_SUFFIXES)}, found another; rename it"
        )
    try:
        with atomic_path(path) as temporary:
            sitk.WriteImage(labels, str(temporary), useCompression=True, imageIO=IMAGE_IO[suffix])
            if volume and _is_nifti(volume) and _is_nifti(path) and read_nifti(Path(volume)).apart_mm > SAME_MM:
                carry_forms(Path(volume), temporary)
            read_volume(temporary)  # of a full disk SimpleITK's NIfTI writer says nothing
    except (SpiderError, OSError, RuntimeError) as error:
        raise SpiderError(
            f"{path}: expected to write a mask there, found that it cannot be; check the folder and the free space"
        ) from error


def reading_notes(volume: sitk.Image) -> list[str]:
    """Return what was doubtful about the header of a volume that `read_volume` has read, a text each."""
    return volume.GetMetaData(NOTES).splitlines() if volume.HasMetaDataKey(NOTES) else []


def _is_nifti(path: Path | str) -> bool:
    return HEADERS.get(volume_suffix(path)) is read_nifti


def _read_file(path: Path) -> sitk.Image:
    suffix = volume_suffix(path)
    if not path.is_file():
        raise SpiderError(f"{path}: expected a volume, found no file; check the path")
    if suffix not in IMAGE_IO:
        raise SpiderError(
            f"{path}: expected one file with header and voxels ({', '.join(VOLUME_SUFFIXES)}), found "
            f"{suffix or 'another suffix'}; convert it"
        )
    header = HEADERS[suffix](path)
    check_header(path, header)
    check_voxels(path, header)
    if HEADERS[suffix] is read_nifti and header.stored.kind == "f":
        check_values(path, stored_values(path, header))  # for NaN and infinity ITK reads 0
    reader = sitk.ImageFileReader()
    reader.SetImageIO(IMAGE_IO[suffix])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        place = place_as_read(path, header, reader)
        volume = reader.Execute()
    except RuntimeError as error:
        if not _is_nifti(path):
            found = "voxels that cannot be read"
            raise SpiderError(f"{path}: expected a {suffix} volume, found {found}; fetch it again") from error
        volume = read_plainly(path, header)  # ITK takes no axes that are only about at right angles
        volume.SetMetaData(NOTES, "expected axes at right angles, found a rounded or sheared sform, brought to them")
        return volume
    if header.apart_mm > SAME_MM:
        found = f"qform and sform up to {header.apart_mm:.3g} mm apart, taken is the {place.name}"
        volume.SetMetaData(NOTES, f"expected one place in the patient, found {found}")
    return volume
