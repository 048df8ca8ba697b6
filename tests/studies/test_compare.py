"""Comparing arms: values by hand, intervals over patients, and differences that are paired."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.overlap import replicated_dice
from spider_utils.studies.compare import dice_table, difference_table, order_table, remaining_table, scored_alike_often


def counts(arm: str, per_patient: dict[int, list[tuple[int, int, int]]], epoch: int = 1) -> pd.DataFrame:
    """Rows of every class with the same (tp, fp, fn): one slice for each triple of a patient."""
    rows = [
        {"arm": arm, "epoch": epoch, "series": f"{patient}_t2_SPACE", "patient": patient, "slice_index": number}
        | {"class": name, "tp": tp, "fp": fp, "fn": fn}
        for patient, slices in per_patient.items()
        for number, (tp, fp, fn) in enumerate(slices)
        for name in CLASSES
    ]
    return pd.DataFrame(rows)


A = {1: [(10, 0, 0), (5, 5, 5)], 2: [(30, 10, 0)]}  # Dice of the slices: 1, 0.5 and 60 / 70


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("pooled", 90 / 110), ("slices", (1 + 0.5 + 60 / 70) / 3), ("patients", (0.75 + 60 / 70) / 2)],
)
def test_values_by_hand(aggregation, expected):
    table = dice_table(counts("a", A)).set_index(["aggregation", "class"])
    for name in (*CLASSES, "foreground"):
        assert table.loc[(aggregation, name), "value"] == pytest.approx(expected)
    assert table.loc[(aggregation, "canal"), ["patients", "slices"]].tolist() == [2, 3]


def test_replicates_of_two_patients_take_three_values_only():
    values = replicated_dice(counts("a", A))["pooled"]["canal"]
    possible = [30 / 40, 90 / 110, 60 / 70]  # patient 1 alone, both, patient 2 alone
    assert {round(v, 9) for v in values} == {round(v, 9) for v in possible}
    table = dice_table(counts("a", A)).query("aggregation == 'pooled' and `class` == 'canal'").iloc[0]
    assert (table["ci_low"], table["ci_high"]) == pytest.approx((possible[0], possible[2]))


def test_a_class_of_one_patient_has_no_interval():
    both = pd.concat([counts("a", A), counts("b", {1: [(9, 1, 0), (5, 5, 5)], 2: [(30, 12, 0)]})])
    absent = (both["class"] == "canal") & (both["patient"] == 2)
    both.loc[absent, ["tp", "fp", "fn"]] = 0
    for table in (dice_table(both), difference_table(both, "a")):
        held = table.set_index("class")["ci_low"]
        assert held[["canal", "foreground"]].isna().all() and held[["vertebrae", "discs"]].notna().all()


def test_a_class_in_neither_mask_does_not_count():
    absent = {1: [(0, 0, 0), (5, 5, 5)], 2: [(0, 0, 0)]}
    table = dice_table(counts("a", absent)).set_index(["aggregation", "class"])["value"]
    assert table[("slices", "discs")] == table[("patients", "discs")] == table[("pooled", "discs")] == 0.5


def test_a_difference_is_paired_by_patient():
    """Patients differ by far more than the arms: paired, the interval of a constant gain has no width."""
    rng = np.random.default_rng(0)
    hits = {patient: int(rng.integers(100, 900)) for patient in range(12)}
    low = counts("low", {p: [(h, 1000 - h, 1000 - h)] for p, h in hits.items()})
    high = counts("high", {p: [(h + 50, 950 - h, 950 - h)] for p, h in hits.items()})
    table = difference_table(pd.concat([low, high]), "low")
    assert table["arm"].unique().tolist() == ["high"]
    assert np.allclose(table[["difference", "ci_low", "ci_high"]], 0.05)
    spread = dice_table(low).query("aggregation == 'patients' and `class` == 'canal'").iloc[0]
    assert spread["ci_high"] - spread["ci_low"] > 0.15


def test_seeds_are_drawn_with_the_patients():
    """Both seeds together: their pixels added up; drawn: either seed, and patient 1 twice, both or patient 2 twice."""
    low = {1: [(10, 10, 10)], 2: [(30, 10, 10)]}
    both = pd.concat([counts("a", A).assign(seed=0), counts("a", low).assign(seed=1)])
    row = dice_table(both).query("aggregation == 'pooled' and `class` == 'canal'").iloc[0]
    assert row["value"] == pytest.approx(2 * 85 / (2 * 85 + 35 + 25))
    values = {round(float(one), 9) for one in replicated_dice(both)["pooled"]["canal"][1:]}
    assert values == {round(one, 9) for one in (30 / 40, 90 / 110, 60 / 70, 20 / 40, 80 / 120, 60 / 80)}
    assert row[["ci_low", "ci_high"]].tolist() == pytest.approx([20 / 40, 60 / 70])
    assert row[["patients", "slices", "seeds"]].tolist() == [2, 3, 2]
    other = both.assign(arm="b", tp=both["tp"] + 1)
    assert difference_table(pd.concat([both, other]), "a")["seeds"].eq(2).all()


def test_epochs_are_not_mixed():
    both = pd.concat([counts("a", A), counts("a", {1: [(1, 9, 9)], 2: [(1, 9, 9)]}, epoch=2)])
    table = dice_table(both).query("aggregation == 'pooled' and `class` == 'canal'").set_index("epoch")["value"]
    assert table[1] == pytest.approx(90 / 110) and table[2] == pytest.approx(0.1)


def test_arms_of_different_lengths_are_compared_at_their_ends():
    """At epoch 2 the longer arm is half done: it must not be compared there with one that is finished."""
    better, worse = {1: [(10, 0, 0)], 2: [(10, 0, 0)]}, {1: [(0, 10, 10)], 2: [(0, 10, 10)]}
    short = pd.concat([counts("short", worse, 1), counts("short", worse, 2)])
    long = pd.concat([counts("long", worse, 2), counts("long", better, 6)])
    table = difference_table(pd.concat([short, long]), "short").query("aggregation == 'pooled' and `class` == 'discs'")
    assert table[["arm", "epoch", "difference"]].values.tolist() == [["long", 6, 1.0]]


def of_dice(arm: str, epoch: int, hits: dict[int, int]) -> pd.DataFrame:
    """Counts of an arm with a Dice of hits / 100 in every patient."""
    return counts(arm, {patient: [(hit, 100 - hit, 100 - hit)] for patient, hit in hits.items()}, epoch)


def test_the_order_of_arms_at_each_length_by_hand():
    """At the last epoch a < b < c for every patient. At epoch 1 a lies above b for all (shown, the other way), b below
    c for all (kept), a below c by the mean alone (not shown). At epoch 2 b lies above c by the mean alone."""
    hits = {
        1: {"a": {1: 60, 2: 60}, "b": {1: 50, 2: 50}, "c": {1: 55, 2: 70}},
        2: {"a": {1: 50, 2: 50}, "b": {1: 62, 2: 60}, "c": {1: 61, 2: 60}},
        3: {"a": {1: 50, 2: 50}, "b": {1: 60, 2: 60}, "c": {1: 70, 2: 70}},
    }
    table = order_table(pd.concat(of_dice(arm, epoch, of) for epoch, arms in hits.items() for arm, of in arms.items()))
    columns = ["epoch", "pairs", "same", "shown", "kept", "reversed"]
    assert table[columns].to_numpy().tolist() == [[1, 3, 2, 2, 1, 1], [2, 3, 2, 2, 2, 0], [3, 3, 3, 3, 3, 0]]


def test_what_remains_to_be_gained_until_the_last_epoch():
    parts = [of_dice("a", 1, {1: 50, 2: 70}), of_dice("a", 4, {1: 60, 2: 75}), of_dice("b", 4, {1: 60, 2: 80})]
    table = remaining_table(pd.concat(parts))
    assert table[["arm", "epoch", "patients"]].to_numpy().tolist() == [["a", 1, 2]]
    assert table[["remaining", "ci_low", "ci_high"]].iloc[0].tolist() == pytest.approx([0.075, 0.05, 0.1])


def test_arms_are_scored_alike_often_where_all_have_the_same_epochs_and_more_than_one():
    counts = pd.DataFrame({"arm": ["a", "a", "b", "b"], "epoch": [5, 10, 5, 10]})
    assert scored_alike_often(counts)
    assert not scored_alike_often(counts[counts["epoch"] == 10])
    assert not scored_alike_often(counts.assign(epoch=[5, 10, 5, 20]))
