"""A damaged store is named; neighbouring slices, in tables that are small enough to find each neighbour by eye."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.store import neighbour_rows, open_store
from tests.helpers.small_study import make_small_store


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


def put_array(name, change):
    """Damage an array of a store: `change` gets the array and returns another."""

    def damage(folder):
        np.save(folder / name, change(np.load(folder / name)))

    return damage


def put_class_200(folder):
    masks = np.load(folder / "masks.npy")
    masks[5, 3, 2] = 200
    np.save(folder / "masks.npy", masks)


def put_column(name, values, file="slices.csv"):
    def damage(folder):
        table = pd.read_csv(folder / file, keep_default_na=False)
        table.assign(**{name: values}).to_csv(folder / file, index=False)

    return damage


def put_count(row, name, more):
    def damage(folder):
        table = pd.read_csv(folder / "slices.csv", keep_default_na=False)
        table.loc[row, name] += more
        table.to_csv(folder / "slices.csv", index=False)

    return damage


def put_pixel(folder):
    masks = np.load(folder / "masks.npy")
    row, column = np.argwhere(masks[2] == 3)[0]
    masks[2, row, column] = 0
    np.save(folder / "masks.npy", masks)


def put_json(**values):
    def damage(folder):
        info = json.loads((folder / "store.json").read_text())
        (folder / "store.json").write_text(json.dumps(info | values))

    return damage


def put_bytes(name, content):
    return lambda folder: (folder / name).write_bytes(content)


DAMAGED = {
    "a class that is none": (put_class_200, "masks.npy: expected the classes 0 to 3, found 200"),
    "a pixel more than its mask has": (put_count(23, "n_discs", 1), "slices.csv: expected .* as n_discs of row 23, as"),
    "a pixel less": (put_count(4, "n_background", -1), "slices.csv: expected .* pixels as n_background of row 4, as"),
    "another mask than its row's": (
        put_pixel,
        "slices.csv: expected 2353 pixels as n_background of row 2, as its mask has, found 2352; delete",
    ),  # 64 x 48 pixels, of which three squares have 240 each
    "masks of another size": (
        put_array("masks.npy", lambda masks: masks[:, :-1]),
        r"found images \(24, 64, 48\), masks \(24, 63, 48\) and 24 rows",
    ),
    "both of another size": (
        lambda folder: [put_array(name, lambda a: a[:, :-1])(folder) for name in ("images.npy", "masks.npy")],
        "expected slices of 64 x 48 pixels as store.json says, found 63 x 48",
    ),
    "a mask less": (put_array("masks.npy", lambda masks: masks[1:]), r"masks \(23, 64, 48\)"),
    "images of two axes": (
        put_array("images.npy", lambda images: images[0]),
        r"images.npy: expected slices \(N, H, W\)",
    ),
    "images of floats": (put_array("images.npy", lambda images: images / 255), "expected slices .* found .* float64"),
    "pickled objects": (put_array("images.npy", lambda images: np.array([None])), "images.npy: is cut off or damaged"),
    "an archive": (put_bytes("masks.npy", b"PK\x05\x06" + bytes(18)), "masks.npy: is cut off or damaged"),
    "a column less": (
        put_bytes("slices.csv", b"series\n1_t2\n"),
        "slices.csv: expected the column sequence, found series",
    ),
    "an empty table": (put_bytes("slices.csv", b""), "slices.csv: expected a table, found a damaged one"),
    "a table that is not UTF-8": (put_bytes("audit.csv", b"\xff\xfe"), "audit.csv: expected a table"),
    "another sequence": (
        put_column("sequence", "T3"),
        "slices.csv: sequence: expected one of T1, T2, T2_SPACE, found 'T3'",
    ),
    "another subset": (put_column("subset", "test", "audit.csv"), "audit.csv: subset: expected one of training"),
    "another patient": (put_column("patient", 7), "audit.csv: expected the rows of slices.csv as those it keeps"),
    "a slice that is not kept": (put_column("kept", False, "audit.csv"), "audit.csv: expected the rows of slices.csv"),
    "kept by a word": (put_column("kept", "maybe", "audit.csv"), "audit.csv: expected the rows of slices.csv"),
    "nothing kept or dropped": (
        lambda folder: pd.read_csv(folder / "audit.csv").drop(columns="kept").to_csv(folder / "audit.csv", index=False),
        "audit.csv: expected the column kept",
    ),
    "half a patient": (put_column("patient", 1.5), "patient: expected whole numbers"),
    "a spacing of 0": (put_column("pixel_mm_row", 0.0), "pixel_mm_row: expected mm above 0, or nan"),
    "a list for an object": (put_bytes("store.json", b"[]"), "store.json: expected a JSON object, found list"),
    "no JSON": (put_bytes("store.json", b"{"), "store.json: expected JSON"),
    "JSON of something else": (put_bytes("store.json", b'{"a": 1}'), "store.json: expected preprocess and fingerprint"),
    "JSON of nothing": (put_bytes("store.json", b"{}"), "store.json: expected preprocess and fingerprint"),
    "settings that are none": (put_json(preprocess=3), "store.json: expected preprocess and fingerprint"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_store_is_named(damage, message, tmp_path):
    make_small_store(tmp_path)  # opens it, so that its masks have been looked at
    folder = tmp_path / "store"
    put_json(preprocess={"store_height": 64, "store_width": 48})(folder)
    assert len(open_store(folder)) == 24
    damage(folder)
    os.utime(folder / "masks.npy")
    with pytest.raises(SpiderError, match=message) as caught:
        open_store(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_series_whose_name_is_a_number_stays_a_text(tmp_path):
    make_small_store(tmp_path)
    for file in ("slices.csv", "audit.csv"):
        put_column("series", "007", file)(tmp_path / "store")
    assert set(open_store(tmp_path / "store").table["series"]) == {"007"}
