"""The page of the study "length": from which epoch on nothing changes, by hand."""

import pandas as pd

from tools.length_pages import flat, length_page, settled

ORDER = pd.DataFrame(
    [[6, 3, 2, 2, 1, 1], [20, 3, 3, 2, 2, 0], [40, 3, 3, 2, 2, 0]],
    columns=["epoch", "pairs", "same", "shown", "kept", "reversed"],
)
REMAINING = pd.DataFrame(
    [
        ["a", 6, 0.02, 0.01, 0.03],
        ["b", 6, 0.01, -0.01, 0.02],
        ["a", 20, 0.0, -0.01, 0.01],
        ["b", 20, -0.01, -0.02, 0.0],
    ],
    columns=["arm", "epoch", "remaining", "ci_low", "ci_high"],
)


def test_the_first_length_without_a_change_is_told():
    assert settled(ORDER).endswith("are shown up to epoch 6, from epoch 20 on none.")
    assert settled(ORDER[1:]).startswith("No difference is shown at any scored length")
    assert flat(ORDER, REMAINING).startswith("Arms gain up to epoch 20;")
    assert flat(ORDER, REMAINING[1:]) == "No arm gains after the first scored epoch."


def test_the_table_counts_pairs_and_arms_that_gain(tmp_path):
    ORDER.to_csv(tmp_path / "order.csv", index=False)
    REMAINING.to_csv(tmp_path / "remaining.csv", index=False)
    table, _ = length_page(tmp_path)
    assert "| 6 | 2 of 3 | 2 | 1 | 1 | +0.020 [+0.010, +0.030] | 1 of 2 |" in table
    assert "| 40 | 3 of 3 | 2 | 2 | 0 |  |  |" in table
