"""What every family of covariance functions has in common."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Density(nn.Module, Recorded, ABC):
    r"""A stationary covariance function on :math:`\mathbb{R}^n`, one per head, given by its spectral density.

    The pair is

    .. math:: b(r) = (2\pi)^{-n} \int S(k)\, e^{i k \cdot r}\, dk

    with :math:`k` an angular frequency in radians per unit of the grid. :math:`S \ge 0` makes :math:`b` positive definite
    (Bochner). Every family has per head an output scale :math:`\sigma^2 = b(0)` in logits, and per head and axis a length scale
    :math:`\ell_i` in the grid's unit. Both are held as logarithms, so that any gradient step leaves them positive.

    Args:
        num_heads: Heads, each with its own scales.
        ndim: Axes of the grid.
        lengthscale: Initial length scale, in the grid's unit (pixels or mm). With ``spread`` the heads start on a geometric range
            around it. One to a few patches is a good start.
        outputscale: Initial output scale, in logits.
        spread: Ratio of the longest to the shortest initial length scale over the heads; 1 starts all heads alike.

    Raises:
        UsageError: A scale that is not positive and finite, a spread below one, or no head or axis.
    """

    def __init__(
        self, num_heads: int, ndim: int, lengthscale: float = 16.0, outputscale: float = 1.0, spread: float = 4.0
    ) -> None:
        super().__init__()
        for name, count in (("num_heads", num_heads), ("ndim", ndim)):
            if count < 1:
                raise UsageError(f"{name}={count} in {type(self).__name__}", "at least one", f"Set {name} to the encoder's.")
        for name, value, least in (("lengthscale", lengthscale, 0.0), ("outputscale", outputscale, 0.0), ("spread", spread, 1.0)):
            if not math.isfinite(value) or value <= 0 or value < least:
                raise UsageError(
                    f"{name}={value} in {type(self).__name__}",
                    f"a finite number {'of at least 1' if least else 'above 0'}",
                    "Give the scale itself, not its logarithm.",
                )
        self.num_heads, self.ndim = num_heads, ndim
        steps = torch.linspace(-0.5, 0.5, num_heads) if num_heads > 1 else torch.zeros(1)
        log_lengthscale = math.log(lengthscale) + steps * math.log(spread)
        self.raw_lengthscale = nn.Parameter(log_lengthscale[:, None].repeat(1, ndim))
        self.raw_outputscale = nn.Parameter(torch.full((num_heads,), math.log(outputscale)))

    @property
    def lengthscale(self) -> Float[Tensor, "heads ndim"]:
        """Length scale of each head along each axis, in the grid's unit."""
        return self.raw_lengthscale.exp()

    @property
    def outputscale(self) -> Float[Tensor, " heads"]:
        """Output scale of each head, the covariance at displacement zero, in logits."""
        return self.raw_outputscale.exp()

    @abstractmethod
    def covariance(self, displacement: Float[Tensor, "*points ndim"]) -> Float[Tensor, "heads *points"]:
        """Covariance in logits at each displacement, in the grid's unit."""

    @abstractmethod
    def density(self, frequency: Float[Tensor, "*points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density at each angular frequency, in logits times the grid's unit to the power n."""

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance at every displacement of a grid: shape (heads, 2L₁-1, ..., 2Lₙ-1), in logits.

        A family whose covariance factors over the axes does this without visiting every displacement.
        """
        return self.covariance(grid.displacements(device=self.raw_outputscale.device, dtype=self.raw_outputscale.dtype))

    def extra_repr(self) -> str:
        """What printing the module shows."""
        return f"num_heads={self.num_heads}, ndim={self.ndim}"
