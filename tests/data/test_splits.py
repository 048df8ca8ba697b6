"""Splits: no patient on two sides, every patient tested once over the folds, the official subset respected."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.splits import LEAKY_NOTE, SplitSettings, learnt_from, make_split


def table(patients: int, official: tuple[int, ...] = (), slices: int = 3) -> pd.DataFrame:
    numbers = np.repeat(np.arange(1, patients + 1), slices)
    subset = ["validation" if n in official else "training" for n in numbers]
    return pd.DataFrame({"patient": numbers, "subset": subset, "sequence": "T2"})


def sides(split):
    return [set(split.train), set(split.validation), set(split.test)]


@pytest.mark.parametrize(("kind", "left_out"), [("official", set()), ("patient_kfold", {2, 5, 11})])
def test_no_patient_is_on_two_sides_and_none_is_lost(kind, left_out):
    train, validation, test = sides(make_split(table(17, official=(2, 5, 11)), SplitSettings(split=kind)))
    assert train and validation and test
    assert not (train & validation or train & test or validation & test)
    assert train | validation | test == set(range(1, 18)) - left_out


def test_folds_of_the_training_patients_are_the_same_with_and_without_the_official_ones():
    with_official = table(35, official=(31, 32, 33, 34, 35))
    assert make_split(with_official, SplitSettings(split="patient_kfold", fold=2)) == make_split(
        table(30), SplitSettings(fold=2)
    )


def test_folds_test_every_patient_exactly_once():
    tested = [p for fold in range(5) for p in make_split(table(30), SplitSettings(fold=fold)).test]
    assert sorted(tested) == list(range(1, 31))


def test_official_subset_is_the_test_side_and_auto_takes_it():
    split = make_split(table(10, official=(3, 7)), SplitSettings())
    assert (split.kind, split.test) == ("official", (3, 7))
    assert make_split(table(10), SplitSettings()).kind == "patient_kfold"


def test_same_seed_same_split_whatever_the_order_of_the_table():
    shuffled = table(30).sample(frac=1, random_state=1)
    assert make_split(table(30), SplitSettings(fold=2)) == make_split(shuffled, SplitSettings(fold=2))
    assert make_split(table(30), SplitSettings(split_seed=1)) != make_split(table(30), SplitSettings())


def test_a_patient_with_one_official_series_is_official():
    slices = pd.DataFrame(
        {"patient": [1, 1, 2, 3, 4], "subset": ["", "validation", "training", "training", "training"]}
    ).assign(sequence="T2")
    assert make_split(slices, SplitSettings()).test == (1,)


def test_rows_of_a_side_hold_all_slices_of_its_patients_and_no_others():
    slices = table(12)
    split = make_split(slices, SplitSettings(folds=3))
    rows = np.concatenate([split.rows(slices, side) for side in ("train", "validation", "test")])
    assert sorted(rows) == list(range(len(slices)))
    assert set(slices.loc[split.rows(slices, "test"), "patient"]) == set(split.test)


def test_random_slices_test_every_slice_once_and_none_is_on_two_sides():
    slices, tested = table(12, official=(4,)), []
    for fold in range(5):
        split = make_split(slices, SplitSettings(split="random_slice", fold=fold))
        rows = [split.rows(slices, side) for side in ("train", "validation", "test")]
        assert sorted(np.concatenate(rows)) == np.flatnonzero(slices["patient"] != 4).tolist()
        tested += rows[2].tolist()
    assert sorted(tested) == np.flatnonzero(slices["patient"] != 4).tolist()


def test_random_slices_leak_and_say_so_and_patients_do_not():
    leaky = make_split(table(12), SplitSettings(split="random_slice"))
    assert leaky.leaky and set(leaky.train) & set(leaky.test) and LEAKY_NOTE in leaky.label
    for kind in ("patient_kfold", "auto"):
        honest = make_split(table(12), SplitSettings(split=kind))
        assert not honest.leaky and "LEAKY" not in honest.label


def test_no_validation_share_no_validation_side():
    split = make_split(table(12), SplitSettings(validation_share=0.0, folds=3))
    assert split.validation == () and len(split.rows(table(12), "validation")) == 0
    assert len(split.train) == 8 and len(split.test) == 4


@pytest.mark.parametrize("kind", ["patient_kfold", "random_slice"])
def test_fewer_training_slices_are_drawn_from_the_training_side(kind):
    slices = table(12)
    whole = make_split(slices, SplitSettings(split=kind))
    fewer = make_split(slices, SplitSettings(split=kind, train_slices=7))
    assert len(set(fewer.rows(slices, "train"))) == 7
    assert set(fewer.rows(slices, "train")) < set(whole.rows(slices, "train"))
    assert make_split(slices, SplitSettings(split=kind, train_slices=7)) == fewer
    count = len(whole.rows(slices, "train"))
    every = make_split(slices, SplitSettings(split=kind, train_slices=count))  # each once, none twice
    assert every.rows(slices, "train").tolist() == whole.rows(slices, "train").tolist()
    for side in ("validation", "test"):
        assert fewer.rows(slices, side).tolist() == whole.rows(slices, side).tolist()
    with pytest.raises(SpiderError, match="train_slices: expected at most"):
        make_split(slices, SplitSettings(split=kind, train_slices=37))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "random"}, "split"),
        ({"train_slices": -1}, "train_slices"),
        ({"fold": 5}, "fold"),
        ({"folds": 1}, "fold"),
        ({"validation_share": 1.0}, "share"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(SpiderError, match=message):
        SplitSettings(**settings)


def test_too_few_patients_and_a_missing_official_subset_are_refused():
    with pytest.raises(SpiderError, match="5 folds"):
        make_split(table(4), SplitSettings())
    with pytest.raises(SpiderError, match="expected 2 patients or more beside those of the test side, .* found 1 of 2"):
        make_split(table(2, official=(1,)), SplitSettings())
    with pytest.raises(SpiderError, match="no patient"):
        make_split(table(9), SplitSettings(split="official"))


def mixed_table() -> pd.DataFrame:
    """Thirty patients with T2 SPACE, 28 with T2 of whom four have both, and masks that nobody drew."""
    space = pd.DataFrame({"patient": np.repeat(np.arange(1, 31), 20), "sequence": "T2_SPACE", "mask_from": "reference"})
    t2 = pd.DataFrame({"patient": np.arange(27, 55), "sequence": "T2", "mask_from": "reference"})
    carried = pd.DataFrame({"patient": np.arange(1, 16), "sequence": "T1", "mask_from": "carried"})
    own = pd.DataFrame({"patient": [1, 1, 99, 99], "sequence": "T2", "mask_from": ["self0", "self1"] * 2})
    return pd.concat([space, t2, carried, own], ignore_index=True).assign(subset="training")


def test_folds_hold_their_share_of_every_sequence_and_no_patient_twice():
    slices = mixed_table()
    tested = [make_split(slices, SplitSettings(folds=3, fold=fold)).test for fold in range(3)]
    assert sorted(sum(tested, ())) == list(range(1, 55))
    for fold in tested:
        assert len(set(fold) & set(range(1, 31))) in (9, 10, 11)
        assert len(set(fold) & set(range(27, 55))) in (9, 10)
        assert len(fold) in (17, 18, 19)


@pytest.mark.parametrize("masks", ["reference", "reference+carried", "reference+self", "reference+carried+self"])
def test_masks_that_nobody_drew_are_learnt_from_on_the_training_side_alone(masks):
    slices = mixed_table()
    for fold in (0, 1):
        settings = SplitSettings(folds=3, fold=fold, train_masks=masks)
        split = make_split(slices, settings)
        train, validation, test = (slices.iloc[split.rows(slices, side)] for side in ("train", "validation", "test"))
        assert not split.leaky and not set(train["patient"]) & (set(test["patient"]) | set(validation["patient"]))
        assert set(test["mask_from"]) == set(validation["mask_from"]) == {"reference"}
        assert set(train["mask_from"]) <= {"reference", "carried", f"self{fold}"}
        assert ("carried" in set(train["mask_from"])) == ("carried" in masks)
        own = train[train["mask_from"] == f"self{fold}"]["patient"].tolist()
        assert own == ([one for one in (1, 99) if one == 99 or one in split.train] if "self" in masks else [])
    plain = SplitSettings(folds=3, fold=1)
    assert make_split(slices, plain).test == make_split(slices[slices["mask_from"] == "reference"], plain).test


def test_carried_masks_are_never_scored_though_all_masks_may_be_learnt_from():
    slices = mixed_table()
    slices = slices[slices["mask_from"].isin(["reference", "carried"])].reset_index(drop=True)
    split = make_split(slices, SplitSettings(folds=3, fold=1, train_masks="reference+carried"))
    for side in ("validation", "test"):
        assert set(slices.iloc[split.rows(slices, side)]["mask_from"]) == {"reference"}
    assert set(slices.iloc[split.rows(slices, "train")]["mask_from"]) == {"reference", "carried"}


def test_only_some_sequences_may_be_learnt_from_and_all_are_tested():
    slices = mixed_table()
    split = make_split(slices, SplitSettings(folds=3, train_sequences="T2_SPACE"))
    assert set(slices.iloc[split.rows(slices, "train")]["sequence"]) == {"T2_SPACE"}
    assert set(slices.iloc[split.rows(slices, "test")]["sequence"]) == {"T2", "T2_SPACE"}
    with pytest.raises(SpiderError, match="train_sequences: expected all, or some of T1, T2, T2_SPACE, found 'STIR'"):
        SplitSettings(train_sequences="T2+STIR")
    with pytest.raises(SpiderError, match="train_masks: expected some of carried, reference, .* found 'drawn'"):
        make_split(slices, SplitSettings(train_masks="drawn"))
    with pytest.raises(SpiderError, match="no slice is left to train on"):
        make_split(slices, SplitSettings(train_sequences="T1"))


def test_a_split_over_slices_says_so_and_numbers_its_rows():
    split = make_split(table(6), SplitSettings(split="random_slice", validation_share=0.0, folds=3))
    assert split.kind == "random_slice" and split.label == f"random_slice ({LEAKY_NOTE})"
    for side in ("train", "validation", "test"):
        assert split.rows(table(6), side).dtype == np.intp
    with pytest.raises(SpiderError, match="5 folds need as many slices, found 3; use fewer"):
        make_split(table(1), SplitSettings(split="random_slice"))


def test_a_training_takes_the_sequences_that_are_named():
    slices = table(6).assign(sequence=["T1", "T2", "T2_SPACE"] * 6)
    for named, counts in {"T1": 6, "T1+T2_SPACE": 12, "all": 18}.items():
        chosen = learnt_from(slices, SplitSettings(train_sequences=named))
        assert chosen.sum() == counts
    assert set(slices["sequence"][learnt_from(slices, SplitSettings(train_sequences="T2_SPACE+T1"))]) == {
        "T1", "T2_SPACE"
    }  # fmt: skip


def test_a_side_that_is_not_trained_on_keeps_its_other_sequences():
    """In a store that does not tell where its masks come from, too."""
    slices = table(12).assign(sequence=["T1", "T2", "T2_SPACE"] * 12)
    split = make_split(slices, SplitSettings(train_sequences="T1"))
    found = {side: set(slices["sequence"].iloc[split.rows(slices, side)]) for side in ("train", "validation", "test")}
    assert found == {"train": {"T1"}, "validation": {"T1"}, "test": {"T1", "T2", "T2_SPACE"}}


def test_patients_who_are_all_official_leave_nobody_to_deal():
    with pytest.raises(SpiderError, match="5 folds need as many patients, found 0"):
        make_split(table(3, official=(1, 2, 3)), SplitSettings())


@pytest.mark.parametrize(
    ("patients", "share", "message"),
    [
        (
            2,
            0.2,
            "split: expected 2 patients or more beside those of the test side, so that validation_share 0.2 "
            "leaves some to train on, found 1 of 2; add patients, or take another share",
        ),
        (1, 0.2, "split: 2 folds need as many patients, found 1; use fewer"),
        (1, 0.0, "split: 2 folds need as many patients, found 1; use fewer"),
    ],
)
def test_too_few_patients_are_counted(patients, share, message):
    with pytest.raises(SpiderError) as refused:
        make_split(table(patients), SplitSettings(split="patient_kfold", folds=2, validation_share=share))
    assert str(refused.value) == message


def test_the_fewest_patients_that_will_do_and_the_share_that_is_held_back():
    for fewest, share in ((3, 0.2), (2, 0.0)):
        split = make_split(table(fewest), SplitSettings(split="patient_kfold", folds=fewest, validation_share=share))
        assert [len(side) for side in sides(split)] == [1, fewest - 2, 1]
    split = make_split(table(25), SplitSettings(folds=5, validation_share=0.25))
    assert [len(side) for side in sides(split)] == [15, 5, 5]
    lone = make_split(table(5, official=(5,)), SplitSettings(validation_share=0.01))
    assert [len(side) for side in sides(lone)] == [3, 1, 1]
    with pytest.raises(SpiderError, match="expected 1 patients or more beside .* validation_share 0.0 .* found 0 of 1"):
        make_split(table(1, official=(1,)), SplitSettings(split="official", validation_share=0.0))


@pytest.mark.parametrize(("share", "least"), [(0.0, 1), (0.15, 2), (0.5, 2), (0.75, 3), (0.9, 5), (0.99, 51)])
def test_as_many_patients_as_are_asked_for_will_do_and_one_less_will_not(share, least):
    """One patient is tested. 0.75 of 2 rounds to 2 and leaves nobody, 0.75 of 3 to 2; 0.9 of 4 to 4, of 5 to 4."""
    settings = SplitSettings(split="official", validation_share=share)
    split = make_split(table(least + 1, official=(1,)), settings)
    assert len(split.train) == 1 and len(split.validation) == least - 1
    with pytest.raises(SpiderError, match=f"expected {least} patients or more .* found {least - 1} of {least}"):
        make_split(table(least, official=(1,)), settings)


def test_folds_begin_with_another_one_in_each_group_of_sequences():
    """Two groups of five patients: each fold tests one of both, but not the same place of both."""
    slices = pd.concat([table(10).assign(sequence="T1"), table(10).query("patient > 5").assign(sequence="T2")])
    for fold in range(5):
        tested = make_split(slices, SplitSettings(fold=fold, split="patient_kfold")).test
        assert sorted(patient > 5 for patient in tested) == [False, True]


def test_folds_are_at_least_two_and_at_most_a_thousand():
    for folds in (2, 1000):
        assert SplitSettings(folds=folds).folds == folds
    for folds in (1, 1001):
        with pytest.raises(SpiderError, match="folds: expected 2 to 1000"):
            SplitSettings(folds=folds)
