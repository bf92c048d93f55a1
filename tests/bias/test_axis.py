"""A bias along one axis: what axial attention adds to its scores."""

import pytest
import torch

from vitkit.bias import SpectralBias
from vitkit.grid import Grid
from vitkit.spectral import Exponential, Gaussian, Matern, RationalQuadratic, SpectralMixture

FAMILIES = [Exponential, Gaussian, Matern, RationalQuadratic, SpectralMixture]
# A covariance that is not positive has no logarithm.
CASES = [(family, form) for family in FAMILIES for form in ("covariance", "log") if (family, form) != (SpectralMixture, "log")]
HEADS, LENGTH, SPACING = 2, 7, 2.5  # of the axis that is looked at, in tokens and mm


def make(family, ndim):
    """In float64, with scales that differ from head to head and from axis to axis."""
    density = family(HEADS, ndim).double()
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(torch.linspace(-0.3, 0.4, parameter.numel(), dtype=torch.float64).view_as(parameter))
    return density


def grid_of(axis, others, spacings):
    shape, spacing = list(others), list(spacings)
    shape.insert(axis, LENGTH)
    spacing.insert(axis, SPACING)
    return Grid(tuple(shape), tuple(spacing))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("family", "form"), CASES)
def test_it_does_not_depend_on_the_other_axes(family, form, axis):
    """Neither on how many tokens they have nor on how far apart these are."""
    bias = SpectralBias(make(family, 3), form=form)
    wanted = bias.axis(grid_of(axis, (1, 1), (1.0, 1.0)), axis)
    for others, spacings in (((3, 5), (1.0, 1.0)), ((2, 9), (0.7, 30.0))):
        assert torch.equal(bias.axis(grid_of(axis, others, spacings), axis), wanted)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("family", "form"), CASES)
def test_it_is_the_same_at_the_same_distance_in_mm(family, form, axis):
    """On two grids that share a field of view: every third token of the finer one stands on one of the coarser."""
    bias = SpectralBias(make(family, 3), form=form)
    coarse, fine = ([4, 4, 4] for _ in range(2))
    coarse[axis], fine[axis] = LENGTH, 3 * LENGTH - 2
    spacing = [1.0, 2.0, 4.0]
    finer = list(spacing)
    finer[axis] = spacing[axis] / 3
    wanted = bias.axis(Grid(tuple(coarse), tuple(spacing)), axis)
    found = bias.axis(Grid(tuple(fine), tuple(finer)), axis)[:, ::3, ::3]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def midpoints(steps, scale):
    """Frequencies from minus to plus infinity, k = tan(t) / scale, with their weights over 2π."""
    t = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps * torch.pi - torch.pi / 2
    return t.tan() / scale, 1 / (2 * steps * scale * t.cos().square())


@pytest.mark.parametrize(("axis", "ndim"), [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)])
@pytest.mark.parametrize("family", [Exponential, Gaussian, Matern])
def test_it_is_the_spectral_densitys_marginal(family, axis, ndim):
    r"""The slice of a covariance along an axis has the density that is left when the other frequencies are integrated out.

    .. math:: S_a(k_a) = (2\pi)^{1 - n} \int S(k) \prod_{i \ne a} dk_i

    In these families it is the family's own of one axis. Of a sum at midpoints of smooth periodic functions the error falls
    faster than any power of the step, and with its fourth where the Matérn density ends in the third power of a cosine.
    """
    density, one = make(family, ndim), family(HEADS, 1).double()
    scales = density.state_dict()
    one.load_state_dict(scales | {"raw_lengthscale": scales["raw_lengthscale"][:, [axis]]})
    k, weight = midpoints(512, scale=16.0)
    own = torch.linspace(0, 0.5, 5, dtype=torch.float64)  # radians per mm, of length scales near 16 mm
    mesh = torch.meshgrid(*[own if i == axis else k for i in range(ndim)], indexing="ij")
    found = density.density(torch.stack(mesh, dim=-1)).movedim(1 + axis, -1)
    for _ in range(ndim - 1):
        found = torch.einsum("h...ko,k->h...o", found, weight)
    torch.testing.assert_close(found, one.density(own[:, None]), rtol=1e-6, atol=1e-6 * float(found.detach().max()))
    grid = grid_of(axis, (3, 4)[: ndim - 1], (1.5, 20.0)[: ndim - 1])
    along = SpectralBias(one).axis(Grid((LENGTH,), (SPACING,)), 0)
    torch.testing.assert_close(SpectralBias(density).axis(grid, axis), along, rtol=1e-12, atol=1e-12)
