"""Headers that lie or lack something: read right, or refused in one line that names the file, before ITK sees them."""

import gzip
import os
import random
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from spider_utils.common.errors import SpiderError
from spider_utils.data.volumes import find_volumes, read_volume, reading_notes, write_labels

LPS = np.diag([-1.0, -1.0, 1.0])  # from nibabel's RAS
SCANNER, ALIGNED, TEMPLATE = 1, 2, 4  # form codes
MUTATIONS = 200


def noise_volume() -> sitk.Image:
    """An oblique volume of noise, 7 x 6 x 5."""
    volume = sitk.GetImageFromArray(np.random.default_rng(3).integers(0, 1000, (5, 6, 7)).astype(np.int16))
    volume.SetSpacing((0.5, 0.75, 3.3))
    volume.SetOrigin((-7.25, 11.5, 3.0))
    volume.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 1.4).GetMatrix())
    return volume


def written(path: Path, compress: bool = False) -> bytes:
    sitk.WriteImage(noise_volume(), str(path), compress)
    return path.read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(SpiderError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path)) and "expected" in message and "found" in message
    return message


def mended(path: Path, old: bytes, new: bytes, compress: bool = False) -> Path:
    """Write a volume and replace a pattern in its header by another text."""
    content, count = re.subn(old, lambda _: new, written(path, compress), count=1)
    assert count == 1
    path.write_bytes(content)
    return path


def nifti(path: Path, *fields: tuple) -> Path:
    """Write a NIfTI file and overwrite fields of its header, each given as (offset, format, values...)."""
    content = bytearray(written(path))
    for offset, form, *values in fields:
        struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)
    return path


def sform_of(path: Path) -> np.ndarray:
    return np.array(struct.unpack_from("<12f", written(path), 280)).reshape(3, 4)


def steps_of(volume: sitk.Image) -> np.ndarray:
    """How far a volume's axes run from voxel to voxel, (3, 3) mm in LPS, an axis in each column."""
    return np.array(volume.GetDirection()).reshape(3, 3) * volume.GetSpacing()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (rb"CompressedDataSize = \d+\n", b"", "number of compressed bytes (CompressedDataSize), found none"),
        (rb"CompressedDataSize = \d+", b"CompressedDataSize = 100", "expected 100 bytes of compressed voxels"),
        (rb"CompressedDataSize = \d+", b"CompressedDataSize = 9999", "expected 9999 bytes of compressed voxels"),
        (rb"DimSize = 7 6 5", b"DimSize = 7 6 4", "336 bytes of voxels, as its header says, found more"),
        (rb"DimSize = 7 6 5", b"DimSize = 7 6 6", "expected 504 bytes of voxels, found 420"),
        (rb"DimSize = 7 6 5", b"DimSize = 0 6 5", "voxels, found 0 x 6 x 5"),
        (rb"DimSize = 7 6 5", b"DimSize = 7 -6 5", "3 whole numbers as its size, found 7 -6 5"),
        (rb"DimSize = 7 6 5", b"DimSize = 90000 90000 90000", "to 268435456 voxels, found 90000 x 90000 x 90000"),
        (rb"NDims = 3", b"NDims = 99", "99 whole numbers as its size, found 7 6 5"),
        (rb"Offset = \S+", b"Offset = nan", "3 numbers as Offset, found nan 11.5 3"),
        (rb"Offset = \S+", b"Offset = 1e999", "3 numbers as Offset"),
        (rb"TransformMatrix = [^\n]+\n", b"", "9 numbers as TransformMatrix, found none"),
        (rb"ElementSpacing = [^\n]+\n", b"", "3 numbers as ElementSpacing, found none"),
        (
            rb"ElementType = MET_SHORT",
            b"ElementType = MET_UCHAR",
            "210 bytes of voxels, as its header says, found more",
        ),
        (rb"ElementType = MET_SHORT", b"ElementType = MET_LONG", "an ElementType of "),
        (rb"BinaryDataByteOrderMSB = False\n", b"", "True or False as BinaryDataByteOrderMSB, found none"),
        (rb"BinaryData = True", b"BinaryData = False", "binary voxels"),
        (rb"Offset = ", b"Position = 1 2 3\nOffset = ", "one Offset, found 1 2 3 and -7.25 11.5 3"),
        (rb"Offset = ", b"HeaderSize = 5\nOffset = ", "HeaderSize 0, found 5"),
        (rb"Offset = ", b"DistanceUnits = cm\nOffset = ", "DistanceUnits mm, found cm"),
        (
            rb"Offset = ",
            b"ElementToIntensityFunctionSlope = 2\nOffset = ",
            "ElementToIntensityFunctionSlope 1, found 2",
        ),
    ],
)
def test_a_metaimage_that_lies_is_refused(tmp_path, old, new, message):
    assert message in refusal(mended(tmp_path / "a.mha", old, new, compress=True))


