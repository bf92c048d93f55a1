"""Faults that were found in other libraries (MONAI 1.6.1, timm, torch), and that must not be found here."""

from itertools import product
from math import prod

import nibabel as nib
import numpy as np
import pytest
import torch

from vitkit.attention import AlongAxis, Attention, Axial, Full, Pattern, Window, attend, axial, kernels
from vitkit.attention.backends.fused import Fused
from vitkit.attention.lines import Lines
from vitkit.bias import Bias, DistanceBias, LogCPBBias, NoBias, SpectralBias, TableBias
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


class Half(Pattern):
    """A query sees its own half of the sequence."""

    def allowed(self, grid):
        half = torch.arange(len(grid)) * 2 // len(grid)
        return half[:, None] == half


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


@pytest.fixture
def calls(monkeypatch):
    """Queries, keys, values and options of every call of torch's fused attention, and whether cuDNN's kernel was allowed."""
    found, own = [], kernels.scaled_dot_product_attention

    def recorded(q, k, v, **options):
        found.append((q, k, v, options, torch.backends.cuda.cudnn_sdp_enabled()))
        return own(q, k, v, **options)

    monkeypatch.setattr(kernels, "scaled_dot_product_attention", recorded)
    return found


def masked(device, dtype, shape, case, fill=None):
    """Attention by torch's kernels with a mask of each origin, the same in float64, and the tokens of both."""
    grid = Grid(shape)
    tokens = [torch.randn(2, HEADS, len(grid), 16, device=device, dtype=dtype) for _ in range(3)]
    if fill is not None:  # one number of each query and key, so that every logit is about so much
        tokens[0][..., 0], tokens[1][..., 0] = 1.0, 4.0 * fill
    inputs, exact = ([x.detach().to(kind).requires_grad_() for x in tokens] for kind in (dtype, torch.float64))
    bias = (DistanceBias(HEADS) if "bias" in case else NoBias()).requires_grad_(False).to(device)
    if case == "lines, bias":
        biases = [bias.axis(grid, index) for index in range(len(shape))]
        lines = (x.transpose(1, 2) for x in inputs)
        found = axial._fused(*lines, Lines(shape, shape), biases, None, 0.25).transpose(1, 2)
        return found, attend(*exact, grid, bias=bias.double(), pattern=Axial(), backend="axial"), inputs, exact
    real = torch.ones(2, prod(shape), dtype=torch.bool, device=device)
    real[0, ::3] = False
    options = {"pattern": Half() if "pattern" in case else Full(), "real": real if "padding" in case else None}
    found = attend(*inputs, grid, bias=bias, backend=Fused(), **options)
    return found, attend(*exact, grid, bias=bias.double(), backend="eager", **options), inputs, exact


MASKED = ["bias", "pattern", "padding", "bias, pattern, padding", "lines, bias"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "unit"), [(torch.bfloat16, 2**-9), (torch.float16, 2**-12)])
@pytest.mark.parametrize("case", MASKED)
def test_a_mask_has_the_type_of_the_queries(case, dtype, unit, device, calls):
    """Torch's cuDNN kernel reads a mask of float32 as if it were of half precision (pytorch/pytorch#191612)."""
    found, wanted, inputs, exact = masked(device, dtype, (6, 8), case)
    assert {options["attn_mask"].dtype for _, _, _, options, _ in calls} == {dtype}
    cotangent = torch.randn_like(wanted).to(dtype)
    mine = torch.autograd.grad(found, inputs, cotangent)
    theirs = torch.autograd.grad(wanted, exact, cotangent.double())
    for one, other in zip((found, *mine), (wanted, *theirs), strict=True):
        # Rounding enters at the mask, the weights, the output and each gradient, as in tests/attention/test_backends.py.
        assert (one.double() - other).abs().max() <= 20 * unit * max(float(other.detach().abs().max()), 1.0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("count", [64, 192, 704])
@pytest.mark.parametrize("case", MASKED)
def test_gradients_are_numbers_at_any_length(case, count, dtype, device, calls):
    """With a mask and N % 128 == 64, torch's cuDNN kernel makes NaN of queries whose logits are low (pytorch/pytorch#196678)."""
    found, _, inputs, _ = masked(device, dtype, (count,), case, fill=-120.0)
    assert not any(allowed for *_, allowed in calls)
    assert torch.backends.cuda.cudnn_sdp_enabled()  # afterwards as before
    for grad in torch.autograd.grad(found, inputs, torch.randn_like(found)):
        assert grad.isfinite().all()


def test_cudnns_kernel_is_left_where_it_is_right(calls):
    """Without a mask, at other lengths, and without gradients."""
    masked("cpu", torch.bfloat16, (64,), "none")
    masked("cpu", torch.bfloat16, (63,), "bias")
    with torch.no_grad():
        masked("cpu", torch.bfloat16, (64,), "bias")
    assert [allowed for *_, allowed in calls] == [True] * 3


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bias", ["spectral", "log-CPB"])
def test_a_bias_may_be_all_that_learns(bias, device, calls):
    """Torch's kernel reads memory that is not there if nothing but the mask needs a gradient (pytorch/pytorch#188302)."""
    grid, own = Grid((6, 8)), BIASES[bias](2).to(device)
    q, k, v = (torch.randn(2, HEADS, len(grid), 16, device=device) for _ in range(3))
    found = attend(q, k, v, grid, bias=own, backend=Fused())
    [(*tokens, options, _)] = calls
    assert options["attn_mask"].requires_grad
    assert any(x.requires_grad for x in tokens)
    assert not any(x.requires_grad for x in (q, k, v))
    wanted = attend(q, k, v, grid, bias=own, backend="eager")
    cotangent = torch.randn_like(wanted)
    mine, theirs = (torch.autograd.grad(out, list(own.parameters()), cotangent, allow_unused=True) for out in (found, wanted))
    for one, other in zip(mine, theirs, strict=True):
        assert (one is None) == (other is None)
        # Of sums over all pairs, of which the largest are of the order of one.
        assert one is None or (one - other).abs().max() <= 1e-5 * max(float(other.abs().max()), 1.0)
