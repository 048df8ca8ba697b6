"""Arms patient by patient: values, intervals, p values and their adjustment, against what can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.splits import SplitSettings
from spider_utils.evaluate.overlap import count_overlap
from spider_utils.evaluate.scores import SliceScores, score_slices, write_scores
from spider_utils.studies.compare import dice_table
from spider_utils.studies.paired import differs, holm, paired_table, patient_table, study_patients
from spider_utils.studies.plan import Training
from spider_utils.train.settings import TrainSettings
from tools.pages import ablation_page


def slice_table(patients: list[int], pixel: float = np.nan) -> pd.DataFrame:
    table = pd.DataFrame({"patient": patients, "sequence": "T2_SPACE", "pixel_mm_row": pixel, "pixel_mm_col": pixel})
    return table.assign(series=[f"{one}_t2_SPACE" for one in patients], slice_index=range(len(patients)))


def masks(shifts: list[int]) -> np.ndarray:
    """Slices of 40 x 60 with a square of 10 x 10 of each foreground class, moved down by `shifts`."""
    maps = np.zeros((len(shifts), 40, 60), np.uint8)
    for number, shift in enumerate(shifts):
        for label in (1, 2, 3):
            maps[number, 5 + shift : 15 + shift, 20 * label - 15 : 20 * label - 5] = label
    return maps


def scores(patients: list[int], shifts: list[int], without: tuple[int, int] | None = None, **place) -> SliceScores:
    """Scores of predictions moved by `shifts`; `without`: (slice, label) that is not predicted."""
    predicted = masks(shifts)
    if without:
        predicted[without[0]][predicted[without[0]] == without[1]] = 0
    return score_slices(masks([0] * len(shifts)), predicted, slice_table(patients, **place))


def per_patient(arm: str, dice: list[float], hd95: list[float] | None = None, seed: int = 0) -> pd.DataFrame:
    table = pd.DataFrame({"arm": arm, "seed": seed, "patient": range(len(dice)), "slices": 1, "dice": dice})
    return table.assign(hd95=hd95 or 3.0, asd=1.0, nsd_1=0.5, unit="px", missed=0)


def row_of(table: pd.DataFrame, arm: str, metric: str = "dice") -> pd.Series:
    (row,) = table[(table["arm"] == arm) & (table["metric"] == metric)].to_dict("records")
    return pd.Series(row)


def test_a_patients_dice_is_of_its_pooled_pixels_and_its_distances_are_means():
    """A square of 10 moved by d keeps (10 - d) * 10 pixels, and its edges lie d away."""
    table = patient_table({"a": scores([7, 7, 9], [0, 4, 2])})
    assert table[["arm", "patient", "slices", "missed", "unit"]].values.tolist() == [
        ["a", 7, 2, 0, "px"],
        ["a", 9, 1, 0, "px"],
    ]
    np.testing.assert_allclose(table["dice"], [(100 + 60) / 200, 0.8])
    np.testing.assert_allclose(table["hd95"], [(0 + 4) / 2, 2])
    assert table["asd"].between(0.1, table["hd95"]).all()
    assert patient_table({"a": scores([7, 8, 9], [0, 1, 4])})["nsd_1"].between([1, 1, 0.2], [1, 1, 0.6]).all()


def test_a_class_that_is_missed_is_counted_and_has_no_distance():
    whole = patient_table({"a": scores([7, 7], [2, 4])}).iloc[0]
    table = patient_table({"a": scores([7, 7], [2, 4], without=(1, 3))}).iloc[0]
    assert (whole["missed"], table["missed"]) == (0, 1)
    assert whole["hd95"] == pytest.approx(3)
    assert table["hd95"] == pytest.approx((3 + 3 + 2) / 3)  # the discs of the first slice alone
    assert table["dice"] == pytest.approx((0.7 + 0.7 + 2 * 80 / (200 + 100)) / 3)
    there = patient_table({"a": scores([7], [2])}).iloc[0]
    never = patient_table({"a": scores([7], [2], without=(0, 3))}).iloc[0]
    assert never["nsd_1"] == pytest.approx(there["nsd_1"] * 2 / 3)  # 0 for the discs
    assert np.isnan(never["hd95"]) and np.isnan(never["asd"]) and never["dice"] == pytest.approx(1.6 / 3)


def test_mm_and_pixels_are_not_mixed():
    assert patient_table({"a": scores([7], [2], pixel=0.5)})["hd95"].tolist() == [1.0]
    mixed = SliceScores(pd.concat([scores([7], [2], pixel=0.5).table, scores([8], [2]).table]), pd.DataFrame())
    with pytest.raises(SpiderError, match="arm 'a'.*one unit.*mm, px"):
        patient_table({"a": mixed})
    both = patient_table({"a": scores([7], [2], pixel=0.5), "b": scores([7], [2])})
    with pytest.raises(SpiderError, match="one unit.*mm, px"):
        paired_table(both, "a")


def test_holm_by_hand():
    """0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04 x 1, which must not lie below the one before."""
    assert holm(pd.Series([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1.0, 1.0]
    found = holm(pd.Series([0.02, np.nan, 0.04], index=[5, 6, 7]))
    assert found.loc[[5, 7]].tolist() == pytest.approx([0.04, 0.04]) and np.isnan(found[6])


def test_p_is_the_exact_one_of_the_signed_ranks():
    """Five patients have 32 patterns of sign. All up: the two extreme ones. The smallest down: rank sums 0 and 1."""
    base = per_patient("base", [0.5] * 5)
    up = per_patient("up", [0.51, 0.52, 0.53, 0.54, 0.55])
    most = per_patient("most", [0.49, 0.52, 0.53, 0.54, 0.55])
    table = paired_table(pd.concat([base, up, most]), "base")
    assert row_of(table, "up")["p"] == pytest.approx(2 / 32)
    assert row_of(table, "most")["p"] == pytest.approx(4 / 32)
    assert row_of(table, "up")["p_holm"] == pytest.approx(4 / 32)
    assert row_of(table, "most")["p_holm"] == pytest.approx(4 / 32)
    assert row_of(table, "most")[["better", "worse", "n"]].tolist() == [4, 1, 5]


def test_no_difference_at_all():
    table = paired_table(
        pd.concat([per_patient("base", [0.5, 0.6, 0.7]), per_patient("same", [0.5, 0.6, 0.7])]), "base"
    )
    row = row_of(table, "same")
    assert row[["difference", "ci_low", "ci_high", "p", "p_holm", "better", "worse"]].tolist() == [0, 0, 0, 1, 1, 0, 0]


def test_a_smaller_distance_is_better():
    base, near = per_patient("base", [0.5] * 4, [3, 4, 5, 6]), per_patient("near", [0.5] * 4, [2, 3, 6, 6])
    row = row_of(paired_table(pd.concat([base, near]), "base"), "near", "hd95")
    assert row[["unit", "difference", "better", "worse"]].tolist() == ["px", -0.25, 2, 1]


def test_the_interval_is_that_of_patients_drawn_with_replacement():
    rng = np.random.default_rng(5)
    base, gain = rng.uniform(0.5, 0.9, 12), rng.normal(0.02, 0.03, 12)
    table = paired_table(pd.concat([per_patient("base", list(base)), per_patient("a", list(base + gain))]), "base")
    means = [gain[drawn].mean() for drawn in np.random.default_rng(0).integers(0, 12, (1000, 12))]
    row = row_of(table, "a")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))))
    assert row["difference"] == pytest.approx(gain.mean())


def test_a_difference_is_paired_and_all_arms_share_their_draws():
    """Patients differ by far more than the arms; an arm's twin has its interval whatever stands between them."""
    base = list(np.random.default_rng(1).uniform(0.3, 0.9, 10))
    gains = np.linspace(-0.01, 0.03, 10)
    parts = [
        per_patient("base", base),
        per_patient("a", list(base + gains)),
        per_patient("flat", [b + 0.1 for b in base]),
    ]
    table = paired_table(pd.concat([*parts, per_patient("twin", list(base + gains))]), "base")
    flat, first, twin = (row_of(table, arm) for arm in ("flat", "a", "twin"))
    np.testing.assert_allclose(flat[["difference", "ci_low", "ci_high"]].astype(float), 0.1)
    assert first[["ci_low", "ci_high", "p"]].tolist() == twin[["ci_low", "ci_high", "p"]].tolist()
    assert first["ci_low"] < first["difference"] < first["ci_high"]


