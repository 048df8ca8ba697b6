"""Measurements of solids of known size, of the phantom's own anatomy, and agreement against the paper's example."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.phantom.anatomy import Disc, make_anatomy
from spider_utils.data.phantom.canal import make_course
from spider_utils.evaluate.agreement import bland_altman, compare_measures
from spider_utils.masks.measures import FIRST_DISC, canal_diameters, disc_heights, structure_name
from tests.helpers.phantoms import kept_phantom

SPACINGS = [(1.0, 1.0, 1.0), (4.0, 0.6, 0.6), (4.4, 0.95, 0.7), (0.9, 0.47, 0.59)]
PARTS = ["anterior_mm", "middle_mm", "posterior_mm"]


def places(spacing, size_mm) -> np.ndarray:
    """The voxel centres (D, H, W, 3) of a volume, in mm from its middle."""
    axes = [(np.arange(round(size / step)) - (round(size / step) - 1) / 2) * step
            for size, step in zip(size_mm, spacing, strict=True)]  # fmt: skip
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def wedge(spacing, tilt, roll, height=9.0, depth=34.0, opening=0.0) -> np.ndarray:
    """A disc L5/S1 as a wedge whose mid plane is tilted forwards and rolled to a side; all angles in degrees."""
    points = places(spacing, (64, 80, 80))
    tilt, roll, opening = np.radians([tilt, roll, opening])
    back = np.array([0, -np.sin(tilt), np.cos(tilt)])
    up = np.array([np.sin(roll), -np.cos(roll) * np.cos(tilt), -np.cos(roll) * np.sin(tilt)])
    along, aside = points @ back, points @ np.cross(back, up)
    thick = height - 2 * np.tan(opening / 2) * along
    inside = (np.abs(points @ up) <= thick / 2) & (np.abs(along) <= depth / 2) & (np.abs(aside) <= 23)
    return np.where(inside, FIRST_DISC, 0).astype(np.uint16)


def tube(spacing, slope, lean, depth=15.0, width=20.0, size_mm=(48, 120, 90)) -> np.ndarray:
    """A canal of elliptical section through two vertebrae (squares in front of it) and three discs at -30, 0, 30 mm."""
    points = places(spacing, size_mm)
    slope, lean = np.radians([slope, lean])
    down = np.array([np.sin(lean), np.cos(slope) * np.cos(lean), np.sin(slope) * np.cos(lean)])
    back = np.array([0, -np.sin(slope), np.cos(slope)])
    inside = ((points @ back) / (depth / 2)) ** 2 + ((points @ np.cross(down, back)) / (width / 2)) ** 2 <= 1
    labels = np.where(inside, 100, 0).astype(np.uint16)
    front = (np.abs(points[..., 2] + 30) < 12) & ~inside
    for number in range(3):
        height = points[..., 1] - 30 * (1 - number)  # the lowest comes first
        labels[front & (np.abs(height) < 4)] = FIRST_DISC + number
        if number < 2:
            labels[front & (np.abs(height + 15) < 7)] = 1 + number
    return labels


@pytest.fixture(scope="module", params=["T2", "T2_SPACE"])
def phantom(request):
    mask = sitk.DICOMOrient(kept_phantom(3, request.param, 0)[1], "PIL")
    return make_anatomy(3, 0), sitk.GetArrayFromImage(mask), mask.GetSpacing()[::-1]


def gap(disc: Disc) -> float:
    """The mean distance of a disc's two endplates over its central part, from the anatomy, in mm."""
    lower, upper = disc.lower, disc.upper
    u, v = np.meshgrid(np.linspace(-0.33, 0.33, 9) * lower.shape.a, np.linspace(-0.6, 0.6, 13) * lower.shape.b)
    floor, ceiling = (
        vertebra.frame.to_patient(np.stack([u, v, vertebra.shape.endplate(u, v, is_floor)], axis=-1).reshape(-1, 3))
        for vertebra, is_floor in ((lower, True), (upper, False))
    )
    up = lower.frame.axes[2] + upper.frame.axes[2]
    return float(((ceiling - floor) @ up).mean() / np.linalg.norm(up))


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("roll", [0, 12])
@pytest.mark.parametrize("tilt", [0, 20, 45, -30])
def test_a_tilted_disc_has_its_own_height(spacing, tilt, roll):
    measured = disc_heights(wedge(spacing, tilt, roll), spacing).iloc[0]
    voxel = max(spacing[1:])
    assert measured["height_mm"] == pytest.approx(9, abs=voxel if tilt == roll == 0 else voxel / 2)
    assert measured["depth_mm"] == pytest.approx(34, abs=1.5 * voxel)
    assert measured["name"] == "L5/S1" and measured["complete"]


