"""Neighbouring slices in a store: the tables are small enough to find each neighbour by eye."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.data.store import neighbour_rows


def table(*slices: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(slices, columns=["series", "slice_index"])


def test_without_neighbours_every_slice_stands_alone():
    found = neighbour_rows(table(("a", 4), ("a", 5), ("b", 5)), 0)
    np.testing.assert_array_equal(found, [[0], [1], [2]])


def test_inside_a_series_they_are_the_next_lower_and_higher_and_at_its_ends_the_slice_itself():
    found = neighbour_rows(table(("a", 4), ("a", 5), ("a", 6), ("a", 7)), 1)
    np.testing.assert_array_equal(found, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]])


def test_two_on_each_side_repeat_the_last_one_at_an_end():
    found = neighbour_rows(table(("a", 4), ("a", 5), ("a", 6), ("a", 7)), 2)
    expected = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]
    np.testing.assert_array_equal(found, expected)


def test_a_slice_that_the_store_lacks_is_stood_in_for_by_the_next_one_nearer():
    slices = table(("a", 3), ("a", 4), ("a", 6))  # 5 is missing
    np.testing.assert_array_equal(neighbour_rows(slices, 1), [[0, 0, 1], [0, 1, 1], [2, 2, 2]])
    # two away from 4 lies 6, which is there; two away from 6 lies 4
    np.testing.assert_array_equal(neighbour_rows(slices, 2), [[0, 0, 0, 1, 1], [0, 0, 1, 1, 2], [1, 2, 2, 2, 2]])


def test_series_do_not_mix_and_the_tables_order_does_not_matter():
    """Two series with the same slice numbers, one after the other and one between the other's rows."""
    np.testing.assert_array_equal(
        neighbour_rows(table(("a", 1), ("a", 2), ("b", 2), ("b", 3)), 1), [[0, 0, 1], [0, 1, 1], [2, 2, 3], [2, 3, 3]]
    )
    np.testing.assert_array_equal(
        neighbour_rows(table(("a", 2), ("b", 2), ("a", 1), ("b", 3)), 1), [[2, 0, 0], [1, 1, 3], [2, 2, 0], [1, 3, 3]]
    )


@pytest.mark.parametrize("neighbours", [1, 2, 3])
def test_every_row_holds_its_slice_in_the_middle_and_only_its_series_in_order(neighbours):
    rng = np.random.default_rng(neighbours)
    numbers = [(series, int(number)) for series in "abc" for number in rng.choice(20, 12, replace=False)]
    slices = table(*numbers)
    found = neighbour_rows(slices, neighbours)
    assert found.shape == (36, 1 + 2 * neighbours)
    np.testing.assert_array_equal(found[:, neighbours], np.arange(36))
    series, number = slices["series"].to_numpy()[found], slices["slice_index"].to_numpy()[found]
    assert (series == series[:, :1]).all()
    assert (np.diff(number, axis=1) >= 0).all()
    assert (np.abs(number - number[:, [neighbours]]) <= np.abs(np.arange(-neighbours, neighbours + 1))).all()


def test_a_table_without_rows():
    assert neighbour_rows(table(), 2).shape == (0, 5)
