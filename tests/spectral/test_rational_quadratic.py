from functools import partial

import pytest
import torch
from gpytorch.kernels import RQKernel
from sklearn.gaussian_process import kernels

from tests.spectral.contract import DensityContract
from tests.spectral.oracles import gpytorch_covariance
from tests.spectral.quadrature import inverse_transform
from vitkit.errors import UsageError
from vitkit.spectral import Gaussian, RationalQuadratic


class TestRationalQuadratic(DensityContract):
    family = RationalQuadratic

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_agrees_with_gpytorch(self, ndim):
        density = RationalQuadratic(1, ndim, alpha=0.7).double()
        points = torch.randn(20, ndim, dtype=torch.float64) * 20
        kernel = RQKernel(ard_num_dims=ndim).double()
        kernel.alpha = density.alpha.detach()
        torch.testing.assert_close(density.covariance(points), gpytorch_covariance(kernel, density, points), rtol=1e-9, atol=0)

    def test_agrees_with_sklearn(self):
        density = RationalQuadratic(1, 2, alpha=0.7, lengthscale=2.0).double()
        points = torch.randn(20, 2, dtype=torch.float64) * 5
        kernel = kernels.RationalQuadratic(density.lengthscale[0, 0].item(), density.alpha.item())
        wanted = torch.from_numpy(kernel(points.numpy(), points.numpy()[:1] * 0)[:, 0])
        torch.testing.assert_close(density.covariance(points)[0], wanted, rtol=1e-9, atol=0)

    @pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5, 40.0])
    def test_fourier_pair_for_every_tail(self, alpha):
        """Below n/2 the density is infinite at zero, though integrable."""
        density = RationalQuadratic(1, 2, alpha=alpha, lengthscale=1.5).double()
        wanted = density.covariance(torch.tensor([[0.6, -1.1]], dtype=torch.float64))[:, 0].detach()
        assert inverse_transform(density, [0.6, -1.1], 160) == pytest.approx(wanted.numpy(), rel=1e-6)

    def test_density_at_zero_frequency(self):
        near = torch.tensor([[0.0, 0.0], [1e-7, 0.0]], dtype=torch.float64)
        zero, close = RationalQuadratic(1, 2, alpha=2.5).double().density(near)[0].tolist()
        assert zero == pytest.approx(close, rel=1e-6)
        assert RationalQuadratic(1, 2, alpha=1.0).double().density(near)[0, 0] == torch.inf

    def test_tends_to_a_gaussian(self):
        points = torch.randn(20, 2, dtype=torch.float64) * 16
        wanted = Gaussian(2, 2).double().covariance(points)
        # The next term of the logarithm is d⁴/8α.
        torch.testing.assert_close(RationalQuadratic(2, 2, alpha=1e8).double().covariance(points), wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_that_cannot_be(alpha):
    with pytest.raises(UsageError, match="alpha"):
        RationalQuadratic(2, 2, alpha=alpha)


def test_alpha_is_learned_per_head():
    assert partial(RationalQuadratic, alpha=2.0)(3, 2).alpha.tolist() == pytest.approx([2.0] * 3)
