import math

import pytest
import torch
from gpytorch.kernels import MaternKernel, ProductKernel

from tests.spectral.contract import DensityContract
from vitkit.spectral import Exponential


class TestExponential(DensityContract):
    family = Exponential

    def test_is_the_transform_of_c_over_two_poles(self):
        """C/((kx²+a²)(ky²+b²)) transforms to C/(4ab) exp(-a|dx| - b|dy|)."""
        a, b, c = 0.8, 1.7, 2.3
        density = Exponential(1, 2, outputscale=c / (4 * a * b)).double()
        with torch.no_grad():
            density.raw_lengthscale.copy_(torch.tensor([[1 / a, 1 / b]]).log())
            density.raw_outputscale.fill_(math.log(c / (4 * a * b)))
        k = torch.tensor([[0.0, 0.0], [1.0, -2.0]], dtype=torch.float64)
        wanted = c / ((k[:, 0] ** 2 + a**2) * (k[:, 1] ** 2 + b**2))
        torch.testing.assert_close(density.density(k)[0], wanted, rtol=1e-6, atol=0)
        r = torch.tensor([[0.3, -1.1]], dtype=torch.float64)
        torch.testing.assert_close(
            density.covariance(r)[0], c / (4 * a * b) * torch.exp(-a * r[:, 0].abs() - b * r[:, 1].abs()), rtol=1e-6, atol=0
        )

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_agrees_with_gpytorch(self, ndim):
        """There it is a product of Matérn kernels, one for each axis."""
        density = self.make(ndim, num_heads=1)
        kernel = ProductKernel(*(MaternKernel(nu=0.5, active_dims=[axis]) for axis in range(ndim))).double()
        for factor, length in zip(kernel.kernels, density.lengthscale[0].detach(), strict=True):
            factor.lengthscale = length
        points = torch.randn(20, ndim, dtype=torch.float64) * 20
        wanted = density.outputscale * kernel(points, torch.zeros_like(points[:1])).to_dense()[:, 0]
        torch.testing.assert_close(density.covariance(points)[0], wanted, rtol=1e-9, atol=1e-14)

    def test_is_separable_and_not_isotropic(self):
        density = self.make(2, num_heads=1)
        x, y, both = density.covariance(torch.tensor([[3.0, 0.0], [0.0, 4.0], [3.0, 4.0]], dtype=torch.float64))[0]
        torch.testing.assert_close(x * y, both * density.outputscale[0])
        equal = Exponential(1, 2).double()
        straight, diagonal = equal.covariance(torch.tensor([[5.0, 0.0], [3.0, 4.0]], dtype=torch.float64))[0]
        assert straight > 1.05 * diagonal
