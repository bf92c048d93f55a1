"""The rational quadratic covariance."""

import math

import torch
from jaxtyping import Float
from scipy.special import kve
from torch import Tensor, nn

from vitkit.spectral.density import PositiveCovariance, at_least_single, require_positive


class RationalQuadratic(PositiveCovariance):
    r"""Rational quadratic covariance: Gaussians of all length scales, mixed by a gamma distribution; a heavy tail.

    .. math::
        S(k) = \sigma^2 \prod_i \ell_i\, \frac{2 (2\pi)^{n/2} \alpha^\alpha}{\Gamma(\alpha)}
               \Bigl(\frac{w^2}{2\alpha}\Bigr)^{(\alpha - n/2)/2} K_{\alpha - n/2}(\sqrt{2\alpha}\, w), \qquad
        b(r) = \sigma^2 \Bigl(1 + \frac{d^2}{2\alpha}\Bigr)^{-\alpha}

    with :math:`d^2 = \sum_i r_i^2/\ell_i^2` and :math:`w^2 = \sum_i \ell_i^2 k_i^2`. The density follows from
    :math:`b = \int p(\tau)\, e^{-\tau d^2/2}\, d\tau`, :math:`\tau \sim \text{Gamma}(\alpha, \alpha)`, and is infinite at zero
    frequency for :math:`\alpha \le n/2`. It is for looking at: it is not differentiable here, the covariance is.

    Args:
        num_heads: Heads, each with its own scales.
        ndim: Axes of the grid.
        alpha: Initial :math:`\alpha`, learned per head; the smaller the heavier the tail, and Gaussian at infinity.
        lengthscale: As the further ones in :class:`~vitkit.spectral.Density`.
        outputscale: Initial output scale, in logits.
        spread: Ratio of the longest to the shortest initial length scale over the heads.
        rotation: Whether each head also learns a rotation of its axes.

    Raises:
        UsageError: An alpha that is not positive and finite, or scales that cannot be.

    >>> density = RationalQuadratic(num_heads=1, ndim=2, alpha=1.0, lengthscale=2.0)
    >>> density.covariance(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).detach()
    tensor([[1.0000, 0.6667]])
    """

    def __init__(
        self,
        num_heads: int,
        ndim: int,
        alpha: float = 1.0,
        lengthscale: float = 16.0,
        outputscale: float = 1.0,
        spread: float = 4.0,
        rotation: bool = False,
    ) -> None:
        super().__init__(num_heads, ndim, lengthscale, outputscale, spread, rotation)
        require_positive("RationalQuadratic", alpha=alpha)
        self.raw_alpha = nn.Parameter(torch.full((num_heads,), math.log(alpha)))

    @property
    def alpha(self) -> Float[Tensor, " heads"]:
        """Shape of each head's mixture, without unit."""
        return at_least_single(self.raw_alpha).exp()

    def unit_log_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Logarithm of the covariance of unit scales at a displacement in length scales."""
        alpha = self._per_head(self.alpha, u)
        return -alpha * torch.log1p(u.square().sum(-1) / (2 * alpha))

    def unit_density(self, w: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density of unit scales at an angular frequency in radians per length scale; without gradient."""
        with torch.no_grad():
            alpha = self._per_head(self.alpha, w).double()
            square = w.double().square().sum(-1)
            order, argument = alpha - self.ndim / 2, (2 * alpha * square).sqrt()
            constant = math.log(2) + self.ndim / 2 * math.log(2 * math.pi) + alpha * alpha.log() - torch.lgamma(alpha)
            # Scaled by exp(argument) the Bessel function does not underflow first; where it overflows, its limit is exact.
            bessel = torch.from_numpy(kve(order.cpu().numpy(), argument.clamp(max=1e8).cpu().numpy())).to(w.device)
            away = (constant + order / 2 * (square / (2 * alpha)).log() + bessel.log() - argument).exp()
            at_zero = (constant + (order - 1) * math.log(2) + torch.lgamma(order) - order * (2 * alpha).log()).exp()
            at_zero = torch.where(order > 0, at_zero, torch.inf)
            return torch.where(torch.isfinite(bessel), away, at_zero).to(w.dtype)
