"""Write a set of synthetic patients as SPIDER is laid out: images/, masks/, overview.csv, radiological_gradings.csv."""

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path, write_json
from spider_utils.common.progress import progress
from spider_utils.data.phantom.acquisition import MOST_PIXELS, Acquired, acquire
from spider_utils.data.phantom.anatomy import Anatomy, make_anatomy
from spider_utils.data.series import STEMS

VERSION = 2  # of the generator: the same seed makes other voxels when this changes
RECORD = "phantom.json"
OVERVIEW_COLUMNS = (
    "new_file_name", "num_vertebrae", "num_discs", "sex", "birth_date", "subset", "AngioFlag", "BodyPartExamined",
    "DeviceSerialNumber", "EchoNumbers", "EchoTime", "EchoTrainLength", "FlipAngle", "ImagedNucleus",
    "ImagingFrequency", "InPlanePhaseEncodingDirection", "MRAcquisitionType", "MagneticFieldStrength", "Manufacturer",
    "ManufacturerModelName", "NumberOfPhaseEncodingSteps", "PercentPhaseFieldOfView", "PercentSampling",
    "PhotometricInterpretation", "PixelBandwidth", "PixelSpacing", "RepetitionTime", "SAR", "SamplesPerPixel",
    "ScanningSequence", "SequenceName", "SeriesDescription", "SliceThickness", "SoftwareVersions",
    "SpacingBetweenSlices", "SpecificCharacterSet", "TransmitCoilName", "WindowCenter", "WindowWidth",
)  # fmt: skip


def make_phantom(
    out_dir: Path | str, patients: int = 12, seed: int = 0, workers: int = 2, most_pixels: int = MOST_PIXELS
) -> None:
    """Write a synthetic set of `patients` (numbers 1, 2, ...) in SPIDER's format to `out_dir`.

    Every patient has a T1 and a T2 series, those with odd numbers a T2 SPACE series too. Shapes, spacings and the order
    of the axes are those of SPIDER's series; slices of more than `most_pixels` are made coarser (0: none is). Patient p
    depends on (seed, p) and `most_pixels` only. The work is shared by `workers` processes. A set that is already
    complete with the same parameters is left alone. Raises SpiderError for bad parameters, and where `out_dir` holds
    anything but a set with the same parameters.
    """
    out_dir = Path(out_dir)
    wanted = {"patients": (patients, 1), "seed": (seed, 0), "workers": (workers, 1), "most_pixels": (most_pixels, 0)}
    for name, (value, least) in wanted.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise SpiderError(f"phantom: expected {name} to be a whole number of {least} or more, found {value!r}")
    record = {"patients": int(patients), "seed": int(seed), "pixels": int(most_pixels), "version": VERSION}
    if _is_complete(out_dir, record):
        return
    write_json(out_dir / RECORD, record | {"complete": False})
    rows = list(_rows(out_dir, record, workers))
    overview = pd.DataFrame([row for series, _ in rows for row in series], columns=list(OVERVIEW_COLUMNS))
    gradings = pd.DataFrame([row for _, discs in rows for row in discs])
    for name, table in (("overview.csv", overview), ("radiological_gradings.csv", gradings)):
        with atomic_path(out_dir / name) as temporary:
            table.to_csv(temporary, index=False)
    write_json(out_dir / RECORD, record | {"complete": True})


def phantom_subset(patient: int, patients: int) -> str:
    """Give the subset of a patient (1, 2, ...): of every eight the third and the eighth are for validation.

    One of the two has a T2 SPACE series. With two patients the second is for validation.
    """
    held_out = patient % 8 in (3, 0) or (patients == 2 and patient == 2)
    return "validation" if held_out else "training"


def series_of(patient: int) -> tuple[str, ...]:
    """Give the sequences that a patient has: all have T1 and T2, odd numbers T2 SPACE too."""
    return ("T1", "T2", "T2_SPACE") if patient % 2 else ("T1", "T2")