@pytest.mark.parametrize("size", [100, 0])
def test_what_itk_makes_of_a_wrong_compressed_size_is_not_the_volume(tmp_path, size):
    """Why it is refused: the rest is whatever lay in memory."""
    path = mended(tmp_path / "a.mha", rb"CompressedDataSize = \d+", b"CompressedDataSize = %d" % size, compress=True)
    try:
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError:
        return
    assert not np.array_equal(found, sitk.GetArrayFromImage(noise_volume()))


@pytest.mark.parametrize("suffix", [".mha", ".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("compress", [False, True])
def test_bytes_behind_the_voxels_are_refused(tmp_path, suffix, compress):
    path = tmp_path / f"a{suffix}"
    content = written(path, compress)
    path.write_bytes(content + (gzip.compress(b"more") if suffix == ".nii.gz" else b"more"))
    refusal(path)


def test_other_ways_to_say_the_same_are_read(tmp_path):
    """The older names of MetaImage, a colon, the big byte order; NRRD's two other spaces.

    SimpleITK 2.5.4 and older turn the last of them wrongly; then the file is refused.
    """
    volume = noise_volume()
    voxels = sitk.GetArrayFromImage(volume)
    text = "NDims: 3\nDimSize: 7 6 5\nElementType: MET_SHORT\nBinaryData: True\nElementByteOrderMSB: True\n"
    matrix = " ".join(map(repr, np.array(volume.GetDirection()).reshape(3, 3).T.ravel().tolist()))
    text = f"ObjectType: Image\n{text}Position: -7.25 11.5 3\nRotation: {matrix}\nElementSize: 0.5 0.75 3.3\n"
    (tmp_path / "a.mha").write_bytes(f"{text}ElementDataFile: LOCAL\n".encode() + voxels.astype(">i2").tobytes())
    for space, flips in (("right-anterior-superior", (-1, -1, 1)), ("left-anterior-superior", (1, -1, 1))):
        steps = (steps_of(volume) * np.array(flips)[:, None]).T
        header = {"space": space, "space directions": steps, "space origin": volume.GetOrigin() * np.array(flips)}
        nrrd.write(str(tmp_path / f"{space}.nrrd"), voxels, header, index_order="C")
    for path in tmp_path.iterdir():
        if path.suffix == ".nrrd" and not np.allclose(steps_of(sitk.ReadImage(path)), steps_of(volume)):
            with pytest.raises(SpiderError, match="found that ITK reads another spacing or place"):
                read_volume(path)
            continue
        found = read_volume(path)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found), voxels)
        np.testing.assert_allclose(found.GetOrigin(), volume.GetOrigin())
        np.testing.assert_allclose(steps_of(found), steps_of(volume), atol=1e-9)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ((72, "<h", 8), "16 bits a voxel, as its datatype 4 says, found bitpix 8"),
        ((70, "<hh", 8, 32), "1192 bytes of voxels, found 772"),  # 210 voxels of 4 bytes, and 352
        ((70, "<hh", 32, 64), "one number of 8 to 64 bits a voxel, found the datatype 32"),  # complex
        ((84, "<f", 0.0), "spacings above 0 mm, found 0.5 x 0 x 3.3"),
        ((84, "<f", np.nan), "spacings above 0 mm, found 0.5 x nan x 3.3"),
        ((108, "<f", 336.0), "from byte 352 or later on, found vox_offset 336"),
        ((108, "<f", 368.0), "bytes of voxels"),
        ((108, "<f", np.nan), "vox_offset nan"),
        ((108, "<f", np.inf), "vox_offset inf"),
        ((108, "<f", 352.5), "vox_offset 352.5"),
        ((108, "<f", 1e30), "bytes of voxels"),
        ((252, "<hh", -1, 1), "form codes of 0 to 5, found -1 and 1"),
        ((252, "<hh", 1, -2), "form codes of 0 to 5, found 1 and -2"),
        ((40, "<h", 0), "1 to 7 axes (dim), found 0"),
        ((42, "<h", 0), "voxels, found 0 x 6 x 5"),
        ((42, "<h", -7), "voxels, found -7 x 6 x 5"),
        ((256, "<f", 0.9), "a rotation as its qform"),
        ((268, "<f", np.inf), "finite numbers as its qform"),
        ((280, "<f", np.nan), "finite numbers as its sform"),
        ((76, "<f", -1.0), "one orientation, found axes 180 degrees apart by its qform and its sform"),
        ((112, "<ff", np.inf, 0.0), "a scale of its voxels"),
        ((112, "<ff", 0.0, 5.0), "a scale of its voxels"),
        ((123, "<B", 1), "lengths in mm, found lengths in metres"),
        ((344, "4s", b"ni1\0"), "found none (a pair of .hdr and .img)"),
        ((344, "4s", b"\0\0\0\0"), "(ANALYZE?)"),
    ],
)
def test_a_nifti_file_that_lies_is_refused(tmp_path, field, message):
    assert message in refusal(nifti(tmp_path / "a.nii", field))


