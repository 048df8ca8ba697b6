"""Label values become the four classes; anything else is refused. APTA against a slow reference and by hand."""

import numpy as np
import pytest

from spider_utils.common.errors import SpiderError
from spider_utils.data.apta import APTA_PASSES, apta, apta_stages
from spider_utils.data.labels import as_classes, class_pixels, classes_from_grey, four_classes
from tests.helpers.apta_reference import apta_images

# Grey values that stand for black, red (vertebrae), green (canal) and blue (discs)
B, R, G, D = 0, 5, 120, 220


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


def test_class_pixels_counts_a_slice_alone_and_slices_in_stacks():
    classes = np.array([[0, 1, 1], [3, 3, 3]])
    np.testing.assert_array_equal(class_pixels(classes), [1, 2, 0, 3])
    stacks = np.broadcast_to(classes, (5, 2, 2, 3))
    assert class_pixels(stacks).shape == (5, 2, 4) and (class_pixels(stacks) == [1, 2, 0, 3]).all()


@pytest.mark.parametrize(
    ("read", "values", "classes", "expected"),
    [
        (four_classes, (0, 1, 100, 225), (0, 1, 2, 3), "0, 1..125 or 201..225"),
        (classes_from_grey, (0, 76, 150, 29), (0, 1, 2, 3), "0, 29, 76 or 150"),
        (as_classes, (0, 1, 2, 3), (0, 1, 2, 3), "0, 1, 2 or 3"),
    ],
)
def test_each_coding_gives_bytes_and_names_what_it_expects(read, values, classes, expected):
    found = read(np.array([values], np.int32))
    assert found.dtype == np.uint8 and found.tolist() == [list(classes)]
    with pytest.raises(SpiderError) as refused:
        read(np.array([[0, 300, 301, 302, 303, 304, 305]]))
    said = f"label map: expected values {expected}, found 300, 301, 302, 303, 304; mend or leave out this mask"
    assert str(refused.value) == said


def stage(number: int, rows: list[list[int]]) -> list[list[int]]:
    """What pass `number` of APTA makes of a grey image."""
    return apta_stages(np.array(rows, np.uint8))[number - 1][1].tolist()


def assert_like_the_reference(grey: np.ndarray) -> None:
    """Compare after every pass: an error that a later pass hides is one too."""
    stages = apta_stages(grey)
    assert [name for name, _ in stages] == list(APTA_PASSES)
    for (name, ours), theirs in zip(stages, apta_images(grey.tolist()), strict=True):
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    np.testing.assert_array_equal(apta(grey), stages[-1][1])


def noise(seed: int, shape: tuple[int, int], kind: str) -> np.ndarray:
    """Grey noise: all values alike, the thresholds' neighbours, or patches of one value with specks in them."""
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    edges = np.array([0, 1, 10, 11, 89, 90, 180, 181, 255], np.uint8)
    if kind == "edges":
        return rng.choice(edges, shape)
    coarse = rng.choice(np.array([B, R, G, D], np.uint8), (shape[0] // 3 + 1, shape[1] // 3 + 1))
    patches = coarse.repeat(3, axis=0).repeat(3, axis=1)[: shape[0], : shape[1]]
    return np.where(rng.random(shape) < 0.2, rng.choice(edges, shape), patches)


@pytest.mark.parametrize("kind", ["uniform", "edges", "patches"])
@pytest.mark.parametrize("shape", [(23, 31), (31, 23), (8, 8), (2, 2), (3, 1)])
def test_apta_equals_the_reference_on_noise(shape, kind):
    for seed in range(6):
        assert_like_the_reference(noise(seed, shape, kind))


@pytest.mark.parametrize("kind", ["uniform", "edges", "patches"])
def test_noise_holds_all_classes_at_the_end(kind):
    found = np.concatenate([np.unique(apta(noise(seed, (23, 31), kind))) for seed in range(6)])
    assert set(found) == {0, 1, 2, 3} if kind != "uniform" else {0, 2, 3} <= set(found)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 2), (2, 1), (1, 3), (1, 1)])
def test_apta_equals_the_reference_on_one_row_one_column_and_single_pixels(shape):
    for seed in range(10):
        for kind in ("uniform", "edges", "patches"):
            assert_like_the_reference(noise(seed, shape, kind))


@pytest.mark.parametrize("shape", [(20, 30), (1, 30), (30, 1), (1, 1)])
def test_apta_leaves_a_black_image_black(shape):
    assert_like_the_reference(np.zeros(shape, np.uint8))
    assert not apta(np.zeros(shape, np.uint8)).any()


def test_apta_does_not_change_its_input():
    grey = noise(0, (12, 12), "patches")
    before = grey.copy()
    apta(grey)
    np.testing.assert_array_equal(grey, before)


def test_thresholds_by_hand():
    values = [0, 1, 10, 11, 89, 90, 179, 180, 181, 255]
    assert stage(1, [values]) == [[0, 1, 1, 0, 0, 2, 2, 2, 3, 3]]


