"""Named filters: by hand on small counts, and against the slices that the authors released."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.data import filters
from spider_utils.data.filters import FILTERS, filter_table, kept_by, largest_shares, verdicts
from spider_utils.data.store import COUNTS

INDEX = np.arange(4)
# background, vertebrae, canal, discs: alike; one class rules; no canal; only background and discs
PIXELS = np.array([[25, 25, 25, 25], [1000, 80, 10, 10], [900, 60, 0, 40], [1000, 0, 0, 10]])


def audit_of(slices: dict[str, list[int]], pixels=(1000, 60, 10, 30)) -> pd.DataFrame:
    """An audit in which every slice has the same pixels; `slices`: series -> slice numbers."""
    rows = [(series, number, *pixels, True, "kept") for series, numbers in slices.items() for number in numbers]
    return pd.DataFrame(rows, columns=["series", "slice_index", *COUNTS, "kept", "reason"])


def test_each_filter_on_four_slices_by_hand():
    expected = {
        "none": [True, True, True, True],
        "text_ratio": [False] * 4,  # 1, 100, 22.5, 100
        "text_ratio_foreground": [False] * 4,  # 1, 8, 1.5, 1
        "published_ratio": [False, True, True, True],  # 1, 0.01, 0.04, 0.01
        "published_ratio_foreground": [False, True, False, False],  # 1, 0.125, 0.67, 1
        "largest_share": [True, False, False, False],  # 1/3, 0.8, 0.6, 1
        "central_run": [True, True, True, True],
    }
    assert {name: keep(PIXELS, INDEX).tolist() for name, keep in FILTERS.items()} == expected


def test_the_limit_itself_is_kept():
    assert filters.IMBALANCE_LIMIT == 0.55
    assert filters.largest_share(np.array([[0, 55, 25, 20], [0, 56, 24, 20]]), INDEX[:2]).tolist() == [True, False]
    at_limit = np.array([[100, 100, 100, 55], [100, 100, 100, 56]])
    assert filters.published_ratio(at_limit, INDEX[:2]).tolist() == [True, False]


@pytest.mark.parametrize("seed", range(3))
def test_the_texts_ratio_keeps_nothing_whatever_the_slice_holds(seed):
    pixels = np.random.default_rng(seed).integers(0, 500, (200, 4))
    for name in ("text_ratio", "text_ratio_foreground"):
        assert not FILTERS[name](pixels, np.arange(200)).any()


def test_both_published_fractions_inverted_are_the_smallest_class_over_the_largest():
    pixels = np.random.default_rng(0).integers(1, 500, (100, 4))
    weights = pixels.sum(axis=1, keepdims=True) / pixels  # image pixels over class pixels
    ratio = weights.min(axis=1) / weights.max(axis=1)  # lowest over highest
    np.testing.assert_array_equal(filters.published_ratio(pixels, np.arange(100)), ratio <= 0.55)


def test_an_empty_slice_has_no_ratio_and_no_share():
    empty = np.zeros((1, 4), int)
    for name in ("text_ratio", "published_ratio", "published_ratio_foreground", "largest_share"):
        assert FILTERS[name](empty, INDEX[:1]).tolist() == [False]
    assert np.isnan(largest_shares(empty)).all()


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ([5, 6, 7], [5, 6, 7]),
        ([1, 2, 4, 5, 6, 9], [4, 5, 6]),
        ([1, 2, 4, 5], [1, 2]),  # equally long: the first
        ([3], [3]),
        ([], []),
    ],
)
def test_central_run_is_the_longest_run_of_slice_numbers(numbers, kept):
    index = np.array(numbers, int)
    assert index[filters.central_run(np.ones((len(index), 4), int), index)].tolist() == kept


def test_a_filter_chooses_among_the_slices_that_passed():
    passed = np.array([True, True, False, True, True, True])
    pixels = np.tile([90, 5, 3, 2], (6, 1))
    assert kept_by("central_run", pixels, np.arange(6), passed).tolist() == [False] * 3 + [True] * 3
    assert kept_by("none", pixels, np.arange(6), passed).tolist() == passed.tolist()
    assert not kept_by("central_run", pixels, np.arange(6), np.zeros(6, bool)).any()


def test_filter_table_counts_by_series_and_finds_gaps():
    audit = audit_of({"1_t2": [3, 4, 5], "2_t2": [9, 7, 6]})  # 60 of 100 pixels of foreground are vertebrae
    audit.loc[1, COUNTS] = (1000, 50, 25, 25)
    table = filter_table(audit).set_index("filter")
    assert table["kept"].to_dict() == {
        "none": 6,
        "text_ratio": 0,
        "text_ratio_foreground": 0,
        "published_ratio": 6,
        "published_ratio_foreground": 6,
        "largest_share": 1,
        "central_run": 5,
    }
    assert (table["of"] == 6).all() and table.loc["central_run", "share"] == pytest.approx(5 / 6)
    assert (
        table["with_gaps"].to_dict() | {"none": 1, "published_ratio": 1, "central_run": 0}
        == table["with_gaps"].to_dict()
    )


def test_filter_table_leaves_out_slices_without_enough_classes_but_not_those_a_filter_dropped():
    audit = audit_of({"1_t2": [1, 2, 3]})
    audit["kept"], audit["reason"] = [False, False, True], ["no canal", "filter largest_share", "kept"]
    assert (filter_table(audit)["of"] == 2).all()


def test_a_filter_that_drops_a_released_slice_is_refuted():
    table = verdicts(audit_of({"1_t2": [1, 2, 4]})).set_index("filter")
    assert table.loc["none", "verdict"] == table.loc["published_ratio", "verdict"] == "not refuted"
    assert table.loc["central_run", "verdict"] == "refuted"
    assert table.loc["central_run", "reason"] == "would have dropped 1 of the 3 released slices"


def test_the_released_slices_refute_every_ratio_but_the_inverted_one(shared_data):
    from PIL import Image

    codes = (0, 76, 150, 29)  # of background, vertebrae, canal, discs
    rows = []
    for path in (shared_data / "released_t2_space" / "masks").glob("*.png"):
        series, number = path.stem.split("_slice")
        pixels = np.bincount(np.asarray(Image.open(path)).ravel(), minlength=256)
        rows.append((series, int(number), *(pixels[code] for code in codes), True, "kept"))
    released = pd.DataFrame(rows, columns=["series", "slice_index", *COUNTS, "kept", "reason"])
    assert (released[COUNTS] > 0).all(axis=None)
    table = verdicts(released).set_index("filter")
    assert table["of"].unique().tolist() == [622]
    assert table["kept"].to_dict() == {
        "none": 622,
        "text_ratio": 0,
        "text_ratio_foreground": 0,
        "published_ratio": 622,
        "published_ratio_foreground": 622,
        "largest_share": 20,
        "central_run": 622,
    }
    assert (table["verdict"] == "refuted").to_dict() == {
        name: name.startswith("text") or name == "largest_share" for name in FILTERS
    }
    assert (table.drop("largest_share")["with_gaps"] == 0).all()
    shares = largest_shares(released[COUNTS].to_numpy())
    assert (round(shares.min(), 2), round(shares.max(), 2)) == (0.53, 0.79)  # as the paper's material states
    runs = released.sort_values("slice_index").groupby("series")
    ends = pd.concat([runs.head(1), runs.tail(1)])
    assert ends[COUNTS].min(axis=None) > 1000  # no class is running out where a run of slices ends
