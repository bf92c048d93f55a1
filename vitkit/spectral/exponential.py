"""The separable exponential covariance."""

from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.grid import Grid
from vitkit.spectral.density import PositiveCovariance, outer

# 2(x - 1 + exp(-x))/x² = Σ 2(-x)^j/(j+2)!, to double precision for x < 1.
_SERIES = [2 * (-1) ** j / factorial(j + 2) for j in range(17)]


class Exponential(PositiveCovariance):
    r"""Separable exponential covariance, anisotropic per axis.

    .. math::
        S(k) = \sigma^2 \prod_i \frac{2\ell_i}{1 + \ell_i^2 k_i^2}, \qquad
        b(r) = \sigma^2 \prod_i e^{-|r_i| / \ell_i}

    It is not isotropic: its level sets are diamonds. The arguments are those of :class:`~vitkit.spectral.Density`.

    >>> density = Exponential(num_heads=1, ndim=2, lengthscale=2.0, outputscale=3.0)
    >>> density.covariance(torch.tensor([[0.0, 0.0], [2.0, 2.0]])).detach()
    tensor([[3.0000, 0.4060]])
    """

    def unit_log_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Logarithm of the covariance of unit scales at a displacement in length scales."""
        return -u.abs().sum(-1)

    def unit_density(self, w: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density of unit scales at an angular frequency in radians per length scale."""
        return (2 / (1 + w**2)).prod(-1)

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance at every displacement of a grid, as an outer product over the axes where they are not rotated, in logits."""
        if self.raw_rotation is not None:
            return super().table(grid)
        return outer(self.outputscale, [(-steps.abs()).exp() for steps in self._offsets(grid)])

    def patch_table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        r"""Covariance between averages over patches as wide as the grid's spacing :math:`p`, at every displacement, in logits.

        Per axis, with :math:`a = 1/\ell`, it is :math:`e^{-a|r|} (2 \sinh(ap/2)/(ap))^2` between two patches and
        :math:`2(ap - 1 + e^{-ap})/(ap)^2` within one; by quadrature where the axes are rotated.
        """
        if self.raw_rotation is not None:
            return super().patch_table(grid)
        tables = []
        for steps, width in zip(self._offsets(grid), self._widths(grid), strict=True):
            # The hyperbolic sine overflows where its product with the exponential does not; so would that within one patch.
            apart = steps != 0
            between = (width - steps.abs().where(apart, width)).exp() * (-torch.expm1(-width) / width).square()
            tables.append(torch.where(apart, between, _within(width)))
        return outer(self.outputscale, tables)


def _within(width: Float[Tensor, "heads one"]) -> Float[Tensor, "heads one"]:
    """Mean correlation of two points of one patch, whose width is in length scales."""
    small, large = width.clamp(max=1), width.clamp(min=1)
    series = torch.zeros_like(width)
    for coefficient in reversed(_SERIES):
        series = series * small + coefficient
    return torch.where(width < 1, series, 2 * (large + torch.expm1(-large)) / large.square())
