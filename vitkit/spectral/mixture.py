"""The spectral mixture."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.errors import UsageError
from vitkit.spectral.density import Density, at_least_single


class SpectralMixture(Density):
    r"""Spectral mixture: pairs of Gaussians in frequency, oriented waves under Gaussian envelopes in space.

    .. math::
        S(k) = \sigma^2 \prod_i \ell_i \sum_q w_q \frac{(2\pi)^{n/2}}{2} \prod_i \rho_{qi}
               \sum_\pm e^{-\frac12 \sum_i \rho_{qi}^2 (w_i \pm \mu_{qi})^2}, \qquad
        b(r) = \sigma^2 \sum_q w_q\, e^{-\frac12 \sum_i u_i^2/\rho_{qi}^2} \cos(\mu_q \cdot u)

    with :math:`u_i = r_i/\ell_i` and :math:`w_i = \ell_i k_i`. There is one cosine, of the dot product, so that a component
    prefers one direction: stripes, of any orientation, which a product of one cosine per axis cannot give. Weights sum to one.
    Frequencies are in radians per length scale: they start at 0, π/2, π, ..., each component and head in a direction of its own.

    Args:
        num_heads: Heads, each with its own scales and components.
        ndim: Axes of the grid.
        components: Gaussians Q, of each head.
        lengthscale: As the further ones in :class:`~vitkit.spectral.Density`.
        outputscale: Initial output scale, in logits.
        spread: Ratio of the longest to the shortest initial length scale over the heads.
        rotation: Whether each head also learns a rotation of its axes.

    Raises:
        UsageError: No component, or scales that cannot be.

    >>> density = SpectralMixture(num_heads=1, ndim=2, components=2, lengthscale=2.0)
    >>> density.covariance(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).detach()
    tensor([[1.0000, 0.3356]])
    """

    def __init__(
        self,
        num_heads: int,
        ndim: int,
        components: int = 3,
        lengthscale: float = 16.0,
        outputscale: float = 1.0,
        spread: float = 4.0,
        rotation: bool = False,
    ) -> None:
        super().__init__(num_heads, ndim, lengthscale, outputscale, spread, rotation)
        if components < 1:
            raise UsageError(f"components={components} in SpectralMixture", "at least one", "Three are a good start.")
        self.components = components
        self.raw_weight = nn.Parameter(torch.zeros(num_heads, components))
        self.raw_ratio = nn.Parameter(torch.zeros(num_heads, components, ndim))
        self.mean = nn.Parameter(_directions(num_heads, components, ndim) * torch.arange(components)[:, None] * math.pi / 2)

    @property
    def weight(self) -> Float[Tensor, "heads components"]:
        """Share of each component in b(0)."""
        return at_least_single(self.raw_weight).softmax(-1)

    @property
    def ratio(self) -> Float[Tensor, "heads components ndim"]:
        """Length of each component's envelope along each axis, in length scales."""
        return at_least_single(self.raw_ratio).exp()

    def unit_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Covariance of unit scales at a displacement in length scales."""
        total = torch.zeros_like(u[..., 0])
        for weight, ratio, mean in zip(self.weight.unbind(1), self.ratio.unbind(1), self.mean.unbind(1), strict=True):
            envelope = (-(u / self._per_head(ratio, u)).square().sum(-1) / 2).exp()
            total = total + self._per_head(weight, u) * envelope * (self._per_head(mean, u) * u).sum(-1).cos()
        return total

    def unit_density(self, w: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density of unit scales at an angular frequency in radians per length scale."""
        total = torch.zeros_like(w[..., 0])
        for weight, ratio, mean in zip(self.weight.unbind(1), self.ratio.unbind(1), self.mean.unbind(1), strict=True):
            length, centre = self._per_head(ratio, w), self._per_head(mean, w)
            peaks = sum((-(length * (w + sign * centre)).square().sum(-1) / 2).exp() for sign in (-1, 1))
            volume = (2 * math.pi) ** (self.ndim / 2) / 2 * weight * ratio.prod(-1)
            total = total + self._per_head(volume, w) * peaks
        return total


def _directions(num_heads: int, components: int, ndim: int) -> Float[Tensor, "heads components ndim"]:
    """Unit vectors, spread evenly by the golden ratio over a half circle, in three dimensions or more over a half sphere."""
    index = torch.arange(num_heads * components)
    angle = math.pi * (index * (math.sqrt(5) - 1) / 2 % 1)
    height = (index + 0.5) / len(index) if ndim >= 3 else torch.zeros(len(index))
    radius = (1 - height**2).sqrt()
    vectors = torch.stack([height, radius * angle.sin(), radius * angle.cos()], dim=-1)
    if ndim == 1:
        vectors = torch.ones(len(index), 1)
    return nn.functional.pad(vectors, (max(ndim - 3, 0), 0))[:, -ndim:].view(num_heads, components, ndim)
