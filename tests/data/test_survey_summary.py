"""The headline numbers of the comparison of labels, by hand."""

import numpy as np
import pandas as pd

from spider_utils.data.survey import summarise_labels


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
