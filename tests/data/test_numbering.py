"""Other tools' numbers are told by name, SPIDER's own and the classes pass. The numbers are those of their READMEs."""

import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.check.findings import ERROR
from spider_utils.data.check.volumes import Mask, unknown_labels
from spider_utils.data.numbering import refuse_foreign
from spider_utils.data.spider import label_array

SPIDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100, *range(201, 211)]


@pytest.mark.parametrize(
    ("values", "tools"),
    [
        ([1, 2, 32, 41, 42, 43, 44, 45, 50, 91, 92, 93, 94, 95, 100], "TotalSpineSeg"),
        ([18, 19, 20, 21, 22, 23, 92, 200, 201, 202, 203, 204, 205, 206, 207], "TotalSpineSeg of 2024"),
        ([26, 41, 42, 45, 46, 47, 48, 49, 50, 60, 61, 62, 100], r"SPINEPS \(subregions\)"),
        ([18, 19, 20, 21, 22, 23, 24, 118, 119, 120, 121, 122, 123, 124, 222, 223, 224], r"SPINEPS \(vertebrae\)"),
        ([*range(1, 25), *range(102, 125), *range(202, 225)], r"SPINEPS \(vertebrae\)"),
        ([20, 21, 22, 23, 24], r"TotalSpineSeg of 2024 or SPINEPS \(vertebrae\)"),
        ([1, 2, 3, 77, 100, 201], "another tool"),
    ],
)
def test_other_tools_are_named(tmp_path, values, tools):
    image = sitk.GetImageFromArray(np.array([[[0, *values]]], np.uint8))
    with pytest.raises(SpiderError, match=f"m.mha: label map: expected SPIDER's numbers .* as {tools} number"):
        label_array(tmp_path / "m.mha", image)


@pytest.mark.parametrize("values", [[41, 42, 43, 44, 45, 100], [26, 41, 60, 61, 100], [20, 21, 22], [1, 2, 126], [300]])
def test_check_and_score_say_the_same(tmp_path, values):
    mask = sitk.GetImageFromArray(np.array([[[0, *values]]], np.uint16))
    with pytest.raises(SpiderError) as caught:
        label_array(tmp_path / "m.mha", mask)
    (found,) = unknown_labels("m.mha", Mask.of(mask, None))
    assert (found.severity, f"{tmp_path / 'm.mha'}: label map: {found.problem}; {found.remedy}") == (
        ERROR,
        str(caught.value),
    )


@pytest.mark.parametrize("values", [SPIDER, [0], [0, 1, 2, 3], [*SPIDER, 110], [5, 6, 7, 108, 109, 100, 205], [203]])
def test_spiders_own_and_classes_pass(values):
    refuse_foreign(values)
