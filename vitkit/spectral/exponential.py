"""The separable exponential covariance."""

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.grid import Grid
from vitkit.spectral.density import Density


class Exponential(Density):
    r"""Separable exponential covariance, anisotropic per axis.

    .. math::
        S(k) = \sigma^2 \prod_i \frac{2\ell_i}{1 + \ell_i^2 k_i^2}, \qquad
        b(r) = \sigma^2 \prod_i e^{-|r_i| / \ell_i}

    In two dimensions, with :math:`a = 1/\ell_x` and :math:`b = 1/\ell_y`, this is the transform pair of
    :math:`C / ((k_x^2 + a^2)(k_y^2 + b^2))`, :math:`C = 4ab\sigma^2`. It is separable and not isotropic: its level sets are
    diamonds, not circles.

    >>> density = Exponential(num_heads=1, ndim=2, lengthscale=2.0, outputscale=3.0)
    >>> density.covariance(torch.tensor([[0.0, 0.0], [2.0, 2.0]])).detach()
    tensor([[3.0000, 0.4060]])
    """

    def covariance(self, displacement: Float[Tensor, "*points ndim"]) -> Float[Tensor, "heads *points"]:
        """Covariance in logits at each displacement, in the grid's unit."""
        rates = self.lengthscale.reciprocal()
        exponent = torch.tensordot(rates, displacement.abs(), dims=([1], [displacement.ndim - 1]))
        return self._per_head(self.outputscale, displacement) * (-exponent).exp()

    def density(self, frequency: Float[Tensor, "*points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density at each angular frequency, in logits times the grid's unit to the power n."""
        lengths = self.lengthscale.view(self.num_heads, *(1,) * (frequency.ndim - 1), self.ndim)
        factors = 2 * lengths / (1 + (lengths * frequency) ** 2)
        return self._per_head(self.outputscale, frequency) * factors.prod(dim=-1)

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance at every displacement of a grid, as an outer product over the axes, in logits."""
        scale = self.raw_outputscale
        tables = [
            (-grid.offsets(axis, device=scale.device, dtype=scale.dtype).abs() / self.lengthscale[:, axis, None])
            .exp()
            .view(self.num_heads, *(-1 if other == axis else 1 for other in range(self.ndim)))
            for axis in range(self.ndim)
        ]
        return prod(tables, start=self.outputscale.view(-1, *(1,) * self.ndim))

    def _per_head(self, value: Float[Tensor, " heads"], points: Float[Tensor, "*points ndim"]) -> Float[Tensor, "heads *ones"]:
        return value.view(-1, *(1,) * (points.ndim - 1))
