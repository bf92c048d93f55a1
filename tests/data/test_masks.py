"""Segmentations that come with training scans."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from vitkit.data import Scans
from vitkit.data.augment import RandomFlip
from vitkit.errors import DataError, UsageError
from vitkit.preprocess import Preprocess

LINES = ("image,mask,label,split", "1.nii,1m.nii,a,train", "2.nii,2m.nii,b,train", "3.nii,3m.nii,a,val", "4.nii,4m.nii,b,val")


def made(root, size=(8, 5, 4), spacing=(1.0, 1.0, 1.0), **options):
    data = Scans(str(root), masks=True, **options)
    data.preprocess = Preprocess(size=size, spacing=spacing)
    return data


@pytest.fixture
def root(listed):
    """Scans whose mask is where they are bright."""
    root = listed(*LINES, affine=np.diag([-1.0, 1.0, 1.0, 1.0]))
    for index in "1234":
        scan = nib.load(root / f"{index}.nii")
        values = (np.asarray(scan.dataobj) > 500).astype(np.uint8) * 2
        nib.save(nib.Nifti1Image(values, scan.affine), root / f"{index}m.nii")
    return root


@pytest.mark.parametrize("cached", [False, True])
def test_a_mask_lies_on_its_scan_through_turning_padding_and_augmentation(root, tmp_path, cached):
    flips = RandomFlip(axes=["R", "A", "S"])
    data = made(root, augment=[flips], cache=str(tmp_path / "cache") if cached else None)
    train = data.split("train")
    for _ in range(2):
        for sample in train:
            bright = sample.image[0] > sample.image[0][sample.mask].min() - 1e-6
            assert torch.equal(bright & sample.real, sample.mask)
            assert 0 < sample.mask.sum() < sample.real.sum()
        train.epoch += 1
    batch = next(iter(data.train_dataloader()))
    assert batch.mask.shape == batch.real.shape == (2, 8, 5, 4)


def test_masks_are_resampled_to_the_nearest_voxel(root):
    fine = made(root, size=(12, 10, 8), spacing=(0.5, 0.5, 0.5)).split("train")[0].mask
    coarse = made(root, size=(6, 5, 4)).split("train")[0].mask
    assert torch.equal(fine, coarse.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_only_training_needs_masks(listed):
    root = listed(*LINES[:3], "3.nii,,a,val", "4.nii,,b,val")
    for index in "12":
        nib.save(nib.Nifti1Image(np.ones((6, 5, 4), np.uint8), np.eye(4)), root / f"{index}m.nii")
    data = made(root)
    assert data.split("train")[0].mask is not None
    assert data.split("val")[0].mask is None
    assert Scans(str(root)).split("train")[0].mask is None


def test_a_scan_without_a_mask_is_named(listed):
    with pytest.raises(DataError, match=r"2\.nii"):
        made(listed(*LINES[:2], "2.nii,,b,train", *LINES[3:])).split("train")


def test_a_mask_on_another_grid_is_named(root):
    nib.save(nib.Nifti1Image(np.ones((6, 5, 3), np.uint8), np.eye(4)), root / "1m.nii")
    with pytest.raises(DataError, match=r"1m\.nii"):
        made(root).split("train")[0]


@pytest.mark.parametrize("cached", [False, True])
def test_a_negative_label_is_no_foreground(root, tmp_path, cached):
    nib.save(nib.Nifti1Image(np.full((6, 5, 4), -1, np.int16), np.diag([-1.0, 1.0, 1.0, 1.0])), root / "1m.nii")
    train = made(root, cache=str(tmp_path / "cache") if cached else None).split("train")
    with pytest.raises(DataError, match=r"1m\.nii: 120 voxels of the mask are negative"):
        train[0]


def test_a_container_that_moves_the_image_alone_is_refused(root):
    train = made(root, augment=[torch.nn.Sequential(RandomFlip(p=1.0))]).split("train")
    with pytest.raises(UsageError, match=r"a Sequential around transforms of torchvision's kind; expected one that moves masks"):
        train[0]


@pytest.mark.parametrize("step", [0.8849, 0.8853])
def test_a_mask_whose_spacing_was_rounded_has_its_scans_shape(listed, step):
    root = listed(*LINES, size=(100, 5, 4), affine=np.diag([0.8849, 1.0, 1.0, 1.0]))
    for index in "12":
        nib.save(nib.Nifti1Image(np.ones((100, 5, 4), np.uint8), np.diag([step, 1.0, 1.0, 1.0])), root / f"{index}m.nii")
    sample = made(root, size=(88, 5, 4)).split("train")[0]
    assert sample.mask.shape == sample.image.shape[1:]


def test_a_cached_mask_is_that_of_its_scan_and_frame(root, tmp_path):
    reading = made(root, cache=str(tmp_path / "cache")).reading
    mask, image = root / "1m.nii", root / "1.nii"
    assert torch.equal(reading.mask(mask, image, None), reading.mask(mask, image, None))
    with pytest.raises(UsageError, match=r"frame 7 of .*1\.nii"):
        replace(reading, frame=7).mask(mask, image, None)
    nib.save(nib.Nifti1Image(np.arange(120.0).reshape(6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0])), image)
    with pytest.raises(DataError, match=r"mask .*1m\.nii does not lie where .*1\.nii does"):
        reading.mask(mask, image, None)
