"""Masks for a folder of PNG slices with a trained network: python -m spider_utils predict --input DIR --output OUT.

A slice is scaled to 0..255 by its own minimum and maximum and resized to the network's input, as in training; the
network's output is brought back to the slice's own size. What else is done (views, cleaning up) stands in the JSON
beside the weights, under "inference", so that a network predicts as it was measured.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spider_utils.common.errors import SpiderError, in_a_batch
from spider_utils.common.files import atomic_path
from spider_utils.common.progress import progress
from spider_utils.data.png import png_files, read_grey, slice_key
from spider_utils.data.store import neighbour_numbers
from spider_utils.models.batches import network_images
from spider_utils.predict.network import ReadyNetwork, ready_network
from spider_utils.predict.segment import Batch, segment_batches
from spider_utils.train.description import trained_on

ALONE = {"intensity": "slice_minmax", "geometry": "stretch"}  # the preprocessing that needs nothing but the slice


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
    masks: list[Path] = []
    left_out: dict[Path, str] = {}
    batches = file_batches(files, folder, network, batch_size or network.batch_size, left_out)
    for paths, found, _ in segment_batches(network, batches):
        for path, mask in zip(paths, found, strict=True):
            masks.append(output / path.name)
            write_mask(mask, masks[-1])
    for path in left_out:
        if (output / path.name).exists():
            left_out[path] += f"; {output / path.name} is of an earlier run"
    return Prediction(tuple(masks), left_out, network.name)


def file_batches(
    files: list[Path], folder: Path, network: ReadyNetwork, batch_size: int, left_out: dict[Path, str]
) -> Iterator[Batch]:
    """Read slices and yield them as batches, known by their files; what cannot be read is noted in `left_out`.

    `folder`: where the neighbours are looked for.
    """

    @lru_cache(maxsize=batch_size + 2 * network.neighbours)
    def read(path: Path) -> tuple[Tensor, tuple[int, int]]:
        image = read_slice(path)
        return network_images(image[None], network.size)[0, 0], image.shape

    siblings = {slice_key(path): path for path in png_files(folder)} if network.neighbours else {}
    with progress(total=len(files), desc="predict", unit="slice") as bar:
        for start in range(0, len(files), batch_size):
            paths, inputs, sizes = [], [], []
            for path in files[start : start + batch_size]:
                try:
                    inputs.append(with_neighbours(path, siblings, network.neighbours, read))
                except Exception as error:
                    left_out[path] = in_a_batch(path, error)
                else:
                    sizes.append(read(path)[1])
                    paths.append(path)
            if inputs:
                yield paths, torch.stack(inputs), sizes
            bar.update(min(batch_size, len(files) - start))


def refuse_alone(network: ReadyNetwork) -> None:
    """Raise SpiderError when a network learnt from slices that were made in a way that needs more than the slice."""
    made = trained_on(network.description)
    for name, possible in ALONE.items():
        if made.get(name, possible) != possible:
            raise SpiderError(
                f"{network.weights}: trained with {name} '{made[name]}', which a PNG slice on its own does not allow; "
                f"take a network trained with '{possible}'"
            )


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


def with_neighbours(
    path: Path,
    siblings: dict[tuple[str, int], Path],
    neighbours: int,
    read: Callable[[Path], tuple[Tensor, tuple[int, int]]],
) -> Tensor:
    """Return a slice with its neighbours as channels, (1 + 2 neighbours, h, w), the lowest number first.

    For a neighbour that is missing or cannot be read stands the next one nearer to the slice, at last the slice itself
    (see `store.neighbour_numbers`). `siblings` gives files by `slice_key`, `read` a file's pixels (h, w) and own size.
    """
    own, (series, number) = read(path)[0], slice_key(path)

    def is_readable(other: int) -> bool:
        try:
            return number >= 0 and (series, other) in siblings and bool(read(siblings[series, other]))
        except SpiderError:
            return False

    around = neighbour_numbers(number, neighbours, is_readable)
    return torch.stack([own if other == number else read(siblings[series, other])[0] for other in around])


def read_slice(path: Path) -> np.ndarray:
    """Read a PNG slice as (H, W) uint8, scaled to 0..255 by its minimum and maximum. Raises as `read_grey`."""
    from spider_utils.data.intensity import scale_intensity

    return scale_intensity(read_grey(path)[None].astype(np.float32), "slice_minmax")[0]


def write_mask(mask: np.ndarray, path: Path) -> None:
    """Write a mask (H, W) uint8 as an 8-bit grey PNG, atomically. Raises SpiderError when it cannot be written."""
    try:
        with atomic_path(path) as temporary:
            Image.fromarray(mask).save(temporary, format="PNG")
    except OSError as error:
        raise SpiderError(f"{path}: cannot be written ({error.strerror or error}); name another folder") from error