def test_a_patient_without_a_value_in_one_arm_is_left_out_and_n_says_so():
    base, own = per_patient("base", [0.5] * 4, [3, 4, 5, 6]), per_patient("a", [0.6] * 4, [2, 2, np.nan, 2])
    own["missed"] = [0, 0, 3, 1]
    table = paired_table(pd.concat([base, own]), "base")
    row = row_of(table, "a", "hd95")
    assert row[["n", "difference", "better"]].tolist() == [3, pytest.approx(-(1 + 2 + 4) / 3), 3]
    assert row[["missed", "reference_missed"]].tolist() == [4, 0]
    assert row_of(table, "a")["n"] == 4
    nobody = row_of(paired_table(pd.concat([base, own.assign(hd95=np.nan)]), "base"), "a", "hd95")
    assert nobody["n"] == 0 and nobody[["difference", "ci_low", "p", "p_holm"]].isna().all()


def test_one_patient_has_no_interval():
    row = row_of(paired_table(pd.concat([per_patient("base", [0.5]), per_patient("a", [0.6])]), "base"), "a")
    assert row["difference"] == pytest.approx(0.1) and np.isnan(row["ci_low"]) and row["p"] == 1


def test_seeds_are_averaged_within_a_patient():
    seeds = [per_patient("a", [0.6, 0.7], seed=0), per_patient("a", [0.8, 0.5], seed=1)]
    base = [per_patient("base", [0.5, 0.5], seed=seed) for seed in (0, 1)]
    table = paired_table(pd.concat([*base, *seeds]), "base")
    row = row_of(table, "a")
    assert row["n"] == 2 and row["difference"] == pytest.approx((0.2 + 0.1) / 2)
    assert (row["better"], row["worse"], row["seeds"]) == (2, 0, 2)