def _is_complete(out_dir: Path, record: dict) -> bool:
    """Tell whether the folder holds this set; refuse one that holds another set, or data that are not a phantom's."""
    if out_dir.exists() and not out_dir.is_dir():
        raise SpiderError(f"{out_dir}: expected a folder for the phantom, found a file; give another --out")
    path = out_dir / RECORD
    if not path.exists():
        foreign = [name for name in ("images", "masks", "overview.csv") if (out_dir / name).exists()]
        if foreign:
            raise SpiderError(f"{out_dir}: expected an empty folder, found {foreign[0]} and no {RECORD}; "
                              "give another folder, this one is left as it is")  # fmt: skip
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        made_with = {name: found[name] for name in record}
        complete = found["complete"]
    except (ValueError, KeyError, TypeError):
        raise SpiderError(f"{path}: expected a phantom's record, found something else; remove the folder") from None
    if made_with != record:
        raise SpiderError(f"{out_dir}: expected a phantom made with {_words(record)}, found {_words(made_with)}; "
                          "give another folder or remove this one")  # fmt: skip
    names = [f"{p}_{STEMS[sequence]}.mha" for p in range(1, record["patients"] + 1) for sequence in series_of(p)]
    files = [out_dir / kind / name for kind in ("images", "masks") for name in names]
    files += [out_dir / "overview.csv", out_dir / "radiological_gradings.csv"]
    return complete and all(file.is_file() for file in files)


def _words(record: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in record.items())


def _rows(out_dir: Path, record: dict[str, int], workers: int) -> Iterator[tuple[list, list]]:
    """Write all patients and give their rows of the two tables, in order of the patients."""
    make, patients = partial(_write_patient, out_dir, record), record["patients"]
    numbers = range(1, patients + 1)
    workers = min(workers, patients)
    bar = {"total": patients, "desc": "phantom", "unit": "patient"}
    if workers == 1:
        yield from progress(map(make, numbers), **bar)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from progress(pool.map(make, numbers), **bar)


def _write_patient(out_dir: Path, record: dict[str, int], patient: int) -> tuple[list[dict], list[dict]]:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    anatomy = make_anatomy(patient, record["seed"])
    series = []
    for sequence in series_of(patient):
        acquired = acquire(anatomy, sequence, record["seed"], most_pixels=record["pixels"])
        name = f"{patient}_{STEMS[sequence]}"
        for kind, volume in (("images", acquired.image), ("masks", acquired.mask)):
            with atomic_path(out_dir / kind / f"{name}.mha") as temporary:
                sitk.WriteImage(volume, str(temporary), useCompression=True, compressionLevel=1)
        series.append(_overview_row(name, acquired, phantom_subset(patient, record["patients"])))
    return series, grading_rows(anatomy)


def _overview_row(name: str, acquired: Acquired, subset: str) -> dict:
    protocol, geometry = acquired.protocol, acquired.protocol.geometry
    labels = np.unique(sitk.GetArrayViewFromImage(acquired.mask))
    return {
        "new_file_name": name, "num_vertebrae": int(((labels > 0) & (labels < 100)).sum()),
        "num_discs": int((labels > 200).sum()), "sex": "M" if acquired.anatomy.male else "F", "subset": subset,
        "BodyPartExamined": "LSPINE", "EchoTime": protocol.echo_ms, "RepetitionTime": protocol.repetition_ms,
        "ImagedNucleus": "1H", "MRAcquisitionType": "3D" if protocol.samples == 1 else "2D",
        "MagneticFieldStrength": 1.5, "Manufacturer": "phantom", "ManufacturerModelName": "spider_utils",
        "PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": str(list(geometry.spacing_mm[1:])),
        "SamplesPerPixel": 1, "SeriesDescription": f"synthetic, grid of {geometry.like}",
        "SliceThickness": round(protocol.thickness_mm, 2), "SpacingBetweenSlices": geometry.spacing_mm[0],
    }  # fmt: skip


def grading_rows(anatomy: Anatomy) -> list[dict]:
    """Give one row a labelled disc, from L5/S1 (1) upwards, with the columns of radiological_gradings.csv."""
    return [
        {
            "Patient": anatomy.patient, "IVD label": disc.label - 200, "Modic": disc.findings.modic,
            "UP endplate": int(disc.findings.up_endplate), "LOW endplate": int(disc.findings.low_endplate),
            "Spondylolisthesis": int(disc.findings.slip_mm > 0),
            "Disc herniation": int(disc.findings.herniation_mm > 0), "Disc narrowing": int(disc.findings.narrowed),
            "Disc bulging": int(disc.findings.bulge_mm > 0), "Pfirrman grade": disc.findings.grade,
        }
        for disc in anatomy.labelled_discs
    ]  # fmt: skip
