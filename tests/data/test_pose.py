"""The common pose: into it and back, with every voxel at its place in the patient."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.phantom.acquisition import ORIENTATIONS
from spider_utils.data.pose import acquired_axis, from_pose, posed_grid, sagittal_angle, to_pose

STORED_ORDERS = list(product(permutations(range(3)), product((False, True), repeat=3)))  # all 48
TURNS = [(0, 0, 0), (20, 0, 0), (0, 20, 0), (0, 0, 20), (-12, 25, 31)]  # degrees about x, y and z


def volume(degrees=(0, 0, 0), spacing=(0.7, 1.1, 3.0)) -> sitk.Image:
    """A volume of three different sizes and spacings whose voxels are all different."""
    voxels = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin((-7.3, 11.1, 3.7))
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), *np.radians(degrees).tolist()).GetMatrix())
    return image


def stored(image: sitk.Image, order, flips) -> sitk.Image:
    """The same voxels at the same places in the patient, in another order in memory."""
    return sitk.Flip(sitk.PermuteAxes(image, list(order)), list(flips))


def places(image: sitk.Image) -> dict[int, tuple[float, ...]]:
    """Where each value lies in the patient, in mm."""
    columns, rows, slices = image.GetSize()
    return {
        image[index]: image.TransformIndexToPhysicalPoint(index)
        for index in product(range(columns), range(rows), range(slices))
    }


@pytest.mark.parametrize("degrees", TURNS)
def test_all_48_orders_come_back_bit_for_bit(degrees):
    for order, flips in STORED_ORDERS:
        image = stored(volume(degrees), order, flips)
        back = from_pose(sitk.GetArrayFromImage(to_pose(image)), image)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
        assert back.GetPixelID() == image.GetPixelID()
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(back, name)() == getattr(image, name)()


@pytest.mark.parametrize("degrees", TURNS)
def test_in_the_pose_every_voxel_keeps_its_place(degrees):
    image = volume(degrees)
    expected = places(image)
    arrays = set()
    for order, flips in STORED_ORDERS:
        posed = to_pose(stored(image, order, flips))
        arrays.add(sitk.GetArrayFromImage(posed).tobytes())
        found = places(posed)
        assert found.keys() == expected.keys()
        np.testing.assert_allclose([found[key] for key in expected], list(expected.values()), atol=1e-9)
    assert len(arrays) == 1


@pytest.mark.parametrize("degrees", TURNS)
def test_the_axes_of_the_pose_run_left_inferior_and_posterior(degrees):
    slices, rows, columns = 0, 1, 2
    for order, flips in STORED_ORDERS:
        posed = to_pose(stored(volume(degrees), order, flips))
        array = sitk.GetArrayFromImage(posed)
        at = places(posed)
        first = np.array(at[array[0, 0, 0]])
        steps = {
            slices: np.subtract(at[array[1, 0, 0]], first),
            rows: np.subtract(at[array[0, 1, 0]], first),
            columns: np.subtract(at[array[0, 0, 1]], first),
        }
        # LPS coordinates: x to the left, y to the posterior, z to the superior; the largest part of each step
        for axis, (coordinate, sign) in {slices: (0, 1), rows: (2, -1), columns: (1, 1)}.items():
            assert np.abs(steps[axis]).argmax() == coordinate and np.sign(steps[axis][coordinate]) == sign


@pytest.mark.parametrize("degrees", TURNS)
def test_the_grid_of_the_pose_is_known_without_turning(degrees):
    for order, flips in STORED_ORDERS:
        image = stored(volume(degrees), order, flips)
        posed = to_pose(image)
        assert posed_grid(image) == (list(posed.GetSize()), list(posed.GetSpacing()))


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_labels_drawn_in_the_pose_land_where_they_were_meant(code):
    image = sitk.DICOMOrient(volume((10, -5, 20)), code)
    labels = np.zeros(sitk.GetArrayViewFromImage(to_pose(image)).shape, np.uint8)
    labels[1, 0, 2] = 201
    back = from_pose(labels, image)
    (z, y, x) = np.argwhere(sitk.GetArrayFromImage(back) == 201)[0]
    meant = to_pose(image).TransformIndexToPhysicalPoint((2, 0, 1))
    np.testing.assert_allclose(back.TransformIndexToPhysicalPoint((int(x), int(y), int(z))), meant, atol=1e-9)


def test_axes_halfway_between_two_sides_come_back_too():
    for degrees in [(45, 0, 0), (0, 45, 0), (0, 0, 45), (45, 45, 0)]:
        for order, flips in STORED_ORDERS:
            image = stored(volume(degrees), order, flips)
            back = from_pose(sitk.GetArrayFromImage(to_pose(image)), image)
            np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))


def test_labels_of_another_shape_are_refused():
    image = stored(volume(), (2, 0, 1), (False, True, False))
    shape = sitk.GetArrayFromImage(to_pose(image)).shape
    with pytest.raises(SpiderError, match=r"expected \(D, H, W\) \(5, 3, 4\) for this volume, found \(4, 3, 5\)"):
        from_pose(np.zeros((4, 3, 5), np.uint8), image)
    assert shape == (5, 3, 4)


@pytest.mark.parametrize(
    ("degrees", "angle"), [((0, 0, 0), 0), ((30, 0, 0), 0), ((0, 20, 0), 20), ((0, 0, -35), 35), ((17, 0, 9), 9)]
)
def test_the_sagittal_angle_is_that_of_the_left_right_axis_in_any_order(degrees, angle):
    for order, flips in STORED_ORDERS:
        assert sagittal_angle(stored(volume(degrees), order, flips)) == pytest.approx(angle, abs=1e-4)


def test_a_cosine_that_is_rounded_above_one_is_straight():
    image = volume()
    image.SetDirection((1 + 1e-9, 0, 0, 0, 1, 0, 0, 0, 1))
    assert sagittal_angle(image) == 0


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((3.3, 0.6, 0.6), "sagittal"),
        ((0.6, 3.3, 0.6), "coronal"),
        ((0.6, 0.6, 3.3), "axial"),
        ((0.9, 0.47, 0.586), "sagittal"),
        ((1.0, 1.0, 1.0), "isotropic"),
        ((0.5, 1.0, 0.9), "isotropic"),
        ((1.4, 1.0, 0.3), "isotropic"),
    ],
)
def test_the_coarsest_spacing_tells_how_it_was_acquired(spacing, axis):
    for order, flips in STORED_ORDERS[::5]:
        assert acquired_axis(stored(volume((5, -8, 3), spacing), order, flips)) == axis


def test_real_scans_are_straight_sagittal_and_come_back(shared_data):
    for path in (shared_data / "volumes").glob("*_image.mha"):
        image = sitk.ReadImage(str(path))
        labels = sitk.GetArrayFromImage(to_pose(image))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(from_pose(labels, image)), sitk.GetArrayFromImage(image))
        assert sagittal_angle(image) == pytest.approx(0, abs=1e-3)
