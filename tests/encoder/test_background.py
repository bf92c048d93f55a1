"""Voxels of the background, and tokens that hold nothing else."""

import pytest
import torch

from vitkit.attention import Axial, Full
from vitkit.bias import SpectralBias
from vitkit.embedding import PatchEmbed, SinCosPosition
from vitkit.encoder import Classifier, Encoder
from vitkit.errors import UsageError
from vitkit.preprocess import Preprocess
from vitkit.spectral import Exponential


def _model(pattern=Full(), pool="mean", background=0.0, norm="none") -> Classifier:
    torch.manual_seed(0)
    encoder = Encoder(
        PatchEmbed(ndim=3, patch_size=2, in_chans=1, dim=24, norm=norm),
        depth=2,
        num_heads=2,
        position=SinCosPosition(),
        bias=SpectralBias(Exponential(num_heads=2, ndim=3)),
        pattern=pattern,
        pool=pool,
    )
    model = Classifier(encoder, 3, Preprocess(size=(8, 6, 10), mean=(0.3,), std=(0.2,)), background).double()
    torch.nn.init.normal_(model.head.weight)
    return model


def _shapes(samples: int = 3) -> torch.Tensor:
    """Volumes with something in a corner of each, of another size in each."""
    images = torch.zeros(samples, 1, 8, 6, 10, dtype=torch.float64)
    for index, image in enumerate(images):
        image[0, 1 : 3 + index, 2:5, 3 : 6 + index] = torch.rand(2 + index, 3, 3 + index, dtype=torch.float64) + 0.01
    return images.clamp(max=1)


@pytest.mark.parametrize("pool", ["token", "mean", "sum"])
@pytest.mark.parametrize("norm", ["none", "patch"])
def test_leaving_out_empty_tokens_is_the_same_as_masking_them(pool, norm) -> None:
    model, images = _model(pool=pool, norm=norm), _shapes()
    real = (images != 0).any(1)
    assert model._occupied(real) is not None
    masked = model.head(model.encoder.pool(model.encoder(model.preprocess.normalise(images), real=real)))
    left_out = model(images)
    torch.testing.assert_close(left_out, masked)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ways = [torch.autograd.grad(logits.square().sum(), parameters, allow_unused=True) for logits in (left_out, masked)]
    for ours, theirs in zip(*ways, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            torch.testing.assert_close(ours, theirs)


def test_a_sample_gives_the_same_alone_and_among_larger_ones() -> None:
    model, images = _model(), _shapes()
    torch.testing.assert_close(model(images[:1]), model(images)[:1])


def test_what_surrounds_the_foreground_counts_nowhere() -> None:
    model, images = _model(), _shapes()
    torch.testing.assert_close(model(images), _model(background=None)(images, real=(images != 0).any(1)))
    assert not torch.allclose(model(images), _model(background=None)(images))


def test_a_pattern_that_needs_the_whole_grid_has_it() -> None:
    model, images = _model(pattern=Axial()), _shapes()
    assert model._occupied((images != 0).any(1)) is None
    assert model(images).isfinite().all()


def test_full_images_and_empty_ones() -> None:
    model = _model()
    assert model._occupied(torch.ones(2, 8, 6, 10, dtype=torch.bool)) is None
    assert model(torch.zeros(2, 1, 8, 6, 10, dtype=torch.float64)).isfinite().all()


def test_a_sum_keeps_amounts_and_a_mean_does_not() -> None:
    images = torch.zeros(2, 1, 8, 6, 10, dtype=torch.float64)
    images[0, :, :2, :2, :2] = 1  # one token of ones
    images[1, :, :4, :2, :2] = 1  # two of them
    for pool, factor in (("sum", 2.0), ("mean", 1.0)):
        model = _model(pool=pool)
        model.encoder.position = torch.nn.Identity()
        model.encoder.position.forward = lambda tokens, grid: tokens
        model.encoder.blocks = torch.nn.ModuleList()
        one, two = model(images) - model.head.bias
        torch.testing.assert_close(two, factor * one)


def test_a_background_beyond_intensities_is_refused(unchecked) -> None:
    with pytest.raises(UsageError, match="background"):
        _model(background=2.0)
