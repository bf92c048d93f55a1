"""Several patterns at once."""

from collections.abc import Iterator
from functools import reduce
from operator import or_

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.blocks import Blocks
from vitkit.attention.patterns.pattern import Pattern, SparsePattern
from vitkit.errors import UsageError
from vitkit.grid import Grid


class Union(SparsePattern):
    """A query sees the keys that any of the patterns shows it, in one softmax: a key that several show counts once.

    Args:
        patterns: At least one.

    >>> from vitkit.attention import Global, Window
    >>> Union([Window(2), Global(tokens=[[0]])]).allowed(Grid((4,))).int()
    tensor([[1, 1, 1, 1],
            [1, 1, 0, 0],
            [1, 0, 1, 1],
            [1, 0, 1, 1]], dtype=torch.int32)
    """

    def __init__(self, patterns: list[Pattern]) -> None:
        if not patterns:
            raise UsageError("a Union of nothing", "at least one pattern", "Use Full for no restriction.")
        self.patterns = list(patterns)

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether any pattern shows the key to the query."""
        return reduce(or_, (pattern.sees(grid, query, key) for pattern in self.patterns))

    def blocks(self, grid: Grid) -> list[Blocks]:
        """The blocks of each pattern, without the pairs of those before it."""
        blocks: list[Blocks] = []
        for index, pattern in enumerate(self.patterns):
            blocks += pattern.blocks(grid) if not index else self._new(grid, pattern, self.patterns[:index])
        return blocks

    @staticmethod
    def _new(grid: Grid, pattern: Pattern, before: list[Pattern]) -> Iterator[Blocks]:
        for blocks in pattern.blocks(grid):
            query, key = blocks.queries[:, :, None], blocks.keys[:, None, :]
            new = ~reduce(or_, (other.sees(grid, query, key) for other in before))
            if blocks.allowed is not None:
                new &= blocks.allowed
            some = new.flatten(1).any(1)
            if bool(some.any()):
                allowed = None if bool(new.all()) else new[some]
                yield Blocks(blocks.queries[some], blocks.keys[some], allowed, blocks.alike)

    def allowed(self, grid: Grid) -> Bool[Tensor, "tokens tokens"] | None:
        """The union of what each pattern allows."""
        masks = [pattern.allowed(grid) for pattern in self.patterns]
        present = [mask for mask in masks if mask is not None]
        return torch.stack(present).any(0) if len(present) == len(masks) else None
