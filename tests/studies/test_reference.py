"""The reference audit on masks whose gaps, islands and holes are counted by hand, and on real ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spider_utils.data.released import find_released_series, read_released_stack
from spider_utils.data.store import SliceStore
from spider_utils.masks.conventions import above_top_disc, close_up, count_holes, disc_gaps, remove_islands
from spider_utils.studies.reference import (
    audit_reference,
    audit_summary,
    eroded_overlap,
    examples,
    island_cost,
)

SHAPE = (640, 512)  # islands are smaller than 33 pixels, a vertebra within 15 is faced


def spine(above: int = 3, below: int = 5) -> np.ndarray:
    """Vertebra, disc of 10 x 40 pixels, vertebra, with so many rows of background between, a canal at the right."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[300:310, 200:240] = 3
    mask[250 : 300 - above, 200:240] = 1
    mask[310 + below : 360, 200:240] = 1
    mask[200:400, 300:320] = 2
    return mask


def make_store(masks: dict[str, list[np.ndarray]], tmp_path, pixel_mm: tuple[float, float] = (np.nan, np.nan)):
    rows = [
        (series, int(series.split("_")[0]), "T2", "training", number, *pixel_mm)
        for series, slices in masks.items()
        for number, _ in enumerate(slices)
    ]
    names = ["series", "patient", "sequence", "subset", "slice_index", "pixel_mm_row", "pixel_mm_col"]
    table = pd.DataFrame(rows, columns=names)
    stacked = np.stack([mask for slices in masks.values() for mask in slices])
    return SliceStore(tmp_path, stacked, stacked, table, table, {})


def test_gaps_of_a_hand_made_disc():
    gaps = disc_gaps(spine(above=3, below=5))
    assert len(gaps) == 2 * 40 + 2 * 8  # the outline of 10 x 40 pixels
    facing = gaps[gaps["faces"]]
    assert (facing["gap"] == 3).sum() == 40  # the upper side, with both its corners
    assert (facing["gap"] == 5).sum() == 40 + 1 + 1  # the lower side, and a pixel at each end
    assert not gaps["touches"].any() and gaps["gap_mm"].isna().all()
    assert gaps["faces"].all()  # from the ends, too, a vertebra is within 15 pixels


def test_touching_is_one_of_eight_neighbours():
    mask = np.zeros(SHAPE, np.uint8)
    mask[300:310, 200:240], mask[290:300, 240:260] = 3, 1  # they meet at a corner only
    gaps = disc_gaps(mask)
    assert gaps["touches"].sum() == 1
    assert gaps.loc[gaps["touches"], "gap"].item() == 0
    side_by_side = disc_gaps(spine(above=0, below=5))
    assert side_by_side["touches"].sum() == 40


def test_far_contour_faces_nothing():
    facing = disc_gaps(spine(above=8, below=16)).query("faces")
    assert len(facing) == 40 + 2 * 6  # the upper side, and rows 301 to 306 of the ends; the lower vertebra is 17 away
    assert facing["gap"].max() == 14


def test_gap_in_mm_follows_the_direction():
    assert disc_gaps(spine(3, 20), (0.5, 0.8)).query("gap == 3")["gap_mm"].tolist() == [1.5] * 40
    turned = disc_gaps(np.rot90(spine(3, 20)[64:576]).copy(), (0.5, 0.8)).query("gap == 3")  # 512 x 512
    assert turned["gap_mm"].tolist() == pytest.approx([2.4] * 40)


def test_a_disc_cut_by_the_edge_has_no_contour_there():
    mask = np.zeros(SHAPE, np.uint8)
    mask[0:10, 200:240] = 3
    assert len(disc_gaps(mask)) == 40 + 2 * 9
    assert not disc_gaps(mask)["faces"].any()  # there is no vertebra
    assert disc_gaps(np.zeros(SHAPE, np.uint8)).empty


def test_sizes_scale_with_the_slice():
    small = spine(above=4, below=4)[::2, ::2]
    facing = disc_gaps(small).query("faces")
    assert facing["gap"].isin([2.0]).sum() >= 40
    assert not disc_gaps(spine(above=16, below=16)[::2, ::2])["faces"].any()  # 8 pixels of 320 rows are too far