def test_nifti_2_is_called_so(tmp_path):
    nibabel.save(nibabel.Nifti2Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "a.nii")
    assert "expected NIfTI-1, found NIfTI-2; convert it" in refusal(tmp_path / "a.nii")


def test_a_file_under_the_suffix_of_another_is_told_what_it_is(tmp_path):
    (tmp_path / "a.nii").write_bytes(gzip.compress(written(tmp_path / "b.nii")))
    assert "cannot be read (it is compressed with gzip); name it so" in refusal(tmp_path / "a.nii")
    (tmp_path / "b.nii").rename(tmp_path / "b.nii.gz")
    assert "cannot be read (it is NIfTI, not compressed with gzip); name it so" in refusal(tmp_path / "b.nii.gz")
    written(tmp_path / "c.nrrd")
    (tmp_path / "c.nrrd").rename(tmp_path / "c.mha")
    assert "found a header that cannot be read (it is NRRD); name it so" in refusal(tmp_path / "c.mha")


@pytest.mark.parametrize("shear", [1e-5, 1e-4, 1e-3, 5e-3])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_rounded_or_slightly_sheared_sform_is_brought_to_right_angles(tmp_path, suffix, shear):
    """ITK refuses the larger ones. The nearest rotation lies within the shear."""
    sform = sform_of(tmp_path / "b.nii")
    sform[:, 1] += 0.75 * shear * sform[:, 0] / 0.5
    scale = (112, "<ff", 0.5, 3.0)
    content = nifti(tmp_path / "a.nii", (252, "<hh", 0, SCANNER), (280, "<12f", *sform.ravel()), scale).read_bytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    found = read_volume(path)
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), 0.5 * sitk.GetArrayFromImage(noise_volume()) + 3)
    direction = np.array(found.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-6 if shear > 5e-4 else shear)
    np.testing.assert_allclose(steps_of(found), LPS @ sform[:, :3], atol=3.3 * shear + 1e-6)
    np.testing.assert_allclose(found.GetOrigin(), LPS @ sform[:, 3], atol=1e-6)
    assert ("sheared sform" in "".join(reading_notes(found))) == (shear > 5e-4)


