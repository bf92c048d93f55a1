"""What is near."""

from collections.abc import Iterator
from functools import reduce
from operator import and_

from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.axes import PerAxis, along, at_least, per_axis
from vitkit.attention.patterns.blocks import Blocks, Span, product_blocks
from vitkit.attention.patterns.pattern import SparsePattern
from vitkit.grid import Grid

_TILE = {1: 64, 2: 8, 3: 4}
"""Queries of a block along each axis, by the number of axes: 64 in all, enough for a matrix product."""


class Neighbourhood(SparsePattern):
    r"""A query sees the keys within a radius along every axis, as the windows of a convolution.

    .. math:: |i - j| \le r d \quad\text{and}\quad i \equiv j \pmod d

    At the border it sees fewer: the neighbourhood is clipped there, and not moved inwards as in NATTEN (Hassani et al. 2023). So
    whether a query sees a key depends on their displacement alone.

    Args:
        radius: Reach along each axis, in steps of the dilation, or one number for all axes: (2r + 1)ⁿ keys.
        dilation: Tokens from one neighbour to the next.

    >>> Neighbourhood(1).allowed(Grid((4,))).int()
    tensor([[1, 1, 0, 0],
            [1, 1, 1, 0],
            [0, 1, 1, 1],
            [0, 0, 1, 1]], dtype=torch.int32)
    """

    def __init__(self, radius: PerAxis, dilation: PerAxis = 1) -> None:
        self.radius = at_least("the radius of a Neighbourhood", radius, 0)
        self.dilation = at_least("the dilation of a Neighbourhood", dilation, 1)

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether the key is a neighbour of the query."""
        return reduce(
            and_,
            (
                _near(i, j, radius, step)
                for i, j, (radius, step) in zip(along(query, grid), along(key, grid), self._axes(grid), strict=True)
            ),
        )

    def blocks(self, grid: Grid) -> list[Blocks]:
        """Tiles of queries, each with a halo of keys."""
        axes = self._axes(grid)
        tile = _TILE.get(grid.ndim, 2)
        spans = [list(_tiles(length, radius, step, tile)) for length, (radius, step) in zip(grid.shape, axes, strict=True)]
        rules = [lambda i, j, radius=radius, step=step: _near(i, j, radius, step) for radius, step in axes]
        return product_blocks(grid, spans, rules)

    def _axes(self, grid: Grid) -> list[tuple[int, int]]:
        """Radius and dilation along each axis."""
        radius = per_axis("the radius of a Neighbourhood", self.radius, grid)
        return list(zip(radius, per_axis("the dilation of a Neighbourhood", self.dilation, grid), strict=True))


def _near(query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"], radius: int, step: int) -> Bool[Tensor, "*#pairs"]:
    difference = query - key
    return (difference.abs() <= radius * step) & (difference % step == 0)


def _tiles(length: int, radius: int, step: int, tile: int) -> Iterator[Span]:
    """Tiles of each comb of tokens that the dilation makes."""
    for first in range(min(step, length)):
        comb = range(first, length, step)
        for begin in range(0, len(comb), tile):
            yield Span(comb[begin : begin + tile], comb[max(begin - radius, 0) : begin + tile + radius])
