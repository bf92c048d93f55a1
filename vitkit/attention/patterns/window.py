"""Windows side by side."""

from functools import reduce
from operator import and_

from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.axes import PerAxis, along, at_least, per_axis
from vitkit.attention.patterns.blocks import Blocks, Span, product_blocks
from vitkit.attention.patterns.pattern import SparsePattern
from vitkit.errors import UsageError
from vitkit.grid import Grid


class Window(SparsePattern):
    r"""Windows that partition the grid; a query sees the keys of its own window, enlarged by the overlap.

    .. math::
        \text{along every axis:}\quad w s + a - o \le j < (w + 1) s + a + o, \qquad w = \lfloor (i - a) / s \rfloor

    for query i, key j, size s, shift a and overlap o. The partition ends at the border: windows there are smaller with a shift,
    or if the size does not divide the grid. Nothing wraps around, as in Swin (Liu et al. 2021), where a mask takes that back.

    Args:
        size: Tokens along each axis of a window, or one number for all axes.
        shift: Where the first whole window begins, from 0 to below the size.
        overlap: How many tokens beyond its window a query sees on every side (Vaswani et al. 2021, blocked local attention).

    >>> Window(2, shift=1, overlap=0).allowed(Grid((4,))).int()
    tensor([[1, 0, 0, 0],
            [0, 1, 1, 0],
            [0, 1, 1, 0],
            [0, 0, 0, 1]], dtype=torch.int32)
    """

    def __init__(self, size: PerAxis, shift: PerAxis = 0, overlap: PerAxis = 0) -> None:
        self.size = at_least("the size of a Window", size, 1)
        self.shift = at_least("the shift of a Window", shift, 0)
        self.overlap = at_least("the overlap of a Window", overlap, 0)

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether the key stands in the query's enlarged window."""
        return reduce(
            and_,
            (
                (j >= (begin := (i - shift) // size * size + shift) - overlap) & (j < begin + size + overlap)
                for i, j, (size, shift, overlap) in zip(along(query, grid), along(key, grid), self._axes(grid), strict=True)
            ),
        )

    def blocks(self, grid: Grid) -> list[Blocks]:
        """One block per window."""
        return product_blocks(
            grid,
            [
                [
                    Span(
                        range(max(begin, 0), min(begin + size, length)),
                        range(max(begin - overlap, 0), min(begin + size + overlap, length)),
                    )
                    for begin in range(shift - size if shift else 0, length, size)
                ]
                for length, (size, shift, overlap) in zip(grid.shape, self._axes(grid), strict=True)
            ],
        )

    def _axes(self, grid: Grid) -> list[tuple[int, int, int]]:
        """Size, shift and overlap along each axis."""
        axes = list(
            zip(
                per_axis("the size of a Window", self.size, grid),
                per_axis("the shift of a Window", self.shift, grid),
                per_axis("the overlap of a Window", self.overlap, grid),
                strict=True,
            )
        )
        for axis, (length, (size, shift, _)) in enumerate(zip(grid.shape, axes, strict=True)):
            if size > length:
                raise UsageError(
                    f"a Window of {size} tokens along axis {axis} of a grid of {grid.shape}, which has {length}",
                    "windows no larger than the grid",
                    f"Use at most {length}, or Full.",
                )
            if shift >= size:
                raise UsageError(
                    f"a Window of {size} tokens with a shift of {shift} along axis {axis}",
                    "a shift below the size, after which the windows are the same again",
                    f"Use {shift % size}.",
                )
        return axes
