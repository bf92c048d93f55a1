"""What is read is what the file says; what it does not say, or says twice, is an error that names it."""

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.volumes.headers import OBLIQUE, about_head, patched
from vitkit.errors import DataError, UsageError
from vitkit.volumes import check_pair, read, read_mask

REAL = Path(nib.__file__).parent / "tests" / "data"
STRAIGHT = np.diag([2.0, 2.0, 2.0, 1.0])


def refused(path, words, remedy="", **options):
    """The error for a file names it, says what is wrong, and what to do."""
    with pytest.raises(DataError, match=words) as error:
        read(path, **options)
    assert str(path) in str(error.value)
    assert error.value.expected
    assert error.value.remedy.endswith(".")
    assert remedy in error.value.remedy
    return error.value


@pytest.mark.parametrize("name", ["anatomical.nii", "reoriented_anat_moved.nii", "standard.nii.gz"])
def test_real_scans_are_read_as_nibabel_reads_them(name):
    oracle = nib.load(REAL / name)
    constant = {"constant": "allow"} if name == "standard.nii.gz" else {}
    found = read(REAL / name, **constant)
    np.testing.assert_array_equal(found.data[0], oracle.get_fdata(dtype=np.float32))
    np.testing.assert_array_equal(found.affine, oracle.affine)
    assert found.orientation == "".join(nib.aff2axcodes(oracle.affine))
    assert found.data.dtype == torch.float32


def test_a_real_scan_with_nan():
    path = REAL / "resampled_anat_moved.nii"
    refused(path, "of 1071 voxels 153 are NaN and 0 infinite")
    stored = nib.load(path).get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(read(path, nonfinite="fill").data[0], np.where(np.isnan(stored), np.nanmin(stored), stored))


def test_a_real_4d_scan_is_read_frame_by_frame_with_its_scale():
    path = REAL / "functional.nii"
    oracle = nib.load(path)
    assert oracle.dataobj.slope != 1
    # Products and sums of 32-bit floats: two roundings of 2**-24 each, of numbers up to twice the result.
    np.testing.assert_allclose(read(path, frame=7).data[0], oracle.get_fdata()[..., 7], rtol=4 * 2**-24)
    channels = read(path, channels_last=True)
    np.testing.assert_allclose(channels.data, np.moveaxis(oracle.get_fdata(), -1, 0), rtol=4 * 2**-24)
    assert channels.channels == 20
    refused(path, "has 4 axes, 17 × 21 × 3 × 20", "frame=N")
    with pytest.raises(UsageError, match=r"frame 20 of .* from 0 to 19"):
        read(path, frame=20)


def test_nifti_2_and_oblique_scans():
    for name in ("example_nifti2.nii.gz", "example4d.nii.gz"):
        oracle = nib.load(REAL / name)
        found = read(REAL / name, frame=1)
        np.testing.assert_array_equal(found.data[0], np.asarray(oracle.dataobj[..., 1], dtype=np.float32))
        np.testing.assert_array_equal(found.affine, oracle.affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_types_and_containers(scan, kind, name, dtype):
    data = np.arange(60).reshape(3, 4, 5).astype(dtype)
    found = read(scan(data, name=name, kind=kind))
    np.testing.assert_array_equal(found.data[0], data)
    np.testing.assert_array_equal(found.affine, OBLIQUE.astype(np.float32) if kind is nib.Nifti1Image else OBLIQUE)


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_orders(tmp_path, order):
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    image = nib.Nifti1Image(data, OBLIQUE, header)
    image.set_sform(OBLIQUE, 1)
    nib.save(image, tmp_path / "scan.nii")
    np.testing.assert_array_equal(read(tmp_path / "scan.nii").data[0], data)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_ct_values_are_hu(scan, dtype):
    stored = np.array([0, 24, 1024, 2024, 3000, 4095], dtype=dtype).reshape(1, 2, 3)
    assert read(scan(stored, scl_slope=1, scl_inter=-1024)).data.flatten().tolist() == [-1024, -1000, 0, 1000, 1976, 3071]
    assert read(scan(stored, scl_slope=0.5, scl_inter=-8)).data.flatten().tolist() == [-8, 4, 504, 1004, 1492, 2039.5]


@pytest.mark.parametrize("slope", [0, np.nan])
def test_no_scale_is_no_scale(scan, slope):
    assert read(scan(scl_slope=slope, scl_inter=5)).data.flatten()[:3].tolist() == [0, 1, 2]


def test_a_scale_that_is_half_broken(scan):
    refused(scan(scl_slope=1, scl_inter=np.inf), "cannot be read: Valid slope but invalid intercept")
    refused(scan(scl_slope=np.inf), r"its header scales intensities by inf \(scl_slope\); expected a number, or 0 for no scale")


def test_names_do_not_matter_to_what_is_inside(scan, tmp_path):
    packed = tmp_path / "packed.nii"
    packed.write_bytes(gzip.compress(scan().read_bytes()))
    assert read(packed).size == (4, 5, 6)


def test_a_fourth_axis_of_one_is_none(scan):
    assert read(scan(np.arange(24.0).reshape(2, 3, 4, 1))).size == (2, 3, 4)
    vector = np.arange(48.0).reshape(2, 3, 4, 1, 2)
    refused(scan(vector), "has 5 axes", "a file of its own")
    assert read(scan(vector), channels_last=True).data.shape == (2, 2, 3, 4)
    refused(scan(np.arange(6.0).reshape(2, 3)), "has 2 axes, 2 × 3")
    with pytest.raises(UsageError, match=r"frame 1 of .*, which has one"):
        read(scan(), frame=1)


def test_no_such_file(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.nii does not exist"):
        read(tmp_path / "gone.nii")
    with pytest.raises(UsageError, match="is a folder"):
        read(tmp_path)


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.nii.gz").touch()
    refused(tmp_path / "empty.nii.gz", "is empty", "Copy or download")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.99])
