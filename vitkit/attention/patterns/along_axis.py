"""One axis at a time."""

from functools import reduce
from operator import and_

from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.axes import along, at_least
from vitkit.attention.patterns.blocks import Blocks, Span, product_blocks
from vitkit.attention.patterns.pattern import SparsePattern
from vitkit.errors import UsageError
from vitkit.grid import Grid


class AlongAxis(SparsePattern):
    r"""A query sees the keys of its own line along one axis: those whose indices along all other axes are its own.

    .. math:: i_b = j_b \quad\text{for all axes}\quad b \ne a

    Blocks that take the axes in turn are axial attention as Ho et al. 2019 build it; :class:`Axial` takes all of them at once.

    Args:
        axis: The axis, counted from 0 in the order of the grid.
        window: Instead of the whole line, see its part alone: lines are cut into parts of so many tokens, the last of which may
            be shorter.

    >>> AlongAxis(1).allowed(Grid((2, 2))).int()
    tensor([[1, 1, 0, 0],
            [1, 1, 0, 0],
            [0, 0, 1, 1],
            [0, 0, 1, 1]], dtype=torch.int32)
    """

    def __init__(self, axis: int, window: int | None = None) -> None:
        at_least("the axis of AlongAxis", axis, 0)
        if window is not None:
            at_least("the window of AlongAxis", window, 1)
        self.axis, self.window = axis, window

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether the key stands on the query's line, and in its part of the line."""
        self._require(grid)
        part = self._length(grid)
        pairs = enumerate(zip(along(query, grid), along(key, grid), strict=True))
        return reduce(and_, (i // part == j // part if axis == self.axis else i == j for axis, (i, j) in pairs))

    def blocks(self, grid: Grid) -> list[Blocks]:
        """One block per part of a line."""
        self._require(grid)
        spans = [
            [Span(part, part) for part in _parts(length, self._length(grid) if axis == self.axis else 1)]
            for axis, length in enumerate(grid.shape)
        ]
        return product_blocks(grid, spans)

    def _length(self, grid: Grid) -> int:
        """Tokens of a part."""
        return grid.shape[self.axis] if self.window is None else self.window

    def _require(self, grid: Grid) -> None:
        if self.axis >= grid.ndim:
            raise UsageError(
                f"axis {self.axis} of AlongAxis on a grid of {grid.ndim} axes, {grid.shape}",
                f"an axis from 0 to {grid.ndim - 1}",
                "Correct the axis.",
            )


def _parts(length: int, size: int) -> list[range]:
    return [range(start, min(start + size, length)) for start in range(0, length, size)]
