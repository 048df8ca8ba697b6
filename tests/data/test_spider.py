"""The SPIDER folder: what is found, how it is turned, what is refused."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.spider import find_spider_series, read_gradings, read_overview, read_spider_stack
from spider_utils.data.volumes import read_volume

LABELS = np.array([0, 1, 5, 100, 103, 201, 206], np.uint16)


def patient_volume(size=(4, 6, 5), spacing=(3.0, 0.5, 0.75)) -> sitk.Image:
    """A volume with axes x (to the patient's left), y (to the posterior), z (to the head), all voxels different."""
    voxels = np.arange(np.prod(size), dtype=np.int16).reshape(size[::-1])
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing(spacing)
    volume.SetOrigin((-7.0, 11.0, 3.0))
    return volume


def label_volume(image: sitk.Image) -> sitk.Image:
    voxels = LABELS[sitk.GetArrayFromImage(image) % len(LABELS)]
    mask = sitk.GetImageFromArray(voxels)
    mask.CopyInformation(image)
    return mask


def write_series(folder: Path, name: str, image: sitk.Image, mask: sitk.Image | None = None, compress=True) -> None:
    for kind, volume in (("images", image), ("masks", mask)):
        if volume is not None:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(volume, str(folder / kind / f"{name}.mha"), compress)


def stored_orders():
    """All 48 ways to store a volume: six orders of its axes, each flipped or not."""
    return list(product(permutations(range(3)), product((False, True), repeat=3)))


def stored(volume: sitk.Image, order, flips) -> sitk.Image:
    """The same voxels at the same places in the patient, in another order in memory."""
    return sitk.Flip(sitk.PermuteAxes(volume, list(order)), list(flips))


def one_line(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_pose_is_right_to_left_superior_to_inferior_anterior_to_posterior(tmp_path):
    image = patient_volume()
    write_series(tmp_path, "3_t2", image, label_volume(image))
    stack = read_spider_stack(find_spider_series(tmp_path)[0])
    by_position = sitk.GetArrayFromImage(image)  # [z to the head, y to the back, x to the left]
    expected = by_position[::-1].transpose(2, 0, 1)  # x, head first, y
    np.testing.assert_array_equal(stack.image, expected)
    np.testing.assert_array_equal(stack.labels, LABELS[expected % len(LABELS)])
    assert stack.image.dtype == np.float32 and stack.labels.dtype == np.uint16
    assert stack.pixel_mm == (0.75, 0.5)
    assert stack.slice_mm == 3.0
    np.testing.assert_array_equal(stack.index, [0, 1, 2, 3])
    assert set(np.unique(stack.classes())) == {0, 1, 2, 3}


@pytest.mark.parametrize("degrees", [0, 20])
def test_all_48_storage_orders_give_the_same_stack(tmp_path, degrees):
    image = patient_volume()
    turn = sitk.Euler3DTransform((0, 0, 0), np.radians(degrees), np.radians(-degrees / 2), np.radians(degrees / 4))
    image.SetDirection(turn.GetMatrix())
    mask = label_volume(image)
    expected = sitk.GetArrayFromImage(image)[::-1].transpose(2, 0, 1)
    headers = set()
    for number, (order, flips) in enumerate(stored_orders()):
        write_series(tmp_path, f"{number}_t1", stored(image, order, flips), stored(mask, order, flips), compress=False)
    for series in find_spider_series(tmp_path):
        header = read_volume(series.image_files[0])
        headers.add(tuple(np.round(header.GetDirection(), 3)))
        stack = read_spider_stack(series)
        np.testing.assert_array_equal(stack.image, expected)
        np.testing.assert_array_equal(stack.labels, LABELS[expected % len(LABELS)])
        np.testing.assert_array_equal(stack.index, np.arange(4))
        assert stack.pixel_mm == (0.75, 0.5) and stack.slice_mm == 3.0
    assert len(headers) == 48


def test_direction_decides_where_the_shape_would_mislead(tmp_path):
    # a cube, and the left-right axis neither the shortest nor the most widely spaced
    image = patient_volume(size=(5, 5, 5), spacing=(0.5, 2.0, 1.0))
    write_series(tmp_path, "1_t1", stored(image, (1, 2, 0), (True, False, True)))
    stack = read_spider_stack(find_spider_series(tmp_path)[0])
    np.testing.assert_array_equal(stack.image, sitk.GetArrayFromImage(image)[::-1].transpose(2, 0, 1))
    assert (stack.slice_mm, stack.pixel_mm) == (0.5, (1.0, 2.0))


def test_series_are_listed_with_patient_sequence_and_subset(tmp_path):
    image = patient_volume()
    for name in ("10_t2_SPACE", "2_t2", "2_t1", "10_t1"):
        write_series(tmp_path, name, image, label_volume(image))
    (tmp_path / "overview.csv").write_text(
        "new_file_name,sex,subset\n2_t1,F ,training\n2_t2,F,training \n10_t1,M,validation\n"
    )
    found = find_spider_series(tmp_path)
    assert [(one.name, one.patient, one.sequence, one.subset, one.coding) for one in found] == [
        ("2_t1", 2, "T1", "training", "spider"),
        ("2_t2", 2, "T2", "training", "spider"),
        ("10_t1", 10, "T1", "validation", "spider"),
        ("10_t2_SPACE", 10, "T2_SPACE", "", "spider"),
    ]
    assert found[0].mask_files == (tmp_path / "masks" / "2_t1.mha",)


def test_a_set_without_masks_is_unlabelled(tmp_path):
    write_series(tmp_path, "1_t1", patient_volume())
    series = find_spider_series(tmp_path)[0]
    assert series.mask_files == () and series.subset == ""
    stack = read_spider_stack(series)
    assert stack.labels is None and stack.classes() is None


def test_folder_errors_name_what_is_missing(tmp_path):
    with pytest.raises(SpiderError, match="no such folder") as caught:
        find_spider_series(tmp_path / "absent")
    assert "absent" in one_line(caught)
    with pytest.raises(SpiderError, match="images/"):
        find_spider_series(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(SpiderError, match="MHA") as caught:
        find_spider_series(tmp_path)
    assert str(tmp_path / "images") in one_line(caught)


def test_image_without_mask_and_foreign_name_are_refused_by_name(tmp_path):
    image = patient_volume()
    write_series(tmp_path, "1_t1", image, label_volume(image))
    write_series(tmp_path, "2_t1", image)
    with pytest.raises(SpiderError, match="2_t1.mha: expected its mask"):
        find_spider_series(tmp_path)
    write_series(tmp_path, "2_flair", image)
    with pytest.raises(SpiderError, match="2_flair.mha"):
        find_spider_series(tmp_path)


def test_a_volume_that_cannot_be_trusted_is_refused_by_name(tmp_path):
    write_series(tmp_path, "1_t1", patient_volume(), label_volume(patient_volume()))
    for kind in ("masks", "images"):
        path = tmp_path / kind / "1_t1.mha"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(SpiderError, match="truncated") as caught:
            read_spider_stack(find_spider_series(tmp_path)[0])
        assert one_line(caught).startswith(str(path))


def shifted(mask, offset):
    mask.SetOrigin([value + offset for value in mask.GetOrigin()])
    return mask


def respaced(mask):
    mask.SetSpacing((3.0, 0.5, 0.8))
    return mask


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("size", lambda mask: mask[:, :, :-1]),
        ("spacing", respaced),
        ("origin", lambda mask: shifted(mask, 1.0)),
        ("direction", lambda mask: sitk.Flip(mask, [True, False, False])),
    ],
)
def test_a_mask_of_other_geometry_is_refused_with_both_names(tmp_path, what, change):
    image = patient_volume()
    mask = change(label_volume(image))
    if what == "direction":
        mask.SetOrigin(image.GetOrigin())
    write_series(tmp_path, "1_t1", image, mask)
    with pytest.raises(SpiderError, match=f"expected the {what} of its image") as caught:
        read_spider_stack(find_spider_series(tmp_path)[0])
    message = one_line(caught)
    assert str(tmp_path / "images" / "1_t1.mha") in message and str(tmp_path / "masks" / "1_t1.mha") in message


def test_rounding_in_the_mask_header_is_accepted(tmp_path):
    image = patient_volume()
    write_series(tmp_path, "1_t1", image, shifted(label_volume(image), 1e-5))
    assert read_spider_stack(find_spider_series(tmp_path)[0]).labels is not None


@pytest.mark.parametrize(("value", "kind"), [(57000, np.uint16), (-5, np.int16), (1.5, np.float32)])
def test_unknown_label_is_refused_by_file_name(tmp_path, value, kind):
    image = patient_volume()
    voxels = sitk.GetArrayFromImage(label_volume(image)).astype(kind)
    voxels[0, 0, 0] = value
    mask = sitk.GetImageFromArray(voxels)
    mask.CopyInformation(image)
    write_series(tmp_path, "1_t1", image, mask)
    with pytest.raises(SpiderError, match=str(value)) as caught:
        read_spider_stack(find_spider_series(tmp_path)[0])
    assert str(tmp_path / "masks" / "1_t1.mha") in one_line(caught)


def test_tables_are_read_without_blanks_and_named_when_missing(tmp_path):
    with pytest.raises(SpiderError, match="overview.csv"):
        read_overview(tmp_path)
    with pytest.raises(SpiderError, match="radiological_gradings.csv"):
        read_gradings(tmp_path)
    (tmp_path / "overview.csv").write_text("name,sex\n1_t1,F\n")
    with pytest.raises(SpiderError, match="overview.csv.*new_file_name"):
        read_overview(tmp_path)
    (tmp_path / "overview.csv").write_text("new_file_name,subset\n1_t1,trainig\n")
    write_series(tmp_path, "1_t1", patient_volume())
    with pytest.raises(SpiderError, match="overview.csv.*trainig"):
        find_spider_series(tmp_path)


def test_real_tables_hold_the_published_counts(shared_data):
    overview = read_overview(shared_data / "spider_metadata")
    assert len(overview) == 447
    assert set(overview["sex"]) == {"F", "M"}
    counts = overview.groupby([overview["new_file_name"].str.split("_", n=1).str[1], "subset"]).size().to_dict()
    assert counts == {
        ("t1", "training"): 158,
        ("t1", "validation"): 38,
        ("t2", "training"): 172,
        ("t2", "validation"): 38,
        ("t2_SPACE", "training"): 30,
        ("t2_SPACE", "validation"): 11,
    }
    gradings = read_gradings(shared_data / "spider_metadata")
    assert len(gradings) == 1520
    assert gradings["Pfirrman grade"].between(1, 5).all()


@pytest.mark.parametrize("number", [0, 1])
def test_real_scans_show_bright_fluid_behind_the_vertebral_bodies(shared_data, tmp_path, number):
    image = sorted((shared_data / "volumes").glob("*_image.mha"))[number]
    for kind, path in (("images", image), ("masks", image.with_name(image.name.replace("_image", "_bodies")))):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "1_t2.mha").symlink_to(path)
    header = read_volume(image)
    stack = read_spider_stack(find_spider_series(tmp_path)[0])
    # the stored axis closest to the patient's left-right axis, read off the direction matrix by hand
    direction = np.array(header.GetDirection()).reshape(3, 3)
    assert stack.image.shape[0] == header.GetSize()[int(np.abs(direction[0]).argmax())]
    bodies = stack.labels > 0
    middle = int(bodies.sum(axis=(1, 2)).argmax())
    rows, columns = np.nonzero(bodies[middle])
    assert np.ptp(rows) > 1.5 * np.ptp(columns)  # the bodies stand upon each other
    behind, before = [], []  # 20 mm to the right and to the left of the bodies, row by row (1 mm a pixel)
    for row in np.unique(rows):
        here = columns[rows == row]
        behind.append(stack.image[middle, row, here.max() : here.max() + 20].max())
        before.append(stack.image[middle, row, here.min() - 20 : here.min()].max())
    assert np.median(behind) > 1.5 * np.median(before)
