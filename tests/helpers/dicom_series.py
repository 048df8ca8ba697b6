"""A DICOM series as a scanner exports it: one file a slice, with its place in the patient."""

from pathlib import Path

import SimpleITK as sitk

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
ROOT_UID = "1.2.826.0.1.3680043.2.1125"


def write_dicom(volume: sitk.Image, folder: Path, series: int = 1, order: list[int] | None = None) -> list[Path]:
    """Write a volume's slices (its last axis) and return the files; `order` gives the number in a slice's file name."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    direction = volume.GetDirection()
    uid = f"{ROOT_UID}.{series}"
    files = []
    for number in range(volume.GetDepth()):
        plane = volume[:, :, number]
        tags = {
            "0008|0016": MR_IMAGE_STORAGE,
            "0008|0018": f"{uid}.{number + 1}",
            "0008|0060": "MR",
            "0008|103e": f"T2 sag {series}",
            "0018|0050": f"{volume.GetSpacing()[2]}",
            "0020|000d": f"{ROOT_UID}.0",
            "0020|000e": uid,
            "0020|0013": f"{number + 1}",
            "0020|0032": decimals(volume.TransformIndexToPhysicalPoint((0, 0, number))),
            "0020|0037": decimals(direction[0::3] + direction[1::3]),
        }
        for tag, text in tags.items():
            plane.SetMetaData(tag, text)
        files.append(folder / f"IM{series}{order[number] if order else number:03d}.dcm")
        writer.SetFileName(str(files[-1]))
        writer.Execute(plane)
    return files


def decimals(values) -> str:
    """The numbers as DICOM stores them, in at most 16 letters each."""
    return "\\".join(f"{value:.9f}" for value in values)
