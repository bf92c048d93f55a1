"""Change of support: from a covariance between points to one between averages over patches."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

NODES = {1: 16, 2: 10, 3: 5}
"""Quadrature nodes per half width and axis, by the number of axes."""
_ELEMENTS = 2**20  # covariances of one head that are held at once


def patch_average(
    covariance: Callable[[Tensor], Tensor],
    displacement: Float[Tensor, "*points ndim"],
    width: Sequence[float],
    nodes: int | None = None,
) -> Float[Tensor, "heads *points"]:
    r"""Covariance between two averages over boxes whose centres are ``displacement`` apart.

    .. math:: \bar b(r) = \int b(r + t) \prod_i \frac{1}{p_i}\Bigl(1 - \frac{|t_i|}{p_i}\Bigr)_+ dt

    by Gauss-Legendre quadrature on both sides of the weight's kink, which on a grid of spacing :math:`p` is where the covariance
    has its own. For a covariance that is smooth elsewhere the error falls exponentially with the nodes; an isotropic kink as
    that of :class:`~vitkit.spectral.Matern` at 1/2 leaves, with the nodes of :data:`NODES` and a patch as wide as the length
    scale, at most 1e-4 of b(0) in two dimensions and 1e-3 in three.

    Args:
        covariance: From displacements (..., n) to logits (heads, ...).
        displacement: Between the boxes' centres, in the grid's unit.
        width: Of the boxes along each axis, in the grid's unit.
        nodes: Per half width and axis.
    """
    ndim = displacement.shape[-1]
    count = nodes or NODES.get(ndim, 4)
    steps, weights = (torch.from_numpy(part).to(displacement) for part in triangle_rule(count))
    widths = displacement.new_tensor(tuple(width))

    def average(first: Tensor, first_weights: Tensor) -> Tensor:
        """The quadrature over some of the first axis's nodes and all of the others'."""
        shift = torch.cartesian_prod(first, *[steps] * (ndim - 1)).view(-1, ndim) * widths
        products = torch.cartesian_prod(first_weights, *[weights] * (ndim - 1)).view(-1, ndim).prod(-1)
        return (covariance(displacement[..., None, :] + shift) * products).sum(-1)

    if displacement[..., 0].numel() * (2 * count) ** ndim <= _ELEMENTS:
        return average(steps, weights)
    # Slab by slab, computed again in the backward pass: it would be (2 nodes)ⁿ covariances per displacement.
    keep = torch.is_grad_enabled()
    total = displacement.new_zeros(())
    for part in zip(steps.split(1), weights.split(1), strict=True):
        total = total + (checkpoint(average, *part, use_reentrant=False) if keep else average(*part))
    return total


@cache
def triangle_rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the integral over [-1, 1] with the weight 1 - |t|."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    x, w = (x + 1) / 2, w / 2
    w = w * (1 - x)
    return np.concatenate([-x[::-1], x]), np.concatenate([w[::-1], w])
