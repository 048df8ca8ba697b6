"""Overlap and boundary distances against shapes measured by hand, MONAI and the surface-distance package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from monai.metrics.utils import get_mask_edges, get_surface_distance
from PIL import Image
from scipy import ndimage

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import classes_from_grey
from spider_utils.evaluate.boundaries import TOLERANCES, Boundary, boundary_distances, counted_quantile
from spider_utils.evaluate.metrics import METRICS, class_counts, confusion, overlap_counts, pool_boundaries

surface_distance = pytest.importorskip("surface_distance")
OVERLAP = {name: METRICS[name].measure for name in ("dice", "iou", "precision", "recall", "f1")}
SPACINGS = [(1.0, 1.0), (0.71, 0.43)]
VOLUME_SPACINGS = [(1.0, 1.0, 1.0), (3.3, 0.6, 0.7)]
REAL_SLICES = 2
INSIDE = {axes: (slice(1, -1),) * axes for axes in (2, 3)}  # of a mask without its margin


def square(row: int, column: int, side: int = 10, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[row : row + side, column : column + side] = True
    return mask


def blobs(seed: int, shape: tuple[int, ...] = (90, 110), smooth: float = 6) -> tuple[np.ndarray, np.ndarray]:
    """A random smooth shape of several parts that may touch the image's edge, and a disturbed copy of it."""
    rng = np.random.default_rng(seed)
    field, change = (ndimage.gaussian_filter(rng.normal(size=shape), smooth) for _ in range(2))
    return field > field.std(), field + 0.3 * change > field.std()


