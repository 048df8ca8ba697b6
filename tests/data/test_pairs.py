"""Plain folders of slices and masks: read right, or refused by name."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.pairs import find_pairs, read_pairs, read_table
from spider_utils.data.preprocess import preprocess_stack
from spider_utils.data.settings import PreprocessSettings
from spider_utils.data.sources import find_series, fingerprint, read_stack
from spider_utils.data.store import neighbour_rows

THREE = """file,patient,sequence,subset,row_mm,col_mm
a.png,1,T1,training,0.5,0.75
b.png,2,T2,,,
c.png,2,T2,,,
"""


@pytest.fixture
def folder(tmp_path):
    """Three slices made by hand: 8 rows, 6 columns, grey rising to the right, a class a quarter."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    mask = np.repeat(np.repeat(np.array([[0, 1], [2, 3]], np.uint8), 4, axis=0), 3, axis=1)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.tile(np.arange(6, dtype=np.uint8) * 40, (8, 1))).save(tmp_path / "images" / name)
        Image.fromarray(mask).save(tmp_path / "masks" / name)
    (tmp_path / "slices.csv").write_text(THREE)
    return tmp_path


def test_three_files_and_three_lines_are_a_data_set(folder):
    first, second = find_series("pairs", folder)
    assert (first.name, first.patient, first.sequence, first.subset) == ("1_t1", 1, "T1", "training")
    assert (second.name, second.subset, second.index) == ("2_t2", "", (0, 2))
    stack = read_stack(first)
    assert stack.pixel_mm == (0.5, 0.75) and read_stack(second).pixel_mm is None
    assert stack.image[0, 0].tolist() == [0, 40, 80, 120, 160, 200]
    assert stack.classes()[0, ::4, ::3].tolist() == [[0, 1], [2, 3]]
    done = preprocess_stack(stack, PreprocessSettings(store_height=32, store_width=48))
    assert done.pixel_mm == (0.5 * 8 / 32, 0.75 * 6 / 48) and done.kept.all()


def test_slices_without_a_number_are_nobodys_neighbours(folder):
    table = read_table(folder / "slices.csv")
    assert neighbour_rows(table, 1).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    numbered = read_table(folder / "slices.csv").assign(slice_index=[4, 5, 6])
    assert neighbour_rows(numbered, 1).tolist() == [[0, 0, 0], [1, 1, 2], [1, 2, 2]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "a.png,2,T2,training,4\nb.png,2,T2,validation,5",
            "2_t2: expected one patient and .* found .*'training'.*mend",
        ),
        ("a.png,2,T2,training,4\nb.png,2,T2,training,4", "2_t2: expected a number for each slice, found 4 twice"),
    ],
)
def test_slices_that_cannot_be_of_one_series_are_refused(folder, lines, message):
    (folder / "slices.csv").write_text(f"file,patient,sequence,subset,slice_index\n{lines}\nc.png,3,T2,,1\n")
    with pytest.raises(SpiderError, match=message):
        find_series("pairs", folder)


def test_what_a_table_tells_is_part_of_the_fingerprint(folder):
    before = fingerprint(find_series("pairs", folder))
    (folder / "slices.csv").write_text(THREE.replace("0.5,0.75", "0.5,0.5"))
    assert fingerprint(find_series("pairs", folder)) != before


def spoil_table(old, new):
    def spoil(folder):
        path = folder / "slices.csv"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return spoil


def missing_mask(folder):
    (folder / "masks" / "b.png").unlink()


def missing_image(folder):
    (folder / "images" / "c.png").unlink()


def label_four(folder):
    Image.fromarray(np.full((8, 6), 4, np.uint8)).save(folder / "masks" / "c.png")


def other_size(folder):
    Image.fromarray(np.zeros((8, 5), np.uint8)).save(folder / "masks" / "a.png")


def deep_mask(folder):
    Image.fromarray(np.zeros((8, 6), np.uint16)).save(folder / "masks" / "a.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing_mask, r"images.b.png: expected its mask at .*masks.b.png, found none"),
        (missing_image, r"slices.csv: c.png: expected .*images.c.png, found none"),
        (label_four, r"masks.c.png: .*expected values 0, 1, 2 or 3, found 4"),
        (other_size, r"masks.a.png: expected 6 x 8 pixels as in a.png, found 5 x 8"),
        (deep_mask, r"masks.a.png: expected an 8-bit grey PNG, found one of 16 bits"),
        (spoil_table("c.png,2,T2,,,\n", ""), r"images.c.png: expected a row for it in .*slices.csv"),
        (spoil_table("c.png", "b.png"), r"b.png: expected one row, found two|images.c.png: expected a row"),
        (spoil_table("b.png,2", "b.png,two"), r"slices.csv: b.png: patient: expected a whole number, found 'two'"),
        (spoil_table("2,T2", "2,STIR"), r"b.png: sequence: expected one of T1, T2, T2_SPACE, found 'STIR'"),
        (spoil_table("training", "test"), r"a.png: subset: expected training, validation or nothing, found 'test'"),
        (spoil_table("0.5,0.75", "0,0.75"), r"a.png: row_mm: expected a positive number of mm or nothing, found '0'"),
        (spoil_table("0.5,0.75", "0.5,"), r"a.png: row_mm and col_mm: expected both or none"),
        (spoil_table("b.png,2,T2,,,", "b.png,2,T2,,1,1"), r"series 2_t2: expected one row_mm and col_mm"),
        (spoil_table("sequence", "contrast"), r"slices.csv: expected a column 'sequence'"),
        (spoil_table(THREE, "file,patient,sequence\n"), r"expected a row for every PNG file, found no row"),
        (spoil_table("a.png", "../a.png"), r"file: expected the name of a PNG file in images/, found '../a.png'"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(SpiderError, match=message):
        for series in find_pairs(folder):
            read_pairs(series)


def test_a_folder_without_a_table_is_refused(folder):
    (folder / "slices.csv").unlink()
    with pytest.raises(SpiderError, match=r"slices.csv: expected the table of slices, found no file"):
        find_pairs(folder)


def test_the_real_pairs_hold_what_their_own_table_counts(shared_data):
    told = pd.read_csv(shared_data / "t1_t2_pairs" / "slices.csv").set_index("file")
    found = find_series("pairs", shared_data / "t1_t2_pairs")
    names = [path.name for series in found for path in series.image_files]
    assert sorted(names) == sorted(told.index) and len(found) == told.groupby(["patient", "sequence"]).ngroups
    for series in found:
        stack = read_stack(series)
        for path, classes in zip(series.image_files, stack.classes(), strict=True):
            row = told.loc[path.name]
            assert classes.shape == (row["height"], row["width"])
            assert np.bincount(classes.ravel(), minlength=4).tolist() == [
                row[name] for name in ("background", "vertebrae", "canal", "discs")
            ]
            assert stack.pixel_mm == (row["row_mm"], row["col_mm"])
