"""Wrong pixels of slices drawn by hand: how far from the contour, in which region, for which cause."""

import numpy as np
import pytest

from spider_utils.analysis.causes import CAUSES, add_causes, cause_table, suspected_faults
from spider_utils.analysis.where import REGIONS, add_regions, distance_table, landmarks, region_table
from spider_utils.analysis.wrong import share_table, wrong_pixels
from tests.helpers.small_unseen import BODIES, CANAL, DISCS, make_unseen, spine


def described(reference, prediction, number=0):
    """The wrong pixels of one or more slices with region and cause; of one slice, `number`."""
    references = reference if isinstance(reference, list) else [reference]
    predictions = prediction if isinstance(prediction, list) else [prediction]
    unseen = make_unseen(references, predictions)
    wrong = add_causes(unseen, add_regions(unseen, wrong_pixels(unseen)))
    return wrong[wrong["slice"] == number]


def changed(place, label, mask=None):
    found = spine() if mask is None else mask.copy()
    found[place] = label
    return found


def counts(wrong, name):
    return wrong[name].value_counts().loc[lambda count: count > 0].to_dict()


def test_a_perfect_prediction_has_no_wrong_pixel_and_shares_are_not_defined():
    unseen = make_unseen([spine()], [spine()])
    wrong = wrong_pixels(unseen)
    assert wrong.empty
    assert distance_table(unseen, wrong)["share"].isna().all()
    assert region_table(unseen, add_regions(unseen, wrong))["pixels"].sum() == 0


def test_a_wrong_pixel_counts_once_for_the_reference_class_or_else_the_predicted_one():
    found = changed((slice(100, 110), slice(60, 70)), 0)  # 100 pixels of vertebra missed
    found[10:15, 10:20] = 2  # 50 of false canal
    found[160:162, 60:70] = 1  # 20 of disc taken for vertebra
    wrong = described(spine(), found)
    assert wrong.groupby(["class", "kind"], observed=True).size().to_dict() == {
        ("vertebrae", "missed"): 100, ("canal", "false"): 50, ("discs", "swapped"): 20,
    }  # fmt: skip


def test_distances_are_counted_from_the_contour_outwards_and_inwards():
    body = (slice(*BODIES[0]), slice(60, 110))
    found = changed(body, 0)
    found[103:147, 63:107] = 1  # the body is 3 pixels too small all around
    wrong = described(spine(), found)
    rings = [2 * (50 + 50) - 4 - 8 * step for step in range(3)]
    assert counts(wrong, "distance") == {1.0: rings[0], 2.0: rings[1], 3.0: rings[2]}
    wider = changed((slice(97, 100), slice(60, 110)), 1)  # three rows too many above
    assert counts(described(spine(), wider), "distance") == {1.0: 50, 2.0: 50, 3.0: 50}


def test_the_edge_of_the_image_is_no_contour():
    mask = spine()
    mask[:60, 60:110] = 1
    wrong = described(mask, changed((slice(0, 1), slice(80, 85)), 0, mask))
    assert wrong["distance"].tolist() == [21, 22, 23, 24, 25]


def test_a_class_that_the_reference_lacks_is_infinitely_far():
    mask = changed(CANAL, 0)
    wrong = described(mask, changed((slice(100, 110), slice(120, 130)), 2, mask))
    assert np.isinf(wrong["distance"]).all() and counts(wrong, "cause") == {"extra island": 100}


@pytest.mark.parametrize(
    ("place", "label", "region"),
    [
        ((slice(0, 4), slice(10, 20)), 1, "image border"),
        ((slice(80, 90), slice(120, 135)), 2, "canal ends"),
        ((slice(300, 320), slice(120, 135)), 0, "canal ends"),
        ((slice(150, 160), slice(120, 122)), 0, "canal walls"),
        ((slice(180, 185), slice(145, 165)), 0, "posterior elements"),
        ((slice(80, 95), slice(60, 110)), 1, "above the top disc"),
        ((slice(220, 224), slice(70, 90)), 1, "disc-vertebra contact"),
        ((slice(340, 380), slice(60, 110)), 1, "below the lowest disc"),
        ((slice(250, 270), slice(60, 62)), 0, "body rims"),
        ((slice(306, 308), slice(60, 110)), 3, "disc rims"),
        ((slice(250, 270), slice(80, 90)), 0, "elsewhere"),
    ],
)
def test_every_region_is_where_it_is_said_to_be(place, label, region):
    assert counts(described(spine(), changed(place, label)), "region").keys() == {region}


