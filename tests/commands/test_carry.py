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


def command(small, shared_data, out, metadata=None):
    return main(
        ["carry", "--labelled", str(small / "space"), "--images", str(small / "plain"), "--out", str(small / out)]
        + ["--metadata", str(metadata or shared_data / "spider_metadata")]
    )


def test_the_folder_is_one_of_pairs_and_the_same_each_time(small, shared_data, capsys):
    assert [command(small, shared_data, out) for out in ("one", "two")] == [0, 0]
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
    assert command(small, shared_data, "one") == 2
    assert "expected no folder yet" in capsys.readouterr().err


def test_what_is_missing_is_named(small, shared_data, capsys):
    assert command(small, shared_data, "out", small) == 2
    assert "series_geometry.csv: expected the table" in capsys.readouterr().err
    geometry = pd.read_csv(shared_data / "spider_metadata" / "series_geometry.csv")
    geometry[geometry["series"] != "7_t1"].to_csv(small / "series_geometry.csv", index=False)
    assert command(small, shared_data, "out", small) == 2
    assert "expected a row of 7_t1" in capsys.readouterr().err
    for path in (small / "plain").glob("7_*.png"):
        path.unlink()
    assert command(small, shared_data, "out") == 2
    assert "expected slices such as 12_t1.png" in capsys.readouterr().err


def test_the_pixel_size_is_that_of_the_plane_whichever_axis_the_slices_lie_on():
    columns = ["series", "z", "y", "x", "sz", "sy", "sx", "slice_axis_in_array"]
    rows = [["1_t1", 17, 400, 500, 3.3, 0.5, 0.6, 0], ["1_t2", 400, 500, 21, 0.5, 0.6, 4.4, 2]]
    geometry = pd.DataFrame(rows, columns=columns).set_index("series")
    assert plane(geometry, "1_t1", (400, 500)) == ((0.5, 0.6), 8)
    assert plane(geometry, "1_t2", (800, 250)) == (pytest.approx((0.25, 1.2)), 10)
