"""All axes, each by itself."""

from functools import reduce
from operator import or_

from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.along_axis import AlongAxis
from vitkit.attention.patterns.axes import PerAxis, at_least, per_axis
from vitkit.attention.patterns.pattern import Pattern
from vitkit.errors import UsageError
from vitkit.grid import Grid


class Axial(Pattern):
    r"""A query attends along each axis by itself, in a softmax of its own, and the outputs are added.

    .. math:: \sum_a g_a \operatorname{Attention}_a(Q, K, V), \qquad a \text{ the axes of the grid}

    All axes share one projection to queries, keys and values, so that what is cheap stays cheap: in N tokens of width C on a grid
    of L₁ to Lₙ, 4NC(L₁ + ... + Lₙ) operations instead of 4N²C, beside 8NC² for the projections. One layer reaches the cross of
    the axes through a token, n layers reach everything (Ho et al. 2019; the sum of axes is that of Wang et al. 2020 and of the
    ``axial-attention`` package, which projects anew for every axis). For one axis a block, take :class:`AlongAxis`.

    Args:
        window: Tokens of the parts that lines are cut into, along each axis or along all; whole lines if not given.
        gates: Axes of the grid, if each of them is to have a learned gate :math:`g_a` per head, which begins as 1; 0 for none.

    >>> Axial().allowed(Grid((2, 3))).int()
    tensor([[1, 1, 1, 1, 0, 0],
            [1, 1, 1, 0, 1, 0],
            [1, 1, 1, 0, 0, 1],
            [1, 0, 0, 1, 1, 1],
            [0, 1, 0, 1, 1, 1],
            [0, 0, 1, 1, 1, 1]], dtype=torch.int32)
    """

    composite = True

    def __init__(self, window: PerAxis | None = None, gates: int = 0) -> None:
        self.window = None if window is None else at_least("the window of Axial", window, 1)
        if gates < 0:
            raise UsageError(f"gates={gates} in Axial", "the number of the grid's axes, or 0 for no gates", "Correct gates.")
        self.gates = gates

    def terms(self, grid: Grid) -> list[Pattern]:
        """One pattern along each axis.

        Raises:
            UsageError: Windows or gates for another number of axes.
        """
        return [AlongAxis(axis, window) for axis, window in enumerate(self._windows(grid))]

    def lengths(self, grid: Grid) -> tuple[int, ...]:
        """Tokens of a line's parts, along each axis."""
        return tuple(
            length if window is None else min(window, length)
            for window, length in zip(self._windows(grid), grid.shape, strict=True)
        )

    def _windows(self, grid: Grid) -> tuple[int | None, ...]:
        if self.gates not in (0, grid.ndim):
            raise UsageError(
                f"an Axial with gates for {self.gates} axes on a grid of {grid.ndim}, {grid.shape}",
                "as many axes in both",
                f"Set gates to {grid.ndim}.",
            )
        return (None,) * grid.ndim if self.window is None else per_axis("the window of Axial", self.window, grid)

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether the key stands on one of the lines through the query."""
        return reduce(or_, (term.sees(grid, query, key) for term in self.terms(grid)))

    def allowed(self, grid: Grid) -> Bool[Tensor, "tokens tokens"] | None:
        """What a query reaches along any axis: the cross through it."""
        return reduce(or_, (mask for term in self.terms(grid) if (mask := term.allowed(grid)) is not None))