def test_a_sform_that_is_far_from_a_rotation_is_refused(tmp_path):
    sform = sform_of(tmp_path / "b.nii")
    sheared, doubled = sform.copy(), sform * ([2], [2], [2])
    sheared[:, 1] += 0.75 * 0.03 * sform[:, 0] / 0.5
    for codes in ((0, SCANNER), (0, TEMPLATE), (SCANNER, ALIGNED)):
        path = nifti(tmp_path / "a.nii", (252, "<hh", *codes), (280, "<12f", *sheared.ravel()))
        assert "three axes at right angles" in refusal(path)
        path = nifti(tmp_path / "a.nii", (252, "<hh", *codes), (280, "<12f", *doubled.ravel()))
        assert "the spacing 0.5 x 0.75 x 3.3 mm (pixdim) in its sform, found 1 x 1.5 x 6.6 mm" in refusal(path)


@pytest.mark.parametrize(
    ("codes", "taken"), [((1, 1), "sform"), ((1, 2), "qform"), ((1, 4), "qform"), ((2, 1), "sform")]
)
def test_two_places_in_a_nifti_file_are_noted_and_the_taken_one_is_named(tmp_path, codes, taken):
    sform = sform_of(tmp_path / "b.nii")
    sform[2, 3] += 18
    path = nifti(tmp_path / "a.nii", (252, "<hh", *codes), (280, "<12f", *sform.ravel()))
    found = read_volume(path)
    assert reading_notes(found) == [
        f"expected one place in the patient, found qform and sform up to 18 mm apart, taken is the {taken}"
    ]
    affine = {"qform": nibabel.load(path).get_qform, "sform": nibabel.load(path).get_sform}[taken]()
    np.testing.assert_allclose(found.GetOrigin(), LPS @ affine[:3, 3], atol=1e-5)
    sform[2, 3] -= 18
    same = read_volume(nifti(path, (252, "<hh", *codes), (280, "<12f", *sform.ravel())))
    assert reading_notes(same) == [] and same.GetOrigin() == noise_volume().GetOrigin()


@pytest.mark.parametrize(
    ("codes", "suffixes", "order"),
    [
        ((SCANNER, SCANNER), (".nii", ".nii"), "<"),
        ((SCANNER, ALIGNED), (".nii.gz", ".nii.gz"), "<"),
        ((ALIGNED, SCANNER), (".nii", ".nii.gz"), ">"),
        ((SCANNER, TEMPLATE), (".nii.gz", ".nii"), ">"),
    ],
)
def test_a_label_map_lies_at_both_places_of_its_volume(tmp_path, codes, suffixes, order):
    """For readers of either form, nibabel takes the sform; SimpleITK alone would write one of them twice."""
    sform = sform_of(tmp_path / "b.nii")
    sform[2, 3] += 18
    path = nifti(tmp_path / "a.nii", (252, "<hh", *codes), (280, "<12f", *sform.ravel()))
    image = nibabel.load(path)
    volume, target = tmp_path / f"volume{suffixes[0]}", tmp_path / f"map{suffixes[1]}"
    if order == ">":  # the numbers of the voxels stay; nibabel turns the header
        image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), None, image.header.as_byteswapped(">"))
    nibabel.save(image, volume)
    read = read_volume(volume)
    labels = sitk.Cast(read > 500, sitk.sitkUInt16) * 201
    write_labels(labels, target, volume)
    wanted, found = nibabel.load(volume), nibabel.load(target)
    for form in ("get_qform", "get_sform"):
        affine, code = getattr(wanted, form)(coded=True)
        np.testing.assert_array_equal(getattr(found, form)(coded=True)[0], affine)
        assert getattr(found, form)(coded=True)[1] == code
    assert not np.allclose(wanted.get_qform(), wanted.get_sform())
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), 201 * (np.asanyarray(wanted.dataobj) > 500))
    again = read_volume(target)
    assert (again.GetOrigin(), again.GetDirection()) == (read.GetOrigin(), read.GetDirection())


def test_a_label_map_of_a_volume_with_one_place_is_written_as_ever(tmp_path):
    volume = nifti(tmp_path / "a.nii", (252, "<hh", SCANNER, SCANNER))
    for name in ("b.nii", "c.nii"):
        write_labels(read_volume(volume), tmp_path / name, volume if name == "c.nii" else None)
    assert (tmp_path / "b.nii").read_bytes() == (tmp_path / "c.nii").read_bytes()