def test_pass_2_clears_lone_pixels_of_every_colour_and_black_counts_as_a_colour():
    rows = [[R, R, D, D], [G, R, D, B]]
    assert stage(2, rows) == [[1, 1, 3, 3], [0, 1, 3, 0]]


def test_every_pass_on_a_row_of_five_by_hand():
    row = [[R, R, B, G, G]]
    assert stage(2, row) == [[1, 1, 0, 2, 2]]
    assert stage(3, row) == [[1, 0, 2, 2, 2]]  # of two different neighbours the right one counts
    assert stage(4, row) == [[1, 1, 0, 2, 2]]  # here the left one; the ends see one colour and stay
    assert stage(5, row) == [[1, 1, 1, 2, 2]]  # the lone black pixel takes its left neighbour's colour
    column = np.array(row).T.tolist()  # below before above, then above before below
    assert [stage(number, column) for number in (3, 4, 5)] == [
        np.array(stage(number, row)).T.tolist() for number in (3, 4, 5)
    ]


def test_pass_3_looks_right_left_below_above():
    def centre(rows):
        return stage(3, rows)[2][2]

    cross = [[B, B, B, B, B], [B, B, B, B, B], [R, R, R, D, D], [B, B, G, B, B], [B, B, G, B, B]]
    assert centre(cross) == 3  # right blue, left red, below green, above black
    assert centre([row[::-1] for row in cross]) == 1  # right red
    assert centre([row[:3] for row in cross]) == 1  # nothing right, left red
    assert centre([[B, B, row[2]] if row[0] == R else row[:3] for row in cross]) == 0  # left and above black: two
    below = cross[:3] + [[B, B, R, B, B], [B, B, R, B, B]]
    assert centre(below) == 1  # left and below red: the most common beats the first


def test_pass_4_takes_the_left_column_first():
    # A step in a straight edge: the pixel in it has four red and four green neighbours.
    step = [[R] * 4 + [G] * 3] * 4 + [[R] * 3 + [G] * 4] * 3
    assert stage(3, step)[3] == [1, 1, 1, 2, 2, 2, 2]  # two red, two green: the right one
    assert stage(4, step)[3] == [1, 1, 1, 1, 2, 2, 2]  # four and four: the left column
    other = [[G] * 3 + [R] * 4] * 3 + [[G] * 4 + [R] * 3] * 4
    assert stage(3, other)[3] == [2, 2, 2, 1, 1, 1, 1]
    assert stage(4, other)[3] == [2, 2, 2, 2, 1, 1, 1]


def test_pass_4_leaves_what_sees_one_colour_and_pass_5_takes_it():
    row = [[R, R, D]]
    assert stage(3, row) == [[1, 0, 1]]
    assert stage(4, row) == [[1, 0, 1]]
    assert stage(5, row) == [[0, 1, 0]]


def test_pass_6_turns_green_and_blue_red_where_red_is_missing_and_leaves_black():
    canal = np.zeros((8, 8), np.uint8)
    canal[2:6, 2:6] = G
    assert stage(5, canal.tolist())[3] == [0, 0, 2, 2, 2, 2, 0, 0]
    np.testing.assert_array_equal(apta(canal), apta_stages(canal)[-2][1] == 2)
    assert set(np.unique(apta(canal))) == {0, 1}
    discs = np.where(canal == G, D, 0).astype(np.uint8)
    both = np.hstack([canal, discs])
    assert set(np.unique(apta_stages(both)[-2][1])) == {0, 2, 3}
    np.testing.assert_array_equal(apta(both), apta_stages(both)[-2][1] > 0)
    with_vertebra = np.hstack([canal, np.where(canal == G, R, 0).astype(np.uint8)])
    assert set(np.unique(apta(with_vertebra))) == {0, 1, 2}


def test_apta_recovers_an_enlarged_mask_but_for_its_edges():
    from PIL import Image

    labels = np.zeros((40, 40), np.uint8)
    labels[4:16, 6:20], labels[16:20, 6:20], labels[20:34, 6:20], labels[4:34, 26:31] = 2, 202, 1, 100
    grey = (labels / 202 * 255).astype(np.uint8)
    enlarged = np.asarray(Image.fromarray(grey).resize((80, 80), Image.Resampling.BILINEAR))
    assert_like_the_reference(enlarged)
    wanted = four_classes(labels).repeat(2, axis=0).repeat(2, axis=1)
    found = apta(enlarged)
    inside = np.zeros_like(wanted, bool)
    for rows, columns in (
        (slice(11, 29), slice(15, 37)),
        (slice(43, 65), slice(15, 37)),
        (slice(11, 65), slice(54, 60)),
    ):
        inside[rows, columns] = True
    assert (found == wanted)[inside].all()
    assert 0 < (found != wanted).mean() < 0.05


@pytest.mark.parametrize(
    "grey",
    [np.zeros((4, 4), np.int64), np.zeros((2, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)],
)
def test_apta_refuses_what_is_no_grey_slice(grey):
    with pytest.raises(SpiderError, match="expected \\(H, W\\) uint8") as caught:
        apta(grey)
    assert "\n" not in str(caught.value)
