"""Combs of tokens."""

from functools import reduce
from operator import and_

from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.axes import PerAxis, along, at_least, per_axis
from vitkit.attention.patterns.blocks import Blocks, Span, product_blocks
from vitkit.attention.patterns.pattern import SparsePattern
from vitkit.grid import Grid


class Dilated(SparsePattern):
    r"""Tokens whose indices agree modulo the dilation, along every axis, see each other.

    .. math:: i \equiv j \pmod d

    So the grid falls into as many coarse grids as the product of the dilations, each of which spans all of it (the grid attention
    of Tu et al. 2022). A query sees about N over that product keys: let the dilation grow with the grid to keep their number.

    Args:
        dilation: Steps between the tokens of a group along each axis, or one number for all axes.

    >>> Dilated(2).allowed(Grid((4,))).int()
    tensor([[1, 0, 1, 0],
            [0, 1, 0, 1],
            [1, 0, 1, 0],
            [0, 1, 0, 1]], dtype=torch.int32)
    """

    def __init__(self, dilation: PerAxis) -> None:
        self.dilation = at_least("the dilation of Dilated", dilation, 1)

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether all indices agree modulo the dilation."""
        steps = per_axis("the dilation of Dilated", self.dilation, grid)
        return reduce(and_, ((i - j) % step == 0 for i, j, step in zip(along(query, grid), along(key, grid), steps, strict=True)))

    def blocks(self, grid: Grid) -> list[Blocks]:
        """One block per coarse grid."""
        steps = per_axis("the dilation of Dilated", self.dilation, grid)
        return product_blocks(
            grid,
            [
                [Span(comb, comb) for first in range(min(step, length)) if (comb := range(first, length, step))]
                for length, step in zip(grid.shape, steps, strict=True)
            ],
        )
