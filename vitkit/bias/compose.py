"""Sums and products of biases."""

from abc import abstractmethod
from collections.abc import Iterable
from functools import reduce
from operator import add, mul
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitkit.bias.bias import Bias
from vitkit.bias.layout import lay_out
from vitkit.errors import UsageError
from vitkit.grid import Grid


class _Composed(Bias):
    """What sums and products have in common: stationary as long as every part is, and then one table."""

    def __init__(self, biases: list[Bias]) -> None:
        super().__init__()
        if not biases:
            raise UsageError(f"{type(self).__name__} of nothing", "at least one bias", "Use NoBias for none.")
        heads = sorted({bias.num_heads for bias in biases if bias.num_heads is not None})
        if len(heads) > 1:
            raise UsageError(
                f"{type(self).__name__} of biases for {' and '.join(map(str, heads))} heads",
                "the same number in all",
                "Set their num_heads to the encoder's.",
            )
        self.num_heads = heads[0] if heads else None
        self.parts = nn.ModuleList(biases)

    @property
    def _parts(self) -> Iterable[Bias]:
        return cast("Iterable[Bias]", self.parts)

    @property
    def stationary(self) -> bool:
        """Whether every part is."""
        return all(part.stationary for part in self._parts)

    @abstractmethod
    def _combine(self, parts: list[Tensor | None]) -> Tensor | None:
        """One tensor of the parts' tensors, where None stands for zeros."""

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"] | None:
        """Logits at every displacement, if every part is stationary; None means zero.

        Raises:
            UsageError: A part is not stationary.
        """
        return self._combine([part.table(grid) for part in self._parts])

    def grid_logits(
        self, grid: Grid, keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "*batch heads tokens tokens"] | None:
        """Logits between the grid's tokens."""
        if self.stationary:
            return lay_out(self.table(grid), grid, keep)
        return self._combine([part.grid_logits(grid, keep) for part in self._parts])

    def prefix_logits(self) -> Float[Tensor, "heads 3"] | None:
        """Logits of the prefix tokens, combined likewise."""
        return self._combine([part.prefix_logits() for part in self._parts])

    def reset_parameters(self) -> None:
        """Draw new initial values of every part."""
        for part in self._parts:
            part.reset_parameters()


class SumBias(_Composed):
    """The sum of biases; ``a + b`` is one.

    Args:
        biases: For the same number of heads. The sum is stationary if all of them are.

    >>> from vitkit.bias import KeyBias, SpectralBias
    >>> from vitkit.spectral import Exponential
    >>> bias = SpectralBias(Exponential(num_heads=2, ndim=2)) + KeyBias(num_heads=2, shape=(3, 3))
    >>> bias(Grid((3, 3))).shape, bias.stationary
    (torch.Size([2, 9, 9]), False)
    """

    @property
    def rank(self) -> int | None:
        """That of all parts together, if all have one."""
        ranks = [part.rank for part in self._parts]
        return None if None in ranks else sum(cast("list[int]", ranks))

    def grid_features(self, grid: Grid) -> tuple[Float[Tensor, "heads tokens rank"], Float[Tensor, "heads tokens rank"]] | None:
        """Those of all parts, one after the other."""
        present = [features for part in self._parts if (features := part.grid_features(grid)) is not None]
        if not present:
            return None
        queries, keys = zip(*present, strict=True)
        return torch.cat(queries, dim=-1), torch.cat(keys, dim=-1)

    def _combine(self, parts: list[Tensor | None]) -> Tensor | None:
        present = [part for part in parts if part is not None]
        return reduce(add, present) if present else None


class ProductBias(_Composed):
    """The product of biases; ``a * b`` is one. Of two covariances it is a covariance (Schur).

    Args:
        biases: For the same number of heads. The product is stationary if all of them are, and zero to and from prefix tokens
            unless all of them have logits there.

    >>> from vitkit.bias import SpectralBias
    >>> from vitkit.spectral import Exponential, SpectralMixture
    >>> bias = SpectralBias(Exponential(num_heads=2, ndim=2)) * SpectralBias(SpectralMixture(num_heads=2, ndim=2))
    >>> bias.table(Grid((3, 3))).shape
    torch.Size([2, 5, 5])
    """

    def _combine(self, parts: list[Tensor | None]) -> Tensor | None:
        present = [part for part in parts if part is not None]
        return reduce(mul, present) if len(present) == len(parts) else None
