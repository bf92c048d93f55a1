"""What every covariance family has to satisfy; a family's test inherits this and gets all of it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import build, recipe
from vitkit.spectral import Density

POINT = st.floats(-50, 50, allow_nan=False)
SCALE = st.floats(0.05, 20)


class DensityContract:
    """Property tests of a covariance family."""

    family: type[Density]

    def make(self, ndim: int, num_heads: int = 2, **kwargs) -> Density:
        """A member of the family in float64, with different scales per head and axis."""
        density = self.family(num_heads, ndim, **kwargs).double()
        with torch.no_grad():
            for parameter in density.parameters():
                parameter.add_(torch.linspace(-0.4, 0.4, parameter.numel(), dtype=torch.float64).view_as(parameter))
        return density

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    @given(data=st.data(), lengthscale=SCALE, outputscale=SCALE)
    def test_positive_definite(self, ndim, data, lengthscale, outputscale):
        points = data.draw(st.lists(st.tuples(*[POINT] * ndim), min_size=2, max_size=12))
        points = torch.tensor(points, dtype=torch.float64)
        density = self.make(ndim, lengthscale=lengthscale, outputscale=outputscale)
        gram = density.covariance(points[:, None] - points[None]).detach()
        # Rounding of an N by N symmetric matrix moves an eigenvalue by at most N eps times its norm, itself at most N b(0).
        slack = 4 * len(points) ** 2 * np.finfo(np.float64).eps * density.outputscale.detach()
        assert (torch.linalg.eigvalsh(gram).min(dim=-1).values >= -slack).all()

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    @given(data=st.data())
    def test_even_and_largest_at_zero(self, ndim, data):
        point = torch.tensor(data.draw(st.tuples(*[POINT] * ndim)), dtype=torch.float64)
        density = self.make(ndim)
        there, back, zero = density.covariance(torch.stack([point, -point, torch.zeros_like(point)])).unbind(1)
        torch.testing.assert_close(there, back, rtol=0, atol=0)
        torch.testing.assert_close(zero, density.outputscale)
        assert (there.abs() <= zero * (1 + 1e-15)).all()

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_density_is_not_negative(self, ndim):
        frequency = torch.randn(500, ndim, dtype=torch.float64) * 5
        assert (self.make(ndim).density(frequency) >= 0).all()

    @pytest.mark.parametrize("lag", [0.0, 0.7, 3.0])
    def test_fourier_pair_1d(self, lag):
        density = self.make(1, lengthscale=1.5)
        wanted = density.covariance(torch.tensor([[lag]], dtype=torch.float64))[:, 0]
        for head in range(2):
            value = _fourier_integral(lambda k, head=head: _value(density, [k], head), lag)
            assert value == pytest.approx(wanted[head].item(), rel=1e-6)

    @pytest.mark.parametrize("lag", [0.5, 2.0])
    def test_fourier_pair_2d_along_an_axis(self, lag):
        """Integrating the density over the other axis gives the spectrum of the covariance along this one."""
        density = self.make(2, num_heads=1, lengthscale=1.5)
        wanted = density.covariance(torch.tensor([[lag, 0.0]], dtype=torch.float64))[0, 0].item()

        def marginal(k: float) -> float:
            inner, _ = quad(lambda other: _value(density, [k, other], 0), 0, math.inf, epsabs=1e-9)
            return inner / math.pi

        assert _fourier_integral(marginal, lag) == pytest.approx(wanted, rel=1e-4)

    @pytest.mark.parametrize("grid", [Grid((5,)), Grid((3, 4), (1.0, 2.5)), Grid((2, 3, 4), (0.5, 1.0, 3.0))])
    def test_table_is_the_covariance_at_every_displacement(self, grid):
        density = self.make(grid.ndim)
        wanted = density.covariance(grid.displacements(dtype=torch.float64))
        torch.testing.assert_close(density.table(grid), wanted, rtol=1e-12, atol=1e-14)

    def test_units_cancel(self):
        """The same scene in millimetres and in centimetres has the same logits."""
        shape = (4, 5)
        in_mm = self.family(2, 2, lengthscale=20.0).double().table(Grid(shape, (10.0, 30.0)))
        in_cm = self.family(2, 2, lengthscale=2.0).double().table(Grid(shape, (1.0, 3.0)))
        # The scale is built in float32, whose logarithm is off by half a unit in the last place.
        torch.testing.assert_close(in_mm, in_cm, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_gradients(self, ndim):
        density = self.make(ndim)
        names, values = zip(*density.named_parameters(), strict=True)
        points = torch.randn(4, ndim, dtype=torch.float64)

        def function(*parameters):
            return torch.func.functional_call(density, dict(zip(names, parameters, strict=True)), (points,))

        density.forward = density.covariance
        assert torch.autograd.gradcheck(function, values)

    def test_recipe_makes_it_again(self):
        density = self.family(3, 2, lengthscale=5.0)
        again = build(recipe(density))
        again.load_state_dict(density.state_dict())
        grid = Grid((3, 3))
        assert torch.equal(again.table(grid), density.table(grid))

    @pytest.mark.parametrize(
        "arguments",
        [
            {"num_heads": 0, "ndim": 2},
            {"num_heads": 2, "ndim": 0},
            {"num_heads": 2, "ndim": 2, "lengthscale": 0.0},
            {"num_heads": 2, "ndim": 2, "lengthscale": -1.0},
            {"num_heads": 2, "ndim": 2, "lengthscale": math.nan},
            {"num_heads": 2, "ndim": 2, "outputscale": math.inf},
            {"num_heads": 2, "ndim": 2, "spread": 0.5},
        ],
    )
    def test_scales_that_cannot_be(self, arguments):
        with pytest.raises(UsageError, match="expected"):
            self.family(**arguments)


def _value(density: Density, frequency: list[float], head: int) -> float:
    return density.density(torch.tensor([frequency], dtype=torch.float64))[head, 0].item()


def _fourier_integral(spectrum, lag: float) -> float:
    """(1/2π) ∫ S(k) exp(ikr) dk for an even spectrum, by adaptive quadrature."""
    if lag:
        integral, _ = quad(spectrum, 0, math.inf, weight="cos", wvar=lag, epsabs=1e-9, limlst=200)
    else:
        integral, _ = quad(spectrum, 0, math.inf, epsabs=1e-9)
    return integral / math.pi
