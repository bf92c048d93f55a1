"""Faults that were found in other libraries (MONAI 1.6.1, timm), and that must not be found here."""

from itertools import product

import nibabel as nib
import numpy as np
import pytest
import torch

from vitkit.attention import AlongAxis, Attention, Axial, Full, Window
from vitkit.bias import Bias, LogCPBBias, NoBias, SpectralBias, TableBias
from vitkit.embedding import NoPosition, PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import DataError, UsageError
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential
from vitkit.tasks.warm_start import warm_start
from vitkit.volumes import Percentile, read

HEADS = 2
BIASES = {
    "none": lambda ndim: NoBias(),
    "spectral": lambda ndim: SpectralBias(Exponential(HEADS, ndim)),
    "log-CPB": lambda ndim: LogCPBBias(HEADS, ndim),
}


def encoder(in_chans=1, patch_size=4, **options):
    embed = PatchEmbed(3, patch_size, in_chans, 16)
    return Encoder(embed, depth=2, num_heads=HEADS, **{"class_token": False, "pool": "mean"} | options)


@pytest.mark.parametrize("pattern", [Full(), Axial()], ids=["full", "axial"])
def test_no_voxel_is_dropped_where_the_patch_does_not_divide_the_volume(pattern):
    """MONAI's PatchEmbeddingBlock drops 84.8 % of 30³ voxels at a patch of 16."""
    model = encoder(patch_size=16, pattern=pattern)
    x = torch.randn(1, 1, 30, 30, 30, requires_grad=True)
    [grad] = torch.autograd.grad(model.pool(model(x)).square().sum(), x)
    assert grad.abs().min() > 0
    model.embed.indivisible = "error"
    with pytest.raises(UsageError, match=r"\(30, 30, 30\), which the patch size \(16, 16, 16\) does not divide"):
        model(x)


def test_no_position_has_no_parameter():
    """MONAI's pos_embed_type="none" still adds one that learns."""
    names = [name for name, _ in encoder(position=NoPosition()).named_parameters()]
    assert not [name for name in names if "position" in name]


def test_weights_for_other_channels_are_left_out_and_named(tmp_path):
    """MONAI's SwinUNETR.load_from broadcasts one channel's weights over four."""
    torch.save(encoder(in_chans=1).state_dict(), tmp_path / "one.pt")
    model = encoder(in_chans=4)
    before = model.embed.proj.weight.clone()
    said = warm_start(model, tmp_path / "one.pt")
    assert "embed.proj.weight (16, 64) instead of (16, 256)" in said
    assert torch.equal(model.embed.proj.weight, before)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize(
    "pattern", [Full(), Window(2), Axial(gates=3), [[AlongAxis(0), AlongAxis(1)]]], ids=["full", "window", "axial", "turns"]
)
def test_every_parameter_is_used(pattern, bias):
    """Unused ones break distributed training (Project-MONAI/MONAI#8845)."""
    model = Classifier(encoder(pattern=pattern, bias=BIASES[bias](3)), 3, Preprocess((8, 8, 8)))
    model(torch.rand(2, 1, 8, 8, 8)).logsumexp(1).sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("pattern", [Full(), Window(2), Axial()], ids=["full", "window", "axial"])
def test_dropout_ends_with_training(pattern):
    """MONAI's SABlock with flash attention passes its dropout on in evaluation, so that its output is random."""
    attention = Attention(16, HEADS, dropout=0.5, pattern=pattern, bias=BIASES["spectral"](3)).eval()
    plain = Attention(16, HEADS, pattern=pattern, bias=BIASES["spectral"](3))
    plain.load_state_dict(attention.state_dict())
    x = torch.randn(2, 4, 4, 4, 16)
    assert torch.equal(attention(x), attention(x))
    torch.testing.assert_close(attention(x), plain(x))


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 6, 3)])
def test_relative_positions_in_three_dimensions(shape):
    """MONAI's decomposed relative position is wrong for 4³, and raises for (4, 6, 3)."""
    table = TableBias(HEADS, shape, std=1.0)
    bias: Bias
    for bias in (table, SpectralBias(Exponential(HEADS, 3, lengthscale=2.0)), LogCPBBias(HEADS, 3)):
        logits, displacements = bias(Grid(shape)), bias.table(Grid(shape))
        places = list(product(*map(range, shape)))
        for (i, query), (j, key) in product(enumerate(places[::5]), enumerate(places)):
            index = tuple(a - b + length - 1 for a, b, length in zip(query, key, shape, strict=True))
            torch.testing.assert_close(logits[:, 5 * i, j], displacements[(slice(None), *index)])


def test_a_window_larger_than_the_grid_is_refused():
    """MONAI's Swin clips it and goes on with the indices of the unclipped one."""
    with pytest.raises(UsageError, match="window"):
        Attention(16, HEADS, pattern=Window((7, 7, 7)))(torch.randn(1, 4, 6, 3, 16))


def test_tokens_are_removed_in_evaluation_too():
    """timm's PatchDropout does nothing outside training."""
    model = encoder().eval()
    x = torch.randn(1, 1, 8, 8, 8)
    kept = torch.tensor([[0, 3, 5]])
    assert model(x, keep=kept).patches.shape[1] == 3
    assert not torch.equal(model.pool(model(x, keep=kept)), model.pool(model(x)))


def saved(path, voxels, **header):
    image = nib.Nifti1Image(voxels, np.diag([2.0, 1.0, 1.0, 1.0]))
    image.header.set_qform(image.affine, code=1)
    image.header.set_sform(image.affine, code=1)
    for name, value in header.items():
        getattr(image.header, name)(*value)
    nib.save(image, path)
    return path


def test_one_nan_voxel_does_not_spread(tmp_path):
    """MONAI's NormalizeIntensity and ScaleIntensity make every voxel NaN of it, without a word."""
    voxels = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    voxels[1, 2, 3] = np.nan
    path = saved(tmp_path / "scan.nii", voxels)
    with pytest.raises(DataError, match=r"scan\.nii.*1 .*NaN"):
        read(path)
    assert torch.isfinite(Percentile()(read(path, nonfinite="fill")).data).all()


def test_a_files_scale_is_applied(tmp_path):
    """MONAI's reader with to_gpu leaves it out, and HU are wrong."""
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = saved(tmp_path / "ct.nii", stored, set_slope_inter=(2.0, -1024.0))
    wanted = nib.load(path).get_fdata()
    assert wanted.min() < -1000
    np.testing.assert_allclose(read(path).data[0].numpy(), wanted)


def test_geometry_is_not_put_right_in_silence(tmp_path):
    """MONAI rectifies an affine by pixdim without a word; vitkit asks."""
    path = saved(tmp_path / "scan.nii", np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32))
    raw = bytearray(path.read_bytes())
    raw[76:92] = np.array([1, 5, 5, 5], "<f4").tobytes()  # pixdim
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"scan\.nii"):
        read(path)