def test_a_truncated_file(scan, name, share):
    path = scan(np.random.default_rng(0).normal(size=(20, 20, 20)), name=name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "truncated", "Copy or download")


def test_a_file_cut_within_its_checksum(scan):
    path = scan(name="scan.nii.gz")
    path.write_bytes(path.read_bytes()[:-4])
    refused(path, "truncated")


def test_a_damaged_file(scan):
    path = scan(np.random.default_rng(0).normal(size=(20, 20, 20)), name="scan.nii.gz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path, "cannot be read")


def test_a_packed_file_shorter_than_its_header_says(scan):
    plain = scan(np.random.default_rng(0).normal(size=(20, 20, 20)))
    packed = plain.with_name("short.nii.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()[:20000]))
    refused(packed, "cannot be read: Expected")
    huge = patched(plain, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])
    refused(huge, "is truncated, or its header wrong")
    packed.write_bytes(gzip.compress(huge.read_bytes()))
    refused(packed, "is truncated, or its header wrong")


def test_text_named_nii(tmp_path):
    (tmp_path / "notes.nii").write_text("This is no scan, and long enough to be one." * 20)
    refused(tmp_path / "notes.nii", "is no NIfTI file: it starts with b'This is '", "dcm2niix")


def test_pairs_of_files_and_analyze(scan, tmp_path):
    refused(scan(magic=b"ni1"), "as the .hdr of a pair", "nibabel.save")
    shutil.copy(REAL / "analyze.hdr", tmp_path / "old.nii")
    refused(tmp_path / "old.nii", "Analyze")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": [3, 4, 0, 6, 1, 1, 1, 1]}, r"3 axes of lengths \[4, 0, 6\]"),
        ({"dim": [9, 4, 5, 6, 1, 1, 1, 1]}, "9 axes"),
        ({"dim": [0] * 8}, "0 axes"),
        ({"datatype": 777}, "unknown data type 777"),
        ({"vox_offset": 100}, r"its voxels begin at byte 100 \(vox_offset\); expected byte 348 or later"),
        ({"vox_offset": np.inf}, r"its voxels begin at byte inf \(vox_offset\)"),
        ({"vox_offset": -np.inf}, r"its voxels begin at byte -inf \(vox_offset\)"),
        ({"vox_offset": np.nan}, r"its voxels begin at byte nan \(vox_offset\)"),
    ],
)
def test_headers_that_make_no_sense(scan, fields, words):
    refused(scan(**fields), words)