def test_islands_by_hand():
    mask = spine()
    mask[100:104, 100:108] = 1  # 32 pixels: an island
    mask[100:103, 150:161] = 1  # 33: none
    mask[50, 50] = mask[51, 51] = 2  # one island, since diagonal neighbours count
    mask[305, 220] = 2  # an island within a disc, which leaves a hole
    kept, counts = remove_islands(mask)
    assert counts == {"vertebrae": 1, "canal": 2, "discs": 0}
    expected = mask.copy()
    expected[100:104, 100:108] = expected[50, 50] = expected[51, 51] = expected[305, 220] = 0
    assert (kept == expected).all()


def test_holes_by_hand():
    mask = spine()
    assert count_holes(mask) == 0
    mask[305, 220] = mask[260, 210] = mask[262:265, 215] = 0  # one in the disc, two in a vertebra
    assert count_holes(mask) == 3
    mask[305, 221] = 2  # of another class: no background
    assert count_holes(mask) == 3
    mask[250:297, 240:250] = 1
    mask[255, 249] = 0  # a notch at the edge is open
    assert count_holes(mask) == 3
    ring = np.zeros(SHAPE, np.uint8)
    ring[10:20, 10:20], ring[10:20, 15:20] = 1, 3
    ring[14:16, 14:16] = 0  # enclosed by two classes together
    assert count_holes(ring) == 0


def test_the_vertebra_above_the_highest_disc():
    mask = spine()
    assert above_top_disc(mask) == (300.0, 17 / 20)  # of the 20 rows above the disc three are the gap
    mask[250:297] = 0
    assert above_top_disc(mask) == (300.0, 0.0)
    mask[3:10, 200:240] = 3  # a higher disc, of whose rows above two of three are labelled
    mask[0:2, 200:240] = 1
    assert above_top_disc(mask) == (3.0, pytest.approx(2 / 3))
    mask[0:10] = 0
    mask[0:10, 200:240] = 3
    assert above_top_disc(mask) == (0.0, 0.0)
    assert above_top_disc(np.zeros(SHAPE, np.uint8)) == (0.0, 0.0)


def test_a_disc_less_one_pixel():
    scores = eroded_overlap([spine(), np.zeros(SHAPE, np.uint8), spine()])
    assert scores["dice"] == pytest.approx(2 * 8 * 38 / (8 * 38 + 10 * 40))
    assert scores["hd95"] == pytest.approx(1.0)  # of each direction; the corners are farther, and fewer than 5 %
    assert scores["nsd_1"] > 0.95 and scores["nsd_2"] == 1
    assert all(np.isnan(value) for value in eroded_overlap([np.zeros(SHAPE, np.uint8)]).values())


def test_what_islands_cost():
    clean = spine()
    assert island_cost([clean]) == {"dice": 1.0, "hd95": 0.0, "nsd_1": 1.0, "nsd_2": 1.0}
    speckled = spine()
    speckled[300:310:2, 240] = 2  # five single pixels beside the disc, 60 from the canal
    scores = island_cost([speckled])
    assert scores["dice"] == pytest.approx(2 * 4000 / (2 * 4000 + 5))
    assert scores["nsd_1"] < 1 and scores["hd95"] == 0  # five of more than 400 contour pixels
    speckled[300:400:2, 240] = 2
    assert island_cost([speckled])["hd95"] == 60


def test_audit_of_two_series(tmp_path):
    moved = np.roll(spine(), 2, axis=1)
    touching = [spine(above=0, below=0), spine(above=0, below=0)]
    store = make_store({"1_t2": [spine(), spine(), moved], "2_t2": touching}, tmp_path, (0.5, 0.5))
    audit = audit_reference(store).set_index("patient")
    assert audit["convention"].to_dict() == {1: "gap", 2: "touching"}
    assert audit.loc[1, ["gap_q1", "gap_q3", "slices", "vertebrae", "discs"]].tolist() == [3, 5, 3, 2, 1]
    assert audit.loc[1, "gap_mm"] == pytest.approx(0.5 * audit.loc[1, "gap_median"])
    assert audit.loc[1, "touching"] == 0
    assert audit.loc[2, "touching"] == pytest.approx(80 / 96 / audit.loc[2, "facing"])
    assert audit.loc[1, ["next_discs", "next_discs_min"]].tolist() == pytest.approx([(1 + 38 / 40) / 2, 38 / 40])
    assert audit.loc[2, "next_vertebrae_min"] == 1
    assert (audit[["islands", "holes"]] == 0).all(axis=None) and (audit["edges"] == "clean").all()
    assert (audit["lowest"] == "vertebrae").all()
    assert (audit["top_vertebra"] == "labelled").all() and audit["top_slices"].tolist() == [3, 2]


