"""Rows of prediction: PNG slices and volumes with the shipped network, on a CPU."""

import shutil
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from benchmarks.inputs import phantom_volume, sample_store
from benchmarks.peers import skip_without_nnunet
from benchmarks.rows import Bench, Pair, Row
from spider_utils.predict.network import FINEST, ready_network
from spider_utils.predict.slices import predict_folder
from spider_utils.predict.volumes import predict_volumes
from spider_utils.train.checkpoints import load_network

SLICES, VOLUMES = 24, 20
COPY = "import sys, SimpleITK as s; s.WriteImage(s.ReadImage(sys.argv[1]), sys.argv[2], True)"
PREDICT = """
import sys, tempfile
from spider_utils.__main__ import main
with tempfile.TemporaryDirectory() as folder:
    sys.exit(main(["predict", "--device", "cpu", "--input", sys.argv[1], "--output", folder, *sys.argv[2:]]))
"""
GIVEN_BACK = "import spider_utils.predict.network as network; network.keep_memory = lambda: False" + PREDICT
FULL_SIZE = ["--weights", FINEST]


def shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a slice (H, W) to 0..255 by its minimum and maximum and resize it to (height, width), uint8."""
    low, high = float(image.min()), float(image.max())
    grey = np.rint((image.astype(np.float32) - low) / max(high - low, 1) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize(size[::-1], Image.Resampling.BILINEAR))


def plain_network() -> tuple[nn.Module, Callable[[np.ndarray], np.ndarray]]:
    """Return the shipped network as it was trained, in PyTorch's own layout, and what makes its input of a slice."""
    model, description = load_network(ready_network(device="cpu").weights, torch.device("cpu"))
    size = description["training"]["train_height"], description["training"]["train_width"]
    return model.to(memory_format=torch.contiguous_format), lambda image: shrunk(image, size)


def plain_mask(model: nn.Module, shown: dict[int, np.ndarray], number: int, size: tuple[int, int]) -> np.ndarray:
    """Return the mask (H, W) uint8 of a slice from itself and its two neighbours, where it has them."""
    around = [shown.get(other, shown[number]) for other in (number - 1, number, number + 1)]
    with torch.no_grad():
        logits = model(torch.from_numpy(np.stack(around))[None].float() / 255)
        return F.interpolate(logits, size=size, mode="bilinear")[0].argmax(0).byte().numpy()


def folder_of_slices(bench: Bench) -> Path:
    """Write real slices of the sample as PNG files; return their folder."""
    store, slices = sample_store(bench), bench.folder / "slices"
    slices.mkdir()
    several = store.table[store.table.groupby("series")["series"].transform("size") > 4]
    for row, told in several.head(bench.sized(SLICES, 3)).iterrows():
        Image.fromarray(store.images[row]).save(slices / f"{told['series']}_{told['slice_index']}.png")
    return slices


def png_slices(bench: Bench) -> Pair:
    """Segment a folder of PNG slices by `predict` and in a plain loop; masks are alike but for rounding at borders."""
    slices, plain_masks = folder_of_slices(bench), bench.folder / "plain"
    plain_masks.mkdir()

    def plain() -> Path:
        (model, prepare), shown, shapes = plain_network(), {}, {}
        for path in sorted(slices.glob("*.png")):
            series, _, number = path.stem.rpartition("_")
            image = np.asarray(Image.open(path))
            shown.setdefault(series, {})[int(number)] = prepare(image)
            shapes[series, int(number)] = image.shape
        for (series, number), shape in shapes.items():
            mask = plain_mask(model, shown[series], number, shape)
            Image.fromarray(mask).save(plain_masks / f"{series}_{number}.png")
        return plain_masks

    def ours() -> Path:
        predict_folder(slices, bench.folder / "ours", device="cpu")
        return bench.folder / "ours"

    return Pair(ours, plain, alike)


def alike(ours: Path, theirs: Path) -> bool:
    """Return whether two folders hold masks of the same names, each of which agree in 99 % of the pixels."""
    names = [sorted(path.name for path in folder.glob("*.png")) for folder in (ours, theirs)]
    read = ([np.asarray(Image.open(folder / name)) for folder in (ours, theirs)] for name in names[0])
    return bool(names[0]) and names[0] == names[1] and all((one == other).mean() > 0.99 for one, other in read)


