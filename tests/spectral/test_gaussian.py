import pytest
import torch
from gpytorch.kernels import RBFKernel

from tests.spectral.contract import DensityContract
from tests.spectral.oracles import gpytorch_covariance
from tests.spectral.quadrature import inverse_transform
from vitkit.spectral import Gaussian


class TestGaussian(DensityContract):
    family = Gaussian

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_agrees_with_gpytorch(self, ndim):
        density = self.make(ndim)
        points = torch.randn(20, ndim, dtype=torch.float64) * 20
        wanted = gpytorch_covariance(RBFKernel(ard_num_dims=ndim), density, points)
        torch.testing.assert_close(density.covariance(points), wanted, rtol=1e-9, atol=1e-14)

    def test_fourier_pair_off_the_axes(self):
        density = self.make(2, lengthscale=1.5, rotation=True)
        wanted = density.covariance(torch.tensor([[0.6, -1.1]], dtype=torch.float64))[:, 0].detach()
        assert inverse_transform(density, [0.6, -1.1], 200) == pytest.approx(wanted.numpy(), rel=1e-7)
