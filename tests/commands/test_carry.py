"""The command `carry`: a folder that source `pairs` reads, the same each time, and errors that name what is missing."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spider_utils.__main__ import main
from spider_utils.commands.carry import plane
from spider_utils.data.pairs import find_pairs, read_pairs
from spider_utils.data.png import png_files


@pytest.fixture
def small(shared_data, tmp_path):
    """Five T2 SPACE slices of patient 7 and its unlabelled T1, with a slice of noise as its T2."""
    found = [path for path in png_files(shared_data / "released_t2_space" / "images") if path.name.startswith("7_")]
    for part in ("images", "masks"):
        (tmp_path / "space" / part).mkdir(parents=True)
        for path in found[10:15]:
            shutil.copy(shared_data / "released_t2_space" / part / path.name, tmp_path / "space" / part)
    (tmp_path / "plain").mkdir()
    shutil.copy(shared_data / "unlabelled_t1_t2" / "7_t1.png", tmp_path / "plain")
    noise = np.random.default_rng(1).integers(0, 256, (512, 512)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "plain" / "7_t2.png")
    Image.fromarray(noise).save(tmp_path / "plain" / "9_t1.png")  # a patient without T2 SPACE
    return tmp_path


def command(small, out):
    folders = {"labelled": "space", "images": "plain", "out": out}
    return main(["carry", *(word for name, at in folders.items() for word in (f"--{name}", str(small / at)))])


@pytest.mark.slow
def test_the_folder_is_one_of_pairs_and_the_same_each_time(small, capsys):
    assert [command(small, out) for out in ("one", "two")] == [0, 0]
    assert "1 of 2 slices have got labels" in capsys.readouterr().out
    table = pd.read_csv(small / "one" / "carried.csv").set_index("file")
    assert table["passed"].to_dict() == {"7_t1_carried.png": True, "7_t2_carried.png": False}
    assert "metric" in table.loc["7_t2_carried.png", "why_not"]
    rows = pd.read_csv(small / "one" / "slices.csv")
    assert rows.to_dict("records") == [
        {
            "file": "7_t1_carried.png", "patient": 7, "sequence": "T1", "subset": "training", "slice_index": 8,
            "row_mm": 0.5859, "col_mm": 0.5859, "mask_from": "carried",
        }
    ]  # fmt: skip
    (series,) = find_pairs(small / "one")
    stack = read_pairs(series)
    stored = np.asarray(Image.open(small / "plain" / "7_t1.png").convert("L"))
    assert (stack.image[0] == stored[::-1]).all()  # stored with the sacrum at the top
    assert set(np.unique(stack.labels)) == {0, 1, 2, 3}
    for path in sorted((small / "one").rglob("*.*")):
        assert path.read_bytes() == (small / "two" / path.relative_to(small / "one")).read_bytes()
    assert command(small, "one") == 2
    assert "expected no folder yet" in capsys.readouterr().err


def test_what_is_missing_is_named(small, capsys):
    for path in [*small.glob("space/*/7_*"), small / "plain" / "7_t1.png"]:
        path.rename(path.with_name(path.name.replace("7_", "11_", 1)))  # of the validation subset
    assert command(small, "out") == 2
    assert "11_t1: expected a series of SPIDER's training subset, found none" in capsys.readouterr().err
    (small / "plain" / "11_t1.png").unlink()
    assert command(small, "out") == 2
    assert "expected slices such as 12_t1.png" in capsys.readouterr().err


def test_the_pixel_size_is_that_of_the_plane_whichever_axis_the_slices_lie_on():
    """By SPIDER's table 5_t2_SPACE is 120 x 640 x 512 (slices first), 100_t2 797 x 492 x 21 (slices last)."""
    assert plane("5_t2_SPACE", (320, 512)) == (pytest.approx((2 * 0.46875, 0.46875), abs=1e-5), 60)
    assert plane("100_t2", (797, 246)) == (pytest.approx((0.387923, 2 * 0.630518), abs=1e-5), 10)