@pytest.mark.parametrize(("code", "slope"), [("f4", 1), ("i2", 2)])
def test_a_nifti_file_as_nibabel_writes_it_is_read(tmp_path, code, slope):
    voxels = np.random.default_rng(0).integers(-99, 99, (7, 6, 5)).astype(code)
    image = nibabel.Nifti1Image(voxels, np.diag([-0.5, 0.75, 3.3, 1]))
    image.header.set_slope_inter(slope, 0)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"moves the voxels"))
    nibabel.save(image, tmp_path / "a.nii.gz")
    expected = np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)
    np.testing.assert_allclose(sitk.GetArrayFromImage(read_volume(tmp_path / "a.nii.gz")), expected.T)


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_a_bomb_is_inflated_no_further_than_its_header_says(tmp_path, suffix):
    """100 MB of zeros in 100 kB; and a header that asks for them is refused before anything is inflated."""
    path, zeros = tmp_path / f"a{suffix}", bytes(100_000_000)
    if suffix == ".nii.gz":
        path.write_bytes(gzip.compress(gzip.decompress(written(path)) + zeros, 1))
    elif suffix == ".mha":
        head = written(path, True).partition(b"LOCAL\n")[0]
        voxels = zlib.compress(zeros, 1)
        path.write_bytes(re.sub(rb"Size = \d+\n", b"Size = %d\n" % len(voxels), head, count=1) + b"LOCAL\n" + voxels)
    else:
        path.write_bytes(written(path, True).partition(b"\n\n")[0] + b"\n\n" + gzip.compress(zeros, 1))
    del zeros
    tracemalloc.start()
    message = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "found more" in message and peak < 10_000_000


@pytest.mark.parametrize(("kind", "rows"), [("MET_DOUBLE", 1025), ("MET_UCHAR", 8193)])
def test_more_bytes_than_the_memory_should_hold_are_refused_by_the_header(tmp_path, kind, rows):
    """1024 x 128 columns and slices: more than 2**28 voxels, or not, and more than 2**30 bytes."""
    head = written(tmp_path / "a.mha").partition(b"LOCAL\n")[0]
    head = re.sub(rb"DimSize = .*\n", b"DimSize = 1024 %d 128\n" % rows, head)
    (tmp_path / "a.mha").write_bytes(re.sub(rb"MET_\w+", kind.encode(), head) + b"LOCAL\n")
    limit = "at most 1073741824 bytes of voxels, found 1074790400" if kind == "MET_DOUBLE" else "1 to 268435456 voxels"
    assert limit in refusal(tmp_path / "a.mha")


def test_names_that_are_not_utf_8_are_refused_before_itk_ends_the_process(tmp_path):
    written(tmp_path / "a.mha")
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mha"))
    (tmp_path / "a.mha").rename(bad)
    for use in (lambda: read_volume(bad), lambda: write_labels(noise_volume(), bad)):
        with pytest.raises(SpiderError) as caught:
            use()
        assert str(caught.value) == f"{tmp_path}/b\\xff.mha: expected a name in UTF-8, found other bytes; rename it"


def test_a_file_that_may_not_be_read_is_one_line_and_the_rest_is_found(tmp_path, monkeypatch):
    for name in ("a.mha", "b.mha"):
        written(tmp_path / name)
    opened = Path.open

    def refuse(path, *arguments):
        if path.name == "a.mha":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    assert find_volumes(tmp_path) == [tmp_path / "a.mha", tmp_path / "b.mha"]
    assert "found Permission denied" in refusal(tmp_path / "a.mha")
    read_volume(tmp_path / "b.mha")


