"""The tables of a data set, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import SimpleITK as sitk
from PIL import Image

from spider_utils.data.sources import find_series
from spider_utils.data.survey import label_lists, summarise_labels, survey

COLUMNS = [
    "series", "patient", "sequence", "subset", "slices", "height", "width", "pixel_mm_row", "pixel_mm_col",
    "slice_mm", "labels", "n_background", "n_vertebrae", "n_canal", "n_discs",
]  # fmt: skip


def test_a_row_says_what_a_series_holds(tmp_path):
    """Two series, stored with x to the left, y to the back and z upwards; one of them without its mask."""
    labels = np.zeros((4, 3, 2), np.uint8)  # z, y, x: 4 rows, 3 columns, 2 slices
    labels[0, 0, 0], labels[1, :, 0], labels[2:4, 0, 1], labels[3, 1:3, 0] = 1, 201, 100, 9
    volume = sitk.GetImageFromArray(labels)
    volume.SetSpacing((3.5, 0.75, 0.5))
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for name in ("7_t2", "8_t1"):
            sitk.WriteImage(volume, str(tmp_path / kind / f"{name}.mha"))
    (tmp_path / "overview.csv").write_text("new_file_name,subset\n7_t2,validation\n8_t1,training\n")
    whole, other = find_series("spider", tmp_path)
    table = survey(iter([whole, replace(other, mask_files=())]))
    assert list(table) == COLUMNS
    assert table.to_numpy().tolist() == [
        ["7_t2", 7, "T2", "validation", 2, 4, 3, 0.5, 0.75, 3.5, "0 1 9 100 201", 16, 3, 2, 3],
        ["8_t1", 8, "T1", "training", 2, 4, 3, 0.5, 0.75, 3.5, "", 0, 0, 0, 0],
    ]
    assert [str(kind) for kind in table[COLUMNS[11:]].dtypes] == ["int64"] * 4
    assert label_lists(table) == {"7_t2": [0, 1, 9, 100, 201]}


def test_what_is_not_known_of_slices_alone_is_not_a_number(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full((6, 5), 150, np.uint8)).save(tmp_path / kind / "20_t2_SPACE_slice3.png")
    (row,) = survey(find_series("released", tmp_path)).to_dict("records")
    assert list(row) == COLUMNS
    assert np.isnan([row.pop(name) for name in ("pixel_mm_row", "pixel_mm_col", "slice_mm")]).all()
    assert list(row.values())[:3] == ["20_t2_SPACE", 20, "T2_SPACE"]
    assert list(row.values())[4:] == [1, 6, 5, "150", 0, 0, 30, 0]


def test_the_summary_of_labels_is_of_the_slices_that_hold_enough():
    compared = pd.DataFrame(
        {
            "foreground": [100, 300, 1000], "changed": [10, 10, 999], "enough_direct": [True, True, False],
            "enough_apta": [True, False, True], "dice_vertebrae": [0.5, 1.0, 0.0], "dice_canal": [np.nan, 0.8, 0.0],
            "dice_discs": [0.25, 0.75, 0.0], "lost_canal": [False, True, True],
            "invented_canal": [True, False, True], "painted_red": [False, False, True],
        }
    )  # fmt: skip
    summary = summarise_labels(compared)
    assert list(summary) == ["measure", "value", "n"]
    assert list(summary.itertuples(index=False, name=None)) == [
        ("changed pixels / foreground", 20 / 400, 2),
        ("Dice vertebrae", 0.75, 2),
        ("Dice canal", 0.8, 2),
        ("Dice discs", 0.5, 2),
        ("canals lost", 1, 2),
        ("all slices: lost_canal", 2, 3),
        ("all slices: invented_canal", 2, 3),
        ("all slices: painted_red", 1, 3),
        ("all slices: enough_direct", 2, 3),
        ("all slices: enough_apta", 2, 3),
    ]
