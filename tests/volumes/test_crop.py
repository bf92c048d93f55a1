"""A crop is the same voxels as of the whole, and no other byte of the file is read."""

import io

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitkit.errors import DataError, UsageError
from vitkit.volumes import read, read_crop
from vitkit.volumes.crop import crop_of
from vitkit.volumes.nifti import Nifti

BOXES = st.tuples(
    *[
        st.integers(0, length - 1).flatmap(lambda at, length=length: st.tuples(st.just(at), st.integers(1, length - at)))
        for length in (9, 8, 7)
    ]
)


@pytest.mark.parametrize("order", ["<", ">"])
@given(BOXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_crop_is_the_same_as_of_the_whole(tmp_path, order, box):
    path = tmp_path / "scan.nii"
    if not path.exists():
        header = nib.Nifti1Header(endianness=order)
        header.set_data_dtype(np.int16)
        image = nib.Nifti1Image(np.arange(9 * 8 * 7, dtype=np.int16).reshape(9, 8, 7), np.diag([1.5, 2, -3, 1]), header)
        image.header.set_slope_inter(0.25, -7)
        image.set_sform(image.affine, 1)
        nib.save(image, path)
    start, size = zip(*box, strict=True)
    whole, real = read(path).cropped_or_padded(size, start)
    found = read_crop(path, start, size)
    assert real.all()
    assert torch.equal(found.data, whole.data)
    np.testing.assert_allclose(found.affine, whole.affine, atol=1e-12)


class Counting(io.BytesIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size=-1):
        found = super().read(size)
        self.count += len(found)
        return found

    def readinto(self, buffer):
        count = super().readinto(buffer)
        self.count += count
        return count


def test_far_fewer_bytes_are_read_than_the_whole(scan):
    path = scan(np.random.default_rng(0).integers(0, 999, (128, 128, 64)).astype(np.int16))
    stream = Counting(path.read_bytes())
    header = nib.Nifti1Header.from_fileobj(stream)
    stream.count = 0
    found = crop_of(Nifti(path, header, stream, compressed=False), (50, 60, 20), (32, 32, 16))
    assert torch.equal(found.data, read(path).data[:, 50:82, 60:92, 20:36])
    # The rows of the crop whole, where gaps are too short to be worth a jump; never a row or a slice that it does not touch.
    assert 0 < stream.count <= 128 * 32 * 16 * 2
    assert stream.count < path.stat().st_size / 10


def test_frames_and_channels(scan):
    data = np.random.default_rng(0).normal(size=(6, 5, 4, 3)).astype(np.float32)
    path = scan(data)
    np.testing.assert_array_equal(read_crop(path, (1, 2, 0), (2, 3, 4), frame=2).data[0], data[1:3, 2:5, :, 2])
    np.testing.assert_array_equal(read_crop(path, (1, 2, 0), (2, 3, 4), channels_last=True).data[1], data[1:3, 2:5, :, 1])


def test_a_crop_may_be_constant_but_not_nan(scan):
    data = np.zeros((5, 5, 5), dtype=np.float32)
    data[4, 4, 4] = np.nan
    path = scan(data)
    assert read_crop(path, (0, 0, 0), (4, 4, 4)).data.unique().tolist() == [0]
    with pytest.raises(DataError, match="of 8 voxels 1 are NaN"):
        read_crop(path, (3, 3, 3), (2, 2, 2))
    assert read_crop(path, (3, 3, 3), (2, 2, 2), nonfinite="fill").data.unique().tolist() == [0]


def test_a_compressed_file(scan):
    with pytest.raises(UsageError, match=r"scan\.nii\.gz, which is compressed.*gunzip"):
        read_crop(scan(name="scan.nii.gz"), (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("start", "size"),
    [((-1, 0, 0), (2, 2, 2)), ((3, 0, 0), (2, 2, 2)), ((0, 0, 0), (0, 2, 2)), ((0, 0), (2, 2)), ((0, 0, 0), (2, 2))],
)
def test_a_box_outside(scan, start, size):
    with pytest.raises(UsageError, match=r"a box inside its 4 × 5 × 6 voxels.*cropped_or_padded"):
        read_crop(scan(), start, size)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("option", "choices"), [("nonfinite", "error, fill"), ("xform", "agree, sform, qform")])
def test_a_misspelt_option(scan, option, choices):
    with pytest.raises(UsageError, match=f"{option} 'Error'; expected one of {choices}"):
        read_crop(scan(), (0, 0, 0), (1, 1, 1), **{option: "Error"})