def test_the_line_behind_the_bodies_follows_the_discs_and_goes_on_beyond_them():
    mask = np.zeros((640, 200), np.uint8)
    for row, column in ((100, 50), (200, 60), (300, 70)):
        mask[row : row + 10, column - 30 : column] = 3
    found = landmarks(mask)
    rows = np.array([4.5, 104.5, 154.5, 404.5])
    limits = np.array([39, 49, 54, 79])
    assert not found.behind(rows, limits).any() and found.behind(rows, limits + 1).all()


@pytest.mark.parametrize(
    ("reference", "prediction", "cause"),
    [
        (spine(), changed((slice(97, 100), slice(60, 110)), 1), "boundary"),
        (spine(), changed((slice(97, 103), slice(60, 61)), 0), "boundary"),
        (spine(), changed((slice(180, 200), slice(145, 165)), 0), "missed part"),
        (spine(), changed((slice(340, 380), slice(60, 110)), 1), "extra island"),
        (spine(), changed((slice(302, 306), slice(60, 110)), 1), "wrong class"),
        (spine(), changed((slice(154, 166), slice(60, 110)), 1), "wrong class"),
        (changed((slice(400, 402), slice(20, 25)), 2), spine(), "reference error"),
        (changed((slice(120, 122), slice(80, 85)), 0), spine(), "reference error"),
    ],
    ids=["rows too many", "rim", "process", "sacrum", "rim of a disc", "disc", "speck", "hole"],
)
def test_every_cause_has_its_plain_example(reference, prediction, cause):
    found = counts(described(reference, prediction), "cause")
    near = {"boundary"} if cause == "wrong class" else set()
    assert cause in found and found.keys() <= {cause, *near}


def test_a_bite_is_no_boundary_error_from_the_contour_on_and_a_thin_rim_beside_it_is():
    wider = changed((slice(320, 340), slice(120, 135)), 2)  # the canal goes on for 20 rows
    assert counts(described(spine(), wider), "cause") == {"outgrowth": 20 * 15}
    bitten = changed((slice(255, 285), slice(60, 80)), 0)  # 20 columns of a body, from its front
    bitten[255:285, 108:110] = 0  # and two at its back
    assert counts(described(spine(), bitten), "cause") == {"missed part": 30 * 20, "boundary": 30 * 2}


def test_an_island_that_hugs_the_contour_is_boundary():
    wrong = described(spine(), changed((slice(240, 290), slice(57, 59)), 1))
    assert counts(wrong, "cause") == {"boundary": 100}


def test_a_vertebra_that_the_reference_does_not_label_at_the_top_is_its_fault():
    low = spine()
    low[: DISCS[0][0]] = 0  # the image begins with the topmost disc, of which 154 rows lie below the edge
    low = np.roll(low, -100, axis=0)  # now 54
    found = changed((slice(10, 50), slice(60, 110)), 1, low)
    wrong = described(low, found)
    assert counts(wrong, "fault") == {"no top vertebra": 2000} and counts(wrong, "cause") == {"reference error": 2000}


def test_a_missing_gap_is_the_fault_of_a_series_whose_discs_touch():
    touching = spine()
    for first, last in DISCS:
        touching[first - 4 : last + 4, 60:110] = 3  # the discs fill the gaps
    touching[310:320, 60:110] = 0
    wrong = described(touching, spine())
    gaps = 2 * 4 * 50 * 2 + 4 * 50  # two discs between two bodies, the lowest below one
    assert counts(wrong, "fault")["no gap"] == gaps
    assert counts(described(spine(), touching), "fault") == {"none": len(described(spine(), touching))}


