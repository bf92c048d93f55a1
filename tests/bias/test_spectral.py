import pytest
import torch
from torch import nn

from tests.bias.contract import GRID, BiasContract
from vitkit.bias import SpectralBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Exponential, Gaussian, Matern, NumericDensity, RationalQuadratic, SpectralMixture

POSITIVE = [Exponential, Gaussian, Matern, RationalQuadratic]


class TestCovariance(BiasContract):
    def make(self):
        return SpectralBias(Exponential(2, 2))


class TestRotated(BiasContract):
    def make(self):
        return SpectralBias(SpectralMixture(2, 2, rotation=True))


class TestLogarithm(BiasContract):
    def make(self):
        return SpectralBias(Matern(2, 2), form="log")


class TestPatches(BiasContract):
    def make(self):
        return SpectralBias(Exponential(2, 2, lengthscale=3.0), support="patch")


class TestPatchesByQuadrature(BiasContract):
    def make(self):
        return SpectralBias(Matern(2, 2, lengthscale=3.0), support="patch")


class TestOffset(BiasContract):
    def make(self):
        return SpectralBias(RationalQuadratic(2, 2), offset=True)


class TestOffsetOfLogarithm(BiasContract):
    def make(self):
        return SpectralBias(Exponential(2, 2, rotation=True), form="log", offset=True)


@pytest.mark.parametrize("family", [*POSITIVE, SpectralMixture])
def test_it_is_the_covariance_between_coordinates(family):
    density = family(2, 2).double()
    points = GRID.coordinates(dtype=torch.float64)
    wanted = density.covariance(points[:, None] - points[None])
    torch.testing.assert_close(SpectralBias(density)(GRID), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("form", ["covariance", "log"])
@pytest.mark.parametrize("family", POSITIVE)
def test_scales_trained_on_one_grid_are_exact_on_another(family, form):
    """Twice as many tokens at half the spacing over the same field, no resampling: where tokens coincide so do the logits."""
    bias = SpectralBias(family(2, 2, lengthscale=3.0), form=form).double()
    coarse, fine, wider = Grid((3, 3), (4.0, 4.0)), Grid((5, 5), (2.0, 2.0)), Grid((6, 3), (4.0, 4.0))
    truth = SpectralBias(family(2, 2, lengthscale=7.0, outputscale=2.0), form=form).double()
    truth(coarse)
    before = {name: value.clone() for name, value in bias.state_dict().items()}
    optimiser = torch.optim.Adam(bias.parameters(), 0.1)
    for _ in range(30):
        optimiser.zero_grad()
        nn.functional.mse_loss(bias(coarse), truth(coarse).detach()).backward()
        optimiser.step()
    assert not torch.equal(before["density.raw_lengthscale"], bias.density.raw_lengthscale)
    logits = bias(coarse)
    same = bias(fine).view(2, 5, 5, 5, 5)[:, ::2, ::2, ::2, ::2].reshape(2, 9, 9)
    torch.testing.assert_close(same, logits, rtol=1e-14, atol=1e-14)
    part = bias(wider).view(2, 6, 3, 6, 3)[:, 3:, :, 3:].reshape(2, 9, 9)
    torch.testing.assert_close(part, logits, rtol=1e-14, atol=1e-14)
    # And everywhere else they are the formula's.
    points = fine.coordinates(dtype=torch.float64)
    wanted = bias.density.covariance(points[:, None] - points[None])
    if form == "log":
        scale = bias.density.outputscale[:, None, None]
        wanted = scale * (wanted / scale).log()
    torch.testing.assert_close(bias(fine), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("support", [None, "patch"])
@pytest.mark.parametrize("family", [*POSITIVE, SpectralMixture])
def test_it_is_positive_definite_on_a_grid(family, support):
    logits = SpectralBias(family(3, 2, lengthscale=3.0), support=support).double()(Grid((6, 5), (2.0, 3.0)))
    assert (torch.linalg.eigvalsh(logits) > -1e-10).all()


def test_the_logarithm_of_the_exponential_is_a_sum_of_distances():
    bias = SpectralBias(Exponential(2, 2, outputscale=1.5), form="log").double()
    r = GRID.displacements(dtype=torch.float64).abs()
    wanted = -1.5 * (r[None] / bias.density.lengthscale[:, None, None]).sum(-1)
    torch.testing.assert_close(bias.table(GRID), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("lengthscale", [1e-6, 0.05])
@pytest.mark.parametrize("family", POSITIVE)
def test_the_logarithm_is_finite_where_the_covariance_vanishes(family, lengthscale):
    bias = SpectralBias(family(1, 2, lengthscale=lengthscale), form="log")
    logits = bias(Grid((3, 3), (16.0, 16.0)))
    assert logits.isfinite().all()
    logits.sum().backward()
    assert bias.density.raw_lengthscale.grad.isfinite().all()


def test_a_wide_patch_and_a_narrow_one():
    """An average over patches that are as points changes nothing; over wide ones it lowers the diagonal most."""
    density = Exponential(1, 2, lengthscale=100.0).double()
    for spacing, least, most in ((1e-3, 1 - 1e-4, 1), (500.0, 0.0, 0.2)):
        grid = Grid((3, 3), (spacing, spacing))
        ratio = SpectralBias(density, support="patch").table(grid)[0, 2, 2] / density.outputscale
        assert least <= ratio <= most


def test_an_offset_breaks_the_symmetry():
    bias = SpectralBias(Gaussian(1, 2, lengthscale=2.0), offset=True).double()
    assert torch.equal(bias(GRID), bias(GRID).mT)
    with torch.no_grad():
        bias.offset.copy_(torch.tensor([[2.0, 0.0]]))
    logits = bias(GRID)
    assert not torch.allclose(logits, logits.mT)
    # The largest logit is where query less key is the offset: one token down.
    assert logits[0, 4].argmax() == 0


def test_the_offset_learns_from_zero():
    bias = SpectralBias(Gaussian(1, 1, lengthscale=2.0), offset=True)
    grid = Grid((5,))
    bias.table(grid)[0, -1].backward()
    assert bias.offset.grad.abs() > 0


class Numeric(NumericDensity):
    def unit_density(self, w):
        return (-w.square().sum(-1) / 2).exp()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SpectralBias(SpectralMixture(2, 2), form="log"),
            'form="log" of SpectralMixture, whose covariance may be negative',
        ),
        (lambda: SpectralBias(Numeric(2, 2), form="log"), "may be negative"),
        (lambda: SpectralBias(Exponential(2, 2), form="cosine"), "form='cosine'"),
        (lambda: SpectralBias(Exponential(2, 2), support="disc"), "support='disc'"),
        (lambda: SpectralBias(Exponential(2, 2), support="patch", form="log"), "with the logarithm"),
        (lambda: SpectralBias(Exponential(2, 2), support="patch", offset=True), "with an offset"),
        (
            lambda: SpectralBias(Exponential(2, 2))(Grid((2, 2, 2))),
            "density of 2 axes on a grid of 3.*Set the density's ndim to 3",
        ),
        (lambda: SpectralBias(Exponential(2, 3))(Grid((2, 2))), "density of 3 axes on a grid of 2"),
        (lambda: SpectralBias(Exponential(2, 2))(Grid((2, 2), (1.0,))), "spacing of 1 numbers"),
        (lambda: SpectralBias(Exponential(2, 2))(Grid((2, 2), (1.0, 0.0))), "spacing .*positive finite"),
    ],
)
def test_bad_input(make, message, unchecked):
    with pytest.raises(UsageError, match=message):
        make()
