"""Surface scores of slices stacked to one object: cases by hand, against distance transforms, beside single slices."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import distance_transform_edt

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.studies.stacked import stacked_boundary, stacked_copies, stacked_table


def square(top: int, left: int, side: int, size: int = 24) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def random_maps(seed: int = 0, slices: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Two class maps (slices, 20, 18) that agree in most pixels."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 4, (slices, 20, 18)).astype(np.uint8)
    prediction = np.where(rng.random(reference.shape) < 0.1, rng.integers(0, 4, reference.shape), reference)
    return reference, prediction.astype(np.uint8)


def test_in_a_stack_of_one_slice_all_pixels_are_surface():
    # 4 x 4 against the same moved by two columns: 8 pixels shared; 4 are 1 away, 4 are 2 away, both ways.
    reference, prediction = square(8, 8, 4)[None], square(8, 10, 4)[None]
    assert stacked_boundary(reference, prediction) == pytest.approx(((4 * 1 + 4 * 2) / 16, 12 / 16))


def test_the_slice_of_another_patient_hides_an_error():
    """In the first slice the prediction paints a square of 36 pixels that is not there, 10 pixels from the structure.

    The second slice, of somebody else, has the class at that place, so that the stack finds it 1 away.
    """
    structure, elsewhere = square(2, 2, 4), square(14, 14, 6)
    reference = np.stack([structure, elsewhere])
    prediction = np.stack([structure | elsewhere, elsewhere])
    alone = boundary_distances(reference[0], prediction[0])
    assert alone.from_prediction.max() > 12
    assert alone.asd > 7 and alone.nsd[0] < 0.6
    asd, nsd = stacked_boundary(reference, prediction)
    # reference: 16 + 36 surface pixels at distance 0; prediction: 16 + 36 at 0 and 36 at 1, the slice behind
    assert asd == pytest.approx((0 + 36 / 88) / 2)
    assert nsd == 1.0


def test_agreement_on_what_is_inside_counts_as_surface_between_other_slices():
    """A square one pixel too small, between slices without the class: its inside is surface at distance 0."""
    empty = np.zeros((24, 24), bool)
    reference, prediction = (np.stack([empty, mask, empty]) for mask in (square(5, 5, 12), square(6, 6, 10)))
    assert stacked_boundary(reference, prediction)[0] < 0.3 * boundary_distances(reference[1], prediction[1]).asd


def test_it_is_the_distance_transform_of_the_stack():
    """Surface and distances again, from shifted copies and scipy's transform."""
    reference, prediction = (maps == 1 for maps in random_maps(3))

    def surface(mask):
        padded = np.pad(mask, 1)
        inside = np.logical_and.reduce([np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1)])
        return mask & ~inside[1:-1, 1:-1, 1:-1]

    first, second = surface(reference), surface(prediction)
    there, back = distance_transform_edt(~second)[first], distance_transform_edt(~first)[second]
    expected = (there.mean() + back.mean()) / 2, ((there <= 1).mean() + (back <= 1).mean()) / 2
    assert stacked_boundary(reference, prediction) == pytest.approx(expected)
    assert stacked_boundary(prediction, reference) == pytest.approx(expected)


def test_without_a_structure_there_is_no_distance():
    nothing, something = np.zeros((2, 24, 24), bool), np.stack([square(3, 3, 5)] * 2)
    for pair in ((nothing, nothing), (nothing, something), (something, nothing)):
        assert np.isnan(stacked_boundary(*pair)).all()


@pytest.mark.parametrize("shape", [(2, 24, 23), (24, 24)])
def test_masks_of_different_shapes_are_refused(shape):
    with pytest.raises(SpiderError, match="stacked masks: expected two of one shape"):
        stacked_boundary(np.ones((2, 24, 24), bool), np.ones(shape, bool))


def test_perfect_masks_are_perfect_in_both_ways():
    maps, _ = random_maps()
    table = stacked_table(maps, maps, size=(20, 18)).set_index("metric")
    assert len(table) == 3 * len(CLASSES)
    both = table[["as_public_code", "per_slice"]]
    assert (both.loc["asd"] == 0).all(axis=None)
    assert (both.loc[["nsd_1", "dice"]] == 1).all(axis=None)


def test_the_table_by_hand():
    """Two slices with a disc each: one right (4 x 4), one missed (2 x 2)."""
    reference = 3 * np.stack([square(4, 4, 4), square(15, 15, 2)]).astype(np.uint8)
    prediction = reference.copy()
    prediction[1] = 0
    table = stacked_table(reference, prediction, size=(24, 24)).set_index(["class", "metric"])
    found = table.loc["discs"]
    assert found.loc["dice", "as_public_code"] == pytest.approx((1 + (0 + 1) / (4 + 1)) / 2)
    assert found.loc["dice", "per_slice"] == pytest.approx(2 * 16 / (2 * 16 + 4))
    assert found.loc["asd", "per_slice"] == 0  # not defined in the slice that was missed
    lengths = [boundary_distances(truth == 3, truth == 3).length / 2 for truth in reference]
    assert found.loc["nsd_1", "per_slice"] == pytest.approx(2 * lengths[0] / (2 * lengths[0] + lengths[1]))
    missing = table.loc["canal"]
    assert missing.loc["asd"].isna().all()
    assert missing.loc["dice", "as_public_code"] == 1  # nothing against nothing, by the script's smoothing
    assert np.isnan(missing.loc["dice", "per_slice"])


def test_the_order_is_a_matter_of_the_seed_and_of_the_stack_alone():
    reference, prediction = random_maps(slices=6)
    first, again, other = (stacked_table(reference, prediction, (20, 18), seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_series_equal(first["per_slice"], other["per_slice"])
    assert not np.allclose(first["as_public_code"], other["as_public_code"])


def test_copies_of_equal_neighbours_are_perfect_and_a_series_of_one_slice_is_missed():
    """Two series of five slices that do not change, so that whoever has a neighbour is copied exactly."""
    maps = np.zeros((10, 32, 32), np.uint8)
    for start, left in ((0, 4), (5, 18)):
        for label in (1, 2, 3):
            maps[start : start + 5, 9 * label - 7 : 9 * label, left : left + 8] = label
    names = {"series": ["a"] * 5 + ["b"] * 5, "patient": [1] * 5 + [2] * 5, "slice_index": [*range(5)] * 2}
    table = pd.DataFrame(names).assign(sequence="T2_SPACE", subset="")
    copies = stacked_copies(SimpleNamespace(masks=maps, table=table)).set_index("metric")
    assert (copies.loc["asd", ["as_public_code", "per_slice"]] == 0).all(axis=None)
    assert (copies.loc["dice", ["as_public_code", "per_slice"]] == 1).all(axis=None)
    table.loc[9, "series"] = "c"
    copies = stacked_copies(SimpleNamespace(masks=maps, table=table)).set_index(["metric", "class"])
    assert copies.loc[("dice", "discs"), "per_slice"] == pytest.approx(2 * 9 / (2 * 9 + 1))
