"""Change of support: from a covariance between points to one between averages over patches."""

from collections.abc import Callable
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vitkit.exporting import is_exporting
from vitkit.grid import Grid

NODES = {1: 16, 2: 10, 3: 5}
"""Quadrature nodes per patch and axis, by the number of axes."""
_ELEMENTS = 2**20  # covariances of one head that are held at once


def patch_average(
    covariance: Callable[[Tensor], Tensor], grid: Grid, like: Tensor, nodes: int | None = None
) -> Float[Tensor, "heads *displacements"]:
    r"""Covariance between averages over patches as wide as a grid's spacing :math:`p`, at every displacement of the grid.

    .. math:: \bar b(r) = \int b(r + t) \prod_i \frac{1}{p_i}\Bigl(1 - \frac{|t_i|}{p_i}\Bigr)_+ dt

    by Gauss-Legendre quadrature between neighbouring tokens, where neither the weight nor a covariance with a kink at zero has
    one; both tokens use the same nodes. For a covariance that is smooth elsewhere the error falls exponentially with the nodes;
    an isotropic kink as that of :class:`~vitkit.spectral.Matern` at 1/2 leaves, with the nodes of :data:`NODES` and a patch as
    wide as the length scale, at most 1e-4 of b(0) in two dimensions and 1e-3 in three; the ridges of an
    :class:`~vitkit.spectral.Exponential` that is rotated leave at most 2e-3 and 4e-3.

    Args:
        covariance: From displacements (..., n) to logits (heads, ...); even.
        grid: Where the patches' centres are, and how wide they are.
        like: Of the device and type to compute with.
        nodes: Per patch and axis.
    """
    count = nodes or NODES.get(grid.ndim, 4)
    x, weights = (torch.from_numpy(part).to(like) for part in unit_rule(count))
    axes = [
        ((torch.arange(0 if axis == 0 else -length, length).to(like)[:, None] + x) * spacing).flatten()
        for axis, (length, spacing) in enumerate(zip(grid.shape, grid.spacing, strict=True))
    ]

    def average(first: Tensor) -> Tensor:
        """Averaged over every axis but the first."""
        values = covariance(torch.stack(torch.meshgrid(first, *axes[1:], indexing="ij"), dim=-1))
        for axis in range(1, grid.ndim):
            values = _between_tokens(values, 1 + axis, x, weights)
        return values

    # Few at a time, computed again in the backward pass: all would be nodesⁿ covariances per displacement.
    if is_exporting():  # which cannot cut what is of a size yet unknown
        parts: tuple[Tensor, ...] = (axes[0],)
    else:
        parts = axes[0].split(max(1, _ELEMENTS // prod(map(len, axes[1:]))))
    keep = torch.is_grad_enabled() and len(parts) > 1
    half = torch.cat([checkpoint(average, part, use_reentrant=False) if keep else average(part) for part in parts], dim=1)
    # The covariance is even, and so are the nodes: the other half is there already.
    whole = torch.cat([half.flip(tuple(range(1, half.ndim))), half], dim=1)
    return _between_tokens(whole, 1, x, weights)


def _between_tokens(
    values: Float[Tensor, "heads *nodes"], axis: int, x: Float[Tensor, " nodes"], weights: Float[Tensor, " nodes"]
) -> Float[Tensor, "heads *displacements"]:
    """Weighted sums along one axis: a token's weight falls from one at its own place to zero at its neighbours'."""
    pieces = values.movedim(axis, -1).unflatten(-1, (-1, len(x)))
    before, after = (pieces * (weights * x)).sum(-1), (pieces * (weights * (1 - x))).sum(-1)
    return (before[..., :-1] + after[..., 1:]).movedim(-1, axis)


def unit_rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return (x + 1) / 2, w / 2
