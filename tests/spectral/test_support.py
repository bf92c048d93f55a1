"""Averages over patches, from far narrower than the length scale to far wider."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from vitkit.grid import Grid
from vitkit.spectral import Exponential, Gaussian, Matern, patch_average


@pytest.mark.parametrize("family", [Exponential, Gaussian])
@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.3, 0.999, 1.0, 1.001, 4.0, 50.0, 1e3])
def test_closed_forms_at_every_width(family, width):
    density = family(1, 1, lengthscale=1.0).double()
    found = density.patch_table(Grid((3,), (width,)))[0].tolist()

    def wanted(lag):
        def integrand(t):
            return (1 - abs(t)) * density.covariance(torch.tensor([[(lag + t) * width]], dtype=torch.float64)).item()

        # The covariance lives within 40 length scales of r = -t.
        near = [min(max(edge, -1.0), 1.0) for edge in (-lag - 40 / width, -lag, -lag + 40 / width)]
        edges = np.unique([-1.0, 0.0, 1.0, *near])
        return sum(quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12)[0] for a, b in pairwise(edges))

    assert found == pytest.approx([wanted(lag) for lag in (-2, -1, 0, 1, 2)], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("family", [Exponential, Gaussian])
@pytest.mark.parametrize("width", [1e-4, 0.9, 1.1, 30.0, 1e3])
def test_gradients_at_every_width(family, width):
    density = family(2, 2, lengthscale=1.0, spread=1.05).double()
    names, values = zip(*density.named_parameters(), strict=True)
    density.forward = density.patch_table

    def function(*parameters):
        return torch.func.functional_call(density, dict(zip(names, parameters, strict=True)), (Grid((2, 2), (width, width)),))

    assert torch.autograd.gradcheck(function, values, fast_mode=True)


def test_a_point_is_a_patch_without_width():
    density = Matern(2, 2).double()
    grid = Grid((3, 4), (1e-9, 1e-9))
    torch.testing.assert_close(patch_average(density.covariance, grid, density.outputscale), density.table(grid))


@pytest.mark.parametrize(("ndim", "most"), [(2, 1e-4), (3, 1e-3)])
def test_a_kink_leaves_the_error_that_is_stated(ndim, most):
    """The cone of the isotropic exponential, where quadrature converges slowest, against several times as many nodes."""
    density = Matern(1, ndim, nu=0.5, lengthscale=1.0).double()
    with torch.no_grad():
        found, wanted = (patch_average(density.covariance, Grid((2,) * ndim), density.outputscale, n) for n in (None, 24))
    assert (found - wanted).abs().max() < most


def test_a_rotated_ridge_leaves_the_error_that_is_stated():
    density = Exponential(1, 2, lengthscale=1.0, rotation=True).double()
    with torch.no_grad():
        density.raw_rotation.fill_(np.pi / 4)  # where it is largest
        found, wanted = (patch_average(density.covariance, Grid((2, 2)), density.outputscale, nodes) for nodes in (None, 64))
    assert 5e-4 < (found - wanted).abs().max() < 2e-3


def test_averaging_multiplies_the_density_by_a_sinc():
    """The transform of the averaged covariance is S(k) sinc²(kp/2)."""
    density, width = Gaussian(1, 1, lengthscale=1.0).double(), 2.0
    r = torch.linspace(-14, 14, 2801, dtype=torch.float64)[:, None]
    t = torch.linspace(-width, width, 801, dtype=torch.float64)
    weight = (1 - t.abs() / width) / width
    averaged = torch.trapezoid(density.covariance(r[:, None] + t[:, None])[0].detach() * weight, t)
    found = density.patch_table(Grid((8,), (width,)))[0].detach()
    torch.testing.assert_close(found, averaged[::200], rtol=0, atol=1e-5)
    for k in (0.0, 0.7, 2.0):
        transformed = torch.trapezoid(averaged * torch.cos(k * r[:, 0]), r[:, 0])
        wanted = density.density(torch.tensor([[k]], dtype=torch.float64))[0, 0] * np.sinc(k * width / 2 / np.pi) ** 2
        assert transformed.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_in_parts_it_is_the_same(monkeypatch):
    density = Matern(2, 2, lengthscale=1.0).double()
    found = []
    for most in (2**20, 1):
        monkeypatch.setattr("vitkit.spectral.support._ELEMENTS", most)
        density.zero_grad()
        value = density.patch_table(Grid((2, 3), (1.0, 2.0)))
        value.square().sum().backward()
        found.append((value.detach(), density.raw_lengthscale.grad.clone()))
    torch.testing.assert_close(found[0], found[1])