def test_the_top_vertebra_is_missing_or_outside(tmp_path):
    low, high, far = (np.zeros(SHAPE, np.uint8) for _ in range(3))
    for mask, top in ((low, 40), (high, 4), (far, 200)):
        mask[top : top + 10, 200:240], mask[top + 13 : top + 60, 200:240] = 3, 1
    audit = audit_reference(make_store({"1_t2": [low], "2_t2": [high], "3_t2": [far]}, tmp_path))
    assert audit["top_vertebra"].tolist() == ["missing", "outside", "outside"]
    assert audit["next_discs_min"].isna().all()  # no neighbours
    assert audit_summary(audit).set_index("measure").loc["discs of neighbouring slices: Dice", "n"] == 0


def test_a_speckled_series(tmp_path):
    speckled = spine()
    speckled[301:308:3, 241] = 2
    audit = audit_reference(make_store({"1_t2": [spine(), spine()], "2_t2": [speckled] * 2}, tmp_path))
    assert audit["edges"].tolist() == ["clean", "speckled"]
    assert audit["islands_canal"].tolist() == [0, 3]
    # the islands do not change what the gap is
    assert audit["gap_median"].nunique() == 1
    summary = audit_summary(audit).set_index("measure")
    assert summary.loc["series with speckled edges", ["value", "n"]].tolist() == [1, 2]
    assert summary.loc["series whose discs touch the vertebrae", "value"] == 0
    assert summary.loc["islands a slice", ["value", "lowest", "highest"]].tolist() == [1.5, 0, 3]


def test_a_series_without_discs_is_not_measured(tmp_path):
    bare = spine()
    bare[bare == 3] = 0
    audit = audit_reference(make_store({"1_t2": [bare, bare], "2_t2": [spine(), spine()]}, tmp_path))
    assert audit["convention"].tolist() == ["", "gap"]
    assert audit.loc[0, ["gap_median", "touching", "eroded_dice"]].isna().all()
    assert audit_summary(audit).set_index("measure").loc["gap between disc and vertebra, px", "n"] == 1


def test_examples_are_the_extremes(tmp_path):
    speckled = spine(above=4, below=4)
    speckled[301:308:3, 241] = 2
    slices = {"1_t2": [spine(6, 6)] * 3, "2_t2": [spine(0, 0)] * 3, "3_t2": [speckled] * 3, "4_t2": [spine(5, 5)] * 3}
    store = make_store(slices, tmp_path)
    shown = examples(audit_reference(store), store.table)
    assert shown == {"2_t2: narrowest gap": 4, "1_t2: widest gap": 1, "3_t2: most islands": 7}


def test_close_up_shows_the_disc_with_most_islands_else_the_middle_one():
    mask = np.zeros(SHAPE, np.uint8)
    for top in (100, 300, 500):
        mask[top : top + 10, 200:240] = 3
    rows, columns = close_up(mask)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (108, 108)
    assert rows.start < 300 and rows.stop > 310 and columns.start < 200 and columns.stop > 240
    mask[112, 210] = 2
    assert close_up(mask)[0].start < 100 < close_up(mask)[0].stop
    edge = np.zeros(SHAPE, np.uint8)
    edge[0:10, 0:40] = 3
    assert close_up(edge) == (slice(0, 108), slice(0, 108))
    assert edge[close_up(np.zeros(SHAPE, np.uint8))].shape == (108, 108)


def test_real_masks_follow_different_conventions(shared_data, tmp_path):
    wanted = (18, 98, 146, 162)
    series = [one for one in find_released_series(shared_data / "released_t2_space") if one.patient in wanted]
    masks = {}
    for one in series:
        middle = len(one.image_files) // 2
        few = slice(middle - 1, middle + 2)
        classes = read_released_stack(
            replace(one, image_files=one.image_files[few], mask_files=one.mask_files[few])
        ).classes()
        masks[one.name] = list(classes)
    audit = audit_reference(make_store(masks, tmp_path)).set_index("patient")
    assert audit["convention"].to_dict() == {18: "gap", 98: "gap", 146: "gap", 162: "touching"}
    assert audit["edges"].to_dict() == {18: "clean", 98: "clean", 146: "speckled", 162: "clean"}
    assert audit["top_vertebra"].loc[[98, 146, 162]].tolist() == ["outside", "labelled", "missing"]
    assert audit["gap_median"].idxmax() == 98
    assert audit.loc[146, "clean_canal_hd95"] > 10 > audit.loc[98, "clean_canal_hd95"]
    assert audit["eroded_dice"].between(0.85, 0.95).all()