def test_an_interval_of_several_seeds_holds_them_too():
    """A gain of 0.05 or of -0.03, by the seed, that all patients have: with patients alone it would have no width."""
    base = np.random.default_rng(1).uniform(0.3, 0.9, 10)
    parts = []
    for seed, gain in enumerate((0.05, -0.03, 0.05)):
        parts += [
            per_patient("base", list(base + seed), seed=seed),
            per_patient("a", list(base + seed + gain), seed=seed),
        ]
    row = row_of(paired_table(pd.concat(parts), "base"), "a")
    np.testing.assert_allclose(row[["difference", "ci_low", "ci_high"]].astype(float), [0.07 / 3, -0.03, 0.05])
    one = paired_table(pd.concat(parts[:2]), "base")
    np.testing.assert_allclose(row_of(one, "a")[["ci_low", "ci_high"]].astype(float), 0.05)
    assert "seeds" not in one


def test_titles_kinds_and_an_unknown_reference():
    patients = pd.concat([per_patient("base", [0.5]), per_patient("a", [0.6])])
    row = row_of(paired_table(patients, "base", {"a": "Attention"}, {"a": "network"}), "a")
    assert row[["title", "kind", "reference"]].tolist() == ["Attention", "network", "base"]
    with pytest.raises(SpiderError, match="reference arm 'none'.*base, a"):
        paired_table(patients, "none")
    alone = paired_table(per_patient("base", [0.5]), "base")
    assert alone.empty and list(alone) == list(paired_table(patients, "base"))


