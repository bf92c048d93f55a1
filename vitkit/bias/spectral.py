"""A bias that is a covariance function."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.bias.bias import StationaryBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Density, Gaussian, PositiveCovariance


class SpectralBias(StationaryBias):
    r"""Logits that are the covariance function of a spectral density at the displacement, or its logarithm.

    .. math:: b(r - \delta) \qquad\text{or}\qquad \sigma^2 \log\frac{b(r - \delta)}{b(0)}

    It has a handful of parameters per head, is defined on every grid and spacing, and never needs resampling. A covariance is
    bounded, so it cannot silence many far tokens; the logarithm, which for the exponential is :math:`-\sigma^2 \sum_i
    |r_i|/\ell_i`, can.

    Args:
        density: Covariance family with its scales per head and axis.
        form: ``"covariance"``, or ``"log"`` for a density whose covariance is positive everywhere.
        support: ``"patch"`` takes the covariance between averages over patches as wide as the grid's spacing, as tokens are; None
            between their centres. For the covariance form, without an offset.
        offset: Whether each head learns a shift :math:`\delta`, in the grid's unit, which begins as none. A covariance is even in
            :math:`r`; only with a shift can a head look to one side.

    Raises:
        UsageError: An unknown form or support, a logarithm of a covariance that may be negative, or options that exclude each
            other.

    >>> from vitkit.spectral import Exponential
    >>> bias = SpectralBias(Exponential(num_heads=3, ndim=2))
    >>> bias(Grid((4, 5))).shape
    torch.Size([3, 20, 20])
    """

    def __init__(
        self,
        density: Density,
        form: Literal["covariance", "log"] = "covariance",
        support: Literal["patch"] | None = None,
        offset: bool = False,
    ) -> None:
        super().__init__()
        if form not in ("covariance", "log"):
            raise UsageError(f"form={form!r} in SpectralBias", '"covariance" or "log"', "Correct form.")
        if support not in (None, "patch"):
            raise UsageError(f"support={support!r} in SpectralBias", '"patch" or none', "Correct support.")
        if form == "log" and not isinstance(density, PositiveCovariance):
            raise UsageError(
                f'form="log" of {type(density).__name__}, whose covariance may be negative',
                "a density with a positive covariance, such as Exponential or Matern",
                'Use form="covariance", or another density.',
            )
        if support and (form == "log" or offset):
            raise UsageError(
                f"support={support!r} with {'an offset' if offset else 'the logarithm'}",
                "support with the plain covariance form",
                "Leave one of them out.",
            )
        self.density, self.form, self.support = density, form, support
        self.num_heads = density.num_heads
        self.offset = nn.Parameter(torch.zeros(density.num_heads, density.ndim)) if offset else None

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Logits at every displacement of the grid.

        Raises:
            UsageError: The density has another number of axes than the grid.
        """
        density = self._density_for(grid)
        if self.form == "log" and isinstance(density, PositiveCovariance):
            table = density.log_correlation(density.displacements(grid), self.offset)
            return density.outputscale.view(-1, *(1,) * grid.ndim) * table
        if self.offset is not None:
            return density.covariance(density.displacements(grid), self.offset)
        return density.patch_table(grid) if self.support else density.table(grid)

    @property
    def rank(self) -> int | None:
        """That of the logarithm of a Gaussian, a square of the distance: two more than the axes. No other has one."""
        return self.density.ndim + 2 if self.form == "log" and isinstance(self.density, Gaussian) else None

    def grid_features(self, grid: Grid) -> tuple[Float[Tensor, "heads tokens rank"], Float[Tensor, "heads tokens rank"]] | None:
        r"""Of the logarithm of a Gaussian, :math:`-\frac{\sigma^2}2 |q - k|^2 = \sigma^2 q \cdot k - \frac{\sigma^2}2 |q|^2 -
        \frac{\sigma^2}2 |k|^2`, with places in length scales.

        Raises:
            UsageError: The density has another number of axes than the grid, or the bias has no rank.
        """
        if self.rank is None:
            return super().grid_features(grid)
        density = self._density_for(grid)
        scale = density.outputscale.view(-1, 1, 1)
        places = grid.coordinates(device=scale.device, dtype=scale.dtype)
        places = places - places.mean(0)  # the products are smaller about the middle, and so is their rounding
        query, key = density.scaled(places, self.offset), density.scaled(places)
        one = torch.ones_like(key[..., :1])
        own, other = (-scale / 2 * x.square().sum(-1, keepdim=True) for x in (query, key))
        return torch.cat([scale * query, own, one], dim=-1), torch.cat([key, one, other], dim=-1)

    def _density_for(self, grid: Grid) -> Density:
        if self.density.ndim != grid.ndim:
            raise UsageError(
                f"a density of {self.density.ndim} axes on a grid of {grid.ndim}, {grid.shape}",
                "as many axes in both",
                f"Set the density's ndim to {grid.ndim}.",
            )
        return self.density
