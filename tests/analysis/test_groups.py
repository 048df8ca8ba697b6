"""Dice by groups, structures and gradings, and the worst slices, on slices drawn by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spider_utils.analysis.causes import add_causes
from spider_utils.analysis.groups import group_table
from spider_utils.analysis.pathology import pathology_statement, pathology_table
from spider_utils.analysis.structures import stack_spacing, structure_table
from spider_utils.analysis.where import add_regions
from spider_utils.analysis.worst import slice_table, worst_table
from spider_utils.analysis.wrong import wrong_pixels
from spider_utils.common.errors import SpiderError
from tests.helpers.small_unseen import BODIES, DISCS, make_unseen, spine

SERIES = ("1_t2_SPACE", "2_t2_SPACE")
OVERVIEW = pd.DataFrame(
    {"new_file_name": SERIES, "Manufacturer": ["SIEMENS", None], "MagneticFieldStrength": [1.5, 3.0]}
    | {"PixelSpacing": "[0.5, 0.5]", "SpacingBetweenSlices": 1.0}
)


def without_rows(share, label=3):
    """The spine whose structures of one class lack this share of their columns, from the front."""
    mask = spine()
    mask[:, : 60 + round(50 * share)][mask[:, : 60 + round(50 * share)] == label] = 0
    return mask


@pytest.fixture(scope="module")
def slices():
    """Patient 1: three slices whose discs lack 0, 20 and 40 % of their pixels; patient 2: one that lacks 80 %."""
    return make_unseen([spine()] * 4, [without_rows(share) for share in (0, 0.2, 0.4, 0.8)], [1, 1, 1, 2])


def dice_of(share):
    return 2 * (1 - share) / (2 - share)


def test_patients_count_alike_however_many_slices_they_have(slices):
    row = group_table(slices).query("group == 'all' and `class` == 'discs'").iloc[0]
    first, second = np.mean([dice_of(share) for share in (0, 0.2, 0.4)]), dice_of(0.8)
    assert row["dice"] == pytest.approx((first + second) / 2)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((second, first))  # draws of two patients
    assert (row["patients"], row["slices"]) == (2, 4)


def test_foreground_is_the_mean_of_the_classes_and_one_patient_has_no_interval(slices):
    table = group_table(slices).query("group == 'patient' and value == '2'").set_index("class")
    assert table.loc["foreground", "dice"] == pytest.approx((1 + 1 + dice_of(0.8)) / 3)
    assert table["ci_low"].isna().all()


def test_thirds_and_scanners_hold_the_slices_that_they_should(slices):
    table = group_table(slices, OVERVIEW).query("`class` == 'discs'").set_index(["group", "value"])
    assert table.loc[("lateral", "first third"), "dice"] == pytest.approx(1)
    assert table.loc[("lateral", "middle third"), "slices"] == 2  # a series of one slice is all middle
    assert table.loc[("maker", "not stated"), "dice"] == pytest.approx(dice_of(0.8))
    assert table.loc[("field", "1.5 T"), ["patients", "slices"]].tolist() == [1, 3]


def test_quarters_of_size_are_by_the_references_pixels():
    references = [without_rows(share) for share in (0.6, 0.4, 0.2, 0.0)]
    unseen = make_unseen(references, [without_rows(0.6)] * 4)
    table = group_table(unseen).query("group == 'size' and `class` == 'discs'").set_index("value")
    expected = [2 * 0.4 / (0.4 + left) for left in (0.4, 0.6, 0.8, 1.0)]
    assert table.loc[["1 smallest", "2", "3", "4 largest"], "dice"].tolist() == pytest.approx(expected)


@pytest.fixture(scope="module")
def stack():
    """Twelve slices of one patient; in the prediction half of the middle disc is missed, and all of the top body."""
    found = spine()
    found[DISCS[1][0] : DISCS[1][1], 60:85] = 0
    found[BODIES[0][0] : BODIES[0][1], 60:110] = 0
    found[320:330, 60:110] = 3  # 14 rows, 7 mm, below the lowest disc: its own
    found[20:40, 60:110] = 3  # nobody's
    unseen = make_unseen([spine()] * 12, [found] * 12)
    return replace(unseen, table=unseen.table.assign(pixel_mm_row=0.5, pixel_mm_col=0.5))


def test_every_structure_is_scored_by_what_is_predicted_near_it(stack):
    gradings = pd.DataFrame({"Patient": [1, 1, 9], "IVD label": [1, 2, 1], "Pfirrman grade": [5, 2, 3]})
    table = structure_table(stack, OVERVIEW, gradings).set_index(["structure", "number"])
    discs, vertebrae = table.loc["disc"], table.loc["vertebra"]
    assert discs["level"].to_dict() == {1: "L5/S1", 2: "L4/L5", 3: "L3/L4"}
    assert discs["recall"].tolist() == pytest.approx([1, 0.5, 1])
    assert discs.loc[1, "dice"] == pytest.approx(2 * 12 / (12 + 14))  # of the 10 rows below two lie within 8 mm
    assert discs.loc[3, "dice"] == 1
    assert vertebrae.loc[3, "recall"] == 0 and vertebrae.loc[1, "recall"] == 1
    assert (discs["slices"] == 12).all() and (discs["pixels"] == 12 * 12 * 50).all()
    assert discs["Pfirrman grade"].tolist()[:2] == [5, 2] and np.isnan(discs.loc[3, "Pfirrman grade"])
    assert vertebrae.loc[1, "Pfirrman grade"] == 5


def test_the_spacing_is_the_tables_or_spiders_or_the_overviews(stack):
    table = stack.table.assign(pixel_mm_row=np.nan, pixel_mm_col=np.nan)
    assert stack_spacing(table, (640, 512), OVERVIEW) == pytest.approx((1.0, 0.5, 0.5))
    known = table.assign(pixel_mm_row=0.4, pixel_mm_col=0.3, slice_index=table["slice_index"] * 2)
    assert stack_spacing(known, (640, 512), OVERVIEW) == pytest.approx((2.0, 0.4, 0.3))
    released = table.assign(series="81_t2_SPACE")  # 697 rows of 0.435 mm, 512 columns of 0.469 mm, stored as 640 x 512
    listed = OVERVIEW.assign(new_file_name="81_t2_SPACE")
    expected = (0.916572, 697 * 0.435456 / 640, 0.46875)
    assert stack_spacing(released, (640, 512), listed) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(SpiderError, match="expected a row for 1_t2_SPACE"):
        stack_spacing(table, (640, 512), OVERVIEW[1:])


def structures(effect, patients=20, difficult=0.0):
    """Three discs a patient; the lowest is narrowed in the first half of the patients, which costs it `effect`."""
    rng, rows = np.random.default_rng(1), []
    for patient in range(patients):
        for number in (1, 2, 3):
            narrow = int(number == 1 and patient < patients // 2)
            dice = 0.9 - effect * narrow - difficult * (patient < patients // 2) + rng.normal(0, 0.005)
            row = {"structure": "disc", "patient": patient, "number": number, "dice": dice, "Disc narrowing": narrow}
            rows.append(row)
    unused = (
        "Pfirrman grade",
        "Disc herniation",
        "Disc bulging",
        "Spondylolisthesis",
        "Modic",
        "UP endplate",
        "LOW endplate",
    )
    return pd.DataFrame(rows).assign(**dict.fromkeys(unused, 0))


def test_an_effect_of_a_finding_is_found_with_its_interval():
    row = pathology_table(structures(0.1)).query("finding == 'narrowing' and grade == '1'").iloc[0]
    assert (row["structures"], row["patients"], row["pairs"]) == (10, 10, 10)
    assert row["difference"] == pytest.approx(-0.1, abs=0.01) and row["difference_high"] < 0
    # The level's mean holds half of the effect, as half of its discs are narrowed.
    assert row["adjusted"] == pytest.approx(-0.05, abs=0.01) and row["adjusted_high"] < 0
    assert row["detectable"] == pytest.approx((row["adjusted_high"] - row["adjusted_low"]) / 2)


def test_difficult_patients_do_not_stand_for_the_finding_once_adjusted():
    row = pathology_table(structures(0.0, difficult=0.1)).query("finding == 'narrowing' and grade == '1'").iloc[0]
    assert row["difference"] < -0.05
    assert row["adjusted_low"] < 0.005 and abs(row["adjusted"]) < 0.06


def test_the_statement_counts_what_is_clear_and_names_what_is_rare():
    table = pathology_table(structures(0.1))
    assert "narrowing 1: -0.05" in pathology_statement(table)
    rare = pathology_table(structures(0.1, patients=6))
    assert "No finding" in pathology_statement(rare)


def test_the_worst_slices_come_first_and_their_sentence_says_what_fails(slices):
    wrong = add_causes(slices, add_regions(slices, wrong_pixels(slices)))
    gradings = pd.DataFrame({"Patient": [2, 2], "Disc narrowing": [1, 0], "Disc bulging": 0, "Disc herniation": 0})
    gradings = gradings.assign(Spondylolisthesis=0, **{"Pfirrman grade": [4, 2]})
    table = worst_table(slices, wrong, gradings, count=2)
    assert table["patient"].tolist() == [2, 1] and table["slice"].tolist() == [3, 2]
    assert table.loc[0, ["worst", "cause", "wrong"]].tolist() == ["discs", "missed part", 3 * 12 * 40]
    sentence = table.loc[0, "sentence"]
    assert "Patient 2, slice 50" in sentence and f"({dice_of(0.8):.3f}; 1,440 pixels wrong" in sentence
    assert "Pfirrmann grades 2 to 4, 1 narrowed." in sentence
    assert "graded" not in table.loc[1, "sentence"]
    assert slice_table(slices)["dice_discs"].tolist() == pytest.approx([1, dice_of(0.2), dice_of(0.4), dice_of(0.8)])