def real_pairs(shared_data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every class of real masks from several patients, with the mask shifted and eroded as the prediction."""
    files = sorted((shared_data / "released_t2_space" / "masks").glob("*.png"))
    pairs = []
    for number, file in enumerate(files[:: len(files) // REAL_SLICES][:REAL_SLICES]):
        classes = classes_from_grey(np.asarray(Image.open(file)))
        for label in range(4):
            mask = classes == label
            shifted = ndimage.shift(mask.astype(np.uint8), (2 * number - 1, 2), order=0) == 1
            pairs.append((mask, ndimage.binary_erosion(shifted, iterations=1 + number)))
    assert len(pairs) == 4 * REAL_SLICES
    return pairs


def check_against_libraries(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> None:
    assert reference.any() and prediction.any()
    ours = boundary_distances(reference, prediction, spacing)
    y_pred, y = (torch.from_numpy(mask)[None, None] for mask in (prediction, reference))
    both = {"y_pred": y_pred, "y": y, "include_background": True, "spacing": spacing}
    assert ours.asd == pytest.approx(compute_average_surface_distance(symmetric=True, **both).item(), rel=1e-5)
    assert ours.hd95 == pytest.approx(compute_hausdorff_distance(percentile=95, **both).item(), rel=1e-5)

    theirs = surface_distance.compute_surface_distances(reference, prediction, spacing)
    for tolerance, nsd in zip(TOLERANCES, ours.nsd, strict=True):
        monai_nsd = compute_surface_dice(class_thresholds=[tolerance], use_subvoxels=True, **both).item()
        assert nsd == pytest.approx(monai_nsd, abs=1e-6)
        assert nsd == pytest.approx(surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance), abs=1e-6)
    if reference.ndim == 2:
        check_contour_bounds(ours, theirs, spacing)


def check_contour_bounds(ours: Boundary, theirs: dict[str, np.ndarray], spacing: tuple[float, float]) -> None:
    # Boundary pixels against contour corners: a distance differs by one pixel diagonal at most, which bounds the
    # difference of the largest ones. The weights differ as well, by 1.41 for smooth outlines and 2 for thin lines: so
    # the mean may differ by a factor of 1.41, and the far 5 % of the pixels may be the far 2.5 to 10 % of the length.
    diagonal = float(np.hypot(*spacing)) + 1e-5
    names = ("distances_pred_to_gt", "distances_gt_to_pred")
    for side, name in zip((ours.from_prediction, ours.from_reference), names, strict=True):
        assert abs(side.max() - theirs[name].max()) <= diagonal
    lowest, highest = (surface_distance.compute_robust_hausdorff(theirs, percent) for percent in (90, 97.5))
    assert lowest - diagonal <= ours.hd95 <= highest + diagonal
    areas = ("surfel_areas_pred", "surfel_areas_gt")
    total = sum((theirs[name] * theirs[area]).sum() for name, area in zip(names, areas, strict=True))
    theirs_asd = total / sum(theirs[area].sum() for area in areas)
    assert theirs_asd / np.sqrt(2) - diagonal <= ours.asd <= theirs_asd * np.sqrt(2) + diagonal


def test_overlap_of_a_shifted_square_by_hand():
    counts = overlap_counts(square(5, 5), square(5, 8))
    assert counts == (70, 30, 30)
    values = {name: float(ratio(*counts)) for name, ratio in OVERLAP.items()}
    assert values == pytest.approx({"dice": 0.7, "iou": 70 / 130, "precision": 0.7, "recall": 0.7, "f1": 0.7})


def test_whatever_is_not_zero_belongs_to_a_mask():
    assert overlap_counts(np.array([[0, 2, 4, 0]]), np.array([[1, 1, 0, 0]])) == (1, 1, 1)


def test_overlap_identities_hold_for_arrays_of_counts():
    tp, fp, fn = np.random.default_rng(0).integers(1, 1000, (3, 50, 4))
    value = {name: ratio(tp, fp, fn) for name, ratio in OVERLAP.items()}
    assert value["dice"].shape == (50, 4)
    np.testing.assert_allclose(value["dice"], 2 * value["iou"] / (1 + value["iou"]))
    harmonic = 2 * value["precision"] * value["recall"] / (value["precision"] + value["recall"])
    np.testing.assert_allclose(value["f1"], harmonic)
    np.testing.assert_array_equal(value["f1"], value["dice"])


def test_distances_of_a_shifted_square_by_hand():
    # Of the 36 boundary pixels of a 10 x 10 square moved 3 columns to the right, those in the top and bottom rows lie
    # 0 (7 times), 1, 2, 3 pixels off, the left column 1 2 3 3 3 3 2 1 (through the rows above or below), the right 3.
    ours = boundary_distances(square(5, 5), square(5, 8))
    assert ours.pixels == 72
    assert ours.distance_sum == pytest.approx(2 * (2 * 6 + 18 + 24))
    assert ours.asd == pytest.approx(1.5)
    assert ours.hd95 == pytest.approx(3.0)


def test_spacing_is_row_then_column():
    # 3 columns of 0.5 mm: 0.5, 1, 1.5 twice in the rows; 1.5 in all 8 pixels of either column, as a row is 2 mm off.
    ours = boundary_distances(square(5, 5), square(5, 8), (2.0, 0.5))
    assert ours.asd == pytest.approx((2 * 3 + 8 * 1.5 + 8 * 1.5) / 36)
    assert ours.hd95 == pytest.approx(1.5)
    turned = boundary_distances(square(5, 5).T, square(5, 8).T, (0.5, 2.0))
    assert (turned.asd, turned.hd95, *turned.nsd) == pytest.approx((ours.asd, ours.hd95, *ours.nsd))


def test_nsd_of_a_false_second_square_by_hand():
    reference = square(5, 5)
    ours = boundary_distances(reference, reference | square(5, 40))
    assert ours.nsd == pytest.approx((2 / 3, 2 / 3))  # three contours of one length, two of them in place
    assert boundary_distances(reference, square(6, 5)).nsd[0] == pytest.approx(1.0)  # one pixel off is within 1


def test_hd95_is_the_larger_of_the_two_directions():
    small, both = square(5, 5), square(5, 5) | square(5, 30)
    assert boundary_distances(small, both).hd95 == boundary_distances(both, small).hd95 > 20


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_random_shapes_agree_with_monai_and_surface_distance(seed, spacing):
    check_against_libraries(*blobs(seed), spacing)


def test_real_masks_agree_with_monai_and_surface_distance(shared_data):
    for number, (reference, prediction) in enumerate(real_pairs(shared_data)):
        check_against_libraries(reference, prediction, SPACINGS[number % 2])


@pytest.mark.parametrize("spacing", VOLUME_SPACINGS)
@pytest.mark.parametrize("seed", range(2))
def test_random_volumes_agree_with_monai_and_surface_distance(seed, spacing):
    check_against_libraries(*blobs(seed, (14, 40, 36), 3), spacing)


def test_distances_of_a_shifted_box_by_hand():
    # Of the 3 x 4 x 5 voxels of a box 54 are boundary, all but 1 x 2 x 3. Moved by one column of 0.5 mm, those of the
    # last column and the two in the middle of the first one lie 0.5 mm off, the others on the other box.
    reference, moved = np.zeros((9, 9, 12), bool), np.zeros((9, 9, 12), bool)
    reference[3:6, 2:6, 0:5] = True
    moved[3:6, 2:6, 1:6] = True
    ours = boundary_distances(reference, moved, (3.0, 2.0, 0.5))
    assert ours.pixels == 2 * 54
    assert ours.asd == pytest.approx(14 * 0.5 / 54)
    assert ours.hd95 == pytest.approx(0.5)
    assert ours.nsd == pytest.approx((1.0, 1.0))
    # Moved by one slice of 3 mm, the 20 voxels of one end lie 3 mm off, and the 2 x 3 in the middle of the other end
    # lie inside the other box, one, two and one columns of 0.5 mm from its nearest side.
    moved = np.roll(reference, 1, axis=0)
    ours = boundary_distances(reference, moved, (3.0, 2.0, 0.5))
    assert ours.asd == pytest.approx((20 * 3 + 2 * (0.5 + 1.0 + 0.5)) / 54)


@pytest.mark.parametrize("spacing", [*SPACINGS, *VOLUME_SPACINGS])
@pytest.mark.parametrize("seed", range(3))
def test_edges_contours_and_distances_are_monais_bit_for_bit(seed, spacing):
    masks = [np.pad(mask, 1) for mask in blobs(seed, (14, 40, 36)[-len(spacing) :], 3)]
    reference, prediction = masks
    edges = get_mask_edges(prediction, reference, crop=False)
    pair = (torch.from_numpy(mask) for mask in (prediction, reference))
    *contours, predicted_lengths, true_lengths = map(np.asarray, get_mask_edges(*pair, crop=False, spacing=spacing))
    lengths = np.concatenate([predicted_lengths[contours[0]], true_lengths[contours[1]]])
    far = np.concatenate([get_surface_distance(*way, spacing=spacing) for way in (contours, contours[::-1])])
    ours = boundary_distances(reference[*INSIDE[reference.ndim]], prediction[*INSIDE[reference.ndim]], spacing)
    assert ours.length == float(lengths.sum())
    assert ours.within == tuple(float(lengths[far <= limit].sum()) for limit in TOLERANCES)
    for side, way in ((ours.from_prediction, edges), (ours.from_reference, edges[::-1])):
        np.testing.assert_array_equal(side, get_surface_distance(*way, spacing=spacing))


@pytest.mark.parametrize("spacing", [SPACINGS[1], VOLUME_SPACINGS[1]])
def test_background_around_masks_changes_nothing(spacing):
    masks = blobs(6, (14, 40, 36)[-len(spacing) :], 3)  # they touch the edge
    assert masks[0][0].any() and masks[0][:, -1].any()
    alone = boundary_distances(*masks, spacing)
    wide = boundary_distances(*(np.pad(mask, 5) for mask in masks), spacing)
    np.testing.assert_allclose(wide.from_prediction, alone.from_prediction, rtol=1e-6)
    np.testing.assert_allclose(wide.from_reference, alone.from_reference, rtol=1e-6)
    assert (wide.length, wide.within) == (alone.length, alone.within)


def test_equal_masks_are_perfect():
    mask = blobs(9)[0]
    ours = boundary_distances(mask, mask)
    assert (ours.asd, ours.hd95, ours.nsd) == (0.0, 0.0, (1.0, 1.0))


def test_class_in_neither_mask_has_no_score():
    nothing = np.zeros((20, 20), bool)
    assert all(np.isnan(ratio(*overlap_counts(nothing, nothing))) for ratio in OVERLAP.values())
    ours = boundary_distances(nothing, nothing)
    assert np.isnan([ours.asd, ours.hd95, *ours.nsd]).all()
    assert (ours.length, ours.pixels) == (0.0, 0)


@pytest.mark.parametrize("missing", ["prediction", "reference"])
def test_class_in_one_mask_only_scores_zero_without_a_distance(missing):
    mask, nothing = square(5, 5), np.zeros((40, 60), bool)
    reference, prediction = (mask, nothing) if missing == "prediction" else (nothing, mask)
    value = {name: float(ratio(*overlap_counts(reference, prediction))) for name, ratio in OVERLAP.items()}
    assert value["dice"] == value["iou"] == value["f1"] == 0
    undefined, zero = ("precision", "recall") if missing == "prediction" else ("recall", "precision")
    assert np.isnan(value[undefined]) and value[zero] == 0
    ours = boundary_distances(reference, prediction, (2.0, 0.5))
    assert np.isnan([ours.asd, ours.hd95]).all() and ours.nsd == (0.0, 0.0)
    # Its contour still counts when slices are pooled: sides of 9 pixels each, cut by half a diagonal at each corner.
    assert ours.length == pytest.approx(2 * 9 * (2.0 + 0.5) + 4 * 0.5 * np.hypot(2.0, 0.5))


def test_counted_quantile_equals_that_of_the_repeated_values():
    rng = np.random.default_rng(3)
    for _ in range(20):
        values, counts = np.sort(rng.random(15)), rng.integers(0, 4, 15)
        assert counted_quantile(values, counts) == pytest.approx(np.quantile(np.repeat(values, counts), 0.95))
    assert np.isnan(counted_quantile(values, 0 * counts))
    assert np.isnan(counted_quantile(np.zeros(0), np.zeros(0, int)))
    assert counted_quantile(np.array([1.0, 2.0, 7.0]), np.array([0, 0, 3])) == 7
    assert counted_quantile(np.array([4.0]), np.array([1])) == 4
    assert counted_quantile(np.array([1.0, 3.0]), np.array([2, 1]), 0.75) == pytest.approx(2)


def test_confusion_counts_pairs_with_the_reference_in_rows():
    reference = np.array([[[0, 0, 1], [2, 3, 3]]], np.uint8)
    prediction = np.array([[[0, 1, 1], [2, 3, 0]]], np.uint8)
    assert confusion(reference, prediction).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]
    counts = class_counts(confusion(reference, prediction))
    for label in range(4):
        assert tuple(counts[:, label]) == overlap_counts(reference == label, prediction == label)


def test_confusion_adds_the_slices_up_whatever_classes_they_have():
    reference = np.array([[[0, 0], [1, 1]], [[0, 0], [0, 2]]], np.uint8)
    prediction = np.array([[[0, 1], [1, 1]], [[0, 0], [2, 2]]], np.uint8)
    pairs = confusion(reference, prediction)
    assert pairs.dtype == np.int64
    assert pairs.tolist() == [[3, 1, 1, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert confusion(reference > 0, prediction > 0, classes=2).tolist() == [[3, 2], [0, 3]]


def test_units_are_those_of_the_distances_or_none():
    assert {METRICS[name].unit("px") for name in ("asd", "hd95", "nsd_1", "nsd_2")} == {"px"}
    assert {METRICS[name].unit("mm") for name in ("dice", "iou", "precision", "recall", "missed")} == {"ratio"}


@pytest.mark.filterwarnings("error")
def test_one_pixel_is_a_mask_and_no_pixel_warns_of_nothing():
    missed = METRICS["missed"].measure
    assert [float(missed(*counts)) for counts in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 3, 0))] == [0, 1, 1, 0]
    assert np.isnan([missed(0, 0, 0), *(measure(0, 0, 0) for measure in OVERLAP.values())]).all()
    empty = METRICS["asd"].of_sums(np.array([0.0, 1.0]), np.array([0, 0]))
    assert np.isnan(empty[0]) and np.isinf(empty[1])


def test_masks_of_different_shape_are_refused():
    with pytest.raises(SpiderError, match="full resolution"):
        overlap_counts(np.zeros((4, 4), bool), np.zeros((4, 5), bool))
    with pytest.raises(SpiderError, match="full resolution"):
        confusion(np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 5), np.uint8))


@pytest.mark.parametrize("spacing", [(1.0, 0.0), (1.0, float("nan")), (1.0,)])
def test_spacing_that_is_not_positive_is_refused(spacing):
    with pytest.raises(SpiderError, match="spacing"):
        boundary_distances(square(5, 5), square(5, 8), spacing)


def test_a_volume_needs_three_spacings():
    volume = np.ones((3, 4, 5), bool)
    for masks, spacing in ((volume, (1.0, 1.0)), (volume[0], (1.0, 1.0, 1.0)), (volume[None], (1.0,) * 4)):
        with pytest.raises(SpiderError, match="spacing: expected a positive number for each axis"):
            boundary_distances(masks, masks, spacing)


def test_the_shares_at_one_and_at_two_are_of_their_own_tolerance():
    """A contour of length 4, of which 1 lies within 1, and 3 within 2 of the other."""
    there = np.ones(4, np.float32)
    boundary = Boundary(there, there, length=4.0, within=(1.0, 3.0))
    values = {name: METRICS[name].of_slice((0, 0, 0), boundary) for name in ("nsd_1", "nsd_2")}
    assert values == {"nsd_1": 0.25, "nsd_2": 0.75}
    pooled = {name: pool_boundaries(name, [boundary, boundary]) for name in values}
    assert pooled == values and TOLERANCES == (1.0, 2.0)
    headings = {name: METRICS[name].heading("mm") for name in ("nsd_1", "nsd_2", "asd", "hd95", "dice")}
    assert list(headings.values()) == ["NSD at 1 mm", "NSD at 2 mm", "ASD (mm)", "HD95 (mm)", "Dice"]
