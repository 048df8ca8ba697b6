"""Volumes of every format: read back as written, found by name, refused in one line where they are not whole."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.common.files import atomic_path
from spider_utils.data.intensity import scale_intensity
from spider_utils.data.volumes import (
    VOLUME_SUFFIXES,
    find_volumes,
    read_volume,
    volume_name,
    volume_suffix,
    write_labels,
)
from tests.helpers.dicom_series import write_dicom


def noise_volume(size=(7, 6, 5), kind=np.int16) -> sitk.Image:
    """An oblique volume of noise, which hardly compresses, so that a cut file always lacks voxels."""
    voxels = np.random.default_rng(3).integers(0, 1000, size[::-1]).astype(kind)
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing((0.5, 0.75, 3.3))
    volume.SetOrigin((-7.25, 11.5, 3.0))
    volume.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 1.4).GetMatrix())
    return volume


def assert_same(found: sitk.Image, expected: sitk.Image, tolerance: float) -> None:
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    assert found.GetSize() == expected.GetSize()
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, name)(), getattr(expected, name)(), rtol=0, atol=tolerance)


def refusal(path: Path) -> str:
    with pytest.raises(SpiderError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


def write_mended(path: Path, volume: sitk.Image, old: bytes, new: bytes) -> None:
    """Write a volume uncompressed and replace a text in its header."""
    sitk.WriteImage(volume, str(path), useCompression=False)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def write_nifti(path: Path, volume: sitk.Image, **fields: tuple) -> None:
    """Write a NIfTI file and overwrite fields of its header, each given as (offset, format, values...)."""
    sitk.WriteImage(volume, str(path))
    content = bytearray(path.read_bytes())
    for offset, form, *values in fields.values():
        struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_every_format_is_read_as_it_was_written(tmp_path, suffix, kind, compress):
    volume = noise_volume(kind=kind)
    sitk.WriteImage(volume, str(tmp_path / f"a{suffix}"), compress)
    assert_same(read_volume(tmp_path / f"a{suffix}"), volume, tolerance=1e-6)  # NIfTI stores its geometry in 32 bits


def test_suffix_and_name_take_nii_gz_as_one(tmp_path, monkeypatch):
    assert volume_name("data/12.5_t2.nii.gz") == "12.5_t2" and volume_suffix("data/12.5_t2.nii.gz") == ".nii.gz"
    assert volume_name("1_t1.MHA") == "1_t1" and volume_suffix("1_t1.MHA") == ".mha"
    assert volume_name("notes.txt") == "notes.txt" and volume_suffix("notes.txt") == ""
    monkeypatch.chdir(tmp_path)
    assert volume_name(".") == tmp_path.name
    (tmp_path / "series.nrrd").mkdir()
    assert volume_name(tmp_path / "series.nrrd") == "series.nrrd" and volume_suffix(tmp_path / "series.nrrd") == ""


def test_volumes_are_found_by_name_files_and_dicom_folders_alike(tmp_path):
    volume = noise_volume()
    for name in ("b.nii.gz", "a.mha", ".hidden.mha", "d.nrrd", "e.nii"):
        sitk.WriteImage(volume, str(tmp_path / name))
    write_dicom(volume, tmp_path / "c")
    (tmp_path / "empty").mkdir()
    (tmp_path / "read me.txt").write_text("")
    (tmp_path / "f.mhd").write_text("")  # is refused by name when it is read, not passed over
    assert [path.name for path in find_volumes(tmp_path)] == ["a.mha", "b.nii.gz", "c", "d.nrrd", "e.nii", "f.mhd"]
    assert find_volumes(tmp_path / "a.mha") == [tmp_path / "a.mha"]
    assert find_volumes(tmp_path / "c") == [tmp_path / "c"]
    assert ".mhd" in refusal(tmp_path / "f.mhd")


def test_a_source_without_volumes_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    for source, word in (("", "found none"), ("absent", "found nothing"), ("notes.txt", "found another file")):
        with pytest.raises(SpiderError, match=word) as caught:
            find_volumes(tmp_path / source)
        assert str(tmp_path / source) in str(caught.value)
    write_dicom(noise_volume(), tmp_path / "spider" / "images" / "1_t2")
    with pytest.raises(SpiderError, match="found a folder laid out like SPIDER; give .*/spider/images$"):
        find_volumes(tmp_path / "spider")
    write_dicom(noise_volume(), tmp_path / "both")
    sitk.WriteImage(noise_volume(), str(tmp_path / "both" / "a.mha"))
    with pytest.raises(SpiderError, match="found both; move a.mha"):
        find_volumes(tmp_path / "both")


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_labels_are_written_whole_and_compressed(tmp_path, suffix):
    labels = noise_volume(size=(20, 20, 20), kind=np.uint16) * 0 + 201
    path = tmp_path / "masks" / f"12_t2{suffix}"
    write_labels(labels, path)
    found = read_volume(path)
    assert_same(found, labels, tolerance=1e-6)
    assert found.GetPixelID() == sitk.sitkUInt16
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert (path.stat().st_size < 4000) == (suffix != ".nii")  # 16000 bytes of voxels


def test_labels_on_the_grid_of_a_nifti_file_keep_it_bit_for_bit(tmp_path, shared_data):
    image = read_volume(shared_data / "volumes" / "real_t2_lumbar.nii.gz")
    write_labels(image, tmp_path / "again.nii.gz")
    assert_same(read_volume(tmp_path / "again.nii.gz"), image, tolerance=0)


def test_a_mask_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mha").mkdir()
    for path in (tmp_path / "file" / "a.mha", tmp_path / "folder.mha" / ".." / "a.png", tmp_path / "folder.mha"):
        with pytest.raises(SpiderError) as caught:
            write_labels(noise_volume(), path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mha"]


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"ne")
        raise KeyError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.05, 0.7, 0.999])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_truncated_file_is_refused_by_name(tmp_path, suffix, compress, share):
    path = tmp_path / f"1_t1{suffix}"
    sitk.WriteImage(noise_volume(size=(20, 20, 20)), str(path), compress)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refusal(path)


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_the_last_byte_counts(tmp_path, suffix):
    path = tmp_path / f"1_t1{suffix}"
    sitk.WriteImage(noise_volume(), str(path), True)
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_damaged_compressed_voxels_are_refused(tmp_path, suffix):
    path = tmp_path / f"1_t1{suffix}"
    sitk.WriteImage(noise_volume(size=(20, 20, 20)), str(path), True)
    content = bytearray(path.read_bytes())
    content[-200] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_nifti_file_that_is_compressed_in_several_parts_is_read(tmp_path):
    sitk.WriteImage(noise_volume(), str(tmp_path / "a.nii"))
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    assert_same(read_volume(tmp_path / "a.nii.gz"), read_volume(tmp_path / "a.nii"), tolerance=0)


def test_a_scaled_nifti_file_is_counted_by_its_stored_bits(tmp_path):
    write_nifti(tmp_path / "a.nii", noise_volume(), slope=(112, "<ff", 0.5, 3.0))
    found = sitk.GetArrayFromImage(read_volume(tmp_path / "a.nii"))
    np.testing.assert_allclose(found, 0.5 * sitk.GetArrayFromImage(noise_volume()) + 3)


@pytest.mark.parametrize("content", [b"", b"not an image\n", b"ObjectType = Image\nNDims = 3\n", b"NRRD0004\n\n"])
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_file_of_another_kind_is_refused(tmp_path, suffix, content):
    (tmp_path / f"1_t1{suffix}").write_bytes(content)
    assert "header that cannot be read" in refusal(tmp_path / f"1_t1{suffix}")
    assert "no file" in refusal(tmp_path / f"2_t1{suffix}")


def test_the_format_is_told_by_the_name_alone(tmp_path):
    sitk.WriteImage(noise_volume(), str(tmp_path / "a.mha"))
    (tmp_path / "a.mha").rename(tmp_path / "a.nrrd")
    assert "header that cannot be read" in refusal(tmp_path / "a.nrrd")
    (tmp_path / "a.png").write_bytes(b"")
    assert "another suffix" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -1.1e30])
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_voxels_that_are_not_finite_are_refused(tmp_path, suffix, value, kind):
    path, voxels = tmp_path / f"1_t1{suffix}", np.zeros((3, 4, 5), kind)
    voxels[1, 2, 3] = value
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    assert "expected voxels within 1e+30 of 0, found 1 that are NaN or infinite, or larger" in refusal(path)


def test_the_largest_voxels_that_are_read_are_scaled_without_overflow(tmp_path):
    voxels = np.linspace(-1e30, 1e30, 60).reshape(3, 4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "1_t1.mha"))
    found = sitk.GetArrayFromImage(read_volume(tmp_path / "1_t1.mha"))
    np.testing.assert_array_equal(found, voxels)
    scaled = scale_intensity(found.astype(np.float32), "slice_minmax")
    assert scaled.min() == 0 and scaled.max() == 255 and (np.diff(scaled.reshape(3, -1).astype(int)) > 0).all()


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_volume_that_is_not_3d_is_refused(tmp_path, suffix, shape):
    volume = sitk.GetImageFromArray(np.zeros(shape, np.int16), isVector=False)
    sitk.WriteImage(volume, str(tmp_path / f"1_t1{suffix}"))
    assert "expected a 3D volume" in refusal(tmp_path / f"1_t1{suffix}")


def test_several_values_a_voxel_are_refused_and_one_time_point_is_read(tmp_path):
    colour = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    for suffix, found in ((".nrrd", "3 x 5 x 4 x 3"), (".mha", "5 x 4 x 3 with 3"), (".nii", "5 x 4 x 3 x 1 x 3")):
        sitk.WriteImage(colour, str(tmp_path / f"colour{suffix}"))
        message = refusal(tmp_path / f"colour{suffix}")
        assert f"expected a 3D volume with one value a voxel, found {found};" in message
    series = sitk.JoinSeries([noise_volume()])
    sitk.WriteImage(series, str(tmp_path / "one.nii.gz"))
    assert_same(read_volume(tmp_path / "one.nii.gz"), noise_volume(), tolerance=1e-6)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("a.mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 1 1", "spacings above 0 mm, found 0 x 1 x 1"),
        ("a.mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = -1 1 1", "spacings above 0 mm, found -1 x 1 x 1"),
        ("a.mha", b"1 0 0 0 1 0 0 0 1", b"1 0 0 1 0 0 0 0 1", "axes at right angles"),
        ("a.mha", b"1 0 0 0 1 0 0 0 1", b"1 0 0 0.1 1 0 0 0 1", "axes at right angles"),
        ("a.mha", b"1 0 0 0 1 0 0 0 1", b"2 0 0 0 1 0 0 0 1", "axes at right angles"),
        ("a.nrrd", b"(1,0,0)", b"(1,1,0)", "axes at right angles"),
        ("a.nrrd", b"(1,0,0)", b"(0,0,0)", "spacings above 0 mm"),
        ("a.nrrd", b"space: left-posterior-superior\n", b"space dimension: 3\n", "expected an orientation"),
        ("a.nrrd", b"(1,0,0)", b"none", "expected an orientation"),
        ("a.nrrd", b"encoding: raw", b"encoding: hex", "encoding raw or gzip, found hex"),
    ],
)
def test_a_header_that_cannot_be_trusted_is_refused(tmp_path, name, old, new, message):
    volume = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    write_mended(tmp_path / name, volume, old, new)
    assert message in refusal(tmp_path / name)


def test_a_nifti_file_without_orientation_is_refused(tmp_path):
    write_nifti(tmp_path / "a.nii", noise_volume(), codes=(252, "<hh", 0, 0))
    assert "expected an orientation" in refusal(tmp_path / "a.nii")
    write_nifti(tmp_path / "b.nii", noise_volume(), codes=(252, "<hh", 1, 0))
    assert_same(read_volume(tmp_path / "b.nii"), noise_volume(), tolerance=1e-6)


def test_voxels_in_another_file_are_refused(tmp_path):
    for name in ("a.mhd", "a.nhdr"):
        sitk.WriteImage(noise_volume(), str(tmp_path / name))
    (tmp_path / "a.mhd").rename(tmp_path / "a.mha")
    (tmp_path / "a.nhdr").rename(tmp_path / "a.nrrd")
    assert "voxels inside the file" in refusal(tmp_path / "a.mha")
    assert "voxels inside the file" in refusal(tmp_path / "a.nrrd")


def test_a_dicom_series_is_ordered_by_position(tmp_path):
    volume = noise_volume()
    write_dicom(volume, tmp_path / "s", order=[3, 0, 4, 1, 2])
    (tmp_path / "s" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "s" / "notes.txt").write_text("")
    assert_same(read_volume(tmp_path / "s"), volume, tolerance=1e-6)


def test_a_dicom_series_numbered_against_its_normal_keeps_its_places(tmp_path):
    volume = noise_volume()
    write_dicom(sitk.Flip(volume, [False, False, True]), tmp_path / "s")
    found = read_volume(tmp_path / "s")  # the right-handed one of the two ways to store it
    for index in ((0, 0, 0), (6, 2, 1), (3, 5, 4)):
        place = found.TransformPhysicalPointToIndex(volume.TransformIndexToPhysicalPoint(index))
        assert found[place] == volume[index]


def test_a_folder_with_two_dicom_series_lists_them(tmp_path):
    write_dicom(noise_volume(), tmp_path / "s", series=1)
    write_dicom(noise_volume(size=(7, 6, 3)), tmp_path / "s", series=2)
    message = refusal(tmp_path / "s")
    assert "found 2: T2 sag 1 (5 files), T2 sag 2 (3 files); put each into a folder of its own" in message


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_dicom_slice_is_refused(tmp_path, missing):
    files = write_dicom(noise_volume(), tmp_path / "s")
    files[missing].unlink()
    assert "expected 4 slices 3.3 mm apart" in refusal(tmp_path / "s")
    assert f"{files[missing + 1].name} 6.6 mm from {files[missing - 1].name}" in refusal(tmp_path / "s")


def test_dicom_slices_that_make_no_stack_are_refused(tmp_path):
    volume = noise_volume()
    write_dicom(volume, tmp_path / "twice")
    write_dicom(volume[:, :, 2:3], tmp_path / "twice", order=[99])
    assert "0 mm from" in refusal(tmp_path / "twice")
    write_dicom(volume[:, :, :3], tmp_path / "sizes")
    write_dicom(volume[1:, :, 3:], tmp_path / "sizes", order=[8, 9])
    assert "slices of one size, found 7 x 6 x 1 and 6 x 6 x 1" in refusal(tmp_path / "sizes")
    write_dicom(volume[:, :, :3], tmp_path / "turned")
    write_dicom(sitk.PermuteAxes(volume[:6, :6, 3:], [1, 0, 2]), tmp_path / "turned", order=[8, 9])
    assert "turned: expected slices of one size" in refusal(tmp_path / "turned")
    write_dicom(volume[:6, :, :3], tmp_path / "planes")
    write_dicom(sitk.PermuteAxes(volume[:6, :, 3:], [1, 0, 2]), tmp_path / "planes", order=[8, 9])
    assert "slices of one orientation" in refusal(tmp_path / "planes")


def test_a_dicom_file_that_is_no_whole_slice_is_refused_by_name(tmp_path):
    files = write_dicom(noise_volume(), tmp_path / "s")
    content = files[4].read_bytes()
    for cut in (140, len(content) - 20, len(content) - 1):
        files[4].write_bytes(content[:cut])
        with pytest.raises(SpiderError, match="truncated") as caught:
            read_volume(tmp_path / "s")
        assert str(caught.value).startswith(str(files[4]))
    (tmp_path / "none").mkdir()
    assert "found none" in refusal(tmp_path / "none")


def test_a_dicom_slice_without_its_place_is_refused(tmp_path):
    files = write_dicom(noise_volume(size=(7, 6, 1)), tmp_path)
    content = files[0].read_bytes()
    for tag in (b"\x20\x00\x32\x00", b"\x20\x00\x37\x00"):
        assert content.count(tag) == 1
        files[0].write_bytes(content.replace(tag, b"\x20\x00\x39\x00"))
        with pytest.raises(SpiderError, match=f"{files[0].name}: expected one slice with its position and orientation"):
            read_volume(tmp_path)
    files[0].unlink()
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / "a.dcm"))
    with pytest.raises(SpiderError, match="a.dcm: expected one value a pixel, found 3"):
        read_volume(tmp_path)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_label_map_for_which_there_is_no_room_is_said_so_and_not_left_in_part(tmp_path, suffix):
    resource = pytest.importorskip("resource", reason="no limits on this system")
    labels = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 4, (8, 64, 64)).astype(np.uint8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(SpiderError, match="expected to write a mask there, found that it cannot be"):
            write_labels(labels, tmp_path / f"a{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