@pytest.mark.parametrize("height", [3, 7, 12])
def test_the_tilt_does_not_bias_the_height(height):
    spacing = (4.0, 0.9, 0.9)
    heights = [disc_heights(wedge(spacing, tilt, 5, height), spacing)["height_mm"].item() for tilt in range(7, 60, 7)]
    assert np.mean(heights) == pytest.approx(height, abs=0.1) and np.ptp(heights) < 0.5


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_a_wedge_is_higher_in_front(spacing):
    measured = disc_heights(wedge(spacing, 20, 0, opening=16), spacing).iloc[0]
    expected = 9 - 2 * np.tan(np.radians(8)) * 34 * np.array([-0.2, 0, 0.2])  # at 30, 50 and 70 % of the depth
    np.testing.assert_allclose(measured[PARTS].to_numpy(float), expected, atol=max(spacing[1:]) / 2)
    assert measured["height_mm"] == pytest.approx(measured[PARTS].mean())


def test_one_slice_is_enough_for_a_height():
    spacing = (4.0, 0.6, 0.6)
    labels = wedge(spacing, 30, 0)
    assert disc_heights(labels[8:9], spacing)["height_mm"].item() == pytest.approx(9, abs=0.3)


def test_a_herniation_does_not_add_to_the_height():
    spacing = (1.0, 1.0, 1.0)
    labels = wedge(spacing, 0, 0)
    plain = disc_heights(labels, spacing).iloc[0]
    labels[30:34, 34:46, 57:63] = FIRST_DISC  # 12 mm high and 6 mm long, behind the disc's end at column 56
    herniated = disc_heights(labels, spacing).iloc[0]
    assert herniated["height_mm"] == pytest.approx(plain["height_mm"], abs=0.2)
    assert herniated["depth_mm"] > plain["depth_mm"]


def test_a_disc_at_the_edge_of_its_slices_is_not_measured():
    spacing = (1.0, 1.0, 1.0)
    labels = wedge(spacing, 0, 0)
    whole = disc_heights(labels, spacing)
    cut = disc_heights(labels[:, 40:], spacing)
    assert whole["complete"].item() and not cut["complete"].item()
    assert cut[["height_mm", *PARTS, "depth_mm"]].isna().all(axis=None)


def test_the_phantoms_discs_have_the_height_of_its_anatomy(phantom):
    anatomy, labels, spacing = phantom
    measured = disc_heights(labels, spacing).set_index("label")["height_mm"]
    for disc in anatomy.labelled_discs:
        assert measured[disc.label] == pytest.approx(
            gap(disc) - 0.4, abs=spacing[1] / 2
        )  # a label ends 0.2 mm before each plate


def test_the_phantoms_canal_has_the_depth_of_its_sac(phantom):
    anatomy, labels, spacing = phantom
    measured = canal_diameters(labels, spacing).set_index("name")
    below = measured.loc[["L5", "L4", "L3", "L2"]]  # above the tip of the cord the sac narrows
    np.testing.assert_allclose(below["ap_mm"], 2 * anatomy.sac_mm, atol=spacing[1])
    course = make_course(anatomy)
    height = np.array([vertebra.frame.origin[2] for vertebra in anatomy.vertebrae[1:4]])
    half_depth, half_width = course.at(course.half_depth, height), course.at(course.half_width, height)
    np.testing.assert_allclose(below["area_mm2"].iloc[1:], np.pi * half_depth * half_width, rtol=0.08)


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize(("slope", "lean"), [(0, 0), (15, 8), (-35, 0)])
def test_an_oblique_canal_has_its_own_diameter(spacing, slope, lean):
    measured = canal_diameters(tube(spacing, slope, lean), spacing)
    assert measured["name"].tolist() == ["L5/S1", "L5", "L4/L5", "L4", "L3/L4"]
    assert measured["level"].tolist() == ["disc", "vertebra", "disc", "vertebra", "disc"]
    np.testing.assert_allclose(measured["ap_mm"], 15, atol=1.1 * max(spacing[1:]))
    np.testing.assert_allclose(measured["area_mm2"], np.pi * 7.5 * 10, rtol=0.03 if spacing[0] < 2 else 0.12)


