"""Inputs of several sizes, padded to one: what was added must not show."""

import pytest
import torch

from vitkit.attention import AlongAxis, Axial, Full, Neighbourhood, Window
from vitkit.bias import SpectralBias
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential

PATTERNS = {
    "full": Full(),
    "axial": Axial(),
    "axial, gated": Axial(gates=3),
    "axial, window": Axial(window=(2, 4, 2)),
    "axes in turn": [AlongAxis(0), AlongAxis(1), AlongAxis(2)],
    "axes one after another": [[AlongAxis(0), AlongAxis(1), AlongAxis(2)]],
    "window": Window(2),
    "neighbourhood": Neighbourhood(1),
    "several": [Full(), Axial(), Window(2)],
}
SMALL, LARGE = (7, 8, 5), (12, 16, 12)


def make(pattern, norm="none", pool="mean", class_token=False):
    torch.manual_seed(0)
    return Encoder(
        PatchEmbed(ndim=3, patch_size=(3, 2, 3), in_chans=2, dim=16, norm=norm),
        depth=3,
        num_heads=2,
        bias=SpectralBias(Exponential(2, 3, lengthscale=4.0)),
        pattern=pattern,
        pool=pool,
        class_token=class_token,
    ).double()


def padded(x):
    """As large as the larger size, with noise in what is added, and which voxels are real."""
    whole = torch.randn(len(x), x.shape[1], *LARGE, dtype=x.dtype)
    whole[:, :, : SMALL[0], : SMALL[1], : SMALL[2]] = x
    real = torch.zeros(len(x), *LARGE, dtype=torch.bool)
    real[:, : SMALL[0], : SMALL[1], : SMALL[2]] = True
    return whole, real


@pytest.mark.parametrize("norm", ["none", "patch", "channel"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_padding_does_not_show(pattern, norm):
    """The pooled vector, and its gradient, are those of the scan without padding."""
    encoder = make(PATTERNS[pattern], norm)
    x = torch.randn(2, 2, *SMALL, dtype=torch.float64, requires_grad=True)
    wanted = encoder.pool(encoder(x))
    whole, real = padded(x)
    found = encoder.pool(encoder(whole, real=real))
    torch.testing.assert_close(found, wanted)
    cotangent = torch.randn_like(wanted)
    for mine, theirs in zip(
        torch.autograd.grad(found, [x, *encoder.parameters()], cotangent, allow_unused=True),
        torch.autograd.grad(wanted, [x, *encoder.parameters()], cotangent, allow_unused=True),
        strict=True,
    ):
        if theirs is not None:
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("pattern", ["full", "axial", "window"])
def test_nor_through_a_class_token(pattern):
    encoder = make(PATTERNS[pattern], pool="token", class_token=True)
    x = torch.randn(2, 2, *SMALL, dtype=torch.float64)
    whole, real = padded(x)
    torch.testing.assert_close(encoder.pool(encoder(whole, real=real)), encoder.pool(encoder(x)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_where_all_is_real_nothing_changes(pattern):
    encoder = make(PATTERNS[pattern])
    x = torch.randn(2, 2, *LARGE, dtype=torch.float64)
    real = torch.ones(2, *LARGE, dtype=torch.bool)
    torch.testing.assert_close(encoder(x, real=real).patches, encoder(x).patches)


def test_samples_of_one_batch_differ_in_what_is_real():
    encoder = make(Axial())
    x = torch.randn(2, 2, *LARGE, dtype=torch.float64)
    real = torch.ones(2, *LARGE, dtype=torch.bool)
    real[0, 6:] = False
    both = encoder.pool(encoder(x, real=real))
    torch.testing.assert_close(both[:1], encoder.pool(encoder(x[:1, :, :6])))
    torch.testing.assert_close(both[1:], encoder.pool(encoder(x[1:])))


def test_removal_and_padding_together():
    encoder = make(Full())
    x = torch.randn(2, 2, *LARGE, dtype=torch.float64)
    real = torch.ones(2, *LARGE, dtype=torch.bool)
    real[:, 6:] = False
    tokens = len(Grid((4, 8, 4)))
    kept = torch.arange(0, tokens, 3).expand(2, -1)
    found = encoder.pool(encoder(x, keep=kept, real=real))
    of_small = kept[:, kept[0] < tokens // 2]
    torch.testing.assert_close(found, encoder.pool(encoder(x[:, :, :6], keep=of_small)))


def test_checkpointing_and_a_classifier_take_it():
    encoder = make(Axial()).float()
    encoder.checkpointing = True
    model = Classifier(encoder, 3, Preprocess(LARGE, mean=(0.5, 0.5), std=(0.5, 0.5), spacing=(2.0, 1.0, 1.0)))
    x = torch.rand(2, 2, *SMALL)
    whole, real = padded(x)
    torch.testing.assert_close(model(whole, real=real), model(x))
    model(whole, real=real).sum().backward()
    assert model.head.weight.grad is not None
