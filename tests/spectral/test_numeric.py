"""Densities without a closed covariance, tried on some that have one."""

import math
from typing import ClassVar

import pytest
import torch
from torch import nn

from tests.spectral.contract import DensityContract
from vitkit.bias import SpectralBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import build, recipe
from vitkit.spectral import Exponential, Gaussian, Matern, NumericDensity


class NumericGaussian(NumericDensity):
    """Without its factor, which cancels. Its cutoff and reach leave exp(-32)."""

    def __init__(self, num_heads, ndim, lengthscale=16.0, outputscale=1.0, spread=4.0, rotation=False):
        super().__init__(num_heads, ndim, lengthscale, outputscale, spread, rotation, cutoff=8.0, reach=8.0)

    def unit_density(self, w):
        return (-w.square().sum(-1) / 2).exp()


class NumericMatern(NumericDensity):
    def unit_density(self, w):
        return (5 + w.square().sum(-1)) ** -(2.5 + self.ndim / 2)


class NumericExponential(NumericDensity):
    def unit_density(self, w):
        return (1 / (1 + w**2)).prod(-1)


class Learned(NumericDensity):
    """A density whose power is learned."""

    def __init__(self, num_heads, ndim):
        super().__init__(num_heads, ndim, lengthscale=2.0)
        self.raw_power = nn.Parameter(torch.full((num_heads,), math.log(4.0)))

    def unit_density(self, w):
        return (4 + w.square().sum(-1)) ** -self._per_head(self.raw_power.exp(), w)


class TestNumericGaussian(DensityContract):
    family = NumericGaussian
    error = 1e-12
    nodes: ClassVar = {1: 160, 2: 160, 3: 96}

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_is_the_closed_form(self, ndim):
        numeric, closed = self.make(ndim), Gaussian(2, ndim).double()
        closed.load_state_dict(numeric.state_dict())
        points = torch.randn(30, ndim, dtype=torch.float64) * 30
        torch.testing.assert_close(numeric.covariance(points), closed.covariance(points), rtol=0, atol=1e-12)
        torch.testing.assert_close(numeric.density(points / 100), closed.density(points / 100), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("ndim", "cutoff"), [(1, 16.0), (2, 16.0), (2, 40.0), (3, 12.0)])
def test_the_error_is_within_what_is_stated(ndim, cutoff):
    numeric = NumericMatern(2, ndim, lengthscale=1.0, cutoff=cutoff).double()
    closed = Matern(2, ndim, nu=2.5, lengthscale=1.0).double()
    points = torch.randn(300, ndim, dtype=torch.float64) * 3
    found = (numeric.covariance(points) - closed.covariance(points)).abs().amax(1)
    stated = 2 * numeric.beyond_nyquist() + 2**ndim * numeric.beyond_reach()
    assert (found <= stated).all()
    assert (stated < 1e-2).all()


def test_the_shares_are_the_true_ones():
    """Of 1/(1 + w²) the share 1 - 2/π atan(c) lies beyond c, and exp(-8) is left at 8 length scales."""
    numeric = NumericExponential(1, 1, cutoff=100.0).double()
    assert numeric.beyond_nyquist().item() == pytest.approx(1 - 2 / math.pi * math.atan(100.5), rel=0.02)
    assert numeric.beyond_reach().item() == pytest.approx(math.exp(-8), rel=0.1)
    closed = Exponential(1, 1).double()
    points = torch.linspace(0, 120, 200, dtype=torch.float64)[:, None]
    found = (numeric.covariance(points) - closed.covariance(points)).abs().max()
    assert found <= 2 * numeric.beyond_nyquist().item() + 2 * numeric.beyond_reach().item()


def test_beyond_the_reach_it_is_zero():
    numeric = NumericGaussian(2, 2, lengthscale=1.0, spread=4.0)
    found = numeric.covariance(torch.tensor([[8.5, 0.0], [0.0, 15.0]]))
    assert found[0].eq(0).all()
    assert found[1].gt(0).all()
    found[0].sum().backward()
    assert numeric.raw_lengthscale.grad.eq(0).all()


