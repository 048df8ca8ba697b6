"""What is spoilt, who reads it, and whom that reader must agree with.

A kind writes a sound input into a folder, spoils one of its files and returns what the package takes of it; `check`
then raises AssertionError where an independent reader finds something else in what was accepted.
"""

import csv
import gzip
import io
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
import yaml
from PIL import Image

from spider_utils.common.parameters import scalar
from spider_utils.data.download import extract_zip
from spider_utils.data.labels import CLASSES
from spider_utils.data.pairs import read_table
from spider_utils.data.png import read_grey
from spider_utils.data.spider import read_overview
from spider_utils.data.store import open_store, write_store
from spider_utils.data.volumes import read_volume
from spider_utils.models.build import build_model
from spider_utils.predict.network import read_volume_settings, ready_network
from spider_utils.runs.settings import make_settings
from spider_utils.studies.study_file import FOLDER, load_study
from spider_utils.train.checkpoints import load_network, write_network
from spider_utils.train.settings import TrainSettings
from tests.fuzz import readers
from tests.fuzz.bombs import BOMBS, SHARE
from tests.fuzz.mutations import NUMBERS, WORDS, spoil
from tests.helpers.dicom_series import write_dicom

SIZE = (3, 12, 8)  # slices, rows, columns
MISSING = {"", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "#N/A", "#NA", "#N/A N/A", "-nan",
           "-NaN", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of input."""

    make: Callable[[Path, np.random.Generator], Path]  # into a folder, from the seed's generator; returns what to read
    accept: Callable[[Path, Path], Any]  # read it, with a folder to write to
    check: Callable[[Path, Any, Path], None]  # against an independent reader


def volume(rng: np.random.Generator) -> sitk.Image:
    """A small sagittal volume."""
    kind = (np.uint8, np.int16, np.uint16, np.float32)[rng.integers(4)]
    image = sitk.GetImageFromArray(rng.integers(0, 255, SIZE).astype(kind))
    image.SetSpacing((0.75, 0.5, 4.0))
    image.SetOrigin((4.0, -7.0, 11.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    return image


def spoil_file(path: Path, rng: np.random.Generator, kind: str) -> None:
    """Spoil a file, or put a bomb in its place."""
    if kind in BOMBS and rng.random() < SHARE:
        path.write_bytes(BOMBS[kind](rng))
    elif kind == "nii.gz" and rng.random() < 0.8:  # else the stream itself is spoilt
        path.write_bytes(gzip.compress(spoil(gzip.decompress(path.read_bytes()), rng, "nii"), 1))
    else:
        path.write_bytes(spoil(path.read_bytes(), rng, kind))


def volume_file(suffix: str) -> Callable[[Path, np.random.Generator], Path]:
    def make(folder: Path, rng: np.random.Generator) -> Path:
        path = folder / f"a{suffix}"
        sitk.WriteImage(volume(rng), str(path), bool(rng.integers(2)) and suffix != ".nii")
        spoil_file(path, rng, suffix[1:])
        return path

    return make


def same_volume(image: sitk.Image, voxels: np.ndarray, place: np.ndarray) -> bool:
    """Are these the voxels, and does their first and their last lie where `place`, (3, 4) from numbers to mm, says?"""
    found = sitk.GetArrayFromImage(image)
    if found.shape != voxels.shape or not np.allclose(found, voxels, rtol=1e-5, atol=1e-3, equal_nan=True):
        return False
    last = [number - 1 for number in image.GetSize()]
    ends = [(place[:, 3], (0, 0, 0)), (place @ [*last, 1], last)]
    return all(np.allclose(end, image.TransformIndexToPhysicalPoint(at), atol=0.1, rtol=1e-3) for end, at in ends)


def check_volume(path: Path, image: sitk.Image, _: Path) -> None:
    if path.suffix == ".mha":
        found = [readers.read_mha(path)]
    elif path.suffix == ".nrrd":
        found = [readers.read_nrrd(path)]
    else:
        found = readers.read_dicom(path) if path.is_dir() else readers.read_nifti(path)
        found = [found] if path.is_dir() else found
    assert any(same_volume(image, *one) for one in found), "another volume"
    assert min(image.GetSize()) > 0 and all(map(math.isfinite, (*image.GetSpacing(), *image.GetOrigin())))


def make_dicom(folder: Path, rng: np.random.Generator) -> Path:
    image = sitk.Cast(volume(rng), sitk.sitkInt16)
    files = write_dicom(image, folder / "series")
    spoil_file(files[rng.integers(len(files))], rng, "dcm")
    return folder / "series"


def make_png(folder: Path, rng: np.random.Generator) -> Path:
    pixels = rng.integers(0, 255, SIZE[1:])
    mode = rng.integers(3)
    if mode == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    Image.fromarray(pixels.astype(np.uint16 if mode == 1 else np.uint8)).save(folder / "a.png")
    spoil_file(folder / "a.png", rng, "png")
    return folder / "a.png"


def check_png(path: Path, found: np.ndarray, _: Path) -> None:
    pixels = readers.read_png(path)
    if pixels.ndim == 3:
        assert (pixels[..., :3] == pixels[..., :1]).all(), "a colour"
        pixels = pixels[..., 0]
    assert found.shape == pixels.shape and (found == pixels).all(), "other pixels"


OVERVIEW = "new_file_name,num_vertebrae,num_discs,sex,subset\n1_t1,7,7,F,training\n1_t2,7,6,F,training\n3_t2,9,8,M,\n"
SLICES = "file,patient,sequence,subset,slice_index,row_mm,col_mm\na.png,1,T1,training,4,0.5,0.5\nb.png,2,T2,,5,0.75,1\n"


def make_csv(folder: Path, rng: np.random.Generator) -> Path:
    name, text = (("overview.csv", OVERVIEW), ("slices.csv", SLICES))[rng.integers(2)]
    encoding = ("utf-8", "utf-8-sig", "utf-16", "utf-8", "utf-8")[rng.integers(5)]
    (folder / name).write_bytes(text.replace(",", ";" if rng.random() < 0.05 else ",").encode(encoding))
    spoil_file(folder / name, rng, "csv")
    return folder / name


def accept_csv(path: Path, _: Path) -> pd.DataFrame:
    return read_overview(path.parent) if path.name == "overview.csv" else read_table(path)


def check_csv(path: Path, table: pd.DataFrame, _: Path) -> None:
    rows = [row for row in csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")) if row]
    assert len(rows) == len(table), "other rows"
    for row, (_, found) in zip(rows, table.iterrows(), strict=True):
        for name, text in row.items():
            cell = found[name.strip()]
            same = str(cell) == text.strip() or (pd.isna(cell) and text.strip() in MISSING)
            assert (
                same
                or (_as_number(text) is not None and float(cell) == _as_number(text))
                or (name.strip() in ("mask_from", "series", "slice_index") and not text.strip())
                or (isinstance(cell, bool | np.bool_) and str(cell).lower() == text.strip().lower())
            ), f"{name}: {cell!r}"


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def make_store(folder: Path, rng: np.random.Generator) -> Path:
    masks = rng.integers(0, len(CLASSES), SIZE).astype(np.uint8)
    np.savez(folder / "part.npz", images=rng.integers(0, 255, SIZE).astype(np.uint8), masks=masks)
    rows = pd.DataFrame({"series": "1_t1", "patient": 1, "sequence": "T1", "subset": "training"}, index=range(3))
    rows = rows.assign(slice_index=range(3), mask_from="reference", pixel_mm_row=0.5, pixel_mm_col=0.5)
    rows[[f"n_{name}" for name in CLASSES]] = [[(one == number).sum() for number in range(4)] for one in masks]
    rows.assign(classes_present=4, kept=True, reason="").to_csv(folder / "part.csv", index=False)
    write_store([folder / "part.npz"], {"fingerprint": "f", "preprocess": {}}, SIZE[1:], folder / "store")
    files = sorted((folder / "store").iterdir())
    path = files[rng.integers(len(files))]
    spoil_file(path, rng, path.suffix[1:])
    return folder / "store"


def accept_store(path: Path, _: Path) -> Any:
    store = open_store(path)
    np.asarray(store.images).sum(), np.asarray(store.masks).sum()
    return store


def check_store(path: Path, store: Any, _: Path) -> None:
    for name, found in (("images", store.images), ("masks", store.masks)):
        stored = np.load(path / f"{name}.npy", allow_pickle=False)
        assert stored.dtype == found.dtype == np.uint8 and stored.ndim == 3 and (stored == found).all(), name
    assert store.images.shape == store.masks.shape, "sizes"
    assert store.masks.size and store.masks.max() < len(CLASSES), "classes"
    counts = np.array([[(one == number).sum() for number in range(len(CLASSES))] for one in store.masks])
    assert (store.table[[f"n_{name}" for name in CLASSES]].to_numpy() == counts).all(), "a table of other masks"
    kept = store.audit[store.audit["kept"]]
    assert kept["series"].tolist() == store.table["series"].tolist(), "an audit of other slices"
    assert kept["slice_index"].tolist() == store.table["slice_index"].tolist(), "an audit of other slices"
    assert store.info == json.loads((path / "store.json").read_text(encoding="utf-8"))
    assert set(store.info) >= {"fingerprint", "preprocess"}, "nothing of its making"


@lru_cache(maxsize=1)
def a_network() -> tuple[bytes, bytes]:
    import tempfile
    from dataclasses import asdict

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings(width=1, train_height=64, train_width=64)
        write_network(build_model("paper_text", width=1), {"training": asdict(settings), "best": {}}, Path(folder))
        return tuple((Path(folder) / f"best{suffix}").read_bytes() for suffix in (".safetensors", ".json"))


def make_network(folder: Path, rng: np.random.Generator) -> Path:
    for suffix, content in zip((".safetensors", ".json"), a_network(), strict=True):
        (folder / f"best{suffix}").write_bytes(content)
    kind = ("safetensors", "json")[rng.integers(2)]
    spoil_file(folder / f"best.{kind}", rng, kind)
    return folder / "best.safetensors"


def accept_network(path: Path, _: Path) -> Any:
    network = ready_network(path, "cpu")
    read_volume_settings(network)
    return network


def check_network(path: Path, network: Any, _: Path) -> None:
    tensors, held = readers.read_safetensors(path), load_network(path, network.device)[0].state_dict()
    assert set(tensors) == set(held), "other tensors"
    for name, value in tensors.items():
        assert np.isfinite(value).all() and (held[name].numpy() == value).all(), name
    training = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["training"]
    assert network.size == (training["train_height"], training["train_width"])
    assert all(isinstance(one, int) and one >= 16 and one % 16 == 0 for one in network.size), f"size {network.size}"


def make_study(folder: Path, rng: np.random.Generator) -> Path:
    files = sorted(FOLDER.glob("*.yaml"))
    (folder / "mine.yaml").write_bytes(spoil(files[rng.integers(len(files))].read_bytes(), rng, "yaml"))
    return folder / "mine.yaml"


def check_study(path: Path, study: Any, _: Path) -> None:
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    for arm in study.arms:
        assert isinstance(arm.name, str) and Path(arm.name).name == arm.name, f"arm {arm.name!r}"
        assert arm.values == (told["arms"][arm.name] or {}).get("values", {})
    assert study.base == told["base"] and study.question == told["question"]
    assert list(study.seeds) == [int(one) for one in np.ravel(told["seeds"])]
    known = {"question", "reference", "score_epochs", "folds", "seeds", "base", "arms", "options", "ways", "preprocess"}
    assert set(told) <= known, f"unknown keys {set(told) - known}"


def make_parameter(folder: Path, rng: np.random.Generator) -> Path:
    names = sorted(make_settings({}).flat())
    sound = (*NUMBERS, *WORDS, "8", "0.25", "1e-3", "false", "combined", "2_000", "0x10")
    sound += ("1e3", "01.5", "+4", "1.", "٣")
    text = sound[rng.integers(len(sound))]
    if rng.random() < 0.5:
        text = spoil(text.encode(), rng, "p").decode(errors="replace")
    (folder / "p.json").write_text(json.dumps([names[rng.integers(len(names))], text]), encoding="utf-8")
    return folder / "p.json"


def accept_parameter(path: Path, _: Path) -> Any:
    name, text = json.loads(path.read_text(encoding="utf-8"))
    return make_settings({name: scalar(name, text)}).flat()[name]


def check_parameter(path: Path, found: Any, _: Path) -> None:
    name, text = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(found, bool) or found is None or isinstance(found, str):
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        assert found == words.get(text.strip().lower(), text.strip().strip("'\"")) or found == yaml.safe_load(text)
        return
    try:
        assert text.isascii() and "_" not in text and Decimal(text).is_finite(), f"{name}: {text!r} as {found!r}"
    except InvalidOperation as error:
        raise AssertionError(f"{name}: {text!r} as {found!r}") from error
    assert float(Decimal(text)) == float(found) and math.isfinite(found)


def make_archive(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "images.zip"
    names = ["images/1_t1.mha", "images/2_t2.mha", "images/deep/a.txt", "images/"]
    if rng.random() < 0.3:
        outside = ("../x.mha", "/tmp/fuzz_escaped.mha", "images/../../y.mha", "..\\z.mha")
        names[rng.integers(3)] = outside[rng.integers(4)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED) as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else rng.bytes(50) * 4)
    if rng.random() < 0.8:
        spoil_file(path, rng, "zip")
    return path


def accept_archive(path: Path, out: Path) -> dict[str, int]:
    return extract_zip(path, out / "images")


def check_archive(path: Path, sizes: dict[str, int], out: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        wanted = []
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as source:
                    wanted.append(source.read(member.file_size))  # its checksum tested; a bomb holds more
    there = [file.read_bytes() for file in sorted((out / "images").rglob("*")) if file.is_file()]
    assert sorted(wanted) == sorted(there) and len(sizes) == len(wanted), "other files"


def reading(read: Callable[[Path], Any]) -> Callable[[Path, Path], Any]:
    return lambda path, _: read(path)


KINDS = {
    "MHA": Kind(volume_file(".mha"), reading(read_volume), check_volume),
    "NIfTI": Kind(volume_file(".nii"), reading(read_volume), check_volume),
    "NIfTI, gzip": Kind(volume_file(".nii.gz"), reading(read_volume), check_volume),
    "NRRD": Kind(volume_file(".nrrd"), reading(read_volume), check_volume),
    "DICOM": Kind(make_dicom, reading(read_volume), check_volume),
    "PNG": Kind(make_png, reading(read_grey), check_png),
    "CSV": Kind(make_csv, accept_csv, check_csv),
    "store": Kind(make_store, accept_store, check_store),
    "checkpoint": Kind(make_network, accept_network, check_network),
    "study file": Kind(make_study, reading(lambda path: load_study(str(path))), check_study),
    "-p": Kind(make_parameter, accept_parameter, check_parameter),
    "archive": Kind(make_archive, accept_archive, check_archive),
}
