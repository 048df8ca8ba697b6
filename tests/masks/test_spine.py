"""The canal's course, discs, borders and levels of shapes made by hand: boxes and plates of 1 mm voxels unless said."""

import numpy as np
import pytest

from spider_utils.masks.spine import (
    UP,
    Border,
    Course,
    borders_between,
    canal_course,
    distances,
    find_discs,
    flat_normal,
    grow,
    levels_between,
)

MM = np.ones(3)
NONE = np.zeros((0, 3))
PLATE = dict(smallest=300.0, thickest=20.0, level_mm=6.0)


def box(shape: tuple[int, int, int], *parts: tuple[slice, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for part in parts:
        mask[part] = True
    return mask


def plate(row: int, thick: int = 4, column: int = 8, width: int = 20) -> tuple[slice, ...]:
    """Of 24 slices and `width` columns, `thick` rows from `row` on."""
    return slice(3, 27), slice(row, row + thick), slice(column, column + width)


def cloud(rows: range, half: int | dict[int, int] = 8) -> np.ndarray:
    """A point a mm2 of a body 12 mm deep, (n, 3): `half` its half width, or that in each row."""
    parts = []
    for row in rows:
        side = half if isinstance(half, int) else half.get(row, 8)
        slices, columns = np.meshgrid(np.arange(-side, side + 1), np.arange(12), indexing="ij")
        parts.append(np.stack([slices.ravel(), np.full(slices.size, row), columns.ravel()], axis=1))
    return np.concatenate(parts).astype(float)


def disc_at(row: float, column: float = 5.5) -> Border:
    return Border(np.array([0.0, row, column]), UP, (1,), 1000.0)


def rows_of(borders: list[Border]) -> list[float]:
    assert all(np.allclose(border.normal, UP) for border in borders)
    return [float(border.point[1]) for border in borders]


# the course of the canal


def test_between_rows_the_course_runs_straight():
    course = Course(2.0, np.array([10.0, 10.0, 14.0]), np.array([30.0, 32.0, 36.0]), np.array([44.0, 46.0, 54.0]))
    middle, front, back = course.at(np.array([[0, 1, 0], [0, 3, 99], [0, 9, 0]], float))
    assert (middle.tolist(), front.tolist(), back.tolist()) == ([10, 12, 14], [31, 34, 36], [45, 50, 54])


def test_bodies_lie_before_the_canal_and_within_45_mm_of_it_and_32_of_the_middle():
    course = Course(1.0, np.full(21, 50.0), np.full(21, 60.0), np.full(21, 75.0))
    inside = {(50, 10, 59), (50, 10, 16), (81, 10, 40), (19, 10, 40), (50, -30, 30), (50, 50, 27)}
    outside = {(50, 10, 60), (50, 10, 14), (82, 10, 40), (18, 10, 40), (50, -40, 30), (50, 62, 40), (50, 10, 80)}
    for points, expected in ((inside, True), (outside, False)):
        assert (course.bodies(np.array(sorted(points), float)) == expected).all()


def test_the_course_is_the_middle_the_front_and_the_back_of_the_canal_in_mm():
    canal = box((9, 6, 20), (slice(2, 7), slice(1, 5), slice(6, 10)))
    course = canal_course(canal, NONE, np.array([3.0, 2.0, 0.5]))
    assert course.row_mm == 2.0 and len(course.front) == 6
    for line, mm in ((course.middle, 4 * 3.0), (course.front, 6 * 0.5), (course.back, 9 * 0.5)):
        np.testing.assert_allclose(line, mm)  # in rows without canal, too


def test_one_row_that_sticks_out_and_one_stray_voxel_do_not_move_the_course():
    canal = box((11, 30, 40), (slice(1, 10), slice(0, 30), slice(10, 20)))
    clean = canal_course(canal, NONE, MM)
    canal[1:10, 12, 20:30] = canal[1:10, 13, 3:10] = canal[5, 20, 35] = canal[5, 21, 0] = True
    spoilt = canal_course(canal, NONE, MM)
    assert (spoilt.front == 10).all() and (spoilt.back == 19).all() and (spoilt.middle == 5).all()
    np.testing.assert_array_equal(spoilt.back, clean.back)


def test_a_slanting_canal_is_followed_row_by_row_and_across_a_gap():
    canal = np.zeros((41, 41, 60), bool)
    for row in range(0, 41):
        canal[row - 2 if row > 2 else 0 : row + 3, row, 10 + row // 2 : 20 + row // 2] = row not in range(15, 26)
    course = canal_course(canal, NONE, MM)
    rows = np.arange(6, 35)
    np.testing.assert_allclose(course.middle[rows], rows, atol=2.1)
    np.testing.assert_allclose(course.front[rows], 10 + rows / 2, atol=1.6)
    np.testing.assert_allclose(course.back[rows] - course.front[rows], 9, atol=0.6)
    assert course.front[20] == pytest.approx((course.front[14] + course.front[26]) / 2)


@pytest.mark.parametrize("fine", [1, 2])
def test_discs_stand_for_the_canal_beyond_its_ends_alone(fine):
    canal = box((21, 100, 60), (slice(8, 13), slice(30, 60), slice(40, 54)))
    near = [[0, 15, 0], [0, 20, 0], [0, 45, 0], [0, 70, 0], [0, 74, 0]]  # not more than 15 mm beyond rows 30 and 59
    discs = np.array([[4, 10, 20], *near, [16, 90, 25]], float)
    course = canal_course(np.repeat(canal, fine, axis=1), discs, np.array([1.0, 1 / fine, 1.0]))
    at = fine * np.array([0, 10, 20, 30, 59, 90, 99])  # mm
    assert course.middle[at].tolist() == [4, 4, 7, 10, 10, 16, 16]
    assert course.front[at].tolist() == [39, 39, 39.5, 40, 40, 44, 44]
    assert course.back[at].tolist() == [53, 53, 53, 53, 53, 58, 58]


def test_without_a_canal_the_discs_alone_tell_and_without_both_nothing_does():
    empty = np.zeros((5, 10, 8), bool)
    assert canal_course(empty, NONE, MM) is None
    course = canal_course(empty, np.array([[2, 12, 5], [4, 4, 3]], float), np.array([1.0, 2.0, 1.0]))
    assert (course.middle[[0, 2, 4, 6, 9]]).tolist() == [4, 4, 3, 2, 2]
    assert (course.front[[2, 6]]).tolist() == [22, 24] and (course.back[[2, 6]]).tolist() == [36, 38]


# discs


def test_discs_are_counted_from_below_with_their_middle_normal_and_volume():
    mask = box((30, 90, 40), plate(10), plate(40, thick=5), plate(70))
    found, pieces = find_discs(mask, None, np.array([1.0, 1.0, 0.5]), **PLATE)
    assert [disc.point.tolist() for disc in found] == [[14.5, row, 8.75] for row in (71.5, 42.0, 11.5)]
    assert [disc.mm3 for disc in found] == [24 * 4 * 10, 24 * 5 * 10, 24 * 4 * 10]
    assert all(np.allclose(disc.normal, UP) for disc in found)
    for disc, row in zip(found, (71, 42, 11), strict=True):
        (number,) = disc.pieces
        assert pieces[14, row, 12] == number and np.count_nonzero(pieces == number) * 0.5 == disc.mm3


def test_a_piece_is_a_disc_from_the_smallest_volume_on():
    mask = box((30, 60, 40), plate(10), (slice(0, 10), slice(40, 44), slice(0, 10)))
    for smallest, count in ((400.0, 2), (400.5, 1)):
        assert len(find_discs(mask, None, MM, smallest, 20.0, 6.0)[0]) == count


def test_small_pieces_belong_to_the_disc_in_whose_plane_they_lie():
    crumb, far = (slice(0, 2), slice(9, 12), slice(30, 33)), (slice(0, 2), slice(30, 33), slice(30, 33))
    mask = box((30, 70, 40), plate(10), plate(50), crumb, far)
    found, pieces = find_discs(mask, None, MM, **PLATE)
    assert [disc.mm3 for disc in found] == [24 * 4 * 20, 24 * 4 * 20 + 18]
    assert found[1].pieces == (pieces[14, 11, 12], pieces[0, 10, 31]) and len(found[0].pieces) == 1
    assert found[1].point.tolist() == [14.5, 11.5, 17.5]  # that of the large one


@pytest.mark.parametrize(("gap", "count"), [(5.9, 1), (6.1, 2)])
def test_two_layers_within_the_level_s_distance_are_one_disc(gap, count):
    mask = box((30, 30, 40), plate(5, thick=1), plate(7, thick=1))
    spacing = np.array([1.0, gap / 2, 1.0])
    found, _ = find_discs(mask, None, spacing, **PLATE)
    assert len(found) == count and sum(len(disc.pieces) for disc in found) == 2
    assert sum(disc.mm3 for disc in found) == pytest.approx(2 * 24 * 20 * gap / 2)


def test_what_lies_behind_the_canal_s_front_is_no_disc():
    mask = box((30, 60, 60), plate(10), plate(40, column=35, width=22))
    course = Course(1.0, np.full(60, 15.0), np.full(60, 30.0), np.full(60, 45.0))
    found, _ = find_discs(mask, course, MM, **PLATE)
    assert [disc.point[1] for disc in found] == [11.5]
    assert len(find_discs(mask, None, MM, **PLATE)[0]) == 2


def test_a_thick_piece_is_parted_at_its_neck():
    """Two plates 30 mm apart with a bar between them: without parting they would be one piece, whose middle is bone."""
    bar = (slice(12, 16), slice(14, 40), slice(16, 20))
    mask = box((30, 60, 40), plate(8, thick=6), plate(40, thick=6), bar)
    found, pieces = find_discs(mask, None, MM, **PLATE)
    assert [disc.point[1] for disc in found] == pytest.approx([42, 11], abs=2)
    volume = 24 * 6 * 20
    assert all(volume <= disc.mm3 <= volume + 4 * 4 * 26 for disc in found)
    assert sum(disc.mm3 for disc in found) == np.count_nonzero(mask)
    assert (pieces > 0).sum() == np.count_nonzero(mask)
    mask[0, 0, 0] = True  # a crumb that is met before it changes nothing
    assert [disc.mm3 for disc in find_discs(mask, None, MM, **PLATE)[0]] == [disc.mm3 for disc in found]
    mask[0, 0, 0] = False
    whole, _ = find_discs(mask, None, MM, smallest=300.0, thickest=60.0, level_mm=6.0)
    assert len(whole) == 1 and whole[0].mm3 == np.count_nonzero(mask)


@pytest.mark.parametrize(("spacing", "parted"), [((1.0, 1.0, 1.0), False), ((1.0, 1.6, 1.0), True)])
def test_how_thick_a_piece_is_is_measured_in_mm(spacing, parted):
    bar = (slice(12, 16), slice(10, 19), slice(16, 20))
    mask = box((30, 30, 40), plate(4, thick=6), plate(19, thick=6), bar)  # 21 rows
    found, _ = find_discs(mask, None, np.array(spacing), smallest=300.0, thickest=24.0, level_mm=6.0)
    assert (len(found) == 2) == parted


def test_the_pieces_of_a_parted_disc_have_numbers_of_their_own():
    bar = (slice(12, 16), slice(14, 40), slice(16, 20))
    mask = box((30, 120, 40), plate(8, thick=6), plate(40, thick=6), bar, plate(70), plate(100))
    found, pieces = find_discs(mask, None, MM, **PLATE)
    assert [round(disc.point[1]) for disc in found] == pytest.approx([102, 72, 42, 11], abs=2)
    numbers = [number for disc in found for number in disc.pieces]
    assert len(set(numbers)) == 4 and set(numbers) == set(np.unique(pieces)) - {0}


def leaning(degrees: float, row: int, shape: tuple[int, int, int] = (30, 130, 50)) -> np.ndarray:
    """A plate 3 mm thick that leans in the sagittal plane, about (15, row, 25)."""
    slices, rows, columns = np.indices(shape)
    along = columns - 25.0
    off = (rows - row) * np.cos(np.radians(degrees)) + along * np.sin(np.radians(degrees))
    across = along * np.cos(np.radians(degrees)) - (rows - row) * np.sin(np.radians(degrees))
    return (np.abs(off) <= 1.5) & (np.abs(across) <= 12) & (np.abs(slices - 15) <= 12)


@pytest.mark.parametrize(("degrees", "kept"), [(35, True), (-35, True), (45, False), (-45, False)])
def test_a_disc_that_leans_more_than_40_degrees_against_its_neighbours_takes_their_line(degrees, kept):
    mask = leaning(0, 20) | leaning(degrees, 60) | leaning(0, 100)
    found, _ = find_discs(mask, None, MM, **PLATE)
    expected = [0, -np.cos(np.radians(degrees)), -np.sin(np.radians(degrees))] if kept else UP
    assert len(found) == 3 and found[1].point.tolist() == pytest.approx([15, 60, 25], abs=0.1)
    np.testing.assert_allclose(found[1].normal, expected, atol=0.05)
    for disc in (found[0], found[2]):
        np.testing.assert_allclose(disc.normal, UP, atol=1e-5)


@pytest.mark.parametrize("row", [20, 100])
def test_the_first_and_the_last_disc_are_measured_against_their_one_neighbour(row):
    found, _ = find_discs(leaning(50, row) | leaning(0, 60), None, MM, **PLATE)
    assert len(found) == 2
    assert all(np.allclose(disc.normal, UP, atol=0.05) for disc in found)
    (alone,), _ = find_discs(leaning(50, row), None, MM, **PLATE)
    np.testing.assert_allclose(alone.normal, [0, -np.cos(np.radians(50)), -np.sin(np.radians(50))], atol=0.05)


def test_too_few_points_have_no_direction():
    assert flat_normal(np.array([[0, 0, 0], [0, 1, 1], [0, 2, 2.0]])).tolist() == UP.tolist()
    four = np.array([[0, 0, 0], [4, 0, 0], [0, 3, 4], [4, 3, 4]], float)  # of a plane that leans 37 degrees
    np.testing.assert_allclose(flat_normal(four), [0, -0.8, 0.6], atol=1e-6)


# growth


def test_two_markers_meet_where_the_mask_is_narrow_and_nothing_grows_without_one():
    mask = box((7, 7, 25), np.s_[:, :, 0:7], np.s_[2:5, 2:5, 7:14], np.s_[:, :, 14:21], np.s_[0:2, 0:2, 23:25])
    markers = np.zeros(mask.shape, np.uint16)
    markers[3, 3, 1], markers[3, 3, 18] = 5, 2
    grown = grow(markers, mask, MM)
    assert (grown[:, :, 0:7][mask[:, :, 0:7]] == 5).all() and (grown[:, :, 14:21][mask[:, :, 14:21]] == 2).all()
    bar = grown[3, 3, 7:14]
    assert set(bar) == {2, 5} and (np.diff((bar == 2).astype(int)) >= 0).all()
    assert not grown[:, :, 21:].any() and not grown[~mask].any()


def test_how_narrow_a_mask_is_is_measured_in_mm():
    """Two slices of 4 mm: in voxels the mask is as thin everywhere, and the markers would meet halfway."""
    mask = box((4, 11, 32), np.s_[1:3, 1:10, 1:20], np.s_[1:3, 5:6, 20:23], np.s_[1:3, 1:10, 23:31])
    markers = np.zeros(mask.shape, np.uint16)
    markers[1, 5, 5], markers[1, 5, 27] = 1, 2
    grown = grow(markers, mask, np.array([4.0, 1.0, 1.0]))
    assert (grown[1:3, 1:10, 1:20] == 1).all() and (grown[1:3, 1:10, 23:31] == 2).all()


# borders and levels


def test_neighbouring_discs_are_as_far_apart_as_their_middles():
    discs = [Border(np.array(point, float), UP) for point in ((0, 0, 0), (0, 3, 4), (12, 3, 9))]
    assert distances(discs).tolist() == [5, 13] and len(distances(discs[:1])) == 0


def test_a_border_has_a_side_above():
    border = Border(np.array([1.0, 10.0, 3.0]), np.array([0.0, -0.8, 0.6]))
    above = border.above(np.array([[5.0, 10.0, 3.0], [1.0, 5.0, 3.0], [0.0, 10.0, -2.0]]))
    np.testing.assert_allclose(above, [0, 4, -3])


def test_a_level_lies_between_two_borders_and_half_a_pitch_beyond_the_last():
    slanted = np.array([0.0, -0.8, 0.6])
    low, high = Border(np.array([2.0, 90.0, 10.0]), UP), Border(np.array([2.0, 58.0, 34.0]), slanted)
    levels = levels_between([low, high], 30.0)
    assert [level.centre.tolist() for level in levels] == [[2, 105, 10], [2, 74, 22], [2, 46, 43]]
    np.testing.assert_allclose([level.up for level in levels], [UP, [0, -0.8, 0.6], slanted])
    assert [level.pitch for level in levels] == [30, 40, 30]
    assert [level.centre[1] for level in levels_between([low], 30.0)] == [105, 75]


def test_neighbouring_discs_need_no_border_between_them():
    bodies = cloud(range(41, 100), {70: 0})
    assert rows_of(borders_between(bodies, [disc_at(100), disc_at(65), disc_at(40)], 34.0)) == [100, 65, 40]


@pytest.mark.parametrize(
    ("pitch", "count"), [(51.0, 0), (50.0, 1), (45.0, 1), (41.0, 1), (39.0, 1), (30.0, 1), (23.0, 2)]
)
def test_two_discs_too_far_apart_have_as_many_bodies_between_them_as_fit(pitch, count):
    """60 mm; a neck in the middle is looked for from 1.2 pitch on, equal parts are made beyond 1.5."""
    neck = {row: 1 for row in range(68, 73)}
    found = rows_of(borders_between(cloud(range(41, 100), neck), [disc_at(100), disc_at(40)], pitch))
    assert found[0] == 100 and found[-1] == 40 and len(found) == 2 + count
    if count == 1:
        assert found[1] == pytest.approx(70, abs=1)
    if count == 2:
        assert found[1:3] == pytest.approx([80, 60], abs=6)


def test_without_a_neck_two_discs_are_parted_beyond_one_and_a_half_pitches_alone():
    bodies = cloud(range(41, 100))
    for pitch in (41.0, 40.0):
        assert len(borders_between(bodies, [disc_at(100), disc_at(40)], pitch)) == 2
    middle = borders_between(bodies, [disc_at(100), disc_at(40)], 39.0)[1]
    assert middle.point.tolist() == pytest.approx([0, 70, 5.5], abs=1)
    assert middle.pieces == () and middle.mm3 == 0


def test_a_border_without_a_disc_goes_to_the_narrowest_place_near_the_middle():
    """The neck lies 6 mm off the middle, a quarter of 39 mm is allowed; a deeper one 20 mm off is too far."""
    neck = {row: 3 for row in range(62, 67)} | {row: 0 for row in range(48, 53)}
    found = rows_of(borders_between(cloud(range(41, 100), neck), [disc_at(100), disc_at(40)], 39.0))
    assert found[1] == pytest.approx(64, abs=1)


@pytest.mark.parametrize(("neck", "cut"), [(39, 39.5), (42, 30.5), (21, 21.5), (17, 30.5)])
def test_the_narrowest_place_is_looked_for_within_a_quarter_of_the_pitch(neck, cut):
    """Of 39 mm, so 20 to 40 mm above the lower disc; the neck is 3 mm high. A border lies in the middle of its mm."""
    width = {100 - above: 1 for above in range(neck - 1, neck + 2)}
    found = rows_of(borders_between(cloud(range(41, 100), width), [disc_at(100), disc_at(40)], 39.0))
    assert 100 - found[1] == pytest.approx(cut, abs=0.6)


def test_the_narrowest_place_is_the_middle_of_what_is_as_narrow_but_for_a_twentieth():
    width = {row: 4 for row in range(66, 78)} | {row: 2 for row in range(72, 78)}  # 5 points wide, then 9
    found = rows_of(borders_between(cloud(range(41, 100), width), [disc_at(100), disc_at(40)], 39.0))
    assert found[1] == pytest.approx(74.5, abs=1)


def test_where_there_is_no_bone_halfway_there_is_a_neck():
    """A third of the 60 mm is bone; the rest does not make the usual cross section any smaller."""
    bodies = np.concatenate([cloud(range(85, 96)), cloud(range(45, 56))])
    found = rows_of(borders_between(bodies, [disc_at(100), disc_at(40)], 45.0))
    assert len(found) == 3 and found[1] == pytest.approx(70, abs=1)


def test_borders_between_slanted_discs_stand_on_their_line():
    low, high = disc_at(100, 5.5), disc_at(40, 50.5)
    up = np.array([0.0, -0.8, 0.6])
    points = [low.point + up * at + np.array([aside, 0, 0]) for at in np.arange(1, 75) for aside in range(-5, 6)
              if abs(aside) < 2 or not 36 <= at <= 39]  # fmt: skip
    found = borders_between(np.array(points), [low, high], 50.0)
    np.testing.assert_allclose(found[1].normal, up)
    np.testing.assert_allclose(found[1].point, low.point + up * 37.5, atol=1)


@pytest.mark.parametrize(("reach", "neck", "count"), [(33, 30, 0), (40, 30, 1), (40, 0, 0), (47, 0, 1), (80, 30, 2)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_beyond_the_last_disc_bodies_are_parted_a_pitch_further(reach, neck, count, sign):
    """Pitch 30 mm: 1.15 of it with a neck there, or 1.5 without."""
    steps = range(1, reach + 1)
    width = {100 + sign * step: 1 for step in range(neck - 2, neck + 3)} if neck else {}
    bodies = cloud(range(*sorted((100 + sign, 101 + sign * len(steps)))), width)
    found = rows_of(borders_between(bodies, [disc_at(100)], 30.0))
    assert len(found) == 1 + count
    beyond = [row for row in found if row != 100]
    assert all((row - 100) * sign > 0 for row in beyond)
    if count:
        nearest = min(beyond, key=lambda row: abs(row - 100))
        assert nearest == pytest.approx(100 + sign * 30, abs=1.5 if neck else 8)
    assert found == sorted(found, reverse=True)  # from below


def test_without_any_disc_the_lowest_border_lies_below_the_lowest_body():
    found = borders_between(cloud(range(20, 81)), [], 40.0)
    assert found[0].point[1] == pytest.approx(80 + 0.15 * 40) and found[0].pieces == ()
    assert [border.point[1] for border in found[1:]] == pytest.approx([46], abs=10)
