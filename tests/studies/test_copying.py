"""The copying baseline: who copies from whom, and what it scores, against cases counted by hand."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.data.labels import CLASSES, FOREGROUND
from spider_utils.data.released import find_released_series, read_released_stack
from spider_utils.data.splits import SplitSettings
from spider_utils.data.store import SliceStore
from spider_utils.evaluate.scores import SliceScores, score_slices, summarise
from spider_utils.studies.copying import (
    NEIGHBOUR,
    OTHER_PATIENT,
    copying_scores,
    copying_table,
    every_slice_once,
    nearest_training_slice,
    neighbour_overlap,
    other_patients_slice,
    slices_apart,
    typical_neighbours,
)


def make_table(slices_of: dict[str, list[int]], sequence: dict[str, str] | None = None) -> pd.DataFrame:
    """A slice table: series "7_t2" belongs to patient 7."""
    rows = [
        (series, int(series.split("_")[0]), (sequence or {}).get(series, "T2"), "training", index, np.nan, np.nan)
        for series, indices in slices_of.items()
        for index in indices
    ]
    names = ["series", "patient", "sequence", "subset", "slice_index", "pixel_mm_row", "pixel_mm_col"]
    return pd.DataFrame(rows, columns=names)


def make_masks(table: pd.DataFrame, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (len(table), 12, 10)).astype(np.uint8)


def dice_of(first: np.ndarray, second: np.ndarray, label: int) -> float:
    return 2 * np.sum((first == label) & (second == label)) / (np.sum(first == label) + np.sum(second == label))


def test_nearest_slice_and_its_ties():
    table = make_table({"1_t2": [10, 11, 12, 13, 14, 20]})
    pairs = nearest_training_slice(table, np.array([0, 4, 2]), np.array([1, 3, 5]))
    # 11 lies between 10 and 12, 13 between 12 and 14: the lower number is taken; 20 is six away from 14
    assert pairs["row"].tolist() == [1, 3, 5]
    assert pairs["donor"].tolist() == [0, 2, 4]
    assert pairs["distance"].tolist() == [1, 1, 6]


def test_nearest_slice_goes_by_slice_number_not_by_row():
    table = make_table({"1_t2": [30, 5, 17]})
    pairs = nearest_training_slice(table, np.array([0, 1]), np.array([2]))
    assert (pairs.loc[0, "donor"], pairs.loc[0, "distance"]) == (1, 12)


def test_only_the_same_series_gives_a_neighbour():
    table = make_table({"1_t2": [3, 4], "1_t1": [3], "2_t2": [3]}, {"1_t1": "T1"})
    pairs = nearest_training_slice(table, np.array([0]), np.array([1, 2, 3]))
    assert pairs["donor"].tolist() == [0, -1, -1]
    assert np.isnan(pairs["distance"].tolist()[1:]).all()


def test_no_held_out_slice_gives_an_empty_table():
    table = make_table({"1_t2": [3, 4]})
    assert nearest_training_slice(table, np.array([0]), np.array([], int)).columns.tolist() == [
        "row",
        "donor",
        "distance",
    ]


def test_another_patients_slice_lies_at_the_same_place_of_its_series():
    table = make_table({"1_t2": [0, 1, 2, 3, 4], "2_t2": [50, 60, 70]})
    pairs = other_patients_slice(table, np.array([5, 6, 7]), np.arange(5))
    # positions -1, -.5, 0, .5, 1 against -1, 0, 1; the halves are ties and go to the lower slice number
    assert pairs["donor"].tolist() == [5, 5, 6, 6, 7]
    assert pairs["distance"].isna().all()


def test_another_patient_is_one_of_the_same_sequence_and_stays_the_same():
    series = {f"{patient}_t2": [1, 2, 3] for patient in range(1, 8)} | {"8_t1": [1, 2, 3], "1_t1": [1, 2, 3]}
    table = make_table(series, {"8_t1": "T1", "1_t1": "T1"})
    held = np.flatnonzero(table["patient"].isin([1, 2]))
    train = np.flatnonzero(~table["patient"].isin([1, 2]))
    pairs = other_patients_slice(table, train, held, seed=3)
    donors = table.iloc[pairs["donor"]].reset_index(drop=True)
    taken = table.iloc[pairs["row"]].reset_index(drop=True)
    assert (donors["sequence"] == taken["sequence"]).all()
    assert (donors["patient"] != taken["patient"]).all()
    assert (donors.groupby(taken["series"])["series"].nunique() == 1).all()
    assert pairs.equals(other_patients_slice(table, train, held, seed=3))
    draws = {tuple(other_patients_slice(table, train, held, seed)["donor"]) for seed in range(8)}
    assert len(draws) > 1
    alone = other_patients_slice(table, np.flatnonzero(table["patient"] == 1), held[table["patient"][held] == 1])
    assert (alone["donor"] == -1).all()


def test_folds_hold_every_slice_out_once_and_copy_from_the_training_side():
    table = make_table({f"{patient}_t2": list(range(10)) for patient in range(1, 7)})
    leaky = every_slice_once(table, SplitSettings(split="random_slice", folds=5, validation_share=0.0))
    assert sorted(leaky["row"]) == list(range(len(table)))
    fold_of = leaky.set_index("row")["fold"]
    assert (fold_of[leaky["donor"]].to_numpy() != leaky["fold"].to_numpy()).all()
    assert (table["series"].to_numpy()[leaky["donor"]] == table["series"].to_numpy()[leaky["row"]]).all()
    honest = every_slice_once(table, SplitSettings(split="patient_kfold", folds=3, validation_share=0.0))
    assert sorted(honest["row"]) == list(range(len(table)))
    patient = table["patient"].to_numpy()
    assert (patient[honest["donor"]] != patient[honest["row"]]).all()


def test_copying_from_itself_is_perfect():
    table = make_table({"1_t2": [1, 2], "2_t2": [5]})
    pairs = pd.DataFrame({"row": [0, 1, 2], "donor": [0, 1, 2], "distance": 0.0})
    for boundaries in (False, True):
        scores = copying_scores(make_masks(table), table, pairs, boundaries).table
        assert (scores[["dice", "iou", "precision", "recall"]] == 1).all(axis=None)
        assert (scores["missed"] == 0).all()


def test_scores_of_a_hand_made_pair():
    table = make_table({"1_t2": [1, 2]})
    masks = np.array([[[1, 1, 1, 0]], [[1, 2, 0, 0]]], np.uint8)
    scores = copying_scores(masks, table, pd.DataFrame({"row": [0], "donor": [1], "distance": [1.0]}))
    rows = scores.table.set_index("class")
    assert rows.loc["vertebrae", ["tp", "fp", "fn"]].tolist() == [1, 0, 2]
    assert rows.loc["canal", ["tp", "fp", "fn", "dice", "missed"]].tolist() == [0, 1, 0, 0, 1]
    assert rows.loc["discs", ["dice", "missed"]].isna().all()


def test_both_ways_of_scoring_agree():
    table = make_table({"1_t2": [1, 2, 3], "2_t2": [1, 2]})
    masks = make_masks(table)
    masks[1][masks[1] == 3] = 0
    pairs = pd.DataFrame({"row": [0, 1, 3, 4], "donor": [1, 2, 4, -1], "distance": [1, 1, 1, np.nan]})
    quick, full = (copying_scores(masks, table, pairs, boundaries).table for boundaries in (False, True))
    shared = ["series", "slice_index", "class", "tp", "fp", "fn", "dice", "iou", "precision", "recall", "f1", "missed"]
    pd.testing.assert_frame_equal(quick[shared], full[shared])
    copied = np.stack([masks[1], masks[2], masks[4], np.zeros_like(masks[0])])
    by_hand = score_slices(masks[[0, 1, 3, 4]], copied, table.iloc[[0, 1, 3, 4]]).table
    pd.testing.assert_frame_equal(full, by_hand)


def test_a_slice_without_a_donor_scores_nothing_but_counts():
    table = make_table({"1_t2": [1], "2_t2": [1]})
    pairs = pd.DataFrame({"row": [0, 1], "donor": [0, -1], "distance": [0.0, np.nan]})
    summary = summarise(copying_scores(make_masks(table), table, pairs), "", 10)
    row = summary.query("metric == 'dice' and aggregation == 'slices' and `class` == 'discs' and sequence == 'all'")
    assert (row["value"].item(), row["n"].item()) == (0.5, 2)


def test_slices_apart_skip_missing_numbers():
    table = make_table({"1_t2": [1, 2, 4], "2_t2": [2, 3]})
    assert slices_apart(table, 1)[["row", "donor"]].to_numpy().tolist() == [[0, 1], [3, 4]]
    assert slices_apart(table, 2)[["row", "donor"]].to_numpy().tolist() == [[1, 2]]
    assert slices_apart(table, 9).empty


def test_neighbour_overlap_is_that_of_the_pairs():
    table = make_table({"1_t2": [1, 2, 3], "2_t2": [7, 8]})
    masks = make_masks(table)
    overlap = neighbour_overlap(masks, table, apart=(1, 2, 5), replicates=10)
    assert overlap["apart"].unique().tolist() == [1, 2]  # no series spans five slices
    assert overlap.groupby("apart")["pairs"].first().tolist() == [3, 1]
    row = overlap.query("apart == 1 and aggregation == 'slices' and `class` == 'canal'")
    expected = np.mean([dice_of(masks[a], masks[b], 2) for a, b in ((0, 1), (1, 2), (3, 4))])
    assert row["value"].item() == pytest.approx(expected)
    pooled = overlap.query("apart == 1 and aggregation == 'pooled' and `class` == 'discs'")["value"].item()
    assert pooled == pytest.approx(dice_of(masks[[0, 1, 3]], masks[[1, 2, 4]], 3))
    wide = overlap.query("apart == 1 and aggregation == 'pooled'").set_index("class")["value"]
    assert wide["foreground"] == pytest.approx(wide[list(FOREGROUND)].mean())


def test_typical_neighbours_have_the_median_dice():
    table = make_table({"1_t2": [1, 2, 4], "2_t2": [7, 8, 9], "3_t2": [5]})
    masks = make_masks(table)
    masks[1], masks[4] = masks[0], masks[3]  # two perfect pairs; the third is the lowest, so the median is perfect
    assert typical_neighbours(masks, table) in ((0, 1), (3, 4))
    masks = make_masks(table)
    pairs = [(0, 1), (3, 4), (4, 5)]
    means = [np.mean([dice_of(masks[a], masks[b], label) for label in (1, 2, 3)]) for a, b in pairs]
    assert len(set(means)) == 3
    assert typical_neighbours(masks, table) == pairs[means.index(sorted(means)[1])]


def test_typical_neighbours_need_neighbours():
    table = make_table({"1_t2": [1, 3], "2_t2": [2]})
    assert typical_neighbours(make_masks(table), table) is None


def test_copying_table_names_both_kinds_and_says_which_leaks(tmp_path):
    table = make_table({f"{patient}_t2": list(range(8)) for patient in range(1, 6)})
    # every patient has a mask of their own that changes nowhere: the neighbour's is perfect, another's is not
    masks = np.stack([make_masks(table, seed=patient)[0] for patient in table["patient"]])
    store = SliceStore(tmp_path, masks, masks, table, table, {})
    summary = copying_table(store, folds=5, replicates=20)
    assert set(summary["split"]) == {NEIGHBOUR, OTHER_PATIENT} and "LEAKY" in NEIGHBOUR
    assert set(summary["metric"]) == {"dice", "iou", "precision", "recall", "f1", "missed"}
    dice = summary.query("metric == 'dice' and aggregation == 'pooled' and `class` == 'foreground'")
    dice = dice[dice["sequence"] == "all"].set_index("split")["value"]
    assert dice[NEIGHBOUR] == 1
    assert dice[OTHER_PATIENT] < 0.6
    few = table["patient"] <= 3  # fewer patients than folds: one a fold
    small = SliceStore(tmp_path, masks[few], masks[few], table[few], table, {})
    other = copying_table(small, folds=5, replicates=5).query("aggregation == 'patients' and metric == 'dice'")
    assert (other["n"] == 3).all()
    measured = set(copying_table(store, folds=5, boundaries=True, replicates=5)["metric"])
    assert measured == {"dice", "iou", "precision", "recall", "f1", "missed", "asd", "hd95", "nsd_1", "nsd_2"}


def test_the_order_of_slices_does_not_matter():
    table = make_table({"1_t2": [1, 2, 3, 4], "2_t2": [7, 8, 9]})
    masks, order = make_masks(table), np.array([3, 6, 0, 5, 1, 4, 2])
    first = neighbour_overlap(masks, table, replicates=20)
    again = neighbour_overlap(masks[order], table.iloc[order].reset_index(drop=True), replicates=20)
    pd.testing.assert_frame_equal(first, again)


def test_real_neighbours_overlap_by_more_than_other_patients(shared_data):
    series = [one for one in find_released_series(shared_data / "released_t2_space") if one.patient in (18, 22)]
    stacks = [read_released_stack(one) for one in series]
    table = make_table({one.name: stack.index.tolist() for one, stack in zip(series, stacks, strict=True)})
    masks = np.concatenate([stack.classes() for stack in stacks])
    rows = {patient: np.flatnonzero(table["patient"] == patient) for patient in (18, 22)}
    near = nearest_training_slice(table, rows[22][::2], rows[22][1::2])
    assert (near["distance"] == 1).all()
    far = other_patients_slice(table, rows[18], rows[22][1::2])

    def foreground(scores: SliceScores) -> float:
        counts = scores.table[scores.table["class"] != CLASSES[0]].groupby("class")[["tp", "fp", "fn"]].sum()
        return float((2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])).mean())

    assert foreground(copying_scores(masks, table, near)) > 0.94
    assert foreground(copying_scores(masks, table, far)) < 0.5
