"""Where a pattern's pairs of queries and keys stand: blocks of the same shape, gathered by index."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.grid import Grid


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of one shape, each the queries of some tokens with the keys that they see.

    Args:
        queries: Row-major indices of grid tokens. Every query that is here sees all its keys of this pattern, or of one part of a
            union, here.
        keys: Likewise.
        allowed: True where the query may see the key, in each block or, with a first axis of one, in all of them alike; None
            where it always may.
        alike: Whether the blocks are translates of each other, so that a bias of the displacement is the same in all of them.
    """

    queries: Int[Tensor, "blocks queries"]
    keys: Int[Tensor, "blocks keys"]
    allowed: Bool[Tensor, "#blocks queries keys"] | None = None
    alike: bool = False

    @property
    def entries(self) -> int:
        """Pairs that are computed, the forbidden ones among them included."""
        return self.queries.numel() * self.keys.shape[1]


@dataclass(frozen=True)
class Span:
    """Along one axis: indices of queries, and of all the keys that one of them sees."""

    queries: range
    keys: range

    @property
    def form(self) -> tuple[int, int, int, int]:
        """Where the keys stand beside the queries; equal for translates."""
        return len(self.queries), len(self.keys), self.keys.start - self.queries.start, self.keys.step


AxisRule = Callable[[Int[Tensor, "queries 1"], Int[Tensor, " keys"]], Bool[Tensor, "queries keys"]]


def product_blocks(grid: Grid, spans: Sequence[Iterable[Span]], rules: Sequence[AxisRule] = ()) -> list[Blocks]:
    """Blocks that are products of spans, one along each axis.

    Args:
        grid: The grid.
        spans: For each axis, spans whose queries are every index once.
        rules: For each axis, whether a query sees a key, given their indices, if a span's queries see not all of its keys. It may
            depend on their difference alone, so that it is the same in all translates.
    """
    axes = [_by_form(axis) for axis in spans]
    strides = [prod(grid.shape[axis + 1 :]) for axis in range(grid.ndim)]
    blocks = []
    for choice in product(*axes):
        queries, keys = (
            _combine([torch.stack([torch.arange(r.start, r.stop, r.step) for r in ranges]) for ranges in side], strides)
            for side in ([[span.queries for span in same] for same in choice], [[span.keys for span in same] for same in choice])
        )
        blocks.append(Blocks(queries, keys, _mask(choice, rules), alike=True))
    return blocks


def _by_form(spans: Iterable[Span]) -> list[list[Span]]:
    forms: dict[tuple[int, int, int, int], list[Span]] = {}
    for span in spans:
        forms.setdefault(span.form, []).append(span)
    return list(forms.values())


def _combine(indices: list[Int[Tensor, "_ _"]], strides: list[int]) -> Int[Tensor, "blocks tokens"]:
    """Row-major indices of all combinations of one span per axis."""
    ndim = len(indices)
    total = torch.zeros((1,) * 2 * ndim, dtype=torch.long)
    for axis, (index, stride) in enumerate(zip(indices, strides, strict=True)):
        shape = [1] * 2 * ndim
        shape[axis], shape[ndim + axis] = index.shape
        total = total + index.view(shape) * stride
    return total.flatten(ndim).flatten(0, ndim - 1)


def _mask(choice: Sequence[list[Span]], rules: Sequence[AxisRule]) -> Bool[Tensor, "1 queries keys"] | None:
    """What the rules allow within a block, the same in all of a form; None if that is everything."""
    mask = torch.ones(1, 1, dtype=torch.bool)
    for same, rule in zip(choice, rules, strict=False):
        query, key = (torch.arange(r.start, r.stop, r.step) for r in (same[0].queries, same[0].keys))
        axis = rule(query[:, None], key)
        mask = (mask[:, None, :, None] & axis[None, :, None, :]).flatten(2).flatten(0, 1)
    return None if bool(mask.all()) else mask[None]
