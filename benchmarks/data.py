"""Rows of data: preprocessing, opening what was prepared, batches, augmentation."""

import os
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.inputs import phantom_volume, sample_slices, sample_store
from benchmarks.rows import Bench, Pair, Row
from spider_utils.data.preprocess import make_store
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import find_series
from spider_utils.data.store import open_store
from spider_utils.models.batches import shuffled_batches
from spider_utils.train.augment import augment
from spider_utils.train.settings import TrainSettings
from spider_utils.train.slices import read_slices

BATCH = 8
WORKERS = min(8, os.cpu_count() or 1)
VOLUMES = (("1_t2_SPACE", "T2 SPACE", 40.0), ("1_t1", "T1 / T2", 66.0), ("2_t2", "T1 / T2", 66.0))


class PngSlices(Dataset):
    """Slices and masks as PNG files, read one by one."""

    def __init__(self, images: list[Path], masks: list[Path]):
        self.images, self.masks = images, masks

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        image, mask = (np.array(Image.open(paths[number])) for paths in (self.images, self.masks))
        return torch.from_numpy(image)[None], torch.from_numpy(mask)


def opening(bench: Bench) -> Pair:
    """Open a prepared set and take every batch of an epoch, uint8 on both sides; a sum over the batches is equal.

    What a network takes, float32 and class numbers, a training makes of them on its device, whoever reads them.
    """
    store = sample_store(bench)
    names: dict[str, list[Path]] = {"images": [], "masks": []}
    for kind, paths in names.items():
        (bench.folder / kind).mkdir()
        for number, picture in enumerate(getattr(store, kind)):
            paths.append(bench.folder / kind / f"{number:04d}.png")
            Image.fromarray(picture).save(paths[-1])
    height, width = store.images.shape[1:]
    settings = TrainSettings(train_height=height, train_width=width)

    def from_store() -> float:
        os.utime(store.path / "masks.npy")  # so that it is checked as one that was never opened
        opened = open_store(store.path)
        data = read_slices(opened, np.arange(len(opened)), settings)
        batches = shuffled_batches(len(data.images), BATCH, 0, 1)
        return corners((data.images[rows], data.masks[rows]) for rows in batches)

    def from_files() -> float:
        workers = bench.sized(WORKERS, 0)
        return corners(DataLoader(PngSlices(**names), batch_size=BATCH, shuffle=True, num_workers=workers))

    return Pair(from_store, from_files, lambda a, b: bool(np.isclose(a, b)))


def corners(batches: Iterable) -> float:
    """Return a sum that every slice and mask has a share in, of some of its rows, which costs next to nothing."""
    return float(sum(images[..., ::64, :].sum() + masks[..., ::64, :].sum() for images, masks in batches))


def augmentation(bench: Bench) -> Pair:
    """Augment a batch strongly."""
    images, masks = sample_slices(bench, BATCH, bench.sized((320, 256), (64, 64)))
    inputs, targets = images.float() / 255, masks.long()
    change = monai_transforms(*masks.shape[1:])

    def by_monai() -> torch.Size:
        pairs = zip(inputs, targets, strict=True)
        changed = [change({"image": image, "label": mask[None]}) for image, mask in pairs]
        return torch.stack([(one[0] if isinstance(one, list) else one)["image"] for one in changed]).shape  # a crop

    return Pair(lambda: augment(inputs, targets, "strong")[0].shape, by_monai, lambda a, b: a == b)


def monai_transforms(height: int, width: int) -> Callable:
    """Return MONAI's transforms of the kinds that "strong" has, each as often and about as far."""
    from monai import transforms as t

    both, shift = ["image", "label"], (0.05 * height, 0.05 * width)
    crop = t.Compose(
        [
            t.RandCropByPosNegLabeld(both, "label", (int(0.8 * height), int(0.8 * width)), pos=1, neg=0, num_samples=1),
            t.Resized(both, (height, width), mode=("bilinear", "nearest")),
        ]
    )
    return t.Compose(
        [
            t.Rand2DElasticd(
                both, spacing=(height / 5, width / 4), magnitude_range=(0, 0.03 * width), prob=1, rotate_range=0.26,
                scale_range=(0.2, 0.2), translate_range=shift, mode=("bilinear", "nearest"), padding_mode="zeros",
            ),
            t.OneOf([t.Identityd(both), crop], weights=(0.7, 0.3)),
            t.RandAdjustContrastd("image", prob=0.5, gamma=(0.67, 1.5)),
            t.RandScaleIntensityd("image", prob=0.5, factors=0.25),
            t.RandShiftIntensityd("image", prob=0.5, offsets=0.1),
            t.RandBiasFieldd("image", prob=0.5),
            t.RandGaussianSmoothd("image", prob=0.5, sigma_x=(0.5, 1), sigma_y=(0.5, 1)),
            t.RandSimulateLowResolutiond("image", prob=0.5, upsample_mode="bilinear", zoom_range=(0.5, 0.5)),
            t.RandGaussianNoised("image", prob=0.5, std=0.05),
        ]
    )  # fmt: skip


def preprocessing(bench: Bench) -> Pair:
    """Make a store of volumes with masks; read the same files with SimpleITK, doing nothing with them."""
    for name, kind, across_mm in VOLUMES:
        phantom_volume(bench, bench.folder, name, kind, across_mm)
    series = find_series("spider", bench.folder)
    height, width = bench.sized((640, 512), (64, 64))
    settings, numbers = PreprocessSettings(store_height=height, store_width=width, min_classes=1), count()

    def ours() -> int:
        store = make_store(series, settings, bench.folder / "stores" / str(next(numbers)))
        return store.audit["series"].nunique()

    def read() -> int:
        paths = [path for one in series for path in one.image_files + one.mask_files]
        return len([sitk.ReadImage(str(path)) for path in paths]) // 2

    return Pair(ours, read, lambda a, b: a == b)


ROWS = {
    "data_opening": Row(
        "opening a prepared set, an epoch of uint8 batches", "PNG files and a DataLoader", 10, opening,
        limit="most of ours is copying the slices into memory, where they stay, and counting their classes",
    ),
    "data_augment": Row(
        "strong augmentation of 8 slices", "MONAI's transforms of the same kind", 3, augmentation,
        limit="a fifth is one random number a pixel, by which a pixel of the spine is drawn; fewer would draw others",
    ),
    "data_preprocess": Row(
        "preprocessing 3 volumes with masks", "SimpleITK reading them", 0.7, preprocessing,
        limit="resizing takes twice the reading, every voxel is read once more to see that the file is whole, and what "
        "is made is written; several series at a time need free cores",
    ),
}  # fmt: skip
