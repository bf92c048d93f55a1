"""What a model sees of a scan: turned, scaled, resampled, padded or cropped, and never by a guess."""

from itertools import permutations, product
from multiprocessing.reduction import ForkingPickler

import nibabel as nib
import numpy as np
import pytest
import torch

from vitkit.data import Sample, Scans
from vitkit.data.augment import RandomFlip, RandomIntensity
from vitkit.errors import DataError, UsageError
from vitkit.preprocess import Preprocess
from vitkit.volumes import Percentile, Window, write_back

LINES = ("image,label,split", "1.nii,a,train", "2.nii,b,train", "3.nii,a,val", "4.nii,b,val")


def at(size, spacing=(1.0, 1.0, 1.0), **options):
    return Preprocess(size=size, spacing=spacing, **options)


def made(root, preprocess, **options):
    data = Scans(str(root), **options)
    data.preprocess = preprocess
    return data


def test_samples_are_the_voxels_in_the_window(listed):
    root = listed(*LINES)
    data = made(root, at((6, 5, 4)), intensity=Window(0.0, 1000.0))
    image, label, name, real, *_ = data.split("val")[1]
    stored = nib.load(root / "4.nii").get_fdata()
    torch.testing.assert_close(image[0], torch.from_numpy(stored / 1000).float())
    assert (label, name, real) == (1, "4.nii", None)


def test_samples_carry_their_patient(listed):
    lines = ("image,label,split,patient", "1.nii,a,train,p", "2.nii,b,train,q", "3.nii,a,val,r", "4.nii,b,val,r")
    data = made(listed(*lines), at((6, 5, 4)))
    (batch,) = data.val_dataloader()
    assert batch.group == ["r", "r"]
    assert [sample.group for sample in data.split("train")] == ["p", "q"]
    unknown = made(listed(*LINES), at((6, 5, 4)))
    assert next(iter(unknown.val_dataloader())).group is None


def test_without_a_preprocess_scans_stay_as_they_are(listed):
    data = Scans(str(listed(*LINES, affine=np.diag([2.0, 1.0, 1.0, 1.0]))))
    assert data.split("val")[0].image.shape == (1, 6, 5, 4)


@pytest.mark.parametrize("cache", [False, True])
def test_a_scan_is_the_same_however_its_header_permutes_and_flips_it(listed, tmp_path, cache):
    root = listed(*LINES, affine=np.array([[1.4, 0.1, 0.0, -7], [-0.1, 1.1, 0.2, 3], [0.0, -0.2, 2.5, 11], [0, 0, 0, 1.0]]))
    # Straightened, for a header may hold no shear.
    image = nib.load(root / "3.nii")
    turn, _, other = np.linalg.svd(image.affine[:3, :3])
    image.affine[:3, :3] = turn @ other @ np.diag([1.4, 1.1, 2.5])
    moved = list(product(permutations(range(3)), product((1, -1), repeat=3)))
    for index, (order, signs) in enumerate(moved):
        orientation = np.stack([np.array(order), np.array(signs)], axis=1)
        copy = nib.Nifti1Image(np.asarray(image.dataobj), image.affine).as_reoriented(orientation)
        nib.save(nib.Nifti1Image(np.asarray(copy.dataobj), copy.affine), root / f"copy{index}.nii")
    (root / "manifest.csv").write_text("image\n" + "\n".join(f"copy{index}.nii" for index in range(len(moved))))
    data = made(root, at((8, 6, 12)), cache=str(tmp_path / "cache") if cache else None)
    first, *others = data.split("predict")
    assert first.real is not None
    for sample in others:
        assert torch.equal(sample.image, first.image)
        assert torch.equal(sample.real, first.real)


def test_resampling_is_to_the_models_spacing(listed):
    root = listed(*LINES, size=(12, 10, 8), affine=np.diag([-1.0, 2.0, 1.5, 1.0]))
    ramp = np.broadcast_to(np.arange(10.0)[:, None], (12, 10, 8))
    nib.save(nib.Nifti1Image(ramp, np.diag([-1.0, 2.0, 1.5, 1.0])), root / "3.nii")
    image = made(root, at((12, 20, 12)), intensity=Window(0.0, 9.0)).split("val")[0].image
    # Of 20 mm, a voxel of 1 mm begins half a mm before the first centre of the 2 mm ones, where the ramp does not go on.
    expected = ((torch.arange(20.0) / 2 - 0.25) / 9).clamp(0, 1)
    torch.testing.assert_close(image, expected[:, None].expand(1, 12, 20, 12))


