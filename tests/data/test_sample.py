"""The embedded sample: what it says of itself is true, nobody kept for validation is in it, it is made again alike."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.released import OFFICIAL_VALIDATION
from spider_utils.data.series import Series
from spider_utils.data.sources import SOURCES, find_series, read_stack, sample_stack
from tools.sample import choose_runs, make_sample, new_size, shrink

SAMPLE = SOURCES["sample"].home
LIMIT = 12e6  # bytes


@pytest.fixture(scope="module")
def manifest() -> pd.DataFrame:
    return pd.read_csv(SAMPLE / "manifest.csv")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_tells_origin_and_digest_of_every_file_and_of_no_other(manifest):
    for kind in ("image", "mask"):
        there = {path.name: digest(path) for path in (SAMPLE / f"{kind}s").iterdir()}
        assert dict(zip(manifest["file"], manifest[f"{kind}_sha256"], strict=True)) == there
        assert manifest[f"{kind}_origin"].str.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{7,40}(:.+\.png)?").all()
    allowed = {"README.md", "slices.csv", "manifest.csv", "images", "masks"}
    assert {path.name for path in SAMPLE.iterdir()} == allowed


def test_a_series_is_read_by_its_name():
    stack = sample_stack("41_t2_SPACE")
    with Image.open(sorted((SAMPLE / "images").glob("41_t2_SPACE*"))[0]) as picture:
        assert stack.image.shape == (12, picture.height, picture.width)
    assert set(np.unique(stack.classes())) == {0, 1, 2, 3}
    with pytest.raises(SpiderError, match="3_t1, 4_t1, .*, found '41'"):
        sample_stack("41")


def test_it_is_small_and_says_whose_it_is():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) <= LIMIT
    told = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for word in (
        "van der Graaf",
        "10.1038/s41597-024-03090-w",
        "10.5281/zenodo.10159290",
        "CC BY 4.0",
        "licenses/by/4.0",
    ):
        assert word in told


def test_its_readme_counts_what_is_there():
    series, told = find_series("sample", SAMPLE), (SAMPLE / "README.md").read_text(encoding="utf-8")
    slices = {name: sum(len(s.index) for s in series if s.sequence == name) for name in ("T2_SPACE", "T2", "T1")}
    assert f"of {len({one.patient for one in series})} patients" in told
    assert f"{slices['T2_SPACE']} T2 SPACE slices" in told
    assert f"{slices['T2']} T2 and {slices['T1']} T1" in " ".join(told.split())


def test_every_slice_is_of_the_training_subset_and_reads_as_four_classes():
    for one in find_series("sample", SAMPLE):
        assert one.subset == "training" and one.patient not in OFFICIAL_VALIDATION
        assert set(np.unique(read_stack(one).classes())) <= {0, 1, 2, 3}
        for path in one.image_files + one.mask_files:
            with Image.open(path) as picture:
                assert picture.mode == "L" and picture.height <= 320


def test_t2_space_is_there_as_runs_of_neighbouring_slices():
    space = [one for one in find_series("sample", SAMPLE) if one.sequence == "T2_SPACE"]
    assert len({one.patient for one in space}) >= 12
    for one in space:
        assert len(one.index) >= 10 and set(np.diff(one.index)) == {1} and one.pixel_mm is None


def test_spider_keeps_none_of_its_series_for_validation(shared_data):
    overview = pd.read_csv(shared_data / "spider_metadata" / "overview.csv").set_index("new_file_name")["subset"]
    for one in find_series("sample", SAMPLE):
        assert overview[one.name] == "training"
        others = overview[overview.index.str.startswith(f"{one.patient}_")]
        assert set(others) == {"training"}


def test_all_pairs_are_there_on_their_field_of_view_with_their_areas(shared_data):
    before = {one.name: one for one in find_series("pairs", shared_data / "t1_t2_pairs")}
    after = {one.name: one for one in find_series("sample", SAMPLE) if one.sequence != "T2_SPACE"}
    assert before.keys() == after.keys() and sum(len(one.index) for one in after.values()) == 41
    checked = 0
    for name, one in after.items():
        old, new = read_stack(before[name]), read_stack(one)
        assert old.index.tolist() == new.index.tolist() and old.slice_mm == new.slice_mm
        extents = [np.array(stack.image.shape[1:]) * stack.pixel_mm for stack in (old, new)]
        assert extents[1] == pytest.approx(extents[0], abs=0.05)  # mm
        for number in (1, 2, 3):
            areas = [(s.classes() == number).sum(axis=(1, 2)) * s.pixel_mm[0] * s.pixel_mm[1] for s in (old, new)]
            for was, is_now in zip(*areas, strict=True):
                assert is_now == pytest.approx(was, rel=0.04, abs=25)  # mm2; small ones are a handful of pixels
                checked += was > 625
    assert checked > 60  # classes of which 4 % is what counts


@pytest.mark.slow
def test_it_is_made_again_alike(shared_data, tmp_path):
    make_sample(shared_data / "released_t2_space", shared_data / "t1_t2_pairs", tmp_path)
    again = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    made = {path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file()}
    assert again == made - {Path("README.md")}
    assert [str(name) for name in sorted(again) if digest(tmp_path / name) != digest(SAMPLE / name)] == []
    with pytest.raises(SpiderError, match="expected no images/"):
        make_sample(shared_data / "released_t2_space", shared_data / "t1_t2_pairs", tmp_path)


def test_a_slice_keeps_its_field_of_view_and_is_never_enlarged():
    assert new_size((640, 512), None) == (320, 256)
    assert new_size((300, 200), (0.8, 0.8)) == (300, 200)
    assert new_size((1459, 537), (0.1968, 0.5264)) == (320, 315)  # 287.1 x 282.7 mm in pixels of 0.897 mm
    assert new_size((400, 100), (0.5, 2.5)) == (320, 100)  # square pixels would be 400 columns


def test_shrinking_loses_no_line_and_invents_no_grey_and_no_class():
    found = []
    for first in range(4):  # a quarter of the rows, of which every fourth would take all or none
        image = np.zeros((64, 64), np.uint8)
        image[first::4] = 200
        found.append(shrink(image, (16, 16), nearest=False)[2:-2].mean())
    assert np.mean(found) == pytest.approx(50, abs=1) and 40 < min(found) and max(found) < 60
    edge = np.where(np.arange(64) < 31, 10, 240).astype(np.uint8)[None].repeat(64, axis=0)
    assert shrink(edge, (25, 25), nearest=False).min() >= 10 and shrink(edge, (25, 25), nearest=False).max() <= 240
    mask = np.random.default_rng(0).choice([0, 3], (60, 60)).astype(np.uint8)
    assert set(np.unique(shrink(mask, (25, 30), nearest=True))) == {0, 3}


def released(patient: int, numbers: list[int], subset: str = "training") -> Series:
    files = tuple(Path(f"{patient}_t2_SPACE_slice{number}.png") for number in numbers)
    return Series(f"{patient}_t2_SPACE", patient, "T2_SPACE", subset, files, files, "grey")


def test_patients_with_pairs_come_first_then_by_number_and_none_kept_for_validation():
    found = tuple(released(patient, list(range(40, 60))) for patient in range(1, 30))
    found += (released(30, list(range(40, 60)), "validation"),)
    pairs = (released(25, [1]), released(28, [1]), released(30, [1]))
    chosen = choose_runs(found, pairs)
    assert [one.patient for one in chosen] == [25, 28, *range(1, 13)]
    assert chosen[0].index == tuple(range(44, 56)) and chosen[0].image_files[0].name == "25_t2_SPACE_slice44.png"
    gap = (released(1, [*range(40, 50), *range(51, 61)]), *found[1:])
    with pytest.raises(SpiderError, match="1_t2_SPACE: expected 12 slices without a gap"):
        choose_runs(gap, ())
    with pytest.raises(SpiderError, match="expected 14 training patients"):
        choose_runs(found[:13], ())