@pytest.mark.parametrize("grid", [Grid((5,)), Grid((6, 3), (1.0, 2.5)), Grid((2, 3, 4), (0.5, 1.0, 3.0))])
def test_single_precision(grid):
    numeric = NumericMatern(2, grid.ndim, lengthscale=2.0)
    torch.testing.assert_close(numeric.table(grid), numeric.double().table(grid).float(), rtol=0, atol=2e-5)


def test_in_chunks_it_is_the_same(monkeypatch):
    numeric = NumericMatern(2, 2, lengthscale=2.0).double()
    points = torch.randn(10, 2, dtype=torch.float64)
    whole = numeric.covariance(points)
    whole.sum().backward()
    gradient = numeric.raw_lengthscale.grad.clone()
    numeric.zero_grad()
    monkeypatch.setattr("vitkit.spectral.numeric._ELEMENTS", 1)
    parts = numeric.covariance(points)
    parts.sum().backward()
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(numeric.raw_lengthscale.grad, gradient)


def test_its_own_parameters_learn():
    density = Learned(2, 2).double()
    names, values = zip(*density.named_parameters(), strict=True)
    density.forward = density.table

    def function(*parameters):
        return torch.func.functional_call(density, dict(zip(names, parameters, strict=True)), (Grid((2, 2)),))

    assert "raw_power" in names
    assert torch.autograd.gradcheck(function, values, fast_mode=True)


def test_it_is_a_bias_and_a_recipe():
    bias = SpectralBias(NumericMatern(2, 2, lengthscale=2.0, cutoff=20.0))
    assert build(recipe(bias)).density.cutoff == 20.0
    assert (torch.linalg.eigvalsh(bias.double()(Grid((4, 4)))) > 0).all()


def poles(w):
    return 1 / (1 + w.square().sum(-1))


@pytest.mark.parametrize(
    ("ndim", "formula", "message"),
    [
        (2, poles, "not integrable at infinity in 2 dimensions"),
        (3, poles, "not integrable at infinity in 3 dimensions"),
        (1, lambda w: (1 + w.abs().sum(-1)) ** -1.0, "not integrable at infinity in 1 dim"),
        (2, lambda w: torch.ones_like(w[..., 0]), "not integrable at infinity"),
        (1, lambda w: (-w.square().sum(-1)).exp() / w.abs().sum(-1), "not integrable at zero"),
        (2, lambda w: (-w.square().sum(-1)).exp() / w.square().sum(-1), "not integrable at zero in 2"),
        (2, lambda w: (1 - w.square().sum(-1)) * (-w.square().sum(-1)).exp(), "is negative at w = .*nowhere negative"),
        (1, lambda w: -(-w.square().sum(-1)).exp(), "is negative"),
        (1, lambda w: (w.sum(-1) * 1e3).exp() * 0, "is not finite at w = .* nan"),
        (2, lambda w: (-w.square().sum(-1)).exp().log().sqrt(), "is not finite"),
        (1, lambda w: (-(w.sum(-1) - 1).square()).exp(), "is not even"),
        (
            1,
            lambda w: 1 / (1 + w.square().sum(-1)),
            "% of the density of .* lies beyond its Nyquist frequency of 16 .*Raise cutoff",
        ),
        (2, lambda w: (1e-3 + w.square().sum(-1)) ** -2, "covariance of .* is still .* at 8 length scales.*Raise reach"),
        (1, lambda w: torch.zeros_like(w[..., 0]), "is zero"),
    ],
)
def test_densities_that_cannot_be(ndim, formula, message):
    class Wrong(NumericDensity):
        def unit_density(self, w):
            return formula(w)

    with pytest.raises(UsageError, match=message):
        Wrong(2, ndim).table(Grid((2,) * ndim))


@pytest.mark.parametrize("argument", ["cutoff", "reach", "tolerance"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_ranges_that_cannot_be(argument, value):
    with pytest.raises(UsageError, match=argument):
        NumericMatern(2, 2, **{argument: value})


def test_integrable_poles_in_one_dimension_pass():
    class Poles(NumericDensity):
        def unit_density(self, w):
            return poles(w)

    Poles(1, 1, cutoff=100.0).check()
