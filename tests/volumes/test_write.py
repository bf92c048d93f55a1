"""What is written back lies where the file's own voxels lie, bit for bit in the header."""

import gzip
import os
import re

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.volumes.headers import OBLIQUE, TURNS
from vitkit.errors import DataError, UsageError
from vitkit.volumes import Volume, read, read_mask, save, write_back
from vitkit.volumes.write import onto

GEOMETRY = ("pixdim", "sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
GEOMETRY += ("srow_x", "srow_y", "srow_z", "xyzt_units")
SIZES = st.tuples(*[st.integers(1, 9)] * 3)


def labels(size=(4, 5, 6)):
    return torch.randint(0, 5, (1, *size), generator=torch.Generator().manual_seed(0), dtype=torch.int32)


@given(SIZES, SIZES, st.sampled_from(["RAS", "LPS", "SAR", "PIL"]), st.sampled_from(range(48)))
def test_what_was_only_turned_and_cropped_returns_voxel_for_voxel(old, new, codes, index):
    data, affine = (
        nib.apply_orientation(labels(old)[0].numpy(), TURNS[index]),
        OBLIQUE @ nib.orientations.inv_ornt_aff(TURNS[index], old),
    )
    before = Volume(torch.from_numpy(data.copy())[None], affine, "")
    prepared, _ = before.oriented(codes).cropped_or_padded(new, fill=9.0)
    # Voxels that the crop left out cannot return; all others are where they were.
    kept = onto(Volume(torch.ones_like(prepared.data), prepared.affine, ""), affine, before.size, 0.0).bool()
    returned = onto(prepared, affine, before.size, -1.0)
    assert torch.equal(returned, torch.where(kept, before.data, -1))
    assert kept.sum() == np.prod(np.minimum(np.array(prepared.size), np.array(before.oriented(codes).size)))


@pytest.mark.parametrize("like", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_mask_returns_to_its_files_own_grid(scan, tmp_path, like, kind):
    path = scan(name=like, kind=kind)
    prepared, _ = read(path).oriented().cropped_or_padded((8, 8, 8))
    mask = Volume((prepared.data % 3 == 1).int() * 2, prepared.affine, prepared.source)
    write_back(mask, tmp_path / "mask.nii.gz")
    old, new = nib.load(path), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(new.dataobj), (np.asarray(old.dataobj) % 3 == 1) * 2)
    assert new.get_data_dtype() == np.uint8
    assert type(new) is kind
    for name in GEOMETRY:
        assert new.header[name].tobytes() == old.header[name].tobytes(), name
    read_mask(tmp_path / "mask.nii.gz", read(path))


def test_big_endian_scaled_files_with_several_frames(scan, tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    data = np.arange(4 * 5 * 6 * 2, dtype=np.int16).reshape(4, 5, 6, 2)
    image = nib.Nifti1Image(data, OBLIQUE, header)
    image.set_sform(OBLIQUE, 4)
    image.set_qform(OBLIQUE, 1)
    nib.save(image, tmp_path / "scan.nii")
    volume = read(tmp_path / "scan.nii", frame=1).oriented("LPS")
    write_back(Volume(volume.data / 2 - 7, volume.affine, volume.source), tmp_path / "map.nii")
    back = nib.load(tmp_path / "map.nii")
    np.testing.assert_array_equal(back.get_fdata(), data[..., 1] / 2 - 7)
    assert back.header.endianness == ">"
    assert (int(back.header["sform_code"]), int(back.header["qform_code"])) == (4, 1)


def test_what_was_resampled_returns_by_nearest_neighbours(scan, tmp_path):
    path = scan(np.arange(10 * 9 * 8, dtype=np.int16).reshape(10, 9, 8))
    coarse = read(path).oriented().resampled((2.0, 2.6, 2.9))
    mask = Volume((torch.arange(coarse.data.numel()).view(coarse.data.shape) % 251).int(), coarse.affine, coarse.source)
    write_back(mask, tmp_path / "mask.nii")
    found = np.asarray(nib.load(tmp_path / "mask.nii").dataobj)
    for index in np.ndindex(*found.shape):
        place = np.linalg.solve(mask.affine, read(path).affine @ [*index, 1])[:3]
        if np.abs(place % 1 - 0.5).min() > 1e-3:  # of two voxels equally near, either
            nearest = place.round().astype(int)
            inside = (nearest >= 0).all() and (nearest < mask.size).all()
            assert found[index] == (mask.data[(0, *nearest)] if inside else 0), (index, place)


def test_a_resampled_map_is_interpolated(scan, tmp_path):
    path = scan(np.arange(10 * 9 * 8, dtype=np.int16).reshape(10, 9, 8))
    volume = read(path).oriented().resampled((1.0, 1.0, 1.0))
    world = np.moveaxis(np.indices(volume.size), 0, -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    ramp = Volume(torch.from_numpy(world @ [1.0, -2.0, 0.5])[None].float(), volume.affine, volume.source)
    write_back(ramp, tmp_path / "map.nii", fill=-1000.0)
    found = nib.load(tmp_path / "map.nii").get_fdata()
    oracle = np.moveaxis(np.indices(found.shape), 0, -1) @ read(path).affine[:3, :3].T + read(path).affine[:3, 3]
    # 32-bit numbers of up to 100, summed eightfold.
    np.testing.assert_allclose(found, oracle @ [1.0, -2.0, 0.5], atol=100 * 8 * 2**-24)


def test_what_lies_elsewhere_is_filled(scan, tmp_path):
    path = scan()
    away = OBLIQUE.copy()
    away[0, 3] += 1000
    for number, data in enumerate((torch.ones(1, 3, 3, 3, dtype=torch.int32), torch.ones(1, 3, 3, 3))):
        write_back(Volume(data, away, "other"), tmp_path / f"{number}.nii", path, fill=7.0)
        assert np.unique(np.asarray(nib.load(tmp_path / f"{number}.nii").dataobj)).tolist() == [7]


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (torch.tensor([0, 255]), "uint8"),
        (torch.tensor([-1, 255]), "int16"),
        (torch.tensor([0, 40000]), "int32"),
        (torch.tensor([True, False]), "uint8"),
        (torch.tensor([0.5, -1e30]), "float32"),
        (torch.tensor([0.5, 2.0], dtype=torch.float64), "float32"),
    ],
)
def test_saving_on_its_own_grid(tmp_path, name, data, dtype):
    volume = Volume(data.view(1, 1, 1, 2), OBLIQUE, "made")
    save(volume, tmp_path / name)
    back = nib.load(tmp_path / name)
    assert back.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(back.dataobj)[0, 0], data.numpy().astype(dtype))
    np.testing.assert_array_equal(read(tmp_path / name).affine, OBLIQUE.astype(np.float32))