def test_folds_of_a_finished_study_come_together(tmp_path):
    trainings = []
    for arm, shift in (("base", 4), ("a", 2)):
        for seed in (0, 1):
            for fold, patient in enumerate((7, 9)):
                one = Training(arm, seed, fold, SplitSettings(), TrainSettings(), (1,))
                folder = tmp_path / "trainings" / one.place
                folder.mkdir(parents=True)
                write_scores(scores([patient], [shift + fold + seed]), folder)
                trainings.append(one)
    table = study_patients(trainings, tmp_path)
    assert table[["arm", "seed", "patient"]].values.tolist() == [
        [arm, seed, patient] for arm in ("base", "a") for seed in (0, 1) for patient in (7, 9)
    ]
    assert table["hd95"].tolist() == pytest.approx([4, 5, 5, 6, 2, 3, 3, 4])
    assert row_of(paired_table(table, "base"), "a", "hd95")[["n", "difference"]].tolist() == [2, pytest.approx(-2)]


def test_the_page_states_what_the_tables_hold(tmp_path):
    titles, counts, patients = {"base": "paper's text", "a": "better one", "b": "worse one"}, [], []
    for arm, shift in (("base", 3), ("a", 2), ("b", 5)):
        shifts = [shift + (number % 2) * (arm != "base") for number in range(8)]
        people = list(range(8))
        predicted, places = masks(shifts), slice_table(people)
        counts.append(count_overlap(masks([0] * 8), predicted, places).assign(arm=arm, epoch=2))
        patients.append(patient_table({arm: scores(people, shifts)}))
    dice, paired = dice_table(pd.concat(counts)), paired_table(pd.concat(patients), "base", titles)
    dice.insert(1, "title", dice["arm"].map(titles))
    cost = pd.DataFrame({"arm": list(titles), "parameters": [1948276, 10, 20], "multiply_adds": [292454400, 3e9, 1e9]})
    dice.to_csv(tmp_path / "dice.csv", index=False)
    paired.to_csv(tmp_path / "paired.csv", index=False)
    cost.assign(multiply_adds_ratio=[1, 10.26, 3.42]).to_csv(tmp_path / "cost.csv", index=False)
    pd.DataFrame({"seed": [0, 0]}).to_csv(tmp_path / "trainings.csv", index=False)
    table, told = ablation_page(tmp_path)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0][3:5] == ["in HD95, px", "in ASD, px"]
    assert [line[0] for line in lines[2:]] == list(titles.values())
    assert lines[2] == ["paper's text", "0.700 [0.700, 0.700]", "reference", "", "", "1,948,276", "0.29 G (1.00 ×)"]
    row = row_of(paired, "a")
    assert lines[3][2] == f"+0.050 [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}], p {row['p_holm']:.3f}"
    assert lines[3][3].startswith("-0.5 [") and lines[3][6] == "3.00 G (10.26 ×)"
    assert row["p_holm"] > 0.05 and row_of(paired, "b")["p_holm"] < 0.05
    for part in (
        "8 slices of 8 unseen patients",
        "better: none",
        "worse: worse one",
        "the other 1",
        "1 seed:",
        "0 of 24",
    ):
        assert part in told, part
    assert "nan" not in table + told and "the mean over patients with" in told
    paired.assign(seeds=2).to_csv(tmp_path / "paired.csv", index=False)
    pd.DataFrame({"seed": [0, 1]}).to_csv(tmp_path / "trainings.csv", index=False)
    told = ablation_page(tmp_path)[1]
    assert "the mean over patients and seeds with" in told and "share 2 networks, one a seed:" in told


def test_a_difference_needs_both_an_interval_without_0_and_a_small_p():
    rows = [(0.01, 0.02, 0.01), (-0.02, -0.01, 0.01), (-0.01, 0.02, 0.01), (0.01, 0.02, 0.05), (np.nan, np.nan, 0.01)]
    assert differs(pd.DataFrame(rows, columns=["ci_low", "ci_high", "p_holm"])).tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]
