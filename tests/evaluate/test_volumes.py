"""Scores of whole volumes against boxes measured by hand, and what they do with empty classes."""

import numpy as np
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.evaluate.volumes import score_classes

SPACING = (3.0, 2.0, 0.5)  # slices, rows, columns in mm
METRICS = ["dice", "iou", "hd95", "asd", "nsd_1", "nsd_2"]
SHAPE = (7, 30, 40)


def fill(classes: np.ndarray, label: int, row: int, column: int) -> None:
    """Draw a box of 3 x 4 x 5 voxels, 54 of which are boundary: all but 1 x 2 x 3."""
    classes[2:5, row : row + 4, column : column + 5] = label


@pytest.fixture
def volumes() -> tuple[np.ndarray, np.ndarray]:
    """Vertebrae in place, the canal one column off, the disc in place with a false second one 20 columns away."""
    reference, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for classes in (reference, prediction):
        fill(classes, 1, 1, 4)
        fill(classes, 3, 20, 4)
    fill(reference, 2, 10, 4)
    fill(prediction, 2, 10, 5)
    fill(prediction, 3, 20, 24)
    return reference, prediction


def wide(reference: np.ndarray, prediction: np.ndarray, spacing=SPACING) -> dict[str, list[float]]:
    table = score_classes(reference, prediction, spacing)
    return {name: part.set_index("metric")["value"][METRICS].tolist() for name, part in table.groupby("class")}


def test_boxes_by_hand(volumes):
    found = wide(*volumes)
    perfect = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    assert found["vertebrae"] == perfect
    # 48 of 60 voxels in common. Of 54 boundary voxels 14 lie 0.5 mm off: the last column and the middle of the first.
    canal = [0.8, 48 / 72, 0.5, 14 * 0.5 / 54, 1.0, 1.0]
    assert found["canal"] == pytest.approx(canal)
    # The second disc's five columns of 12, 10, 10, 10 and 12 voxels lie 8, 8.5, 9, 9.5 and 10 mm off the first one.
    far = 12 * 8 + 10 * (8.5 + 9 + 9.5) + 12 * 10
    discs = [2 / 3, 0.5, 10.0, far / (3 * 54), 2 / 3, 2 / 3]
    assert found["discs"] == pytest.approx(discs)
    assert found["foreground"] == pytest.approx(np.mean([perfect, canal, discs], axis=0))


def test_the_table_says_what_has_which_unit(volumes):
    table = score_classes(*volumes, SPACING)
    assert table["class"].tolist() == [name for name in (*FOREGROUND, "foreground") for _ in METRICS]
    units = dict(zip(table["metric"], table["unit"], strict=True))
    assert units == dict(zip(METRICS, ["ratio", "ratio", "mm", "mm", "mm", "mm"], strict=True))


def test_swapped_volumes_have_the_same_scores(volumes):
    forth, back = wide(*volumes), wide(*reversed(volumes))
    assert all(back[name] == pytest.approx(forth[name]) for name in forth)


def test_distances_are_those_of_three_dimensions(volumes):
    reference, prediction = volumes
    turned = wide(reference.transpose(2, 0, 1), prediction.transpose(2, 0, 1), (SPACING[2], *SPACING[:2]))
    assert all(turned[name] == pytest.approx(values) for name, values in wide(*volumes).items())
    shifted = np.roll(reference, 1, axis=0)  # every slice still holds the same rows and columns
    single = boundary_distances(reference[3] == 1, shifted[3] == 1, SPACING[1:])
    assert single.asd == 0 and wide(reference, shifted)["vertebrae"][METRICS.index("asd")] > 1


def test_a_class_in_one_volume_or_none(volumes):
    reference, prediction = volumes
    reference[reference == 3] = 0
    prediction[(prediction == 2) | (prediction == 3)] = 0
    found = wide(reference, prediction)
    np.testing.assert_array_equal(found["canal"], [0, 0, np.nan, np.nan, 0, 0])
    assert np.isnan(found["discs"]).all() and np.isnan(found["foreground"]).all()
    assert found["vertebrae"][0] == 1


def test_volumes_that_do_not_fit_are_refused(volumes):
    reference, prediction = volumes
    with pytest.raises(SpiderError, match="expected a prediction of the reference's shape"):
        score_classes(reference, prediction[1:], SPACING)
    with pytest.raises(SpiderError, match="spacing"):
        score_classes(reference, prediction, SPACING[1:])
