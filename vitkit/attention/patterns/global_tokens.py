"""Tokens that everything sees."""

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.axes import PerAxis, along, at_least, per_axis
from vitkit.attention.patterns.blocks import Blocks
from vitkit.attention.patterns.pattern import SparsePattern
from vitkit.errors import UsageError
from vitkit.grid import Grid


class Global(SparsePattern):
    """Some of the grid's tokens see everything and are seen by everything; the others see only them.

    It is there to be joined with a local pattern in a :class:`Union` (Beltagy et al. 2020). Prefix tokens are global under any
    pattern, without it.

    Args:
        tokens: Indices along the axes of each global token.
        stride: Instead: all tokens whose indices are multiples of the stride along every axis, which are more on a larger grid.

    >>> Global(tokens=[[0]]).allowed(Grid((3,))).int()
    tensor([[1, 1, 1],
            [1, 0, 0],
            [1, 0, 0]], dtype=torch.int32)
    """

    def __init__(self, tokens: Sequence[Sequence[int]] | None = None, stride: PerAxis | None = None) -> None:
        if (tokens is None) == (stride is None) or (tokens is not None and not len(tokens)):
            raise UsageError(
                f"tokens={tokens} and stride={stride} in Global", "one of the two, and at least one token", "Name global tokens."
            )
        if tokens is not None and not all(isinstance(token, Sequence) for token in tokens):
            raise UsageError(f"tokens={tokens} in Global", "for each token a list of its indices", "Write [[0], [1]] for a line.")
        self.tokens = None if tokens is None else [tuple(token) for token in tokens]
        self.stride = None if stride is None else at_least("the stride of Global", stride, 1)

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether one of the two is global."""
        return self._is_global(grid, query) | self._is_global(grid, key)

    def blocks(self, grid: Grid) -> list[Blocks]:
        """One block of the global queries and all keys, another of all other queries and the global keys."""
        tokens = torch.arange(len(grid))
        chosen = self._is_global(grid, tokens)
        few, rest = tokens[chosen][None], tokens[~chosen][None]
        return [Blocks(few, tokens[None], alike=True), *([Blocks(rest, few, alike=True)] if rest.numel() else [])]

    def _is_global(self, grid: Grid, index: Int[Tensor, "*pairs"]) -> Bool[Tensor, "*pairs"]:
        if self.stride is not None:
            steps = per_axis("the stride of Global", self.stride, grid)
            return reduce(and_, (i % step == 0 for i, step in zip(along(index, grid), steps, strict=True)))
        assert self.tokens is not None
        return reduce(or_, (index == self._flat(grid, token) for token in self.tokens))

    @staticmethod
    def _flat(grid: Grid, token: tuple[int, ...]) -> int:
        if len(token) != grid.ndim or not all(0 <= i < length for i, length in zip(token, grid.shape, strict=True)):
            raise UsageError(
                f"the global token {token} on a grid of {grid.shape}",
                "one index per axis, counted from 0, within the grid",
                "Correct the tokens of Global, or use a stride.",
            )
        flat = 0
        for i, length in zip(token, grid.shape, strict=True):
            flat = flat * length + i
        return flat
