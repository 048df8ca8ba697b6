"""What the scores count: the drawn pixels and distances are those of the scores."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from spider_utils.evaluate.boundaries import boundary_distances
from spider_utils.figures.scores import class_overlap, contour_distances, edge_distances
from tests.helpers.figure_layout import check_layout, texts


@pytest.fixture
def masks():
    """A slice with a tilted bar, and the same bar moved, thinned, and with an island."""
    image = np.random.default_rng(0).integers(0, 256, (120, 90), np.uint8)
    rows, columns = np.indices(image.shape)
    reference = (abs(rows - 40 - columns // 4) < 6) & (columns > 20) & (columns < 60)
    prediction = np.roll(reference, (2, 3), (0, 1)) & (rows > 50)
    prediction[100:103, 70:74] = True
    return image, reference, prediction


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
def test_the_drawn_distances_are_those_of_the_scores(masks, spacing):
    _, reference, prediction = masks
    boundary = boundary_distances(reference, prediction, spacing)
    for own, other, scored in (
        (prediction, reference, boundary.from_prediction),
        (reference, prediction, boundary.from_reference),
    ):
        drawn = edge_distances(own, other, spacing)
        assert np.allclose(np.sort(drawn[np.isfinite(drawn)]), np.sort(scored), atol=1e-5)


def test_distances_by_brute_force(masks):
    _, reference, prediction = masks
    drawn = edge_distances(prediction, reference, (2.0, 1.0))
    points = np.argwhere(np.isfinite(drawn)) * (2, 1)
    others = np.argwhere(np.isfinite(edge_distances(reference, prediction))) * (2, 1)
    assert np.allclose(drawn[np.isfinite(drawn)], cdist(points, others).min(axis=1))


def test_the_overlap_tells_its_counts_and_scores(masks):
    image, reference, prediction = masks
    figure = class_overlap(image, reference, prediction, "a bar", source="phantom")
    told = " ".join(texts(figure))
    common = int((reference & prediction).sum())
    assert f"true positive: {common:,} px" in told
    assert f"false negative: {int(reference.sum()) - common:,} px" in told
    assert f"Dice {2 * common / (reference.sum() + prediction.sum()):.3f}" in told
    check_layout("overlap", figure)


def test_the_contours_tell_their_scores(masks):
    image, reference, prediction = masks
    figure = contour_distances(image, reference, prediction, "a bar", unit="px", source="phantom")
    boundary = boundary_distances(reference, prediction)
    assert f"HD95 {boundary.hd95:.2f} px, NSD at 1 px {boundary.nsd[0]:.3f}" in " ".join(texts(figure))
    check_layout("contours", figure)


def test_an_empty_mask_has_no_distances_and_says_so(masks):
    image, reference, _ = masks
    empty = np.zeros_like(reference)
    for one, other in ((reference, empty), (empty, reference), (empty, empty)):
        figure = contour_distances(image, one, other, "a bar", unit="px", source="phantom")
        assert "no distances: a mask is empty" in texts(figure)
        class_overlap(image, one, other, "a bar", source="phantom").draw_without_rendering()
