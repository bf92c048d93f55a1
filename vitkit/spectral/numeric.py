"""A density without a closed covariance, transformed by quadrature."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vitkit.errors import UsageError
from vitkit.exporting import is_exporting
from vitkit.grid import Grid
from vitkit.spectral.density import Density, require_positive

_ELEMENTS = 2**22  # complex numbers that a chunk of points may hold


class NumericDensity(Density):
    r"""A density of one's own: write :meth:`unit_density`, and the covariance comes by quadrature.

    .. math:: b(r) = \sigma^2\, \frac{\sum_j S_1(w_j) \cos(w_j \cdot u)}{\sum_j S_1(w_j)}, \qquad u_i = r_i/\ell_i

    over the midpoints :math:`w_j` of a regular grid in frequency. Any factor in front of the density cancels. The sum is itself
    positive definite, exact at the origin and differentiable in every scale and in the density's own parameters; its nodes are
    fixed in length scales, so that no interpolation is needed. It differs from the true covariance in three ways:

    - beyond the ``cutoff`` the density is left out: at most twice the share :meth:`beyond_nyquist`, relative to b(0);
    - beyond the ``reach``, along any axis, the covariance is taken as zero, and within it is met by its images from a distance of
      at least the reach: about :math:`2^n` times :meth:`beyond_reach`, relative to b(0);
    - in single precision phases are rounded: about 1e-5.

    The density must be finite, nowhere negative, even and integrable in n dimensions; this is checked before its first use, and
    again by :meth:`check`. The cost is :math:`(2 \cdot \text{cutoff} \cdot \text{reach}/\pi)^n/2` evaluations of the density and,
    for a table, little else; with a rotation as many multiplications for each displacement within reach, which in three
    dimensions is slow.

    Args:
        num_heads: Heads, each with its own scales.
        ndim: Axes of the grid.
        lengthscale: As the further ones in :class:`Density`.
        outputscale: Initial output scale, in logits.
        spread: Ratio of the longest to the shortest initial length scale over the heads.
        rotation: Whether each head also learns a rotation of its axes.
        cutoff: Largest angular frequency along each axis, in radians per length scale: the Nyquist frequency of a fine grid whose
            step is π/cutoff length scales.
        reach: Largest displacement along each axis, in length scales.
        tolerance: Largest share beyond the cutoff, and correlation beyond the reach, that is not refused.

    >>> class Triweight(NumericDensity):
    ...     def unit_density(self, w):
    ...         return (1 - w.square().sum(-1)).clamp(min=0) ** 3
    >>> density = Triweight(num_heads=1, ndim=2, lengthscale=2.0, cutoff=1.0, reach=50.0)
    >>> density.covariance(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).detach()
    tensor([[1.0000, 0.9510]])
    """

    def __init__(
        self,
        num_heads: int,
        ndim: int,
        lengthscale: float = 16.0,
        outputscale: float = 1.0,
        spread: float = 4.0,
        rotation: bool = False,
        cutoff: float = 16.0,
        reach: float = 8.0,
        tolerance: float = 0.01,
    ) -> None:
        super().__init__(num_heads, ndim, lengthscale, outputscale, spread, rotation)
        require_positive(type(self).__name__, cutoff=cutoff, reach=reach, tolerance=tolerance)
        self.cutoff, self.reach, self.tolerance = cutoff, reach, tolerance
        self._checked = False

    def unit_covariance(self, u: Float[Tensor, "heads *points ndim"]) -> Float[Tensor, "heads *points"]:
        """Covariance of unit scales at a displacement in length scales."""
        axes, weights = self._spectrum(u)
        if is_exporting():  # how many points are near is yet unknown
            pairs = zip(u.flatten(1, -2), weights, strict=True)
            whole = torch.stack([_transform(points, axes, own) for points, own in pairs])
            return whole.view(u.shape[:-1]).where((u.abs() <= self.reach).all(-1), 0)
        chunk = max(1, _ELEMENTS // weights[0, ..., 0].numel())
        heads = []
        for points, own in zip(u.flatten(1, -2), weights, strict=True):
            # Each head has its own points within reach; elsewhere there is nothing to compute.
            near = (points.abs() <= self.reach).all(-1).nonzero()[:, 0]
            parts = points[near].split(chunk)
            again = torch.is_grad_enabled() and len(parts) > 1
            run = partial(checkpoint, _transform, use_reentrant=False) if again else _transform
            heads.append(points.new_zeros(len(points)).index_copy(0, near, torch.cat([run(part, axes, own) for part in parts])))
        return torch.stack(heads).view(u.shape[:-1])

    def density(self, frequency: Float[Tensor, "*points ndim"]) -> Float[Tensor, "heads *points"]:
        """Spectral density at each angular frequency, in logits times the grid's unit to the power n, such that b(0) is σ²."""
        cell = 2 * (math.pi / self.reach / (2 * math.pi)) ** self.ndim
        variance = cell * self._evaluate(self._midpoints(frequency)).flatten(1).sum(1)
        return super().density(frequency) / variance.view(-1, *(1,) * (frequency.ndim - 1))

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance at every displacement of a grid, transformed axis by axis where they are not rotated, in logits."""
        if self.raw_rotation is not None:
            points = self.displacements(grid)
            half = self.covariance(points.flatten(0, -2)[: (points[..., 0].numel() + 1) // 2])
            # It is even: the other half is there already.
            return torch.cat([half, half[:, :-1].flip(1)], dim=1).view(-1, *points.shape[:-1])
        offsets = self._offsets(grid)
        axes, weights = self._spectrum(offsets[0])
        total = torch.complex(weights, torch.zeros_like(weights))
        for offset, axis in zip(offsets, axes, strict=True):
            # The axis in front is summed over, and its displacements come last.
            near = (offset.abs() <= self.reach)[..., None]
            total = torch.einsum("hm...,hdm->h...d", total, _wave(offset, axis) * near)
        return self.outputscale.view(-1, *(1,) * self.ndim) * total.real

    @torch.no_grad()
    def beyond_nyquist(self) -> Float[Tensor, " heads"]:
        """Share of each head's density beyond the cutoff along any axis."""
        axes, cells = self._wide_rule()
        return self._beyond(self._evaluate(axes) * cells)

    @torch.no_grad()
    def beyond_reach(self) -> Float[Tensor, " heads"]:
        """Largest correlation, without sign, at a displacement of the reach along one axis."""
        found = []
        for axis in range(self.ndim):
            # With half the step along this axis the nearest image is three times as far.
            axes = self._midpoints(self.raw_outputscale.double(), fine=axis)
            weights = self._evaluate(axes).movedim(1 + axis, 1).reshape(self.num_heads, len(axes[axis]), -1).sum(2)
            found.append(((weights * (axes[axis] * self.reach).cos()).sum(1) / weights.sum(1)).abs())
        return torch.stack(found).amax(0)

    @torch.no_grad()
    def check(self) -> None:
        """Refuse a density that is no covariance's, or one that the quadrature does not resolve.

        Raises:
            UsageError: It is not finite, negative or not even somewhere; it is not integrable; or more than the tolerance lies
                beyond the cutoff or the reach.
        """
        name = type(self).__name__
        wide, cells = self._wide_rule()
        self._check_values(self._midpoints(cells))
        masses = self._check_values(wide) * cells
        mass = masses.sum(0)
        if mass.sum() <= 0:
            raise UsageError(f"the density of {name} is zero everywhere", "a density with mass", "Correct unit_density.")
        # Decades by the largest coordinate: where the density is integrable the outermost at either end is the lightest.
        largest = torch.stack(torch.meshgrid(*[axis.abs() for axis in wide], indexing="ij")).amax(0).log10()
        low, high = largest.min(), largest.max()
        decades = [mass[(largest >= at) & (largest < at + 1)].sum() for at in (low, low + 1, high - 2, high - 1)]
        for lighter, heavier, where in ((decades[0], decades[1], "zero"), (decades[3], decades[2], "infinity")):
            if lighter > 0.9 * heavier:
                raise UsageError(
                    f"the density of {name} is not integrable at {where} in {self.ndim} dimensions, so that b(0) is infinite",
                    "one that falls faster than |w|^-n at infinity, and rises slower at zero",
                    "Raise the power with which it falls: the half-integer Matérn densities have (a² + w²)^-(ν + n/2).",
                )
        if (rest := self.beyond_reach().max().item()) > self.tolerance:
            raise UsageError(
                f"the covariance of {name} is still {rest:.2%} of b(0) at {self.reach:g} length scales, its reach",
                f"at most {self.tolerance:.2%}",
                "Raise reach, or raise tolerance.",
            )
        if (share := self._beyond(masses).max().item()) > self.tolerance:
            raise UsageError(
                f"{share:.2%} of the density of {name} lies beyond its Nyquist frequency of {self.cutoff:g} per length scale",
                f"at most {self.tolerance:.2%}",
                "Raise cutoff, raise tolerance, or derive from Density and give the covariance in closed form.",
            )
        self._checked = True

    def _beyond(self, masses: Float[Tensor, "heads *cells"]) -> Float[Tensor, " heads"]:
        cell = (math.pi / self.reach) ** self.ndim
        within = cell * self._evaluate(self._midpoints(masses)).flatten(1).sum(1)
        return (1 - within / masses.flatten(1).sum(1)).clamp(min=0)

    def _check_values(self, axes: list[Tensor]) -> Float[Tensor, "heads *nodes"]:
        values, mirrored = self._evaluate(axes), self._evaluate([-axis for axis in axes])
        largest = values[values.isfinite()].max() if values.isfinite().any() else values.new_zeros(())
        slack = 64 * torch.finfo(values.dtype).eps
        for wrong, what, expected in (
            (~values.isfinite(), "not finite", "a finite number away from zero"),
            (values < -slack * largest, "negative", "a density that is nowhere negative, as Bochner's theorem demands"),
            ((values - mirrored).abs() > slack * (largest + values.abs()), "not even", "S(-w) = S(w), for a real covariance"),
        ):
            if wrong.any():
                head, *place = wrong.nonzero()[0].tolist()
                frequency = ", ".join(f"{axis[index].item():.4g}" for axis, index in zip(axes, place, strict=True))
                raise UsageError(
                    f"the density of {type(self).__name__} is {what} at w = ({frequency}), where head {head} has"
                    f" {values[head, *place].item():.4g}",
                    expected,
                    "Correct unit_density, or the range of its parameters.",
                )
        return values

    def _spectrum(self, like: Tensor) -> tuple[list[Tensor], Tensor]:
        """Midpoints along each axis, and the share of the covariance that each node has: (heads, M, 2M, ...)."""
        if not (self._checked or is_exporting()):
            self.check()
        axes = self._midpoints(like)
        values = self._evaluate(axes)
        return axes, values / values.flatten(1).sum(1).view(-1, *(1,) * self.ndim)

    def _midpoints(self, like: Tensor, fine: int | None = None) -> list[Tensor]:
        """Nodes along each axis; of the first the positive half is enough, for a density is even."""
        axes = []
        for axis in range(self.ndim):
            step = math.pi / self.reach / (2 if axis == fine else 1)
            half = (torch.arange(math.ceil(self.cutoff / step), device=like.device, dtype=like.dtype) + 0.5) * step
            axes.append(torch.cat([-half.flip(0), half]) if axis else half)
        return axes

    def _wide_rule(self) -> tuple[list[Tensor], Tensor]:
        """Nodes that are evenly spaced in the logarithm of frequency, over many decades, and their cells in double precision."""
        decades, density = {1: (8, 64), 2: (6, 16)}.get(self.ndim, (4, 4))
        exponent = torch.linspace(-decades, decades, 2 * decades * density + 1, device=self.raw_outputscale.device).double()
        half = 10**exponent
        width = half * math.log(10) / density
        # The first cell reaches down to zero, with the trapezoid's half weight above.
        width[0] = width[0] / 2 + half[0]
        axes = [torch.cat([-half.flip(0), half]) if axis else half for axis in range(self.ndim)]
        widths = [torch.cat([width.flip(0), width]) if axis else width for axis in range(self.ndim)]
        return axes, torch.stack(torch.meshgrid(*widths, indexing="ij")).prod(0)

    def _evaluate(self, axes: Sequence[Tensor]) -> Float[Tensor, "heads *nodes"]:
        nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        return self.unit_density(nodes.expand(self.num_heads, *nodes.shape))


def _wave(u: Float[Tensor, "*points"], frequency: Float[Tensor, " nodes"]) -> Tensor:
    angle = u[..., None] * frequency
    return torch.complex(angle.cos(), angle.sin())


def _transform(
    u: Float[Tensor, "points ndim"], axes: Sequence[Tensor], weights: Float[Tensor, "*nodes"]
) -> Float[Tensor, " points"]:
    """Sum of the weights times cos(w·u), as cos(a + b) = cos a cos b - sin a sin b with b along the last axis: two products."""
    *lead, last = (u[:, axis, None] * nodes for axis, nodes in enumerate(axes))
    before = torch.zeros_like(last[:, :1])
    for angle in lead:
        before = (before[:, :, None] + angle[:, None]).flatten(1)
    table = weights.view(-1, weights.shape[-1])
    with torch.autocast(u.device.type, enabled=False):  # which would round the products to half precision
        return (before.cos() @ table * last.cos() - before.sin() @ table * last.sin()).sum(-1)
