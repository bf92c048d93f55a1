"""The Gaussian covariance."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.grid import Grid
from vitkit.spectral.density import PositiveCovariance, outer
from vitkit.spectral.support import unit_rule

_NODES, _WEIGHTS = unit_rule(8)


class Gaussian(PositiveCovariance):
    r"""Gaussian covariance, also called squared exponential or RBF: smooth, separable and isotropic at once.

    .. math::
        S(k) = \sigma^2 (2\pi)^{n/2} \prod_i \ell_i\; e^{-\frac12 \sum_i \ell_i^2 k_i^2}, \qquad
        b(r) = \sigma^2 e^{-\frac12 \sum_i r_i^2 / \ell_i^2}

    The arguments are those of :class:`~vitkit.spectral.Density`.

    >>> density = Gaussian(num_heads=1, ndim=2, lengthscale=2.0)
    >>> density.covariance(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).detach()
    tensor([[1.0000, 0.6065]])
    """

    def unit_log_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Logarithm of the covariance of unit scales at a displacement in length scales."""
        return -u.square().sum(-1) / 2

    def unit_density(self, w: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density of unit scales at an angular frequency in radians per length scale."""
        return (2 * math.pi) ** (self.ndim / 2) * (-w.square().sum(-1) / 2).exp()

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance at every displacement of a grid, as an outer product over the axes where they are not rotated, in logits."""
        if self.raw_rotation is not None:
            return super().table(grid)
        return outer(self.outputscale, [(-steps.square() / 2).exp() for steps in self._offsets(grid)])

    def patch_table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        r"""Covariance between averages over patches as wide as the grid's spacing :math:`p`, at every displacement, in logits.

        Per axis it is the second difference of :math:`F(t) = e^{-t^2/2} + \sqrt{\pi/2}\, t\, \operatorname{erf}(t/\sqrt2)` at
        steps of :math:`p/\ell`, over their square; by quadrature where the axes are rotated.
        """
        if self.raw_rotation is not None:
            return super().patch_table(grid)
        tables = [_averaged(steps, width) for steps, width in zip(self._offsets(grid), self._widths(grid), strict=True)]
        return outer(self.outputscale, tables)


def _averaged(steps: Float[Tensor, "heads _"], width: Float[Tensor, "heads 1"]) -> Float[Tensor, "heads _"]:
    """Correlation along one axis between averages over patches; all in length scales."""
    # In narrow patches the second difference cancels, but a Gaussian is as good as a polynomial.
    narrow, wide = width.clamp(max=1), width.clamp(min=1)
    x, weights = (torch.from_numpy(part).to(steps) for part in (_NODES, _WEIGHTS))
    nodes, weights = torch.cat([-x, x]), torch.cat([weights, weights]) * (1 - torch.cat([x, x]))
    quadrature = ((-(steps[..., None] + narrow[..., None] * nodes).square() / 2).exp() * weights).sum(-1)
    # F(t) less its asymptote √(π/2)|t|, whose own second difference is zero but at the origin.
    root = math.sqrt(math.pi / 2)
    left, middle, right = (
        (-at.square() / 2).exp() - root * at.abs() * torch.erfc(at.abs() / math.sqrt(2))
        for at in (steps - wide, steps, steps + wide)
    )
    closed = (left - 2 * middle + right + 2 * root * wide * (steps == 0)) / wide.square()
    return torch.where(width < 1, quadrature, closed)