def test_channels_are_a_fourth_axis(tmp_path):
    data = torch.rand(3, 4, 5, 6)
    save(Volume(data, OBLIQUE, "made"), tmp_path / "map.nii.gz")
    assert torch.equal(read(tmp_path / "map.nii.gz", channels_last=True).data, data)


def test_the_same_volume_is_the_same_file(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        save(Volume(labels(), OBLIQUE, "made"), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes())[344:348] == b"n+1\0"


def test_names_and_sizes_that_cannot_be(scan, tmp_path):
    with pytest.raises(UsageError, match=r"mask\.png; expected a name that ends in \.nii"):
        write_back(read(scan()), tmp_path / "mask.png")
    with pytest.raises(UsageError, match="32,767 at most"):
        save(Volume(torch.zeros(1, 40000, 1, 1), OBLIQUE, "made"), tmp_path / "long.nii")
    with pytest.raises(UsageError, match="does not exist"):
        write_back(Volume(labels(), OBLIQUE, str(tmp_path / "gone.nii")), tmp_path / "mask.nii")


@pytest.mark.usefixtures("unchecked")
def test_an_xform_that_is_none(scan, tmp_path):
    with pytest.raises(UsageError, match="xform 's-form'; expected one of agree, sform, qform"):
        write_back(read(scan()), tmp_path / "mask.nii", xform="s-form")


@pytest.mark.parametrize("turned", [np.eye(4), np.diag([0.7, 1, 1, 1])], ids=["turned", "resampled"])
@pytest.mark.parametrize("label", [2**33 + 5, -(2**31) - 1])
def test_labels_that_no_file_holds(scan, tmp_path, label, turned):
    mask = Volume(torch.full((1, 4, 5, 6), label), OBLIQUE @ turned, str(scan()))
    for write in (save, write_back):
        with pytest.raises(UsageError, match=rf"scan\.nii: labels from {label} to {label}; expected .*32 bits"):
            write(mask, tmp_path / "mask.nii")
    assert not (tmp_path / "mask.nii").exists()


@pytest.mark.parametrize("label", [2**31 - 1, -(2**31)])
def test_labels_that_a_file_holds_just_about(scan, tmp_path, label):
    write_back(Volume(torch.full((1, 2, 2, 2), label), OBLIQUE, str(scan())), tmp_path / "mask.nii", fill=-(2.0**31))
    found = np.asarray(nib.load(tmp_path / "mask.nii").dataobj)
    assert sorted(np.unique(found)) == sorted({label, -(2**31)})


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        (torch.int64, -0.5),
        (torch.int32, float("nan")),
        (torch.int32, 2.0**31),
        (torch.bool, 7.0),
        (torch.bool, 0.5),
        (torch.float32, 1e39),
        (torch.float64, -1e39),
    ],
    ids=str,
)
def test_a_fill_that_the_values_cannot_be(scan, tmp_path, dtype, fill):
    for turned in (np.eye(4), np.diag([0.7, 1, 1, 1])):
        volume = Volume(torch.zeros(1, 2, 2, 2).to(dtype), OBLIQUE @ turned, str(scan()))
        with pytest.raises(UsageError, match=rf"fill={re.escape(str(fill))} .*; expected "):
            write_back(volume, tmp_path / "mask.nii", fill=fill)


@pytest.mark.parametrize(
    ("dtype", "fill"), [(torch.uint8, -1.0), (torch.bool, 1.0), (torch.float16, 1e5), (torch.float32, np.nan)]
)
def test_a_fill_of_the_type_that_is_written(scan, tmp_path, dtype, fill):
    write_back(Volume(torch.zeros(1, 2, 2, 2).to(dtype), OBLIQUE, str(scan())), tmp_path / "mask.nii", fill=fill)
    found = nib.load(tmp_path / "mask.nii").get_fdata()
    np.testing.assert_array_equal(np.unique(found), np.unique([0, fill]))


def test_a_mask_is_written_with_labels_that_read_mask_refuses(scan, tmp_path):
    part, _ = read(scan()).cropped_or_padded((2, 2, 2))
    write_back(Volume(torch.full((1, 2, 2, 2), 3), part.affine, part.source), tmp_path / "mask.nii", fill=-1.0)
    assert np.unique(np.asarray(nib.load(tmp_path / "mask.nii").dataobj)).tolist() == [-1, 3]
    with pytest.raises(DataError, match=r"mask\.nii: 112 voxels of the mask are negative"):
        read_mask(tmp_path / "mask.nii")


def test_a_write_that_fails_leaves_the_old_file(scan, tmp_path, monkeypatch):
    path = tmp_path / "mask.nii"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(Volume(labels(), OBLIQUE, "made"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
