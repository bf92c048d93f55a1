"""The Matérn covariance."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.spectral.density import PositiveCovariance


class Matern(PositiveCovariance):
    r"""Matérn covariance of half-integer smoothness, isotropic in the distance in length scales.

    .. math::
        S(k) = \sigma^2 \frac{2^n \pi^{n/2}\, \Gamma(\nu + n/2)\, (2\nu)^\nu}{\Gamma(\nu)} \prod_i \ell_i
               \Bigl(2\nu + \sum_i \ell_i^2 k_i^2\Bigr)^{-(\nu + n/2)}

    with :math:`d^2 = \sum_i r_i^2/\ell_i^2`, and the closed forms

    .. math::
        b_{1/2} = \sigma^2 e^{-d}, \qquad b_{3/2} = \sigma^2 (1 + \sqrt3 d)\, e^{-\sqrt3 d}, \qquad
        b_{5/2} = \sigma^2 (1 + \sqrt5 d + \tfrac53 d^2)\, e^{-\sqrt5 d}

    (Rasmussen and Williams 2006, eq. 4.14 to 4.17). At 1/2 it is the isotropic exponential, which in more than one dimension is
    not :class:`~vitkit.spectral.Exponential`.

    Args:
        num_heads: Heads, each with its own scales.
        ndim: Axes of the grid.
        nu: Smoothness, 0.5, 1.5 or 2.5: random functions with this covariance have derivatives of every order below it.
        lengthscale: As the further ones in :class:`~vitkit.spectral.Density`.
        outputscale: Initial output scale, in logits.
        spread: Ratio of the longest to the shortest initial length scale over the heads.
        rotation: Whether each head also learns a rotation of its axes.

    Raises:
        UsageError: Another smoothness, or scales that cannot be.

    >>> density = Matern(num_heads=1, ndim=2, nu=1.5, lengthscale=2.0)
    >>> density.covariance(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).detach()
    tensor([[1.0000, 0.4834]])
    """

    def __init__(
        self,
        num_heads: int,
        ndim: int,
        nu: float = 1.5,
        lengthscale: float = 16.0,
        outputscale: float = 1.0,
        spread: float = 4.0,
        rotation: bool = False,
    ) -> None:
        super().__init__(num_heads, ndim, lengthscale, outputscale, spread, rotation)
        if nu not in (0.5, 1.5, 2.5):
            raise UsageError(
                f"nu={nu} in Matern", "0.5, 1.5 or 2.5, which have closed forms", "Use Gaussian for the limit of large nu."
            )
        self.nu = nu

    def unit_log_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Logarithm of the covariance of unit scales at a displacement in length scales."""
        # The root has no derivative at zero, where the covariance's own is zero or, at nu = 1/2, has a kink: take zero.
        square = u.square().sum(-1)
        apart = square > 0
        distance = math.sqrt(2 * self.nu) * torch.where(apart, square, 1).sqrt().where(apart, 0)
        match self.nu:
            case 0.5:
                return -distance
            case 1.5:
                return distance.log1p() - distance
            case _:
                return (distance + distance.square() / 3).log1p() - distance

    def unit_density(self, w: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density of unit scales at an angular frequency in radians per length scale."""
        n, nu = self.ndim, self.nu
        constant = 2**n * math.pi ** (n / 2) * math.gamma(nu + n / 2) * (2 * nu) ** nu / math.gamma(nu)
        return constant * (2 * nu + w.square().sum(-1)) ** -(nu + n / 2)