def test_a_narrow_place_is_found_at_its_level():
    spacing = (1.0, 1.0, 1.0)
    labels = tube(spacing, 0, 0)
    labels[:, 55:65, 49:] = 0  # at the middle disc, rows 56 to 63, only the canal's columns 38 to 48 stay
    measured = canal_diameters(labels, spacing).set_index("name")["ap_mm"]
    assert measured["L4/L5"] == pytest.approx(11, abs=0.3)
    assert measured["L3/L4"] == measured["L5/S1"] == pytest.approx(14, abs=0.3)


def test_an_area_needs_slices_that_hold_the_whole_canal():
    spacing = (4.0, 1.0, 1.0)
    labels = tube(spacing, 0, 0)
    middle = len(labels) // 2
    for few in (labels[middle - 1 : middle + 1], labels[middle - 2 : middle + 2]):  # too few; cut at both sides
        measured = canal_diameters(few, spacing)
        assert measured["area_mm2"].isna().all()
        np.testing.assert_allclose(measured["ap_mm"], 15, atol=1)


def test_what_is_missing_is_nan_and_no_error():
    spacing = (1.0, 1.0, 1.0)
    labels = tube(spacing, 0, 0)
    without_canal = canal_diameters(np.where(labels == 100, 0, labels), spacing)
    assert len(without_canal) == 5 and without_canal[["ap_mm", "area_mm2"]].isna().all(axis=None)
    without_disc = canal_diameters(np.where(labels == 202, 0, labels), spacing).set_index("name")["ap_mm"]
    assert without_disc.isna().to_dict() == {"L5/S1": False, "L5": True, "L4": True, "L3/L4": False}
    broken = labels.copy()
    broken[:, 58:62][broken[:, 58:62] == 100] = 0  # no canal beside the middle disc
    assert canal_diameters(broken, spacing).set_index("name")["ap_mm"].isna().sum() == 1
    empty = np.zeros((3, 20, 20), np.uint8)
    assert disc_heights(empty, spacing).empty and canal_diameters(empty, spacing).empty


def test_names_count_from_l5_upwards():
    named = {1: "L5", 5: "L1", 6: "T12", 17: "T1", 18: "C7", 101: "L5", 100: "canal"}
    named |= {201: "L5/S1", 202: "L4/L5", 206: "T12/L1", 207: "T11/T12", 218: "C7/T1"}
    assert {label: structure_name(label) for label in named} == named
    with pytest.raises(SpiderError, match="found 130"):
        structure_name(130)