def test_a_patch_against_both_neighbours_is_the_references_fault_and_its_neighbours_are_right():
    odd = changed((slice(250, 290), slice(60, 110)), 0)  # 40 of the lowest body's 50 rows are not labelled
    references, predictions = [spine(), odd, spine()], [spine()] * 3
    assert counts(described(references, predictions, 1), "fault") == {"unlike both neighbours": 1850, "none": 150}
    assert counts(described([odd, odd, spine()], predictions, 1), "fault") == {"none": 2000}


@pytest.fixture(scope="module")
def random_slices():
    """Predictions that are the reference of another slice, shifted, with noise: errors of every kind."""
    rng, reference, prediction = np.random.default_rng(0), [], []
    for shift in (1, 3, 8, 20):
        noisy = np.roll(spine(), (shift, shift // 2), (0, 1))
        spots = rng.random(noisy.shape) < 0.002
        noisy[spots] = rng.integers(0, 4, spots.sum())
        reference.append(spine())
        prediction.append(noisy)
    return make_unseen(reference, prediction, [1, 1, 2, 2])


def test_regions_and_causes_share_out_all_wrong_pixels_whatever_they_are(random_slices):
    wrong = add_causes(random_slices, add_regions(random_slices, wrong_pixels(random_slices)))
    pixels = (random_slices.reference != random_slices.prediction).sum()
    assert len(wrong) == pixels and not wrong[["region", "cause", "fault"]].isna().any().any()
    assert not wrong.duplicated(["slice", "row", "column"]).any()
    for table, name in ((region_table(random_slices, wrong), "region"), (cause_table(random_slices, wrong), "cause")):
        assert set(table[name]) == set(REGIONS if name == "region" else CAUSES)
        every = table[table["class"] == "all"]
        assert every["pixels"].sum() == pixels and every["share"].sum() == pytest.approx(1)
        assert table[table["class"] != "all"]["pixels"].sum() == pixels
        assert table[table["class"] != "all"]["share_of_all"].sum() == pytest.approx(1)
    assert cause_table(random_slices, wrong).query("`class` == 'all'")["largest_in"].sum() == pytest.approx(1)


def test_shares_within_a_distance_rise_with_it_and_lie_in_their_intervals(random_slices):
    table = distance_table(random_slices, wrong_pixels(random_slices))
    for _, part in table.groupby("class"):
        assert part["share"].is_monotonic_increasing
        assert ((part["ci_low"] <= part["share"]) & (part["share"] <= part["ci_high"])).all()


def test_shares_of_two_patients_are_those_of_their_pixels():
    references = [spine(), spine()]
    predictions = [changed((slice(97, 100), slice(60, 110)), 1), changed((slice(340, 380), slice(60, 110)), 1)]
    unseen = make_unseen(references, predictions, [1, 2])
    wrong = add_causes(unseen, wrong_pixels(unseen))
    row = share_table(unseen, wrong, "cause").query("`class` == 'vertebrae' and cause == 'boundary'").iloc[0]
    assert (row["pixels"], row["share"]) == (150, 150 / 2150)
    assert (row["ci_low"], row["ci_high"]) == (0, 1)  # with two patients some draws hold one of them alone
    assert (row["slices"], row["patients"]) == (0.5, 1)


def test_suspected_faults_name_the_slice_and_how_much_they_cost():
    unseen = make_unseen([spine(), changed((slice(400, 402), slice(20, 25)), 2)], [spine(), spine()], [4, 7])
    table = suspected_faults(unseen, add_causes(unseen, wrong_pixels(unseen)))
    assert table.to_dict("records") == [
        {"series": "7_t2_SPACE", "patient": 7, "slice_index": 50, "row": 1, "class": "canal", "fault": "speck"}
        | {"wrong": 10, "share": 1.0}
    ]