@pytest.mark.parametrize("size", [(8, 7, 4), (6, 5, 4), (9, 5, 6)])
def test_a_smaller_scan_is_padded_and_says_where(listed, size):
    root = listed(*LINES)
    sample = made(root, at(size)).split("val")[0]
    whole = made(root, at((6, 5, 4))).split("val")[0]
    assert sample.image.shape == (1, *size)
    if size == (6, 5, 4):
        assert sample.real is None
        return
    assert torch.equal(sample.image[0][sample.real], whole.image[0].flatten())
    assert not sample.image[0][~sample.real].any()
    starts = [(length - own) // 2 for length, own in zip(size, (6, 5, 4), strict=True)]
    assert sample.real.nonzero()[0].tolist() == starts


def test_a_larger_scan_is_an_error_unless_cropping_was_asked_for(listed):
    root = listed(*LINES)
    preprocess = at((4, 8, 3))
    with pytest.raises(
        DataError, match=r"3\.nii has 6 × 5 × 4 voxels at the model's spacing; expected 4 × 8 × 3 at most.*oversize"
    ):
        made(root, preprocess).split("val")[0]
    sample = made(root, preprocess, oversize="crop").split("val")[0]
    whole = made(root, at((6, 5, 4))).split("val")[0].image
    assert torch.equal(sample.image[:, :, 1:6], whole[:, 1:5, :, :3])
    assert sample.real.sum(1).unique().tolist() == [5]


@pytest.mark.parametrize("cache", [False, True])
def test_a_spacing_that_is_far_too_fine_is_refused_before_memory_is_taken(listed, tmp_path, cache):
    root, options = listed(*LINES), {"cache": str(tmp_path / "cache")} if cache else {}
    fine = at((6, 5, 4), spacing=(1e-5, 1e-5, 1e-5))  # 600,000 × 500,000 × 400,000 voxels
    with pytest.raises(DataError, match=r"3\.nii has 600000 × 500000 × 400000 voxels .*; expected 6 × 5 × 4 at most"):
        made(root, fine, **options).split("val")[0]
    with pytest.raises(DataError, match=r"3\.nii: 6 × 5 × 4 voxels .* would be 600000 × 500000 × 400000 .* which take"):
        made(root, fine, oversize="crop", **options).split("val")[0]


@pytest.mark.parametrize(
    ("splits", "note"),
    [
        (("train", "val"), ""),
        (("train", "test"), "no split val there, so data.fractions took it from train"),
        (("", ""), "no splits there, so data.fractions made them"),
    ],
)
def test_splits_that_were_made_for_the_user_are_told_of(listed, splits, note):
    columns = "image,label,split" if splits[0] else "image,label"
    ends = [f",{split}" if split else "" for split in splits]
    lines = [f"{number}.nii,{'ab'[number % 2]}{ends[number > 6]}" for number in range(1, 9)]
    data = Scans(str(listed(columns, *lines)), fractions=(0.5, 0.25, 0.25))
    assert data.layout.note == note


def test_spacing_has_to_be_said(listed):
    root = listed(*LINES, affine=np.diag([2.0, 1.0, 1.5, 1.0]))
    with pytest.raises(
        UsageError, match=r"no model\.preprocess\.spacing; .* for example to \[2, 1, 1\.5\], which is that of .*1\.nii"
    ):
        made(root, Preprocess(size=(6, 5, 4))).setup("fit")


def test_channels_are_the_models(listed):
    sample = made(listed(*LINES), at((6, 5, 4), mean=(0.5, 0.5), std=(0.5, 0.5))).split("val")[0]
    assert sample.image.shape == (2, 6, 5, 4)
    assert torch.equal(sample.image[0], sample.image[1])


@pytest.mark.parametrize(("spoil", "options", "said"), [
    (lambda path: path.write_bytes(b""), {}, r"3\.nii is empty \(0 bytes\)"),
    (lambda path: path.write_text("no scan"), {}, r"3\.nii is no NIfTI"),
    (lambda path: path.write_bytes(path.read_bytes()[:-5]), {}, r"3\.nii is truncated"),
    (lambda path: nib.save(nib.Nifti1Image(np.ones((6, 5, 4)), np.eye(4)), path), {}, r"3\.nii: all 120 voxels have the value 1"),
    (lambda path: nib.save(nib.Nifti1Image(np.full((6, 5, 4), np.nan), np.eye(4)), path), {}, r"3\.nii"),
    (lambda path: nib.save(nib.Nifti1Image(np.arange(240.0).reshape(6, 5, 4, 2), np.eye(4)), path), {}, r"3\.nii has 4 axes"),
])  # fmt: skip
@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_is_named(listed, spoil, options, said, workers):
    root = listed(*LINES)
    spoil(root / "3.nii")
    data = made(root, at((6, 5, 4)), num_workers=workers, **options)
    data.setup("fit")
    with pytest.raises(DataError, match=said):
        list(data.val_dataloader())


def test_what_is_not_finite_is_filled_if_told_so(listed):
    root = listed(*LINES)
    values = np.arange(120.0).reshape(6, 5, 4)
    values[0, 0, :2] = np.nan, np.inf
    nib.save(nib.Nifti1Image(values, np.eye(4)), root / "3.nii")
    with pytest.raises(DataError, match=r"3\.nii"):
        made(root, at((6, 5, 4))).split("val")[0]
    image = made(root, at((6, 5, 4)), nonfinite="fill").split("val")[0].image
    assert (image[0, 0, 0, 0], image[0, 0, 0, 1]) == (image.min(), image.max())


def test_geometry_is_not_guessed_but_can_be_said(listed):
    root = listed(*LINES)
    image = nib.load(root / "3.nii")
    stored = np.asarray(image.dataobj).copy()
    for code in ("set_sform", "set_qform"):
        getattr(image, code)(None, code=0)
    nib.save(nib.Nifti1Image(stored, None, image.header), root / "3.nii")
    with pytest.raises(DataError, match=r"3\.nii: sform_code and qform_code are 0.*assume"):
        made(root, at((6, 5, 4))).split("val")[0]
    window = Window(0.0, 1000.0)
    image = made(root, at((6, 5, 4)), assume="LAS", intensity=window).split("val")[0].image
    torch.testing.assert_close(image[0], torch.from_numpy(stored[::-1] / 1000).float())


def test_any_other_error_of_a_reader_names_the_file(listed, monkeypatch):
    data = made(listed(*LINES), at((6, 5, 4)))
    monkeypatch.setattr("vitkit.data.reading.read", lambda *arguments, **options: 1 / 0)
    with pytest.raises(DataError, match=r"3\.nii cannot be read: ZeroDivisionError"):
        data.split("val")[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_cache_changes_nothing_but_the_time(listed, tmp_path, workers, monkeypatch):
    root = listed(*LINES, affine=np.diag([2.0, 1.0, 1.0, 1.0]))
    options = {"preprocess": at((14, 6, 3)), "oversize": "crop"}
    plain = list(made(root, **options).split("val"))
    cached = {"cache": str(tmp_path / "cache"), "num_workers": workers, "batch_size": 2}
    for once in (True, False):
        [batch] = made(root, **options, **cached).val_dataloader()
        assert torch.equal(batch.image, torch.stack([sample.image for sample in plain]))
        assert torch.equal(batch.real, torch.stack([sample.real for sample in plain]))
        if once:
            monkeypatch.setattr("vitkit.data.reading.read", lambda *arguments, **options: 1 / 0)
    # Another way to prepare them is another entry.
    with pytest.raises(DataError, match="ZeroDivisionError"):
        list(made(root, **options, **cached, intensity=Percentile(5.0, 95.0)).val_dataloader())


def test_augmentation_moves_what_is_real_with_the_scan(listed):
    root = listed(*LINES)
    options = {"preprocess": at((6, 8, 5)), "augment": [RandomFlip(["A", "S"], p=1.0), RandomIntensity(0.1, 0.2)]}
    plain, sample = made(root, options["preprocess"]).split("train")[0], made(root, **options).split("train")[0]
    assert torch.equal(sample.real, plain.real.flip(1, 2))
    assert not torch.equal(sample.real, plain.real)
    assert not sample.image[0][~sample.real].any()
    assert made(root, **options).split("val")[0].real.equal(plain.real)


def test_a_split_can_be_sent_to_a_worker_of_any_kind(listed, tmp_path):
    images = made(listed(*LINES), at((6, 5, 4)), cache=str(tmp_path / "cache")).split("val")
    sent = ForkingPickler.loads(ForkingPickler.dumps(images))
    assert isinstance(sent[0], Sample)
    assert torch.equal(sent[0].image, images[0].image)


def test_the_fingerprint_is_that_of_files_and_labels(listed):
    root = listed(*LINES)
    before = Scans(str(root)).fingerprint("val")
    assert before == Scans(str(root), seed=4).fingerprint("val") != Scans(str(root)).fingerprint("train")
    (root / "manifest.csv").write_text("\n".join(LINES).replace("4.nii,b", "4.nii,a"))
    assert Scans(str(root)).fingerprint("val") != before
    assert Scans(str(root), xform="sform").fingerprint("val") != Scans(str(root)).fingerprint("val"), "read otherwise"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("option", [{"nonfinite": "ignore"}, {"xform": "any"}, {"oversize": "resize"}])
def test_options_that_are_none(option):
    with pytest.raises(UsageError, match=rf"data\.{next(iter(option))} .*; expected one of"):
        Scans("scans", **option)


def test_to_predict_scans_without_the_manifest_of_training_are_enough(listed, tmp_path):
    root = listed(*LINES)
    (root / "manifest.csv").unlink()
    data = Scans(str(root), manifest="labels.csv", classes=["a", "b"])
    data.setup("predict")
    assert len(data.split("predict")) == len(LINES) - 1
    with pytest.raises(UsageError, match=r"data\.manifest labels\.csv is neither in"):
        data.setup("fit")
    one = next(root.rglob("*.nii*"))
    assert list(Scans(str(one), manifest="labels.csv").split("predict").ids) == [one.name]


def test_a_window_that_leaves_nothing_to_be_seen_is_refused(listed):
    root = listed(*LINES)
    nothing = Scans(str(root), intensity=Window(1e5, 2e5))
    with pytest.raises(DataError, match=r"Window leaves all voxels at 0; .* Correct data\.intensity"):
        nothing.split("train")[0]
    assert Scans(str(root), intensity=Window(1e5, 2e5), constant="allow").split("train")[0].image.max() == 0


@pytest.mark.parametrize("size", [(8, 5, 6), (4, 5, 2)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 2.0), (1.0, 1.5, 1.0)])
def test_the_volume_of_a_sample_is_its_image_and_goes_back_to_where_the_file_has_it(listed, tmp_path, size, spacing):
    affine = np.array([[0.0, 1.0, 0.0, 3.0], [0.0, 0.0, -1.0, 5.0], [2.0, 0.0, 0.0, -7.0], [0.0, 0.0, 0.0, 1.0]])
    root = listed(*LINES, affine=affine)
    data = made(root, at(size, spacing), oversize="crop", intensity=Window(0.0, 2000.0), cache=str(tmp_path / "cache"))
    for split in ("train", "val"):
        for sample in data.split(split):
            assert torch.equal(data.volume(sample.id).data, sample.image)
    write_back(data.volume("1.nii"), tmp_path / "back.nii", fill=-1.0)
    back, stored = nib.load(tmp_path / "back.nii"), nib.load(root / "1.nii")
    assert np.array_equal(back.affine, stored.affine)
    seen = back.get_fdata() >= 0
    assert seen.any()
    if spacing == (1.0, 1.0, 2.0):
        np.testing.assert_allclose(back.get_fdata()[seen], stored.get_fdata()[seen].clip(0, 2000) / 2000, atol=1e-6)


def test_a_volume_is_asked_for_by_its_name(listed):
    data = made(listed(*LINES), at((6, 5, 4)))
    with pytest.raises(UsageError, match=r"no scan 5\.nii in .*; expected the id of a sample .* Did you mean [1-4]\.nii\?"):
        data.volume("5.nii")
    assert torch.equal(Scans(data.root.as_posix()).volume("1.nii").data, Scans(data.root.as_posix()).split("train")[0].image)
