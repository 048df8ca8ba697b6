"""Numbers of a spine made of boxes, voxel by voxel: bodies of 28 x 24 x 24 mm, discs 8 mm high, a canal, and arches.

A level is 32 mm high. Each number is known by the construction, and so is what a change of the boxes does to it.
"""

import numpy as np
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.masks.levels import LevelSettings, number_structures

PITCH, DISC = 32, 8  # mm
BELOW = 20  # mm of nothing under the lowest disc


def build(
    levels: int = 4, spacing=(2.0, 2.0, 2.0), above: int = 20, below: int = BELOW, pitch: int = PITCH
) -> np.ndarray:
    """SPIDER's labels (D, H, W) uint16 of a spine of boxes, the lowest disc at the bottom and no disc at the top.

    In mm: slices 0..40, bodies and discs 6..34, columns 8..32, the canal 36..50 (slices 12..28), arches behind it.
    """
    high = above + levels * pitch + below
    labels = np.zeros([round(mm / step) for mm, step in zip((40, high, 76), spacing, strict=True)], np.uint16)

    def fill(value: int, *mm: tuple[float, float]) -> None:
        part = tuple(slice(round(low / step), round(top / step)) for (low, top), step in zip(mm, spacing, strict=True))
        labels[part] = value

    fill(100, (12, 28), (0, high), (36, 50))
    for level in range(1, levels + 1):
        bottom = high - below - (level - 1) * pitch
        fill(200 + level, (6, 34), (bottom - DISC, bottom), (8, 32))
        body = bottom - pitch
        fill(level, (6, 34), (body, bottom - DISC), (8, 32))
        fill(level, (16, 24), (body + 12, body + pitch - 4), (50, 64))  # lamina and spinous process
    return labels


def classes_of(labels: np.ndarray) -> np.ndarray:
    """The classes by SPIDER's own ranges: vertebrae below 100, canal 100, discs above 200."""
    classes = np.zeros(labels.shape, np.uint8)
    classes[(labels > 0) & (labels < 100)] = 1
    classes[labels == 100], classes[labels > 200] = 2, 3
    return classes


NO_DISC_BELOW = "there is no disc under vertebra 1, so the numbers may be off"


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (4.0, 1.0, 1.0), (2.0, 0.5, 2.0), (1.0, 2.0, 0.4)])
def test_a_spine_of_boxes_is_numbered_to_the_voxel(spacing):
    labels = build(3, spacing)
    numbered = number_structures(classes_of(labels), spacing)
    assert numbered.labels.dtype == np.uint16 and numbered.notes == ()
    np.testing.assert_array_equal(numbered.labels, labels)


def test_where_it_lies_in_the_volume_makes_no_difference():
    labels = np.pad(build(2), ((3, 1), (0, 7), (2, 9)))
    numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, labels)
    assert numbered.notes == ()


def test_a_body_that_the_upper_edge_cuts_is_numbered_and_said_to_be_cut():
    labels = build(3)[:, 18:]  # 36 mm off, of which 20 are empty: 8 mm of the topmost body are left
    numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0))
    assert numbered.notes == ("vertebra 3 is cut off by the edge of the volume",)
    kept = np.isin(labels, (1, 2, 100, 201, 202, 203))
    np.testing.assert_array_equal(numbered.labels[kept], labels[kept])
    assert np.count_nonzero(numbered.labels == 3) >= 14 * 4 * 12


def test_a_body_that_the_lower_edge_cuts_is_number_one():
    labels = build(3)
    labels = labels[:, : labels.shape[1] - 20]  # 40 mm, of which 20 are empty: 12 mm of the lowest body are left
    numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0))
    assert numbered.notes == ("vertebra 1 is cut off by the edge of the volume", NO_DISC_BELOW)
    np.testing.assert_array_equal(numbered.labels, labels)


def test_a_missing_disc_is_said_and_changes_no_number():
    labels = build(4)
    classes = classes_of(labels)
    classes[labels == 203] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(labels == 203, 0, labels))
    assert numbered.notes == ("there is no disc between vertebrae 2 and 3",)


def test_a_missing_body_is_counted_and_said():
    labels = build(4)
    classes = classes_of(labels)
    classes[labels == 2] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(labels == 2, 0, labels))
    assert numbered.notes == ("there is no body for vertebra 2",)


