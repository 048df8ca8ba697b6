"""Masks for a folder of PNG slices with a trained network: python -m spider_utils predict --input DIR --output OUT.

A slice is scaled to 0..255 by its own minimum and maximum and resized to the network's input, as in training; the
network's output is brought back to the slice's own size. What else is done (views, cleaning up) stands in the JSON
beside the weights, under "inference", so that a network predicts as it was measured.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.common.progress import progress
from spider_utils.masks.cleanup import CleanupSettings
from spider_utils.models.batches import network_images
from spider_utils.predict.segment import InferenceSettings, load_network, segment, select_device

DEFAULT_MODEL = "spine_t2space"
MODELS_FOLDER = Path(__file__).resolve().parents[2] / "models"
NUMBERED = re.compile(r"(.*?)(\d+)\.png", re.IGNORECASE)  # a slice's series, and its number in it
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
SIXTEEN_BIT = ("I", "I;16", "I;16B")  # what Pillow calls a grey PNG of 16 bits
ALONE = {"intensity": "slice_minmax", "geometry": "stretch"}  # the preprocessing that needs nothing but the slice


@dataclass(frozen=True)
class ReadyNetwork:
    """A trained network on its device, with what its JSON says of how it is used."""

    model: nn.Module
    device: torch.device
    size: tuple[int, int]  # of its input, (height, width) in pixels
    neighbours: int  # slices on either side that it sees as channels
    settings: InferenceSettings
    description: dict  # the JSON beside the weights
    weights: Path

    @property
    def name(self) -> str:
        """The network in words."""
        training = self.description["training"]
        return f"{self.weights.name} ({training['model']}, width {training['width']})"

    @property
    def batch_size(self) -> int:
        """Slices at a time: 1 on a CPU, which is faster there than several."""
        return 1 if self.device.type == "cpu" else 8


@dataclass(frozen=True)
class Prediction:
    """What was done to a folder: the masks that were written, and for each file left out what is wrong with it."""

    masks: tuple[Path, ...]
    left_out: dict[Path, str]
    network: str  # what made the masks, in words


def predict_folder(
    source: Path | str,
    output: Path | str,
    weights: Path | str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
) -> Prediction:
    """Segment every PNG slice of a folder, or one PNG file, and write masks of the same names and sizes to `output`.

    Slices are grey, of 8 or 16 bits and any size. The masks are 8-bit PNG files with the classes 0..3 as values; masks
    of an earlier run are overwritten. `weights`: a network with its JSON beside it; without it the shipped one. A
    network that was trained with neighbours takes them by the numbers at the end of the files' names, from the folder.
    `batch_size`: slices at a time; by default 1 on a CPU, which is faster there than several, else 8.

    A file that cannot be read is left out, and said so in the result. Raises SpiderError when there is no slice, the
    output is the slices' own folder or cannot be written, or the network is missing or does not fit.
    """
    files, folder = find_slices(source)
    output = Path(output)
    if output.exists() and output.samefile(folder):
        raise SpiderError(f"{output}: the masks would overwrite the slices; name another folder for them")
    network = ready_network(weights, device)
    refuse_alone(network)
    neighbours, batch_size = network.neighbours, batch_size or network.batch_size

    @lru_cache(maxsize=batch_size + 2 * neighbours)
    def read(path: Path) -> tuple[Tensor, tuple[int, int]]:
        image = read_slice(path)
        return network_images(image[None], network.size)[0, 0], image.shape

    siblings = {slice_key(path): path for path in png_files(folder)} if neighbours else {}
    masks, left_out = [], {}
    with progress(total=len(files), desc="predict", unit="slice") as bar:
        for start in range(0, len(files), batch_size):
            inputs, sizes, paths = [], [], []
            for path in files[start : start + batch_size]:
                try:
                    inputs.append(with_neighbours(path, siblings, neighbours, read))
                except SpiderError as error:
                    stale = (output / path.name).exists()
                    left_out[path] = f"{error}; {output / path.name} is of an earlier run" if stale else str(error)
                else:
                    sizes.append(read(path)[1])
                    paths.append(output / path.name)
            if inputs:
                found = segment(network.model, torch.stack(inputs), sizes, network.device, network.settings)
                for mask, path in zip(found, paths, strict=True):
                    write_mask(mask, path)
            masks += paths
            bar.update(min(batch_size, len(files) - start))
    return Prediction(tuple(masks), left_out, network.name)


def ready_network(weights: Path | str | None = None, device: str = "auto") -> ReadyNetwork:
    """Load a network by its weights, its JSON beside them; None: the shipped one.

    Raises SpiderError when it is missing or does not fit, or is to be used in a way that is not known.
    """
    weights = Path(weights) if weights else MODELS_FOLDER / f"{DEFAULT_MODEL}.safetensors"
    chosen = select_device(device)
    model, description = load_network(weights, chosen)
    training = description["training"]
    size, neighbours = (training["train_height"], training["train_width"]), training.get("neighbours", 0)
    return ReadyNetwork(model, chosen, size, neighbours, read_inference(description, weights), description, weights)


def trained_on(description: dict) -> dict:
    """Return the preprocessing settings of the slices that a network has learnt from, {} where they are not told."""
    parts = [description.get(part, {}) for part in ("data", "split")]  # of a run, and of a study's training
    return next((part["preprocess"] for part in parts if "preprocess" in part), {})


def refuse_alone(network: ReadyNetwork) -> None:
    """Raise SpiderError when a network learnt from slices that were made in a way that needs more than the slice."""
    made = trained_on(network.description)
    for name, possible in ALONE.items():
        if made.get(name, possible) != possible:
            raise SpiderError(
                f"{network.weights}: trained with {name} '{made[name]}', which a PNG slice on its own does not allow; "
                f"take a network trained with '{possible}'"
            )


def read_inference(description: dict, weights: Path) -> InferenceSettings:
    """Return how the network is to be used, from the JSON beside it. Raises SpiderError on unknown views or rules."""
    found = dict(description.get("inference") or {})
    try:
        found["views"] = tuple(found.get("views", InferenceSettings.views))
        found["cleanup"] = CleanupSettings(**found["cleanup"]) if found.get("cleanup") is not None else None
        return InferenceSettings(**found)
    except (SpiderError, TypeError) as error:
        raise SpiderError(f"{weights.with_suffix('.json')}: inference: {error}") from error


def find_slices(source: Path | str) -> tuple[list[Path], Path]:
    """Return the PNG files of a folder, or the one that is named, and the folder they lie in.

    Raises SpiderError when there is none.
    """
    source = Path(source)
    if source.is_file():
        if source.suffix.lower() != ".png":
            raise SpiderError(f"{source}: expected a folder with PNG slices, or one PNG file")
        return [source], source.parent
    if not source.is_dir():
        raise SpiderError(f"{source}: expected a folder with PNG slices, found no such folder; check the path")
    files = png_files(source)
    if not files:
        raise SpiderError(f"{source}: expected a folder with PNG slices, found no PNG file in it; check the path")
    return files, source


def holds_slices(source: Path | str) -> bool:
    """Return True for a PNG file and for a folder with one in it. Raises SpiderError where nothing is."""
    source = Path(source)
    if source.is_dir():
        return bool(png_files(source))
    if not source.is_file():
        raise SpiderError(
            f"{source}: expected a volume, or a folder of volumes or PNG slices, found none; check the path"
        )
    return source.suffix.lower() == ".png"


def png_files(folder: Path) -> list[Path]:
    """List the PNG files of a folder, hidden ones left out, each series in the order of its slices' numbers."""
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and not path.name.startswith(".")]
    return sorted((path for path in found if path.is_file()), key=lambda path: (*slice_key(path), path.name))


