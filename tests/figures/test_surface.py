"""Surfaces: solids of known size must come out in their size and place. Their look is judged by eye."""

import numpy as np
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.figures.surface import View, distance_fields, render

VERTEBRAE, CANAL, DISCS = 1, 2, 3
COLOURS = {"vertebrae": (1.0, 0.0, 0.0), "canal": (0.0, 1.0, 0.0), "discs": (0.0, 0.0, 1.0)}
PIXEL_MM = 0.5
IN_FRONT, LEFT, BEHIND, RIGHT = (View("", azimuth) for azimuth in (0, 90, 180, 270))


def ball(classes, number, centre, radius, spacing) -> None:
    """Put a ball into a volume; centre and radius in mm."""
    axes = np.ogrid[tuple(slice(size) for size in classes.shape)]
    distance = sum((axis * step - place) ** 2 for axis, step, place in zip(axes, spacing, centre, strict=True))
    classes[distance <= radius**2] = number


def scene(*balls, spacing=(1.0, 1.0, 1.0), size_mm=(64, 64, 64)) -> dict[str, np.ndarray]:
    classes = np.zeros([round(size / step) for size, step in zip(size_mm, spacing, strict=True)], np.uint8)
    for number, centre, radius in balls:
        ball(classes, number, centre, radius, spacing)
    return distance_fields(classes, spacing)


def seen(picture: np.ndarray, channel: int) -> np.ndarray:
    """Where red (0), green (1) or blue (2) stands out."""
    others = np.delete(picture[..., :3], channel, axis=-1).max(axis=-1)
    return (picture[..., 3] > 0) & (picture[..., channel] > others + 0.1)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (0.9, 0.47, 0.59)], ids=str)
def test_a_ball_keeps_its_size_from_every_side(spacing):
    fields = scene((VERTEBRAE, (32, 32, 32), 18), spacing=spacing)
    assert list(fields) == ["vertebrae"]
    assert (fields["vertebrae"] < 0).sum() == pytest.approx(4 / 3 * np.pi * 18**3, rel=0.06)  # a point a mm
    for view in (IN_FRONT, LEFT, View("", 140, 30)):
        area = (render(fields, COLOURS, view, PIXEL_MM)[..., 3] > 0).sum() * PIXEL_MM**2
        assert area == pytest.approx(np.pi * 18**2, rel=0.05)


def test_fine_voxels_are_thinned_to_about_a_millimetre():
    field = scene((CANAL, (32, 32, 32), 20), spacing=(0.5, 0.4, 0.3))["canal"]
    assert max(field.shape) < 56  # 40 mm and two margins, in points


def test_what_is_nearer_hides_what_is_farther():
    fields = scene((VERTEBRAE, (12, 32, 32), 8), (DISCS, (50, 32, 32), 8))  # at the patient's right and left
    for view, first, second in ((LEFT, 2, 0), (RIGHT, 0, 2)):
        picture = render(fields, COLOURS, view, PIXEL_MM)
        assert seen(picture, first).any() and not seen(picture, second).any()


def test_up_is_up_and_a_facing_patients_right_is_at_the_left():
    fields = scene((VERTEBRAE, (16, 14, 32), 8), (DISCS, (48, 50, 32), 8))  # right and above, left and below
    for view, vertebra_at_left in ((IN_FRONT, True), (BEHIND, False)):
        picture = render(fields, COLOURS, view, PIXEL_MM)
        vertebra, disc = (np.argwhere(seen(picture, channel)).mean(axis=0) for channel in (0, 2))
        assert vertebra[0] < disc[0]
        assert (vertebra[1] < disc[1]) == vertebra_at_left
    from_left = render(scene((VERTEBRAE, (32, 32, 14), 8), (DISCS, (32, 32, 50), 8)), COLOURS, LEFT, PIXEL_MM)
    anterior, posterior = (np.argwhere(seen(from_left, channel)).mean(axis=0) for channel in (0, 2))
    assert anterior[1] < posterior[1]  # as on a sagittal slice


def test_from_above_the_top_comes_to_the_front():
    fields = scene((VERTEBRAE, (32, 10, 32), 6), (DISCS, (32, 54, 32), 6))
    level, above = (render(fields, COLOURS, View("", 90, elevation), PIXEL_MM) for elevation in (0, 89))
    assert seen(level, 0).sum() == pytest.approx(seen(level, 2).sum(), rel=0.05)
    assert seen(above, 0).sum() > 4 * seen(above, 2).sum()  # the upper ball hides nearly all of the lower one


def test_glass_lets_through_what_is_inside():
    fields = scene((VERTEBRAE, (32, 32, 32), 20), (CANAL, (32, 32, 32), 8))
    assert not seen(render(fields, COLOURS, LEFT, PIXEL_MM), 1).any()
    picture = render(fields, COLOURS, View("", 90, glass=("vertebrae",)), PIXEL_MM)
    assert seen(picture, 1).sum() * PIXEL_MM**2 == pytest.approx(np.pi * 8**2, rel=0.15)
    assert 0 < picture[len(picture) // 2, 30, 3] < 1  # where only glass is


def test_a_cut_opens_the_left_side_along_the_canal():
    fields = scene((VERTEBRAE, (32, 32, 32), 20), (CANAL, (32, 32, 32), 8))
    opened = render(fields, COLOURS, View("", 90, cut=True), PIXEL_MM)
    assert seen(opened, 1).sum() * PIXEL_MM**2 == pytest.approx(np.pi * 8**2, rel=0.15)
    whole, half = (
        (render(fields, COLOURS, View("", 180, cut=cut), PIXEL_MM)[..., 3] > 0).sum() for cut in (False, True)
    )
    assert half == pytest.approx(whole / 2, rel=0.1)


def test_light_comes_from_above_and_from_the_left():
    picture = render(scene((VERTEBRAE, (32, 32, 32), 20)), COLOURS, IN_FRONT, PIXEL_MM)
    red = np.where(picture[..., 3] > 0, picture[..., 0], np.nan)
    rows, columns = (size // 2 for size in red.shape)
    assert np.nanmean(red[:rows]) > np.nanmean(red[rows:]) + 0.05
    assert np.nanmean(red[:, :columns]) > np.nanmean(red[:, columns:]) + 0.05


def test_background_alone_has_no_surface():
    with pytest.raises(SpiderError, match="surfaces: expected vertebrae, canal or discs"):
        distance_fields(np.zeros((4, 20, 20), np.uint8), (4.0, 1.0, 1.0))