def test_what_the_sides_of_a_narrow_stack_cut_needs_less_of_a_body():
    """Three slices of 2 mm, which the mask fills from side to side, or does not: bodies have 3456 mm3 there."""
    narrow = build(3)[9:12]
    strict = LevelSettings(body_mm3=4000.0)
    for around, found in (((0, 0), True), ((0, 1), True), ((1, 0), True), ((1, 1), False)):
        labels = np.pad(narrow, (around, (0, 0), (0, 0)))
        numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0), strict)
        np.testing.assert_array_equal(numbered.labels, labels if found else np.where(labels == 100, 100, 0))
        assert (numbered.notes == ()) == found


def test_a_body_that_ends_a_voxel_before_the_edge_is_not_cut():
    labels = build(2, above=2)
    numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, labels)
    assert numbered.notes == ()
    labels = labels[:, :-13]  # down to one row below the lowest body
    labels[labels == 201] = 0
    numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, labels)
    assert numbered.notes == (NO_DISC_BELOW,)


def test_a_third_of_a_body_on_a_disc_is_vertebra_one():
    labels = build(4)
    rows = np.flatnonzero(((labels == 1) & (np.indices(labels.shape)[2] < 18)).any(axis=(0, 2)))
    labels[:, rows[:8], :18] = 0
    numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0))
    bodies = np.indices(labels.shape)[2] < 18
    np.testing.assert_array_equal(numbered.labels[bodies], labels[bodies])


def test_a_collapsed_body_keeps_its_discs():
    """Body 2 loses 16 of its 24 mm, so that its discs lie 16 mm apart, closer than 0.7 of the usual 32."""
    labels = build(4)
    rows = np.flatnonzero(((labels == 2) & (np.indices(labels.shape)[2] < 18)).any(axis=(0, 2)))
    labels = np.delete(labels, rows[2:10], axis=1)
    numbered = number_structures(classes_of(labels), (2.0, 2.0, 2.0))
    bodies = np.indices(labels.shape)[2] < 18
    np.testing.assert_array_equal(numbered.labels[bodies], labels[bodies])
    assert numbered.notes == ()


def test_without_the_lowest_disc_the_numbers_may_be_off():
    labels = build(3)
    classes = classes_of(labels)
    classes[labels == 201] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(labels == 201, 0, labels))
    assert numbered.notes == (NO_DISC_BELOW,)


def test_a_disc_above_the_topmost_body_is_kept_and_one_further_up_is_not():
    labels = build(4)
    classes = classes_of(labels)
    classes[labels == 4] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(labels == 4, 0, labels))  # 204 lies on vertebra 3
    classes[labels == 3] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(np.isin(labels, (3, 4, 204)), 0, labels))
    lost = 14 * 4 * 12 * 8 / 1000
    assert numbered.notes == (f"removed, since it belongs to nothing: {lost:.1f} ml",)


def test_what_two_discs_hold_is_lost_with_them():
    labels = build(5)
    classes = classes_of(labels)
    classes[np.isin(labels, (3, 4, 5))] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(np.isin(labels, (3, 4, 5, 204, 205)), 0, labels))
    assert numbered.notes == ("removed, since it belongs to nothing: 10.8 ml",)  # 2 x 14 x 4 x 12 voxels of 8 mm3


def test_bodies_grown_together_are_parted_by_the_distance_of_the_discs_that_are_there():
    """24 mm from disc to disc; by the 35 mm of an adult two bodies of 48 mm would be one."""
    labels = build(5, pitch=24)
    classes = classes_of(labels)
    classes[labels == 203] = 1
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    apart = labels != 203
    np.testing.assert_array_equal(numbered.labels[apart], labels[apart])
    assert set(np.unique(numbered.labels[~apart])) == {2, 3}
    assert numbered.notes == ("there is no disc between vertebrae 2 and 3",)


def test_discs_below_the_lowest_body_are_dropped():
    labels = build(4)
    classes = classes_of(labels)
    classes[labels == 1] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0)).labels
    expected = labels.astype(int) - np.where((labels > 0) & (labels != 100), 1, 0)
    expected[np.isin(labels, (1, 201))] = 0
    np.testing.assert_array_equal(numbered, expected)


