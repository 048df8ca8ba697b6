"""What is measured on: the embedded sample's slices as a store, and phantom volumes; no other data is needed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from benchmarks.rows import Bench
from spider_utils.data.labels import CANAL_LABEL
from spider_utils.data.preprocess import make_store
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import SOURCES, find_series
from spider_utils.data.store import SliceStore
from spider_utils.models.batches import network_images, network_masks

TOY_SIZE = (64, 64)
# In a process of its own: a child's peak memory, as the system counts it, begins with its parent's.
MAKE = """
import sys, SimpleITK as s
from spider_utils.studies.roundtrip import Extent, sampled_phantom
volumes = sampled_phantom(sys.argv[1], Extent(*map(float, sys.argv[2:5])))
for volume, path in zip(volumes, sys.argv[5:]):
    s.WriteImage(volume, path, True)
"""


def sample_store(bench: Bench) -> SliceStore:
    """Make a store of the embedded sample, 640 x 512 pixels a slice (toy: of two series, 64 x 64)."""
    height, width = bench.sized((640, 512), TOY_SIZE)
    series = find_series("sample", str(SOURCES["sample"].home))
    series = bench.sized(series, [one for one in series if len(one.image_files) > 4][:2])
    return make_store(series, PreprocessSettings(store_height=height, store_width=width), bench.folder / "store")


def sample_slices(bench: Bench, count: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return slices (count, 1, *size) uint8 and masks (count, *size) uint8 of the embedded sample."""
    store = sample_store(bench)
    rows = np.resize(np.arange(len(store)), count)
    return network_images(store.images[rows], size), network_masks(store.masks[rows], size)


def phantom_volume(bench: Bench, folder: Path, name: str, kind: str, across_mm: float) -> Path:
    """Write a phantom's volume and mask, images/<name>.mha and masks/<name>.mha, compressed, as SPIDER's are.

    `kind` is one of studies.roundtrip.SAMPLED, `across_mm` how much of the spine its slices cover. Returns the volume's
    path. (Toy: noise, and labels in it.)
    """
    paths = folder / "images" / f"{name}.mha", folder / "masks" / f"{name}.mha"
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    if bench.toy:
        rng = np.random.default_rng(0)
        for path, values in zip(paths, ([*range(300)], [0, 1, CANAL_LABEL, 201]), strict=True):
            image = sitk.GetImageFromArray(rng.choice(np.array(values, np.int16), (6, 60, 48)))
            image.SetSpacing((0.6, 0.6, 4.0))
            image.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))  # sagittal slices
            sitk.WriteImage(image, str(path), True)
    else:
        command = [sys.executable, "-c", MAKE, kind, str(across_mm), "300", "240", *map(str, paths)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return paths[0]
