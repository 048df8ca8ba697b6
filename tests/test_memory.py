"""Memory is bounded: ten times as many volumes or slices take the same."""

import shutil
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from benchmarks.rows import run_command

pytestmark = pytest.mark.slow

FEW, MANY, SHARE = 5, 50, 1.1  # after fewer, the allocator has not settled
SPARE_GB = 0.02  # beside this share, for tables and what differs from call to call
SHAPE, SIDE = (4, 1024, 768), 1536  # of a volume, and of a PNG slice
PREPROCESS = """
import sys
from spider_utils.data.preprocess import make_store
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import find_series
settings = PreprocessSettings(store_height=320, store_width=256, min_classes=1)
make_store(find_series("spider", sys.argv[1]), settings, sys.argv[2])
"""
COMMAND = [sys.executable, "-m", "spider_utils"]
PREDICT = [*COMMAND, "predict", "--device", "cpu", "--weights", "paper_baseline", "--input"]
WORK = {
    "preprocess": lambda data, out: [sys.executable, "-c", PREPROCESS, data, out / "store"],
    "predict slices": lambda data, out: [*PREDICT, data / "slices", "--output", out],
    "predict volumes": lambda data, out: [*PREDICT, data / "images", "--output", out],
    "score": lambda data, out: [
        *COMMAND, "score", "--prediction", data / "masks", "--reference", data / "masks", "--out", out / "scores.csv"
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two data sets, of FEW and of MANY volumes with masks and slices; by their number."""
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 50:90, 50:90], labels[:, 90:110, 50:90], labels[:, 50:150, 100:115] = 1, 201, 100
    image, mask = (sitk.GetImageFromArray(array) for array in (rng.integers(0, 300, SHAPE, np.int16), labels))
    for volume in (image, mask):
        volume.SetSpacing((0.3, 0.3, 4.0))
        volume.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))  # sagittal slices
    grey = np.kron(rng.integers(0, 256, (96, 96), np.uint8), np.ones((16, 16), np.uint8))
    assert grey.shape == (SIDE, SIDE)
    first = tmp_path_factory.mktemp("first")
    sitk.WriteImage(image, str(first / "images.mha"), True)
    sitk.WriteImage(mask, str(first / "masks.mha"), True)
    Image.fromarray(grey).save(first / "slices.png")
    made = {}
    for count in (FEW, MANY):
        made[count] = tmp_path_factory.mktemp(f"{count}_volumes")
        for file in first.iterdir():
            (made[count] / file.stem).mkdir()
            for number in range(1, count + 1):
                shutil.copy(file, made[count] / file.stem / f"{number}_t2{file.suffix}")
    return made


@pytest.mark.parametrize("work", WORK)
def test_a_set_ten_times_as_large_takes_the_same_memory(sets, tmp_path, work, monkeypatch):
    monkeypatch.setenv("SPIDER_STATIC", "1")
    peak_gb = {}
    for count, data in sets.items():
        out = tmp_path / str(count)
        out.mkdir()
        peak_gb[count] = run_command([str(part) for part in WORK[work](data, out)]).peak_gb
        assert list(out.rglob("*")), "nothing was written"
    assert peak_gb[MANY] < SHARE * peak_gb[FEW] + SPARE_GB, peak_gb