def test_nan_and_infinity_are_counted_and_filled_if_asked(scan):
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    data[0, 1, 2], data[1, 0, 0], data[1, 2, 3] = np.nan, np.inf, -np.inf
    path = scan(data)
    refused(path, r"of 24 voxels 1 are NaN and 2 infinite, the first at \(0, 1, 2\)", "nonfinite='fill'")
    filled = read(path, nonfinite="fill").data[0]
    assert (filled[0, 1, 2], filled[1, 0, 0], filled[1, 2, 3]) == (0, 22, 0)
    good = torch.from_numpy(np.isfinite(data))
    assert torch.equal(filled[good], torch.from_numpy(data)[good])
    refused(scan(np.full((2, 2, 2), np.nan)), "8 are NaN", nonfinite="fill")


def test_values_too_large_for_32_bits_are_no_values(scan):
    refused(scan(np.linspace(0, 1e300, 24).reshape(2, 3, 4)), "23 infinite")


def test_constant_intensities(scan):
    path = scan(np.full((2, 3, 4), 7, dtype=np.int16))
    refused(path, "all 24 voxels have the value 7", "constant='allow'")
    assert read(path, constant="allow").data.unique().tolist() == [7]


@pytest.mark.parametrize("channels", [3, 4])
def test_colours(scan, channels):
    kind = np.dtype([(name, "u1") for name in "RGBA"[:channels]])
    refused(scan(np.zeros((2, 3, 4), dtype=kind)), r"colours \(RGB\)", "grey")


def test_complex_numbers(scan):
    refused(scan(np.ones((2, 3, 4), dtype=np.complex64)), "of the type complex64")


def test_unknown_orientation_has_to_be_stated(scan):
    path = scan(affine=np.diag([1.5, 2, 3, 1]), sform_code=0, qform_code=0)
    refused(path, "sform_code and qform_code are 0", "assume='LAS'")
    found = read(path, assume="LAS")
    assert (found.orientation, found.spacing) == ("LAS", (1.5, 2, 3))
    np.testing.assert_allclose(found.affine @ [1.5, 2, 2.5, 1], [0, 0, 0, 1], atol=1e-12)
    assert read(path, assume="SPR").spacing == (1.5, 2, 3)
    assert read(path, assume="SPR").orientation == "SPR"
    with pytest.raises(UsageError, match="three letters"):
        read(path, assume="up")
    # What a file says itself is never overruled.
    np.testing.assert_array_equal(read(scan(), assume="LAS").affine, read(scan()).affine)


@pytest.mark.parametrize("form", ["sform", "qform"])
@pytest.mark.parametrize("code", [-1, 6, 1000])
def test_codes_that_nifti_does_not_know(scan, form, code):
    refused(scan(**{f"{form}_code": code}), f"{form}_code is {code}", f"set_{form}")


def test_sform_and_qform_that_disagree(scan):
    other = OBLIQUE.copy()
    other[:3, 3] += [0, 8, 0]
    path = scan(qform=other)
    refused(path, "sform and qform disagree: the first voxel's place differs by 8 mm", "xform='sform' or xform='qform'")
    np.testing.assert_array_equal(read(path, xform="sform").affine, OBLIQUE.astype(np.float32))
    np.testing.assert_allclose(read(path, xform="qform").affine, other, atol=1e-5)  # a quaternion of 32 bits
    refused(scan(qform=OBLIQUE @ np.diag([-1.0, 1, 1, 1])), "sform and qform disagree: cosines of their axes differ")


def test_a_form_that_is_not_there_cannot_be_believed(scan):
    refused(scan(sform_code=0), "has no sform", xform="sform")
    refused(scan(qform_code=0), "has no qform", xform="qform")


def test_sform_and_pixdim_that_disagree(scan):
    path = scan(qform_code=0, pixdim=[1, 1.5, 2.0, 5.0, 0, 0, 0, 0])
    refused(path, "the sform's spacing is 1.5 × 2 × 3 mm and pixdim 1.5 × 2 × 5", "xform='sform'")
    assert read(path, xform="sform").spacing == pytest.approx((1.5, 2, 3))
    # As some write it, with three digits.
    assert read(scan(qform_code=0, pixdim=[1, 1.501, 2.0, 3.0, 0, 0, 0, 0])).size == (4, 5, 6)


