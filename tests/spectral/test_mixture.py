import math
from typing import ClassVar

import pytest
import torch
from gpytorch.kernels import SpectralMixtureKernel

from tests.spectral.contract import DensityContract
from tests.spectral.quadrature import inverse_transform
from vitkit.errors import UsageError
from vitkit.spectral import Gaussian, SpectralMixture


class TestSpectralMixture(DensityContract):
    family = SpectralMixture
    nodes: ClassVar = {1: 160, 2: 240, 3: 110}  # its peaks are off the centre, to which the rule leans

    def test_on_a_line_it_agrees_with_gpytorch(self):
        density = self.make(1, num_heads=1)
        points = torch.randn(20, 1, dtype=torch.float64) * 20
        kernel = SpectralMixtureKernel(num_mixtures=3, ard_num_dims=1).double()
        length = density.lengthscale.detach()[0, 0]
        # GPyTorch counts in cycles per unit, and names a Gaussian by its deviation in frequency.
        kernel.mixture_weights = (density.outputscale * density.weight[0]).detach()
        kernel.mixture_means = (density.mean[0].abs() / length / (2 * math.pi)).detach().view(3, 1, 1)
        kernel.mixture_scales = (1 / (2 * math.pi * length * density.ratio[0])).detach().view(3, 1, 1)
        wanted = kernel(points, torch.zeros(1, 1, dtype=torch.float64)).to_dense()[:, 0].detach()
        torch.testing.assert_close(density.covariance(points)[0].detach(), wanted, rtol=1e-9, atol=1e-12)

    def test_is_oriented(self):
        """Along the wave it oscillates, across it does not: no product over axes."""
        density = SpectralMixture(1, 2, components=1, lengthscale=1.0).double()
        with torch.no_grad():
            density.mean.copy_(torch.tensor([[[2.0, 2.0]]]))
        step = math.pi / 4
        along, across = density.covariance(torch.tensor([[step, step], [step, -step]], dtype=torch.float64))[0].tolist()
        envelope = math.exp(-(step**2))
        assert along == pytest.approx(-envelope)
        assert across == pytest.approx(envelope)

    @pytest.mark.parametrize("displacement", [[0.6, -1.1], [0.3, 0.2, -0.5]])
    def test_fourier_pair_off_the_axes(self, displacement):
        density = self.make(len(displacement), num_heads=1, lengthscale=1.5, rotation=True)
        wanted = density.covariance(torch.tensor([displacement], dtype=torch.float64))[0].item()
        assert inverse_transform(density, displacement, 300 if len(displacement) == 2 else 110)[0] == pytest.approx(
            wanted, abs=1e-4
        )

    def test_without_frequency_it_is_a_gaussian(self):
        points = torch.randn(20, 2, dtype=torch.float64) * 20
        density = SpectralMixture(2, 2, components=1).double()
        torch.testing.assert_close(density.covariance(points), Gaussian(2, 2).double().covariance(points))

    def test_every_component_starts_elsewhere(self):
        for ndim in (1, 2, 3, 4):
            density = SpectralMixture(2, ndim, components=4)
            wanted = torch.arange(4) * math.pi / 2
            torch.testing.assert_close(density.mean.norm(dim=-1), wanted.expand(2, -1))
            if ndim > 1:
                units = density.mean[:, 1:].flatten(0, 1) / density.mean[:, 1:].flatten(0, 1).norm(dim=-1, keepdim=True)
                assert ((units @ units.T).abs().fill_diagonal_(0) < 0.999).all()

    def test_weights_sum_to_one(self):
        torch.testing.assert_close(self.make(2).weight.sum(-1), torch.ones(2, dtype=torch.float64))


def test_no_component():
    with pytest.raises(UsageError, match="components=0"):
        SpectralMixture(2, 2, components=0)
