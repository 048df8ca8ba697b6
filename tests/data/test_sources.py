"""One interface over the sources, and the fingerprint of a data set."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.series import Series, SliceStack
from spider_utils.data.sources import (
    FORMER_BYTES,
    SOURCES,
    Source,
    find_series,
    fingerprint,
    get_source,
    provide,
    read_stack,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def spider_folder(tmp_path):
    for kind, value in (("images", 500), ("masks", 100)):
        (tmp_path / "spider" / kind).mkdir(parents=True)
        for name in ("1_t1", "2_t2"):
            volume = sitk.GetImageFromArray(np.full((3, 4, 5), value, np.uint16))
            sitk.WriteImage(volume, str(tmp_path / "spider" / kind / f"{name}.mha"))
    return tmp_path / "spider"


@pytest.fixture
def released_folder(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "released" / kind).mkdir(parents=True)
        Image.fromarray(np.full((6, 5), 150, np.uint8)).save(tmp_path / "released" / kind / "7_t2_SPACE_slice3.png")
    return tmp_path / "released"


def test_each_source_is_read_by_its_own_reader(spider_folder, released_folder):
    assert tuple(SOURCES) == ("sample", "phantom", "released", "pairs", "spider")
    for source in ("phantom", "spider"):
        found = find_series(source, spider_folder)
        assert [series.name for series in found] == ["1_t1", "2_t2"]
        assert (read_stack(found[0]).classes() == 2).all()
    (released,) = find_series("released", released_folder)
    assert read_stack(released).image.shape == (1, 6, 5)
    assert (read_stack(released).classes() == 2).all()


def test_unknown_source_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(SpiderError, match="phantom, released, pairs, spider.*'kaggle'"):
        find_series("kaggle", tmp_path)


def test_joined_sources_are_read_each_from_its_own_folder(spider_folder, released_folder):
    folders = os.pathsep.join(map(str, (released_folder, spider_folder)))
    found = find_series("released+spider", folders)
    assert [(one.name, one.source) for one in found] == [
        ("7_t2_SPACE", "released"), ("1_t1", "spider"), ("2_t2", "spider")
    ]  # fmt: skip
    assert [read_stack(one).image.shape[0] > 0 for one in found] == [True] * 3
    note = get_source("released+spider").note
    assert SOURCES["released"].note in note and SOURCES["spider"].note in note
    with pytest.raises(SpiderError, match="expected 2 folders joined by"):
        find_series("released+spider", released_folder)
    with pytest.raises(SpiderError, match="7_t2_SPACE"):  # one series would be on both sides of a split
        find_series("released+released", os.pathsep.join([str(released_folder)] * 2))


def test_another_source_is_added_in_one_place(tmp_path, monkeypatch):
    """An array file a patient: listed in SOURCES, it is fetched, found and read."""

    def fetch(folder):
        folder.mkdir()
        np.save(folder / "8.npy", np.full((2, 3, 4), 201))

    def find(folder):
        return [
            Series(path.stem, int(path.stem), "T2", "", (path,), (path,), "spider") for path in folder.glob("*.npy")
        ]

    def read(series):
        values = np.load(series.image_files[0])
        return SliceStack(values.astype(np.float32), values.astype(np.uint16), None, None, np.arange(2), series.coding)

    monkeypatch.setitem(
        SOURCES, "arrays", Source("arrays", "MRI: nobody", find, read, fetch=lambda at: fetch(Path(at)))
    )
    assert main(["download", "--source", "arrays", "--out", str(tmp_path / "a")]) == 0
    provide("arrays", tmp_path / "b")
    for folder in (tmp_path / "a", tmp_path / "b"):
        (found,) = find_series("arrays", folder)
        assert (found.name, found.source) == ("8", "arrays")
        assert (read_stack(found).classes() == 3).all()
    monkeypatch.setitem(SOURCES, "own", Source("own", "MRI: own", find, read))
    with pytest.raises(SpiderError, match="source own: expected the folder of its data"):
        provide("own", tmp_path / "c")


def test_fingerprint_follows_content_and_not_place_or_order(spider_folder, tmp_path):
    found = find_series("spider", spider_folder)
    first = fingerprint(found)
    assert len(first) == 64 and int(first, 16) >= 0
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(spider_folder, copy)
    assert fingerprint(reversed(find_series("spider", copy))) == first
    assert fingerprint(found[:1]) != first


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_fingerprint_changes_with_a_byte_a_size_and_a_name(spider_folder, kind):
    first = fingerprint(find_series("spider", spider_folder))
    path = spider_folder / kind / "2_t2.mha"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    changed = fingerprint(find_series("spider", spider_folder))
    path.write_bytes(content + b"\0")
    longer = fingerprint(find_series("spider", spider_folder))
    path.write_bytes(content)
    assert fingerprint(find_series("spider", spider_folder)) == first
    for folder in ("images", "masks"):
        (spider_folder / folder / "2_t2.mha").rename(spider_folder / folder / "3_t2.mha")
    renamed = fingerprint(find_series("spider", spider_folder))
    assert len({first, changed, longer, renamed}) == 4


def test_fingerprint_follows_the_last_byte_of_a_large_file(spider_folder):
    path = spider_folder / "images" / "2_t2.mha"
    found, content = find_series("spider", spider_folder), path.read_bytes()
    prints = []
    for last in (1, 2):
        path.write_bytes(content + bytes(3 * FORMER_BYTES) + bytes([last]))
        prints.append((fingerprint(found), fingerprint(found, former=True)))
    assert prints[0][0] != prints[1][0] and prints[0][1] == prints[1][1]


def test_fingerprints_of_committed_results_are_the_former_ones_of_their_data(shared_data):
    """They bind no folder to data any more; what they said of the data still holds."""
    made = json.loads((ROOT / "results" / "released_cpu" / "best.json").read_text(encoding="utf-8"))["data"]
    series = find_series("released", shared_data / "released_t2_space")
    assert made["fingerprint"] == fingerprint(series, former=True) != fingerprint(series)