@pytest.mark.parametrize("spacing", [(-1.5, 2, 3), (1.5, 0, 3), (1.5, 2, np.nan), (np.inf, 2, 3)])
def test_spacings_that_are_not_positive(scan, spacing):
    refused(scan(pixdim=[1, *spacing, 0, 0, 0, 0]), r"a spacing \(pixdim\)", "set_zooms")
    refused(scan(pixdim=[1, *spacing, 0, 0, 0, 0], sform_code=0), r"a spacing \(pixdim\)")
    refused(scan(pixdim=[1, *spacing, 0, 0, 0, 0], sform_code=0, qform_code=0), r"a spacing \(pixdim\)", assume="RAS")


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.diag([1.0, 0, 1]), "singular"),
        (np.array([[1.0, 1, 0], [0, 0, 0], [0, 0, 1]]), "singular"),
        (np.array([[1.0, 0.2, 0], [0, 1, 0], [0, 0, 1]]), "sheared; the cosine between two of its axes is 0.196"),
        (np.full((3, 3), np.nan), "NaN or infinity"),
        (np.zeros((3, 3)), "singular"),
    ],
)
def test_affines_that_no_scanner_has(scan, matrix, words):
    rows = {f"srow_{name}": [*row, 0] for name, row in zip("xyz", matrix, strict=True)}
    path = scan(affine=np.eye(4), **rows)
    refused(path, words)
    refused(path, words, xform="sform")
    assert read(path, xform="qform").spacing == (1, 1, 1)


def test_a_quaternion_that_is_none(scan):
    words = r"quatern_b, c and d, 0\.9, 0\.9 and -0\.5, are no rotation: the sum of their squares is 1\.87; expected 1 at most"
    bad = {"quatern_b": 0.9, "quatern_c": 0.9, "quatern_d": -0.5}
    remedy = refused(scan(sform_code=0, **bad), words, "set_qform").remedy
    assert "xform" not in remedy
    path = scan(**bad)
    refused(path, words, "xform='sform'")
    assert read(path, xform="sform").size == (4, 5, 6)
    refused(scan(sform_code=0, quatern_b=np.inf), "quatern_b, c and d, inf, .* are no rotation")
    refused(scan(sform_code=0, pixdim=[0.5, 1.5, 2, 3, 0, 0, 0, 0]), "handedness of the qform, is 0.5")


def test_a_handedness_of_0_means_1(scan):
    affine = OBLIQUE @ np.diag([-1.0, 1, 1, 1])
    path = scan(affine=affine, sform_code=0)
    expected = read(path).affine
    assert np.linalg.det(expected) > 0
    np.testing.assert_array_equal(read(patched(path, pixdim=[0, 1.5, 2, 3, 0, 0, 0, 0])).affine, expected)


@pytest.mark.parametrize("turn", [[np.pi, 0, 0], [0, np.pi, 0], [np.pi / 2**0.5, np.pi / 2**0.5, 0], [1.0, 2.0, 2.2]])
def test_the_roundings_of_a_header_are_no_disagreement(scan, turn):
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(turn).as_matrix() @ np.diag([0.7, 0.7, 1.3])
    affine[:3, 3] = [-123.4567, 234.5678, -345.6789]
    np.testing.assert_array_equal(read(scan(affine=affine)).affine, affine.astype(np.float32))


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("mm", 1), ("micron", 0.001), ("unknown", 1)])
def test_units_become_mm(scan, unit, factor):
    path = scan(affine=STRAIGHT, xyzt_units=nib.nifti1.unit_codes.code[unit])
    assert read(path).spacing == pytest.approx([2 * factor] * 3)
    np.testing.assert_allclose(read(path).affine[:3], STRAIGHT[:3] * factor)


def test_an_unknown_unit(scan):
    refused(scan(xyzt_units=5), "spatial unit 5", "set_xyzt_units")


def test_a_mask_is_whole_numbers_and_may_be_constant(scan):
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    mask = read_mask(scan(labels))
    assert mask.data.dtype == torch.int32
    np.testing.assert_array_equal(mask.data[0], labels)
    assert read_mask(scan(np.zeros((2, 3, 4)))).data.unique().tolist() == [0]
    assert read_mask(scan(np.full((2, 3, 4), 2.0), name="scaled.nii", scl_slope=1.5, scl_inter=-1)).data.unique().tolist() == [2]


@pytest.mark.parametrize("values", [0.5, np.nan, np.inf, 2.0**40], ids=str)
def test_a_mask_of_other_numbers(scan, values):
    data = np.zeros((2, 3, 4))
    data[1, 1, 1] = values
    with pytest.raises(DataError, match=r"scan\.nii: .* no labels, such as .*Give the mask itself"):
        read_mask(scan(data))


