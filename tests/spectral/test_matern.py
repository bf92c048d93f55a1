from functools import partial

import pytest
import torch
from gpytorch.kernels import MaternKernel
from scipy.special import gamma, kv
from sklearn.gaussian_process import kernels

from tests.spectral.contract import DensityContract
from tests.spectral.oracles import gpytorch_covariance, sklearn_covariance
from tests.spectral.quadrature import inverse_transform
from vitkit.errors import UsageError
from vitkit.spectral import Exponential, Matern


class MaternContract(DensityContract):
    nu: float

    @property
    def family(self):
        return partial(Matern, nu=self.nu)

    @pytest.mark.parametrize("ndim", [1, 2, 3])
    def test_agrees_with_others(self, ndim):
        density = self.make(ndim)
        points = torch.randn(20, ndim, dtype=torch.float64) * 20
        found = density.covariance(points)
        wanted = gpytorch_covariance(MaternKernel(nu=self.nu, ard_num_dims=ndim), density, points)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)
        wanted = sklearn_covariance(partial(kernels.Matern, nu=self.nu), density, points)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)

    def test_is_the_bessel_form(self):
        density = Matern(1, 1, nu=self.nu, lengthscale=1.0).double()
        d = torch.tensor([[0.1], [1.0], [7.0]], dtype=torch.float64)
        x = (2 * self.nu) ** 0.5 * d[:, 0].numpy()
        wanted = 2 ** (1 - self.nu) / gamma(self.nu) * x**self.nu * kv(self.nu, x)
        assert density.covariance(d)[0].tolist() == pytest.approx(wanted, rel=1e-12)

    def test_fourier_pair_off_the_axes(self):
        density = self.make(2, lengthscale=1.5, rotation=True)
        wanted = density.covariance(torch.tensor([[0.6, -1.1]], dtype=torch.float64))[:, 0].detach()
        assert inverse_transform(density, [0.6, -1.1], 160) == pytest.approx(wanted.numpy(), rel=1e-7)


class TestMatern12(MaternContract):
    nu = 0.5

    def test_on_a_line_it_is_the_exponential(self):
        points = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
        torch.testing.assert_close(
            Matern(2, 1, nu=0.5).double().covariance(points), Exponential(2, 1).double().covariance(points), rtol=1e-12, atol=0
        )


class TestMatern32(MaternContract):
    nu = 1.5


class TestMatern52(MaternContract):
    nu = 2.5


@pytest.mark.parametrize("nu", [0.0, 1.0, -0.5, float("nan"), float("inf")])
def test_another_smoothness(nu):
    with pytest.raises(UsageError, match=r"0\.5, 1\.5 or 2.5"):
        Matern(2, 2, nu=nu)