def slice_key(path: Path) -> tuple[str, int]:
    """Return series and number of a slice, by a file name like 12_t2_SPACE_slice61.png; -1 where there is no number."""
    match = NUMBERED.fullmatch(path.name)
    return (match[1], int(match[2])) if match else (path.name, -1)


def with_neighbours(
    path: Path,
    siblings: dict[tuple[str, int], Path],
    neighbours: int,
    read: Callable[[Path], tuple[Tensor, tuple[int, int]]],
) -> Tensor:
    """Return a slice with its neighbours as channels, (1 + 2 neighbours, h, w), the lowest number first.

    For a neighbour that is missing or cannot be read stands the next one nearer to the slice, at last the slice itself
    (as in `store.neighbour_rows`). `siblings` gives files by `slice_key`, `read` a file's pixels (h, w) and own size.
    """
    channels = [read(path)[0]]
    series, number = slice_key(path)
    for step in range(1, neighbours + 1):
        for side in (-1, 1):
            nearer = channels[0] if side < 0 else channels[-1]
            found = siblings.get((series, number + side * step)) if number >= 0 else None
            try:
                channel = read(found)[0] if found else nearer
            except SpiderError:
                channel = nearer
            channels.insert(0 if side < 0 else len(channels), channel)
    return torch.stack(channels)


def read_slice(path: Path) -> np.ndarray:
    """Read a PNG slice as (H, W) uint8, scaled to 0..255 by its minimum and maximum. Raises as `read_grey`."""
    from spider_utils.data.preprocess import scale_intensity

    return scale_intensity(read_grey(path)[None].astype(np.float32), "slice_minmax")[0]


def read_grey(path: Path) -> np.ndarray:
    """Read a grey PNG of any depth as (H, W). A colour file must have equal channels; transparency is not used.

    Raises SpiderError on a file that is cut off, is no PNG or is in colour.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            picture.load()
            if picture.mode in SIXTEEN_BIT:
                return np.asarray(picture)
            if picture.mode in ("1", "L", "LA"):
                return np.asarray(picture.convert("L"))
            colours = np.asarray(picture.convert("RGB"))
    except UNREADABLE as error:
        raise SpiderError(f"{path}: expected a PNG slice, found a file that cannot be read; fetch it again") from error
    if not (colours == colours[..., :1]).all():
        raise SpiderError(f"{path}: expected a grey slice, found a picture in colour; store it as grey")
    return colours[..., 0]


def write_mask(mask: np.ndarray, path: Path) -> None:
    """Write a mask (H, W) uint8 as an 8-bit grey PNG, atomically. Raises SpiderError when it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            Image.fromarray(mask).save(temporary, format="PNG")
    except OSError as error:
        raise SpiderError(f"{path}: cannot be written ({error.strerror or error}); name another folder") from error
