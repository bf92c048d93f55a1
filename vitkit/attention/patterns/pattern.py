"""What every pattern has in common."""

from abc import ABC, abstractmethod
from math import prod

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns.blocks import Blocks
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Pattern(Recorded, ABC):
    """A rule on the grid that says which keys a query may attend to.

    A subclass says it for all pairs, in :meth:`allowed`. If a query sees few keys, it derives from :class:`SparsePattern` instead
    and says it pair by pair, with the blocks of tokens in which all of them are found.
    """

    composite = False
    """Whether it is a sum of several attentions, each with a softmax of its own, which :meth:`terms` names."""

    @abstractmethod
    def allowed(self, grid: Grid) -> Bool[Tensor, "tokens tokens"] | None:
        """True where the query (row) may see the key (column); None if everything is allowed."""

    def terms(self, grid: Grid) -> list["Pattern"]:
        """The patterns whose attentions are added; by default this one alone."""
        return [self]

    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """The same for single pairs, given as row-major indices of grid tokens that broadcast."""
        allowed = self.allowed(grid)
        if allowed is None:
            return torch.ones(torch.broadcast_shapes(query.shape, key.shape), dtype=torch.bool, device=query.device)
        return allowed.to(query.device)[query, key]

    def blocks(self, grid: Grid) -> list[Blocks]:
        """Queries with the keys they see: each pair that is allowed in exactly one place. Here, one block of all tokens."""
        tokens, allowed = torch.arange(len(grid))[None], self.allowed(grid)
        return [Blocks(tokens, tokens, None if allowed is None else allowed[None], alike=True)]


class SparsePattern(Pattern):
    """A pattern that is told pair by pair, and whose blocks hold few keys for every query."""

    @abstractmethod
    def sees(self, grid: Grid, query: Int[Tensor, "*#pairs"], key: Int[Tensor, "*#pairs"]) -> Bool[Tensor, "*#pairs"]:
        """Whether the query may see the key, both row-major indices of grid tokens, which broadcast."""

    @abstractmethod
    def blocks(self, grid: Grid) -> list[Blocks]:
        """Queries with the keys they see: each pair that is allowed in exactly one place."""

    def allowed(self, grid: Grid) -> Bool[Tensor, "tokens tokens"] | None:
        """All pairs at once: the reference for :meth:`blocks`, and O(N²)."""
        tokens = torch.arange(prod(grid.shape))  # not the grid's len, which would fix the size of a graph that is being exported
        return self.sees(grid, tokens[:, None], tokens)
