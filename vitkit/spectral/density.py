"""What every family of covariance functions has in common."""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded
from vitkit.spectral.support import patch_average


class Density(nn.Module, Recorded, ABC):
    r"""A stationary covariance function on :math:`\mathbb{R}^n`, one per head, given by its spectral density.

    The pair is

    .. math:: b(r) = (2\pi)^{-n} \int S(k)\, e^{i k \cdot r}\, dk

    with :math:`k` an angular frequency in radians per unit of the grid. :math:`S \ge 0` makes :math:`b` positive definite
    (Bochner). Every family has per head an output scale :math:`\sigma^2 = b(0)` in logits, and per head and axis a length scale
    :math:`\ell_i` in the grid's unit. Both are held as logarithms, so that any gradient step leaves them positive. A family says
    what its covariance and density are at unit scale; the rest follows from

    .. math::
        b(r) = \sigma^2\, b_1(u),\; u_i = (R r)_i / \ell_i, \qquad
        S(k) = \sigma^2 \prod_i \ell_i\; S_1(w),\; w_i = \ell_i (R k)_i.

    Args:
        num_heads: Heads, each with its own scales.
        ndim: Axes of the grid.
        lengthscale: Initial length scale, in the grid's unit (pixels or mm). With ``spread`` the heads start on a geometric range
            around it. One to a few patches is a good start.
        outputscale: Initial output scale, in logits.
        spread: Ratio of the longest to the shortest initial length scale over the heads; 1 starts all heads alike.
        rotation: Whether each head also learns a rotation R of its axes, which begins as none.

    Raises:
        UsageError: A scale that is not positive and finite, a spread below one, no head or axis, or a rotation of one axis.
    """

    def __init__(
        self,
        num_heads: int,
        ndim: int,
        lengthscale: float = 16.0,
        outputscale: float = 1.0,
        spread: float = 4.0,
        rotation: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for what, count in (("num_heads", num_heads), ("ndim", ndim)):
            if count < 1:
                raise UsageError(f"{what}={count} in {name}", "at least one", f"Set {what} to the encoder's.")
        require_positive(name, lengthscale=lengthscale, outputscale=outputscale)
        if not 1 <= spread <= LARGEST:
            raise UsageError(f"spread={spread} in {name}", "a finite ratio of at least 1", "Use 1 to start all heads alike.")
        if rotation and ndim == 1:
            raise UsageError(f"a rotation of one axis in {name}", "two axes or more", "Leave rotation out.")
        self.num_heads, self.ndim = num_heads, ndim
        steps = torch.linspace(-0.5, 0.5, num_heads) if num_heads > 1 else torch.zeros(1)
        log_lengthscale = math.log(lengthscale) + steps * math.log(spread)
        self.raw_lengthscale = nn.Parameter(log_lengthscale[:, None].repeat(1, ndim))
        self.raw_outputscale = nn.Parameter(torch.full((num_heads,), math.log(outputscale)))
        angles = ndim * (ndim - 1) // 2
        self.raw_rotation = nn.Parameter(torch.zeros(num_heads, angles)) if rotation else None

    @property
    def lengthscale(self) -> Float[Tensor, "heads ndim"]:
        """Length scale of each head along each axis, in the grid's unit."""
        return at_least_single(self.raw_lengthscale).exp()

    @property
    def outputscale(self) -> Float[Tensor, " heads"]:
        """Output scale of each head, the covariance at displacement zero, in logits."""
        return at_least_single(self.raw_outputscale).exp()

    @property
    def rotation(self) -> Float[Tensor, "heads ndim ndim"] | None:
        """Rotation of each head's axes, the exponential of a skew matrix of angles in radians; None without rotation."""
        if self.raw_rotation is None:
            return None
        angles = at_least_single(self.raw_rotation)
        rows, columns = torch.triu_indices(self.ndim, self.ndim, offset=1, device=angles.device)
        skew = angles.new_zeros(self.num_heads, self.ndim, self.ndim)
        heads = torch.arange(self.num_heads, device=angles.device)[:, None]
        skew = skew.index_put((heads, rows, columns), angles)
        return torch.linalg.matrix_exp(skew - skew.transpose(1, 2))

    @abstractmethod
    def unit_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Covariance of unit scales at a displacement in length scales."""

    @abstractmethod
    def unit_density(self, w: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density of unit scales at an angular frequency in radians per length scale."""

    def covariance(
        self, displacement: Float[Tensor, "*points ndim"], offset: Float[Tensor, "heads ndim"] | None = None
    ) -> Float[Tensor, "heads *points"]:
        """Covariance in logits at each displacement, in the grid's unit.

        Args:
            displacement: Where.
            offset: Subtracted from the displacement, for each head its own.

        Raises:
            UsageError: Displacements of another number of axes.
        """
        u = self.scaled(displacement, offset)
        return self._per_head(self.outputscale, u) * self.unit_covariance(u)

    def density(self, frequency: Float[Tensor, "*points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density at each angular frequency, in logits times the grid's unit to the power n.

        Raises:
            UsageError: Frequencies of another number of axes.
        """
        points = self._rotated(frequency)
        scale = self._per_head(self.outputscale * self.lengthscale.prod(-1), points)
        return scale * self.unit_density(points * self._per_head(self.lengthscale, points))

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance at every displacement of a grid: shape (heads, 2L₁-1, ..., 2Lₙ-1), in logits.

        A family that separates over the axes overrides this with an outer product.
        """
        return self.covariance(self.displacements(grid))

    def patch_table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance between averages over patches as wide as the grid's spacing, at every displacement, in logits.

        The density then has the factor sinc²(kᵢpᵢ/2) for each axis. It is computed by :func:`~vitkit.spectral.patch_average`,
        whose error is stated there; a family with a closed form overrides this.
        """
        return patch_average(self.covariance, grid, self.outputscale)

    def displacements(self, grid: Grid) -> Float[Tensor, "*displacements ndim"]:
        """Every displacement of a grid, on the density's device and in at least single precision."""
        scale = self.outputscale
        return grid.displacements(device=scale.device, dtype=scale.dtype)

    def _offsets(self, grid: Grid) -> list[Float[Tensor, "heads _"]]:
        """Every displacement along each axis, in length scales; for families that separate over the axes."""
        lengths = self.lengthscale
        return [grid.offsets(i, device=lengths.device, dtype=lengths.dtype) / lengths[:, i, None] for i in range(self.ndim)]

    def _widths(self, grid: Grid) -> list[Float[Tensor, "heads 1"]]:
        """The grid's spacing along each axis, in length scales."""
        return [spacing / length[:, None] for spacing, length in zip(grid.spacing, self.lengthscale.T, strict=True)]

    def scaled(
        self, displacement: Float[Tensor, "*points ndim"], offset: Float[Tensor, "heads ndim"] | None = None
    ) -> Float[Tensor, "heads *points ndim"]:
        """Each head's displacement along its own axes, in its own length scales."""
        points = self._rotated(displacement, offset)
        return points / self._per_head(self.lengthscale, points)

    def _rotated(
        self, points: Float[Tensor, "*points ndim"], offset: Float[Tensor, "heads ndim"] | None = None
    ) -> Float[Tensor, "heads *points ndim"]:
        if points.shape[-1] != self.ndim:
            raise UsageError(
                f"points of {points.shape[-1]} axes in {type(self).__name__}",
                f"{self.ndim} axes, as the density has",
                "Correct ndim.",
            )
        points = points.expand(self.num_heads, *points.shape)
        if offset is not None:
            points = points - self._per_head(offset, points)
        if (rotation := self.rotation) is None:
            return points
        # No matrix product: under autocast it would round distances to half precision.
        return (self._per_head(rotation, points) * points[..., None, :]).sum(-1)

    def _per_head(self, value: Float[Tensor, "heads *axes"], points: Float[Tensor, "heads *points"]) -> Tensor:
        """A value of each head, or of each head and axis, shaped to meet its points (heads, ..., ndim)."""
        return value.view(value.shape[0], *(1,) * (points.ndim - 2), *value.shape[1:])

    def extra_repr(self) -> str:
        """What printing the module shows."""
        return f"num_heads={self.num_heads}, ndim={self.ndim}"


class PositiveCovariance(Density):
    """A density whose covariance is positive everywhere, so that it has a logarithm."""

    @abstractmethod
    def unit_log_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Logarithm of the covariance of unit scales at a displacement in length scales."""

    def unit_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Covariance of unit scales at a displacement in length scales."""
        return self.unit_log_covariance(u).exp()

    def log_correlation(
        self, displacement: Float[Tensor, "*points ndim"], offset: Float[Tensor, "heads ndim"] | None = None
    ) -> Float[Tensor, "heads *points"]:
        """log(b(r)/b(0)) at each displacement less the offset: finite at any distance, where b itself vanishes in rounding."""
        return self.unit_log_covariance(self.scaled(displacement, offset))


def at_least_single(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Half precision would round distances and scales themselves, by up to half a percent."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def outer(scale: Float[Tensor, " heads"], tables: list[Float[Tensor, "heads _"]]) -> Float[Tensor, "heads *displacements"]:
    """A table that separates: each head's scale times the product of one table per axis."""
    total = scale
    for table in tables:
        total = total[..., None] * table.view(-1, *(1,) * (total.ndim - 1), table.shape[1])
    return total


SMALLEST, LARGEST = 1e-12, 1e12
"""Scales between which squares of distances in length scales stay finite in single precision."""


def require_positive(owner: str, **values: float) -> None:
    """Refuse a scale that is zero, negative, infinite or not a number, or so extreme that single precision makes it one of these.

    Raises:
        UsageError: One of them is.
    """
    for name, value in values.items():
        if not SMALLEST <= value <= LARGEST:
            raise UsageError(
                f"{name}={value} in {owner}",
                "a finite number above 0",
                f"Give the scale itself, not its logarithm, from {SMALLEST:g} to {LARGEST:g}.",
            )
