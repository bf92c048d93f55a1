"""A set of scans in numbers, with the faults of each file, and in pictures."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from tests.volumes.headers import OBLIQUE, about_head
from vitkit.volumes import Volume, draw_planes, fingerprint, make_phantoms, read


def test_what_it_says_is_what_the_files_hold(scan):
    data = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    first = scan(data, np.diag([1.0, 2.0, 3.0, 1.0]), "a.nii")
    second = scan(data.astype(np.float32)[:5], np.diag([-1.0, 2.0, 4.0, 1.0])[:, [2, 1, 0, 3]], "b.nii.gz")
    mask = scan((data > 500).astype(np.uint8) * 3, np.diag([1.0, 2.0, 3.0, 1.0]), "mask.nii")
    found = fingerprint([(first, mask), (second, None)])
    one, two = found.records
    assert not found.problems
    assert (one.size, one.spacing, one.orientation, one.dtype) == ((10, 10, 10), (1, 2, 3), "RAS", "int16")
    assert (two.size, two.spacing, two.orientation, two.dtype) == ((10, 10, 5), (1, 2, 4), "SAL", "float32")
    assert one.labels == (0, 3)
    assert one.intensities == pytest.approx(tuple(np.percentile(data, [0.5, 50, 99.5])))
    summary = dict(found.summary())
    assert summary["scans that can be read"] == "2"
    assert summary["size, voxels R × A × S"] == "10 × 10 × (5 … 7.5 … 10)"
    assert summary["spacing, mm R × A × S"] == "1 × 2 × (3 … 3.5 … 4)"
    assert summary["stored as"] == "RAS (1), SAL (1)"
    assert summary["voxel type"] == "int16 (1), float32 (1)"
    assert summary["labels in masks"] == "0 (1), 3 (1)"
    assert summary["a spacing to start from"] == "[1, 2, 3.5]"
    assert summary["and a size for all, in steps of 8"] == "[16, 16, 16]"


def test_the_size_for_all_is_one_that_every_scan_fits_into(scan):
    spacings = np.linspace(0.7, 2.3, 21)
    files = [
        (scan(np.arange(60.0).reshape(3, 4, 5), np.diag([s, 1.0, s / 3, 1.0]), f"{i}.nii"), None) for i, s in enumerate(spacings)
    ]
    # 17 voxels of .3 mm are 8.5 of .6 mm, which is more than 8 only as the headers' 32-bit numbers have it.
    ties = [(scan(np.arange(68.0).reshape(17, 2, 2), np.diag([0.3, 1, 1, 1.0]), "tie.nii"), None)]
    ties += [(scan(np.arange(8.0).reshape(2, 2, 2), np.diag([0.6, 1, 1, 1.0]), f"{name}.nii"), None) for name in "pq"]
    assert fingerprint(ties).size()[0] == 16 == -(-read(ties[0][0]).oriented().size_at((0.6, 1, 1))[0] // 8) * 8
    files.append((scan(np.arange(4000.0).reshape(40, 10, 10), np.eye(4), "long.nii"), None))
    found = fingerprint(files)
    sizes = np.array([read(path).oriented().size_at(found.spacing) for path, _ in files])
    assert found.size() == tuple(-(-most // 8) * 8 for most in sizes.max(0))
    assert dict(found.summary())["for 95 % along each axis, cropped"] == "[8, 8, 8]"
    assert found.size(0.95)[0] < found.size()[0]


def test_a_spacing_that_is_far_off_is_listed_and_not_proposed_from(scan):
    files = [
        (scan(np.arange(1000.0).reshape(10, 10, 10), np.diag([1.0, 1, step, 1]), f"{step}.nii"), None) for step in (1.0, 2.0)
    ]
    files += files[:1]
    usual = fingerprint(files)
    assert (usual.spacing, usual.size()) == ((1, 1, 1), (16, 16, 24))
    for unit in ("meter", "micron"):
        odd = scan(name=f"{unit}.nii", xyzt_units=nib.nifti1.unit_codes.code[unit])
        found = fingerprint([*files, (odd, None)])
        (problem,) = found.problems
        assert (problem.file, len(found.records)) == (odd, 4)
        assert found.spacing == usual.spacing
        assert found.size() == usual.size()
        assert dict(found.summary())["scans that can be read"] == "4"
    told = dict(found.summary())
    assert told["spacing, mm R × A × S"].startswith("(0.0015 ")
    assert told["and a size for all, in steps of 8"] == "[16, 16, 24]"


def test_where_every_spacing_is_far_off_all_are_proposed_from(scan):
    steps = np.ones((3, 3)) + np.eye(3) * 99
    files = [
        (scan(np.arange(24.0).reshape(2, 3, 4), np.diag([*row, 1.0]), f"{index}.nii"), None) for index, row in enumerate(steps)
    ]
    found = fingerprint(files)
    assert len(found.problems) == 3
    assert found.spacing == (1, 1, 1)


def test_one_files_header_stops_no_other(scan):
    bad, good = scan(name="bad.nii", vox_offset=np.inf), scan(name="good.nii")
    found = fingerprint([(bad, None), (good, bad), (good, None)])
    assert [problem.file for problem in found.problems] == [bad, bad]
    assert [record.image for record in found.records] == [good, good]


def test_what_a_file_is_read_by_is_told_as_to_read(scan):
    lost = scan(name="lost.nii", sform_code=0, qform_code=0)
    nan = scan(np.where(np.arange(24.0).reshape(2, 3, 4) == 5, np.nan, 1.5), name="nan.nii")
    assert len(fingerprint([(lost, lost), (nan, None)]).problems) == 2
    assert len(fingerprint([(lost, None)], assume="LAS").records) == 1
    assert len(fingerprint([(nan, None)], nonfinite="fill", constant="allow").records) == 1


def test_every_files_fault_is_listed_and_the_next_one_read(scan, tmp_path):
    empty = tmp_path / "empty.nii.gz"
    empty.touch()
    good, nan, elsewhere = scan(name="good.nii"), scan(np.full((2, 2, 2), np.nan), name="nan.nii"), scan(name="mask.nii")
    other = scan(affine=OBLIQUE @ np.diag([1.0, 1, 2, 1]), name="other.nii")
    found = fingerprint([(empty, None), (good, elsewhere), (nan, None), (tmp_path / "gone.nii", None), (good, other)])
    assert [record.image for record in found.records] == [good, good]
    assert [problem.file.name for problem in found.problems] == ["empty.nii.gz", "nan.nii", "gone.nii", "other.nii"]
    assert all(str(problem.file) in str(problem.error) for problem in found.problems)
    assert all(problem.error.remedy for problem in found.problems)


def test_nothing_to_read(tmp_path):
    assert list(fingerprint([(tmp_path / "gone.nii", None)]).summary()) == [("scans that can be read", "0")]


def test_a_picture_of_three_planes(tmp_path):
    make_phantoms(tmp_path / "phantoms", 20)
    from vitkit.volumes import read, read_mask

    names = [path.name for path in sorted((tmp_path / "phantoms" / "images").iterdir())[:2]]
    pairs = [(read(tmp_path / "phantoms/images" / name), read_mask(tmp_path / "phantoms/masks" / name)) for name in names]
    draw_planes(pairs, tmp_path / "planes.png")
    pixels = np.asarray(Image.open(tmp_path / "planes.png").convert("RGB")).astype(int)
    assert pixels.shape[1] > 600
    outline = (np.abs(pixels - [255, 140, 58]).sum(-1) < 30).sum()
    draw_planes([(image, None) for image, _ in pairs], tmp_path / "bare.png")
    bare = np.asarray(Image.open(tmp_path / "bare.png").convert("RGB")).astype(int)
    assert outline > 200 > (np.abs(bare - [255, 140, 58]).sum(-1) < 30).sum()


def corner(size=(20, 30, 40)):
    """Bright at the right, front and top."""
    data = torch.zeros(1, *size)
    data[:, 15:, 22:, 30:] = 1
    return data


def seen(path: Path) -> np.ndarray:
    """Of each of the three planes, which quarter is bright: (planes, upper or lower, left or right)."""
    grey = np.asarray(Image.open(path).convert("L")).astype(float)[40:]
    columns = np.split(grey[:, : grey.shape[1] // 3 * 3], 3, axis=1)
    quarters = [
        [half.mean() for half in np.array_split(row, 2, axis=1)] for column in columns for row in np.array_split(column, 2)
    ]
    return np.array(quarters).reshape(3, 2, 2)


def test_right_front_and_top_are_where_the_letters_say(tmp_path):
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    mask = torch.zeros(1, 20, 30, 40, dtype=torch.int32)
    mask[:, 17, 26, 35] = 1  # so that the planes go through the bright corner
    for codes in ("RAS", "LPI", "SRA"):
        volume, where = (Volume(data, affine, "corner.nii").oriented(codes) for data in (corner(), mask))
        draw_planes([(volume, where)], tmp_path / f"{codes}.png")
        quarters = seen(tmp_path / f"{codes}.png")
        assert [int(plane.argmax()) for plane in quarters] == [1, 1, 1], quarters  # upper right
    assert (tmp_path / "RAS.png").read_bytes() == (tmp_path / "LPI.png").read_bytes() == (tmp_path / "SRA.png").read_bytes()


def test_a_mask_is_drawn_on_its_scan_where_rounding_would_turn_it_otherwise(tmp_path):
    mask = torch.zeros(1, 20, 20, 40, dtype=torch.int32)
    mask[:, 2:6, 12:15, 10:20] = 1
    volume = Volume(torch.rand(1, 20, 20, 40), about_head(44.98), "scan.nii")
    for degrees in (44.98, 45.02):
        draw_planes([(volume, Volume(mask, about_head(degrees), "mask.nii"))], tmp_path / f"{degrees}.png")
    assert (tmp_path / "44.98.png").read_bytes() == (tmp_path / "45.02.png").read_bytes()