def test_fragments_go_and_what_was_lost_is_said():
    labels = build(3)
    classes, spots = classes_of(labels), np.zeros(labels.shape, bool)
    spots[1:3, 2:4, 0:2] = True  # 64 mm3 of bone, less than a fragment may have
    classes[spots] = 1
    canal = np.zeros_like(spots)
    canal[2:4, 40:42, 36:38] = True  # of the canal's class, less than a twentieth of the largest piece
    classes[canal] = 2
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, labels)
    assert numbered.notes == ("removed, since it belongs to nothing: 0.1 ml",)


@pytest.mark.parametrize(("voxels", "said"), [(48, False), (50, True)])
def test_a_loss_is_said_from_50_mm3_on(voxels, said):
    labels = build(2, (2.0, 1.0, 0.5))
    classes = classes_of(labels)
    classes[1, 2:4, 0 : voxels // 2] = 1  # of 1 mm3 each
    notes = number_structures(classes, (2.0, 1.0, 0.5)).notes
    assert notes == (("removed, since it belongs to nothing: 0.1 ml",) if said else ())


def test_a_second_piece_of_canal_counts_from_a_twentieth_of_the_largest_on():
    labels = build(3)
    classes = classes_of(labels)
    largest = np.count_nonzero(labels == 100)
    classes[0:3, 20:60, 34:38] = 2  # 3 x 40 x 4 = 480 voxels beside the canal
    for share, kept in ((479 / largest, True), (481 / largest, False)):
        numbered = number_structures(classes, (2.0, 2.0, 2.0), LevelSettings(canal_share=share)).labels
        assert (numbered[0:3, 20:60, 34:38] == (100 if kept else 0)).all()


def test_a_fragment_of_bone_counts_from_its_volume_on():
    labels = build(3)
    classes = classes_of(labels)
    classes[8:12, 24:30, 33:36] = 1  # 4 x 6 x 3 voxels, 576 mm3, behind the arches: nearest to that of vertebra 3
    where = classes[8:12, 24:30, 33:36]
    assert where.size == 72 and not labels[8:12, 24:30, 33:36].any()
    for fragment, kept in ((576.0, True), (577.0, False)):
        numbered = number_structures(classes, (2.0, 2.0, 2.0), LevelSettings(fragment_mm3=fragment))
        found = numbered.labels[8:12, 24:30, 33:36]
        assert (found == (3 if kept else 0)).all()
        loose = "loose pieces of bone given to the nearest vertebra: 1"
        assert numbered.notes == ((loose,) if kept else ("removed, since it belongs to nothing: 0.6 ml",))


def test_part_of_a_body_below_the_lowest_disc_is_left_out_and_said():
    labels = build(3, below=40)
    classes = classes_of(labels)
    bottom = labels.shape[1] - 20
    classes[3:17, bottom : bottom + 4, 4:16] = 1  # 8 mm, a third of a body, under the lowest disc
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, labels)
    below = "a part of a body below vertebra 1 was left out; if it is no sacrum, the numbers are off"
    assert numbered.notes == (below, f"removed, since it belongs to nothing: {14 * 4 * 12 * 8 / 1000:.1f} ml")
    classes[3:17, bottom : bottom + 9, 4:16] = 1  # 18 mm, most of a body
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    up = np.where((labels > 0) & (labels != 100), labels + 1, labels)
    up[3:17, bottom : bottom + 9, 4:16] = 1
    np.testing.assert_array_equal(numbered.labels, up)
    assert numbered.notes == (NO_DISC_BELOW,)


@pytest.mark.parametrize(("share", "counts"), [(0.30, True), (0.36, False)])
def test_a_body_needs_its_share_of_the_usual_one(share, counts):
    labels = build(4)
    classes = classes_of(labels)
    body = np.argwhere((labels == 4) & (np.indices(labels.shape)[2] < 18))
    (top, *_), bottom = sorted(set(body[:, 1])), body[:, 1].max()
    classes[:, top : bottom - 3, :18][labels[:, top : bottom - 3, :18] == 4] = 0  # 4 of 12 rows are left
    found = number_structures(classes, (2.0, 2.0, 2.0), LevelSettings(body_share=share)).labels
    assert (4 in found) == counts and {1, 2, 3, 100, 201, 202, 203, 204} <= set(np.unique(found))


def test_bone_far_from_the_spine_alone_is_no_vertebra():
    labels = build(2)
    classes = classes_of(labels)
    classes[(classes == 1) & (np.indices(labels.shape)[2] < 18)] = 0  # arches alone
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(labels == 100, 100, 0))
    assert numbered.notes == ("no vertebra was found, nothing is numbered",)