def kept_memory(bench: Bench) -> Pair:
    """Segment PNG slices by the network of full size, with memory kept for the next layer and with it given back."""
    slices = str(folder_of_slices(bench))
    ours, theirs = ([sys.executable, "-c", code, slices, *FULL_SIZE] for code in (PREDICT, GIVEN_BACK))
    return Pair(ours, theirs)


def space_volume(bench: Bench) -> Path:
    """Write a phantom's T2 SPACE volume, 40 slices of 640 x 512."""
    return phantom_volume(bench, bench.folder, "3_t2_SPACE", "T2 SPACE", 40.0)


def volume_in_a_loop(bench: Bench) -> Pair:
    """Segment a volume by `predict` and in a plain loop, which scales every slice by its minimum and maximum."""
    volume, numbers = space_volume(bench), count()

    def plain() -> None:
        model, prepare = plain_network()
        image = sitk.ReadImage(str(volume))
        posed = sitk.DICOMOrient(image, "PIL")
        slices = sitk.GetArrayFromImage(posed)
        shown = dict(enumerate(map(prepare, slices)))
        labels = sitk.GetImageFromArray(np.stack([plain_mask(model, shown, one, slices.shape[1:]) for one in shown]))
        labels.CopyInformation(posed)
        code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
        sitk.WriteImage(sitk.DICOMOrient(labels, code), str(bench.folder / "plain.mha"), True)

    return Pair(lambda: segmented(volume, bench.folder / "ours" / str(next(numbers))), plain)


def segmented(source: Path, output: Path) -> None:
    """Segment a volume or a folder of them by `predict`."""
    assert not predict_volumes(source, output, device="cpu").left_out


def volume_by_nnunet(bench: Bench) -> Pair:
    """Segment a volume by the command, and by nnU-Net's predictor with the same network."""
    skip_without_nnunet()
    volume = space_volume(bench)
    theirs = [sys.executable, "-m", "benchmarks.nnunet", str(volume), str(bench.folder / "nnunet")]
    return Pair([sys.executable, "-c", PREDICT, str(volume)], theirs)


def volume_copied(bench: Bench) -> Pair:
    """Segment a volume by the command, and read and write it again, compressed, with SimpleITK alone."""
    volume = space_volume(bench)
    copy = [sys.executable, "-c", COPY, str(volume), str(bench.folder / "copy.mha")]
    return Pair([sys.executable, "-c", PREDICT, str(volume)], copy)


def many_volumes(bench: Bench) -> Pair:
    """Segment twenty volumes in one go, and one of them."""
    one = phantom_volume(bench, bench.folder / "one", "1_t2", "T1 / T2", 30.0)
    many, numbers, volumes = bench.folder / "many", count(), bench.sized(VOLUMES, 2)
    many.mkdir()
    for number in range(volumes):
        shutil.copy(one, many / f"{number + 1}_t2.mha")

    def segment(source: Path) -> None:
        segmented(source, bench.folder / "labels" / str(next(numbers)))

    return Pair(lambda: segment(many), lambda: segment(one), peer_times=volumes)


SPACE = "predict: a T2 SPACE volume, 40 slices"
BOUND = "most of the time is the network's, whose convolutions are the same on both sides"
MORE = (
    "the convolutions are the same on both sides; ours also standardises the series and checks what it reads and writes"
)
APART = "most of the time is the network's, which has all cores in both; only the reading is done beside it"
ROWS = {
    "predict_png": Row("predict: 24 PNG slices", "a plain loop slice by slice", 2, png_slices, limit=BOUND),
    "predict_memory": Row(
        "predict: 24 PNG slices, full size, command", "the same, its memory given back", None, kept_memory
    ),
    "predict_volume_loop": Row(SPACE, "a plain loop slice by slice", 2, volume_in_a_loop, limit=MORE),
    "predict_volume_nnunet": Row(
        f"{SPACE}, command", "nnU-Net's predictor, same network", 2, volume_by_nnunet, limit=MORE
    ),
    "predict_volume_copy": Row(f"{SPACE}, command", "SimpleITK copying it", None, volume_copied),
    "predict_many": Row("predict: 20 volumes", "20 times one volume", 1 / 0.7, many_volumes, limit=APART),
}