def test_a_mask_has_no_label_below_0(scan):
    labels = np.zeros((2, 3, 4), dtype=np.int16)
    labels[0, 0], labels[1, 1, 1] = 3, -1
    labels[1, 2, :2] = -1024
    with pytest.raises(
        DataError, match=r"scan\.nii: 3 voxels of the mask are negative, such as -1; expected labels of 0 or more, .*with 0"
    ):
        read_mask(scan(labels))
    with pytest.raises(DataError, match="1 voxels of the mask are negative, such as -1"):  # after the header's scale
        read_mask(scan(np.eye(2, 3, dtype=np.uint8)[None] * np.array([[[0], [2]]], np.uint8), scl_slope=-0.5, scl_inter=0))
    rounded = np.full((2, 3, 4), -1e-6)
    assert read_mask(scan(rounded)).data.unique().tolist() == [0]


def test_a_mask_of_four_axes_has_a_remedy_of_its_own(scan):
    image = read(scan(np.arange(48.0).reshape(2, 3, 4, 2), name="image.nii"), frame=1)
    assert read_mask(scan(np.ones((2, 3, 4), np.uint8), name="mask.nii"), image).size == image.size  # as MSD has them
    for shape in ((2, 3, 4, 2), (2, 3, 4, 1, 2)):
        with pytest.raises(DataError, match=rf"mask\.nii has {len(shape)} axes, .*Write one of its volumes to a file") as error:
            read_mask(scan(np.ones(shape, np.uint8), name="mask.nii"), image)
        assert "frame=" not in error.value.remedy
    assert read_mask(scan(np.ones((2, 3, 4, 1), np.uint8), name="mask.nii"), image).size == image.size


def test_a_mask_belongs_to_its_image(scan):
    image = read(scan(name="image.nii"))
    labels = np.ones((4, 5, 6), dtype=np.uint8)
    check_pair(image, read_mask(scan(labels, name="mask.nii")))
    assert read_mask(scan(labels, name="mask.nii"), image).size == image.size
    with pytest.raises(DataError, match=r"mask .*mask\.nii has 4 × 6 × 5 voxels; expected 4 × 5 × 6, as .*image\.nii has"):
        read_mask(scan(labels.swapaxes(1, 2), name="mask.nii"), image)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (np.diag([-1.0, 1, 1, 1]), "cosines"),
        (np.diag([1.0, 1, 1.1, 1]), "spacings of 1.5 × 2 × 3 and 1.5 × 2 × 3.3 mm"),
        (np.array([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "the first voxel's place differs by 1.5 mm"),
    ],
)
def test_a_mask_that_lies_elsewhere(scan, change, words):
    image = read(scan(name="image.nii"))
    with pytest.raises(DataError, match=rf"mask .*mask\.nii does not lie where .*image\.nii does: {words}"):
        read_mask(scan(np.ones((4, 5, 6), dtype=np.uint8), OBLIQUE @ change, name="mask.nii"), image)


@pytest.mark.parametrize(
    "affines",
    [
        [np.diag([step, 1, 1, 1]) for step in (0.8849, 0.8853)],  # 100 voxels of which are 88 mm, or 89
        [about_head(degrees) for degrees in (44.98, 45.02)],  # nearest to other axes of RAS
    ],
    ids=["spacing", "angle"],
)
def test_a_mask_is_turned_and_resampled_as_its_image_is(scan, affines):
    labels = np.arange(100 * 3 * 2, dtype=np.int16).reshape(100, 3, 2)
    paths = [scan(labels, affine, name) for affine, name in zip(affines, ("image.nii", "mask.nii"), strict=True)]
    image = read(paths[0])
    mask = read_mask(paths[1], image)
    assert np.array_equal(mask.affine, image.affine)
    assert torch.equal(mask.oriented().data.float(), image.oriented().data)
    assert mask.oriented().resampled((1.0, 1.0, 1.0), "nearest").size == image.oriented().resampled((1.0, 1.0, 1.0)).size


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("option", ["nonfinite", "constant", "xform"])
def test_a_misspelt_option_is_no_option(scan, option):
    with pytest.raises(UsageError, match=rf"{option} 'eror'; expected one of "):
        read(scan(), **{option: "eror"})
    if option == "xform":
        with pytest.raises(UsageError, match="xform 'eror'; expected one of agree, sform, qform"):
            read_mask(scan(), xform="eror")
