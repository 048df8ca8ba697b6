"""SPIDER's own score against boxes measured by hand and a second implementation, written from its description."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage

from spider_utils.common.errors import SpiderError
from spider_utils.evaluate.challenge import score_structures, summarise_structures
from tests.helpers.phantoms import kept_phantom

SPACING = (3.0, 2.0, 0.5)
RENUMBERED = {label: new for new, label in zip([7, 3, 9, 1, 4, 2, 8, 6, 5], range(1, 10), strict=True)}
RENUMBERED |= {200 + label: 200 + new for label, new in RENUMBERED.items()} | {100: 100, 0: 0}


def described_score(reference: np.ndarray, prediction: np.ndarray, spacing: tuple) -> dict[int, tuple]:
    """Label: (match, Dice, surface distance, detected), voxel by voxel with distance transforms."""
    scores = {}
    for label in sorted(set(reference.ravel().tolist()) - {0}):
        inside = prediction[reference == label]
        overlaps = {found: (inside == found).sum() for found in sorted(set(inside.tolist()) - {0})}
        if not overlaps:
            scores[label] = (0, 0.0, np.nan, False)
            continue
        match = max(overlaps, key=overlaps.get)
        masks = reference == label, prediction == match
        dice = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
        surfaces = [mask & (ndimage.minimum_filter(mask, 3, mode="constant", cval=0) == 0) for mask in masks]
        to = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
        distances = [*to[1][surfaces[0]], *to[0][surfaces[1]]]
        scores[label] = (match, dice, np.mean(distances), dice >= 0.1)
    return scores


def moved(labels: np.ndarray) -> np.ndarray:
    return ndimage.shift(labels, (0, 2, -1), order=0)


def eroded(labels: np.ndarray) -> np.ndarray:
    inside = ndimage.minimum_filter(labels, (1, 3, 3)) == ndimage.maximum_filter(labels, (1, 3, 3))
    return np.where(inside, labels, 0)


def spoilt(labels: np.ndarray) -> np.ndarray:
    """Vertebra 3 taken for 2, 4 split, 5 missed, 1 all but missed; disc 2 missed, 3 taken for the canal."""
    labels = labels.copy()
    labels[labels == 3] = 2
    rows = np.argwhere(labels == 4)[:, 1]
    labels[:, int(np.median(rows)) :][labels[:, int(np.median(rows)) :] == 4] = 20
    labels[labels == 5] = 0
    labels[(labels == 1) & (np.cumsum(labels == 1).reshape(labels.shape) > 30)] = 0
    labels[labels == 202] = 0
    labels[labels == 203] = 100
    return labels


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, tuple[float, ...]]:
    """A phantom's labels in the common pose at half its resolution within slices, and their spacing."""
    mask = sitk.DICOMOrient(kept_phantom(1, "T2", 0)[1], "PIL")
    column_mm, row_mm, slice_mm = mask.GetSpacing()
    return sitk.GetArrayFromImage(mask)[:, ::2, ::2].copy(), (slice_mm, 2 * row_mm, 2 * column_mm)


@pytest.mark.parametrize("spoil", [moved, eroded, spoilt])
def test_phantoms_agree_with_the_description(phantom, spoil):
    reference, spacing = phantom
    prediction = spoil(reference)
    table = score_structures(reference, prediction, spacing)
    expected = described_score(reference, prediction, spacing)
    assert table["label"].tolist() == list(expected) and len(expected) > 12
    found = table[["match", "dice", "asd", "detected"]].to_numpy(float)
    np.testing.assert_allclose(found, np.array(list(expected.values()), float), rtol=1e-6)

    summary = summarise_structures(table).set_index(["kind", "metric"])["value"]
    for kind, labels in (("vertebrae", range(1, 100)), ("canal", [100]), ("discs", range(201, 300))):
        scores = [expected[label] for label in labels if label in expected]
        assert summary[kind, "dice"] == pytest.approx(np.mean([score[1] for score in scores]))
        assert summary[kind, "dice_detected"] == pytest.approx(np.mean([score[1] for score in scores if score[3]]))
        assert summary[kind, "asd"] == pytest.approx(np.mean([score[2] for score in scores if score[3]]))
        assert summary[kind, "detected"] == pytest.approx(np.mean([score[3] for score in scores]))


def test_what_is_spoilt_is_found(phantom):
    reference, spacing = phantom
    table = score_structures(reference, spoilt(reference), spacing).set_index("label")
    assert table["match"][[2, 3, 203, 100]].tolist() == [2, 2, 100, 100]
    assert table["match"][4] in (4, 20) and 0.5 < table["dice"][4] < 0.9
    assert table["match"][[5, 202]].tolist() == [0, 0] and table["asd"][[5, 202]].isna().all()
    assert table["match"][1] == 1 and 0 < table["dice"][1] < 0.1
    assert table.index[~table["detected"]].tolist()[:2] == [1, 5]


def test_a_perfect_prediction(phantom):
    reference, spacing = phantom
    table = score_structures(reference, reference, spacing)
    assert (table["dice"] == 1).all() and (table["asd"] == 0).all() and table["detected"].all()
    assert (table["match"] == table["label"]).all()
    summary = summarise_structures(table)
    assert summary["value"].tolist() == [1, 1, 0, 1] * 3
    assert summary.loc[summary["metric"] == "asd", "n"].sum() == len(table)