def test_a_crumb_of_a_body_is_no_vertebra():
    labels = build(2)
    classes = np.where(labels == 100, 2, 0).astype(np.uint8)
    classes[8:14, 40:45, 6:10] = 1  # 6 x 5 x 4 voxels, 960 mm3
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    assert set(np.unique(numbered.labels)) == {0, 100}
    assert numbered.notes[0] == "no vertebra was found, only canal and fragments"


def test_vertebrae_without_discs_are_parted_by_the_usual_distance():
    """35 mm for an adult where no disc tells; bodies of 32 mm from neck to neck, the gaps empty."""
    labels = build(3)
    classes = np.where(labels > 200, 0, classes_of(labels)).astype(np.uint8)
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    bodies = (labels > 0) & (labels < 100) & (np.indices(labels.shape)[2] < 18)
    np.testing.assert_array_equal(numbered.labels[bodies], labels[bodies])
    assert numbered.notes[:3] == (
        "there is no disc between vertebrae 1 and 2", "there is no disc between vertebrae 2 and 3", NO_DISC_BELOW,
    )  # fmt: skip


@pytest.mark.parametrize("above", [8, 16, 24])
def test_a_false_disc_of_more_bone_than_disc_is_left_out(above):
    """Painted into body 2 over a quarter of its width, 4 mm high, so many mm above the middle of the disc below."""
    labels = build(4)
    classes = classes_of(labels)
    middle = np.argwhere(labels == 202)[:, 1].mean() + 0.5  # in rows of 2 mm
    row = round(middle - above / 2)
    classes[3:7, row - 1 : row + 1, 4:16] = 3
    false = classes != classes_of(labels)
    assert (labels[false] == 2).all() and np.count_nonzero(false) * 8 > 600
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, np.where(false, 0, labels))
    assert numbered.notes == (f"removed, since it belongs to nothing: {np.count_nonzero(false) * 8 / 1000:.1f} ml",)


def test_two_layers_of_one_disc_get_one_number():
    """The disc between 2 and 3 has a second layer 12 mm above it, in the body's place, as wide as the body."""
    labels = build(4)
    classes = classes_of(labels)
    rows = np.flatnonzero((labels == 203).any(axis=(0, 2)))
    classes[3:17, rows[0] - 6 : rows[0] - 4, 4:16] = 3
    classes[3:17, rows[0] - 4 : rows[0], 4:16] = 0
    numbered = number_structures(classes, (2.0, 2.0, 2.0)).labels
    same = classes == classes_of(labels)
    np.testing.assert_array_equal(numbered[same], labels[same])
    assert (numbered[3:17, rows[0] - 6 : rows[0] - 4, 4:16] == 203).all()


def test_disc_painted_behind_the_canal_is_no_disc():
    labels = build(3)
    classes = classes_of(labels)
    classes[8:12, 44:50, 34:38] = 3  # 768 mm3 behind the arches, halfway up body 2
    assert not labels[8:12, 44:50, 34:38].any()
    numbered = number_structures(classes, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(numbered.labels, labels)


def test_two_discs_that_a_bar_joins_are_two():
    """Of the disc's class, 4 mm wide, along the front of body 2."""
    labels = build(4)
    classes = classes_of(labels)
    bar = (labels == 2) & (np.indices(labels.shape)[2] < 6) & np.isin(np.indices(labels.shape)[0], (9, 10))
    classes[bar] = 3
    numbered = number_structures(classes, (2.0, 2.0, 2.0)).labels
    np.testing.assert_array_equal(numbered[~bar], labels[~bar])
    assert set(np.unique(numbered[bar])) == {202, 203}


def test_an_empty_mask_is_said_to_be_empty():
    numbered = number_structures(np.zeros((4, 5, 6), np.uint8), (1.0, 1.0, 1.0))
    assert not numbered.labels.any() and numbered.notes == ("the mask is empty",)


def test_the_smallest_volumes_can_be_none():
    labels = build(2)
    nothing = LevelSettings(fragment_mm3=0.0, disc_mm3=0.0, body_mm3=0.0, canal_share=0.0)
    np.testing.assert_array_equal(number_structures(classes_of(labels), (2.0, 2.0, 2.0), nothing).labels, labels)
    with pytest.raises(SpiderError, match="fragment_mm3: expected a number of 0 or more, found -1"):
        LevelSettings(fragment_mm3=-1)
