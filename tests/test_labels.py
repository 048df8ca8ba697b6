"""Label values become the four classes; anything else is refused."""

import numpy as np
import pytest

from spider_utils.errors import SpiderError
from spider_utils.labels import class_pixels, classes_from_grey, four_classes


def test_spider_labels_become_classes_by_hand():
    labels = np.array([[0, 1, 25, 99, 100], [101, 125, 201, 208, 225]], np.uint16)
    expected = [[0, 1, 1, 1, 2], [1, 1, 3, 3, 3]]
    classes = four_classes(labels)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, expected)


@pytest.mark.parametrize("value", [-1, 126, 200, 226, 255, 57000])
def test_unknown_label_is_named_in_one_line(value):
    with pytest.raises(SpiderError, match=str(value)) as caught:
        four_classes(np.array([0, 1, value], np.int32))
    assert "\n" not in str(caught.value)


def test_grey_codes_are_the_luma_of_the_painted_colours():
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B of red (vertebrae), green (canal), blue (discs)
    grey = np.array([0, round(0.299 * 255), round(0.587 * 255), round(0.114 * 255)], np.uint8)
    np.testing.assert_array_equal(classes_from_grey(grey), [0, 1, 2, 3])


@pytest.mark.parametrize("value", [1, 75, 151, 255])
def test_unknown_grey_is_refused(value):
    with pytest.raises(SpiderError, match=str(value)):
        classes_from_grey(np.array([[0, value]], np.uint8))


def test_class_pixels_counts_each_slice():
    classes = np.array([[[0, 1], [1, 1]], [[2, 3], [3, 0]]], np.uint8)
    np.testing.assert_array_equal(class_pixels(classes), [[1, 3, 0, 0], [1, 0, 1, 2]])