@pytest.mark.parametrize(
    ("labels", "spacing", "message"),
    [
        (np.zeros((4, 4), np.uint8), (1, 1, 1), r"labels: expected whole numbers \(D, H, W\)"),
        (np.zeros((4, 4, 4)), (1, 1, 1), "found shape .* of float64"),
        (np.zeros((4, 4, 4), np.uint8), (1, 0, 1), "spacing: expected three positive numbers"),
        (np.full((4, 4, 4), 150, np.uint8), (1, 1, 1), "label map: expected values .*, found 150"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels, spacing, message):
    for measure in (disc_heights, canal_diameters):
        with pytest.raises(SpiderError, match=message):
            measure(labels, spacing)


def heights_table(**heights: float) -> pd.DataFrame:
    names = {"L5/S1": 201, "L4/L5": 202, "L3/L4": 203}
    rows = [(names[name], name, height, True) for name, height in heights.items()]
    return pd.DataFrame(rows, columns=["label", "name", "height_mm", "complete"])


def test_measurements_are_compared_by_structure():
    reference = heights_table(**{"L5/S1": 8.0, "L4/L5": 10.0}).assign(series="7_t2")
    other = heights_table(**{"L4/L5": 11.5, "L3/L4": 9.0}).assign(series="7_t2")
    table = compare_measures(reference, other).set_index("name")
    assert table.loc["L4/L5", ["reference", "other", "mean", "difference"]].tolist() == [10, 11.5, 10.75, 1.5]
    assert table.loc["L4/L5", ["series", "measure", "unit"]].tolist() == ["7_t2", "height_mm", "mm"]
    assert table["difference"].isna().to_dict() == {"L5/S1": True, "L4/L5": False, "L3/L4": True}
    assert table.loc["L5/S1", "reference"] == 8 and table.loc["L3/L4", "other"] == 9


def test_several_series_need_their_names():
    one = heights_table(**{"L5/S1": 8.0})
    both = pd.concat([one.assign(series=name) for name in ("1_t2", "2_t2")])
    assert len(compare_measures(both, both)) == 2
    with pytest.raises(SpiderError, match="found one twice; add a column that names the series"):
        compare_measures(both.drop(columns="series"), both)
    with pytest.raises(SpiderError, match="give two tables of one kind"):
        compare_measures(one, one.rename(columns={"height_mm": "ap_mm"}))


def test_areas_are_compared_in_their_own_unit():
    spacing = (1.0, 1.0, 1.0)
    measured = canal_diameters(tube(spacing, 0, 0), spacing)
    table = compare_measures(measured, measured)
    assert table.groupby("measure")["unit"].first().to_dict() == {"ap_mm": "mm", "area_mm2": "mm2"}
    assert len(table) == 10 and (table["difference"] == 0).all()


def test_agreement_is_that_of_bland_and_altmans_own_example():
    """Peak flow of 17 persons by two meters: Lancet 1986, table and text. They take 2 SD for the limits, -79.7 and
    75.5, and t of 2.12 for the intervals.
    """
    large = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    agreement = bland_altman(mini, large)
    assert agreement.n == 17
    assert agreement.bias == pytest.approx(-2.1, abs=0.05) and agreement.sd == pytest.approx(38.8, abs=0.05)
    assert agreement.bias - 2 * agreement.sd == pytest.approx(-79.7, abs=0.1)
    assert agreement.upper == pytest.approx(-2.12 + 1.96 * 38.77, abs=0.05)
    assert agreement.bias_interval == pytest.approx((-22.0, 17.8), abs=0.1)
    half = (agreement.lower_interval[1] - agreement.lower_interval[0]) / 2
    assert half == pytest.approx(34.6, abs=0.1)  # 2.12 times a standard error of 16.3
    assert np.mean(agreement.upper_interval) == pytest.approx(agreement.upper)


def test_pairs_with_nan_do_not_count():
    agreement = bland_altman([1.0, 2.0, np.nan, 4.0], [2.0, 2.0, 3.0, np.nan])
    assert (agreement.n, agreement.bias) == (2, 0.5)
    assert agreement.sd == pytest.approx(np.sqrt(0.5))
    assert agreement.upper - agreement.lower == pytest.approx(2 * 1.96 * np.sqrt(0.5))
    alone = bland_altman([1.0], [1.5])
    assert (alone.n, alone.bias) == (1, 0.5) and np.isnan([alone.sd, alone.lower, *alone.upper_interval]).all()
    with pytest.raises(SpiderError, match="pairs of measurements"):
        bland_altman([1.0, 2.0], [1.0])


def test_a_reading_that_found_nothing_is_a_result():
    """A network after one epoch has no discs: there are no pairs, and all that is told of them is NaN."""
    nothing = disc_heights(np.zeros((3, 8, 8), np.uint8), (1.0, 1.0, 1.0))
    measured = heights_table(**{"L5/S1": 8.0})
    for reference, other, n in ((measured, nothing, 1), (nothing, measured, 1), (nothing, nothing, 0)):
        table = compare_measures(reference, other)
        assert len(table) == n and {table[name].dtype for name in ("reference", "other", "difference")} == {
            np.dtype(float)
        }
        agreement = bland_altman(table["reference"].to_numpy(), table["other"].to_numpy())
        assert agreement.n == 0 and np.isnan([agreement.bias, agreement.upper, *agreement.lower_interval]).all()