def mutate(content: bytes, header: int, text: bool, seed: int) -> bytes:
    """Change a header in one to three places."""
    draw, mutant = random.Random(seed), bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        place, kind = draw.randrange(header), draw.randrange(5)
        if kind == 0:
            mutant[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            mutant[place] = draw.randrange(256)
        elif not text:
            form, value = draw.choice(("<f", "<h", ">h", "<i")), draw.choice((0, 1, -1, 2, 99, 32767))
            struct.pack_into(form, mutant, place // 4 * 4, value)
        elif kind == 2:
            del mutant[place]
        elif kind == 3:
            mutant[place:place] = draw.choice((b"0", b"1", b"9", b"-", b".", b" ", b"e", b"\n"))
        else:  # a line goes, or comes elsewhere, longer or not
            lines = bytes(mutant).split(b"\n")
            line = lines.pop(draw.randrange(10))
            if draw.random() < 0.5:
                lines.insert(draw.randrange(10), line + draw.choice((b"", b"0", b" 1")))
            mutant = bytearray(b"\n".join(lines))
    return bytes(mutant)


def by_hand(path: Path):
    """Voxels, steps and origin of a MetaImage file, by the words of its header."""
    head, _, voxels = path.read_bytes().partition(b"LOCAL\n")
    lines = [re.split(r"\s*[=:]\s*", line.strip(), maxsplit=1) for line in head.decode("latin-1").split("\n")]
    fields = dict(line for line in lines if len(line) == 2)
    numbers = {key: np.array(fields[key].split(), float) for key in ("TransformMatrix", "Offset", "ElementSpacing")}
    if fields.get("CompressedData") == "True":
        voxels = zlib.decompress(voxels)
    kind = np.dtype({"MET_SHORT": "i2", "MET_USHORT": "u2"}[fields["ElementType"]])
    if fields["BinaryDataByteOrderMSB"].lower() in ("true", "1"):
        kind = kind.newbyteorder(">")
    shape = [int(count) for count in fields["DimSize"].split()][::-1]
    steps = numbers["TransformMatrix"].reshape(3, 3).T * numbers["ElementSpacing"]
    return np.frombuffer(voxels, kind).reshape(shape), steps, numbers["Offset"]


def by_nibabel(path: Path):
    image = nibabel.load(path)
    voxels = np.asanyarray(image.dataobj).reshape(image.shape[:3]).T
    return voxels, LPS @ image.affine[:3, :3], LPS @ image.affine[:3, 3]


def by_pynrrd(path: Path):
    head, _, voxels = path.read_bytes().partition(b"\n\n")
    path.write_bytes(b"NRRD" + head[4:].lower() + b"\n\n" + voxels)  # NRRD's words are without case, pynrrd's are not
    voxels, header = nrrd.read(str(path), index_order="C")
    flips = np.array([-1 if "right" in header["space"] else 1, -1 if "anterior" in header["space"] else 1, 1])
    return voxels, header["space directions"].T * flips[:, None], header["space origin"] * flips


@pytest.mark.parametrize(
    ("suffix", "compress", "reader"),
    [
        (".mha", False, by_hand),
        (".mha", True, by_hand),
        (".nii", False, by_nibabel),
        (".nii.gz", True, by_nibabel),
        (".nrrd", False, by_pynrrd),
        (".nrrd", True, by_pynrrd),
    ],
)
def test_of_a_mutated_header_what_is_accepted_is_what_an_independent_reader_finds(tmp_path, suffix, compress, reader):
    path = tmp_path / f"a{suffix}"
    clean = written(path, compress)
    if suffix == ".nii.gz":
        clean = gzip.decompress(clean)
    header = 348 if suffix.startswith(".nii") else clean.index({".mha": b"LOCAL", ".nrrd": b"\n\n"}[suffix]) + 5
    accepted = 0
    for seed in range(MUTATIONS):
        mutant = mutate(clean, header, not suffix.startswith(".nii"), seed)
        path.write_bytes(gzip.compress(mutant, 1) if suffix == ".nii.gz" else mutant)
        try:
            found = read_volume(path)
        except SpiderError:
            refusal(path)
            continue
        accepted += 1
        voxels, steps, origin = reader(path)
        np.testing.assert_allclose(sitk.GetArrayFromImage(found), voxels, rtol=1e-6, err_msg=f"seed {seed}")
        if not reading_notes(found):  # of two places, nibabel takes the sform
            np.testing.assert_allclose(steps_of(found), steps, rtol=0, atol=0.03, err_msg=f"seed {seed}")
            np.testing.assert_allclose(found.GetOrigin(), origin, rtol=0, atol=0.1, err_msg=f"seed {seed}")
    assert MUTATIONS / 10 < accepted < 9 * MUTATIONS / 10
