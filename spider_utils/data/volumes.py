"""3D volumes in and label maps out: MetaImage, NIfTI and NRRD files and DICOM series.

The format is told by the file's name and never guessed from its content. SimpleITK reads a truncated or damaged file of
some formats with at most a warning, so the stored voxels are counted, and their checksum tested, before it does.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.data.dicom import dicom_files, read_dicom

IMAGE_IO = {".mha": "MetaImageIO", ".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".nrrd": "NrrdImageIO"}
VOLUME_SUFFIXES = tuple(IMAGE_IO)
DETACHED_SUFFIXES = (".mhd", ".nhdr")  # headers whose voxels lie in another file; found, and refused by name
COSINE_TOLERANCE = 1e-2  # of an axis' length and of the cosine between two axes
CHUNK_BYTES = 1 << 20
NIFTI_HEADER_BYTES = 348


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
    if not found:
        raise SpiderError(f"{source}: expected volumes ({formats}, or folders of DICOM slices), found none; check it")
    return found


def read_volume(path: Path | str) -> sitk.Image:
    """Read a 3D volume, file or DICOM folder, with its spacing (mm), origin (mm) and direction cosines (LPS).

    A NIfTI file may have more axes of length 1. Raises SpiderError when the file is missing, of another format,
    unreadable, truncated or damaged, not 3D, says no orientation (NIfTI, NRRD), has a spacing that is not above 0 or
    axes that are not at right angles, or holds NaN or infinity; for a DICOM folder also like `dicom.read_dicom`.
    """
    path = Path(path)
    if path.is_dir():
        volume = read_dicom(path)
        _check_axes(path, volume.GetSpacing(), volume.GetDirection())
    else:
        volume = _read_file(path)
    voxels = sitk.GetArrayViewFromImage(volume)
    if np.issubdtype(voxels.dtype, np.floating) and not np.isfinite(voxels).all():
        count = int((~np.isfinite(voxels)).sum())
        raise SpiderError(f"{path}: expected finite voxels, found {count} that are NaN or infinite; mend or remove it")
    return volume


def write_labels(labels: sitk.Image, path: Path | str) -> None:
    """Write a label map, compressed (.nii apart, which cannot be), in the format that its name tells.

    Raises SpiderError for another suffix and where nothing can be written.
    """
    path = Path(path)
    suffix = volume_suffix(path)
    if suffix not in IMAGE_IO:
        raise SpiderError(
            f"{path}: expected a name that ends in {', '.join(VOLUME_SUFFIXES)}, found another; rename it"
        )
    try:
        with atomic_path(path) as temporary:
            sitk.WriteImage(labels, str(temporary), useCompression=True, imageIO=IMAGE_IO[suffix])
            read_volume(temporary)  # of a full disk SimpleITK's NIfTI writer says nothing
    except (SpiderError, OSError, RuntimeError) as error:
        raise SpiderError(
            f"{path}: expected to write a mask there, found that it cannot be; check the folder and the free space"
        ) from error


def _read_file(path: Path) -> sitk.Image:
    suffix = volume_suffix(path)
    if not path.is_file():
        raise SpiderError(f"{path}: expected a volume, found no file; check the path")
    if suffix not in IMAGE_IO:
        raise SpiderError(
            f"{path}: expected one file with header and voxels ({', '.join(VOLUME_SUFFIXES)}), found "
            f"{suffix or 'another suffix'}; convert it"
        )
    reader = sitk.ImageFileReader()
    reader.SetImageIO(IMAGE_IO[suffix])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise SpiderError(
            f"{path}: expected a {suffix} volume, found a header that cannot be read; fetch it again"
        ) from error
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        size = " x ".join(str(number) for number in reader.GetSize())
        raise SpiderError(
            f"{path}: expected a 3D volume with one value a voxel, found {size} with {reader.GetNumberOfComponents()}; "
            "convert or remove it"
        )
    _check_axes(path, reader.GetSpacing(), reader.GetDirection())
    check = {".mha": _check_mha, ".nrrd": _check_nrrd}.get(suffix, _check_nifti)
    check(
        path, int(np.prod(reader.GetSize())), sitk.Image([1, 1, 1], reader.GetPixelIDValue()).GetSizeOfPixelComponent()
    )
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise SpiderError(
            f"{path}: expected a {suffix} volume, found voxels that cannot be read; fetch it again"
        ) from error


def _check_axes(path: Path, spacing: tuple[float, ...], direction: tuple[float, ...]) -> None:
    if not all(value > 0 for value in spacing):
        found = " x ".join(f"{value:g}" for value in spacing)
        raise SpiderError(f"{path}: expected spacings above 0 mm, found {found}; mend its header")
    axes = np.array(direction).reshape(3, 3)
    if not np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=COSINE_TOLERANCE):
        found = ", ".join(f"{value:.4g}" for value in direction)
        raise SpiderError(
            f"{path}: expected three axes at right angles, found the direction cosines {found}; mend its header"
        )


def _check_mha(path: Path, voxels: int, voxel_bytes: int) -> None:
    with path.open("rb") as file:
        header = {}
        for line in file:
            key, _, value = line.decode("latin-1").partition("=")
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
        if header.get("ElementDataFile") != "LOCAL":
            raise SpiderError(f"{path}: expected the voxels inside the file, found none; store it as one MHA file")
        if header.get("CompressedData", "").lower() == "true":
            found = _inflated_bytes(path, file)
        else:
            found = path.stat().st_size - file.tell()
    _check_count(path, voxels * voxel_bytes, found)


def _check_nifti(path: Path, voxels: int, _: int) -> None:
    """Check a NIfTI-1 file. Its voxels may be stored smaller than they are read, with a scale in the header."""
    if volume_suffix(path) == ".nii.gz":
        with gzip.open(path) as file:
            header, found = _start_and_size(path, file)
    else:
        with path.open("rb") as file:
            header, found = file.read(NIFTI_HEADER_BYTES), path.stat().st_size
    _check_count(path, NIFTI_HEADER_BYTES, len(header))
    order = "<" if struct.unpack_from("<i", header)[0] == NIFTI_HEADER_BYTES else ">"
    bits = struct.unpack_from(f"{order}h", header, 72)[0]
    offset = struct.unpack_from(f"{order}f", header, 108)[0]
    if struct.unpack_from(f"{order}hh", header, 252) == (0, 0):  # codes of qform and sform: unknown
        raise SpiderError(f"{path}: expected an orientation (qform or sform), found none; convert the series anew")
    _check_count(path, int(offset) + voxels * bits // 8, found)


def _check_nrrd(path: Path, voxels: int, voxel_bytes: int) -> None:
    header = {}
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                break
            key, _, value = line.decode("latin-1").partition(":")
            header[key.strip().lower()] = value.strip().lower()
        if "data file" in header or "datafile" in header:
            raise SpiderError(f"{path}: expected the voxels inside the file, found none; store it as one NRRD file")
        if not header.get("space") or "none" in header.get("space directions", "none"):
            raise SpiderError(
                f"{path}: expected an orientation (space and its directions), found none; convert it anew"
            )
        if header.get("encoding") in ("gzip", "gz"):
            with gzip.GzipFile(fileobj=file) as inflated:
                _, found = _start_and_size(path, inflated)
        elif header.get("encoding") == "raw":
            found = path.stat().st_size - file.tell()
        else:
            raise SpiderError(f"{path}: expected the encoding raw or gzip, found {header.get('encoding')}; convert it")
    _check_count(path, voxels * voxel_bytes, found)


def _check_count(path: Path, expected: int, found: int) -> None:
    if found < expected:
        raise SpiderError(
            f"{path}: expected {expected} bytes of voxels, found {found}; it is truncated, fetch it again"
        )


def _start_and_size(path: Path, file: gzip.GzipFile) -> tuple[bytes, int]:
    """Return the first bytes that a gzip stream inflates to and how many there are, its checksum tested."""
    try:
        start = file.read(NIFTI_HEADER_BYTES)
        size = len(start)
        while chunk := file.read(CHUNK_BYTES):
            size += len(chunk)
    except EOFError as error:
        raise SpiderError(
            f"{path}: expected a whole gzip stream, found a part; it is truncated, fetch it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SpiderError(f"{path}: expected gzip-compressed voxels, found damaged ones; fetch it again") from error
    return start, size


def _inflated_bytes(path: Path, file: BinaryIO) -> int:
    """Count the bytes that the rest of `file` inflates to; zlib checks them against the stream's own checksum."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    count = 0
    try:
        while chunk := file.read(CHUNK_BYTES):
            count += len(inflate.decompress(chunk))
    except zlib.error as error:
        raise SpiderError(f"{path}: expected zlib-compressed voxels, found damaged ones; fetch it again") from error
    if not inflate.eof:
        raise SpiderError(f"{path}: expected a whole zlib stream, found a part; it is truncated, fetch it again")
    return count