def test_the_numbers_of_a_prediction_do_not_matter(phantom):
    reference, spacing = phantom
    prediction = moved(reference)
    renumbered = np.vectorize(RENUMBERED.get)(prediction).astype(reference.dtype)
    assert (renumbered != prediction).any()
    columns = ["label", "kind", "dice", "asd", "detected"]
    one, other = (score_structures(reference, labels, spacing)[columns] for labels in (prediction, renumbered))
    pd.testing.assert_frame_equal(one, other)


def test_reference_and_prediction_may_be_swapped(phantom):
    reference, spacing = phantom
    prediction = eroded(reference)
    columns = ["label", "dice", "asd"]
    forth, back = score_structures(reference, prediction, spacing), score_structures(prediction, reference, spacing)
    assert (forth["match"] == forth["label"]).all()
    pd.testing.assert_frame_equal(forth[columns], back[columns])


def boxes(**placed: tuple[int, int]) -> np.ndarray:
    """Boxes of 3 x 4 x 5 voxels, by label, at (row, column)."""
    labels = np.zeros((5, 20, 60), np.uint16)
    for label, (row, column) in placed.items():
        labels[1:4, row : row + 4, column : column + 5] = int(label.strip("n"))
    return labels


def test_boxes_by_hand():
    reference = boxes(n1=(2, 2), n101=(2, 12), n100=(2, 22), n201=(2, 32), n202=(2, 42))
    prediction = boxes(n9=(2, 3), n2=(2, 12), n100=(2, 26), n205=(10, 32))
    table = score_structures(reference, prediction, SPACING).set_index("label")
    assert table["kind"].tolist() == ["vertebrae", "canal", "vertebrae", "discs", "discs"]
    assert table["match"].tolist() == [9, 100, 2, 0, 0]
    assert table["dice"].tolist() == pytest.approx([0.8, 0.2, 1.0, 0.0, 0.0])
    # One column of 0.5 mm: of 54 voxels of surface each, 12 of the last column and 2 within the first are that far off.
    assert table["asd"][1] == pytest.approx(14 * 0.5 / 54)
    assert table["asd"][101] == 0
    assert table["detected"].tolist() == [True, True, True, False, False]
    summary = summarise_structures(table).set_index(["kind", "metric"])
    assert summary["value"]["vertebrae"].tolist() == pytest.approx([0.9, 0.9, 7 / 108, 1.0])
    np.testing.assert_array_equal(summary["value"]["discs"], [0, np.nan, np.nan, 0])
    assert summary["n"]["discs"].tolist() == [2, 0, 0, 2]


def test_a_match_is_the_largest_overlap_of_any_kind_and_the_lowest_of_equals():
    reference = boxes(n3=(2, 2))
    prediction = boxes(n8=(2, 4), n205=(2, -3))  # 3 of 5 columns and none
    assert score_structures(reference, prediction, SPACING)["match"].tolist() == [8]
    prediction[1:4, 2:6, 2:4] = 201  # the other 2
    assert score_structures(reference, prediction, SPACING)["match"].tolist() == [8]
    prediction[1:4, 2:6, 4] = 201
    assert score_structures(reference, prediction, SPACING)["match"].tolist() == [201]
    prediction[1:4, 2:6, 2:7] = [0, 9, 9, 5, 5]
    assert score_structures(reference, prediction, SPACING)["match"].tolist() == [5]
    prediction[1:4, 2:6, 2:7] = [0, 0, 0, 0, 5]  # more background than anything else
    assert score_structures(reference, prediction, SPACING)["match"].tolist() == [5]


def test_a_dice_of_a_tenth_is_detected():
    line = np.zeros((1, 1, 40), np.uint8)
    reference, prediction, less = line.copy(), line.copy(), line.copy()
    reference[0, 0, :10], prediction[0, 0, 9:19], less[0, 0, 9:20] = 1, 1, 1
    assert score_structures(reference, prediction, (1, 1, 1))[["dice", "detected"]].values.tolist() == [[0.1, True]]
    assert not score_structures(reference, less, (1, 1, 1))["detected"].any()


def test_the_edge_of_the_volume_is_a_surface():
    reference, prediction = np.ones((3, 4, 5), np.uint8), np.zeros((3, 4, 5), np.uint8)
    prediction[:, :, :4] = 1
    table = score_structures(reference, prediction, SPACING)
    assert table["asd"][0] == pytest.approx((12 * 0.5 + 2 * 0.5) / (54 + 3 * 4 * 4 - 4))


def test_an_empty_reference_has_no_structures():
    nothing = np.zeros((3, 4, 5), np.uint16)
    table = score_structures(nothing, nothing + 1, SPACING)
    assert table.empty and summarise_structures(table).empty


@pytest.mark.parametrize("label", [126, 200, 226, 40000])
def test_labels_that_are_not_spiders_are_refused(label):
    reference, prediction = boxes(n1=(2, 2)), boxes(n1=(2, 2))
    prediction[0, 0, 0] = label
    for pair in ((reference, prediction), (prediction, reference)):
        with pytest.raises(SpiderError, match=f"found {label}"):
            score_structures(*pair, SPACING)


def test_volumes_that_do_not_fit_are_refused():
    labels = boxes(n1=(2, 2))
    with pytest.raises(SpiderError, match="expected a prediction of the reference's shape"):
        score_structures(labels, labels[:, 1:], SPACING)
    with pytest.raises(SpiderError, match="spacing"):
        score_structures(labels, labels, (1.0, 0.0, 1.0))
