"""What every bias has in common, and sums and products of biases."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import reduce
from math import prod
from operator import add, mul
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitkit.bias.around import features_around, logits_around
from vitkit.bias.layout import expand, lay_out
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Bias(nn.Module, Recorded, ABC):
    """Additive logits per head, for every query and key.

    A subclass says what the logits between the grid's tokens are, in :meth:`grid_logits`. If they depend on the displacement
    alone it derives from :class:`StationaryBias` instead, and says what they are at each displacement, in :meth:`table`.
    ``a + b`` and ``a * b`` are biases.
    """

    num_heads: int | None = None
    """Heads that this bias has logits for; None fits any number."""

    @property
    def stationary(self) -> bool:
        """Whether logits between grid tokens depend on the displacement from key to query alone; then :meth:`table` has them."""
        return False

    @abstractmethod
    def grid_logits(
        self, grid: Grid, keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "*batch heads tokens tokens"] | None:
        """Logits between the grid's tokens, or those that are kept: (heads, N, N) or (batch, heads, K, K). None means zero."""

    def prefix_logits(self) -> Float[Tensor, "heads 3"] | None:
        """Logits of a grid's query to a prefix key, a prefix query to a grid's key, and among the prefix. None means zero."""
        return None

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"] | None:
        """Logits at every displacement, query minus key: shape (heads, 2L₁-1, ..., 2Lₙ-1). None means zero.

        Raises:
            UsageError: The bias is not stationary.
        """
        raise UsageError(
            f"a table of displacements of {type(self).__name__}, which depends on more than the displacement",
            "a stationary bias",
            "Use a stationary one, such as SpectralBias, or a pattern that takes any bias, such as Full.",
        )

    @property
    def rank(self) -> int | None:
        """Width of :meth:`grid_features`; None if the logits are no dot product of a few features."""
        return None

    def grid_features(self, grid: Grid) -> tuple[Float[Tensor, "heads tokens rank"], Float[Tensor, "heads tokens rank"]] | None:
        """Features of queries and of keys whose dot products are :meth:`grid_logits`, of a bias with a rank; None means zero."""
        raise UsageError(
            f"features of {type(self).__name__}, whose logits are no dot product of a few",
            "a bias with a rank",
            'Use one, such as SpectralBias(Gaussian(...), form="log") or KeyBias.',
        )

    def features(
        self, grid: Grid, prefix: int = 0, keep: Int[Tensor, "batch kept"] | None = None
    ) -> tuple[Float[Tensor, "*batch heads tokens rank"], Float[Tensor, "*batch heads tokens rank"]]:
        """Features of all queries and of all keys whose dot products are what :meth:`forward` gives; prefix tokens included.

        Raises:
            UsageError: The bias has no rank.
        """
        parts = self.grid_features(grid)
        around = self.prefix_logits() if prefix else None
        if parts is None:
            like = next(self.parameters(), torch.empty(0))
            parts = 2 * (like.new_zeros(self.num_heads or 1, prod(grid.shape), 0),)
        q, k = parts if keep is None else (part[:, keep].transpose(0, 1) for part in parts)
        return features_around(q, k, around, prefix)

    def reset_parameters(self) -> None:
        """Draw new initial values; an encoder calls this on the copy that it gives to each block."""

    def forward(
        self, grid: Grid, prefix: int = 0, keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "*batch heads tokens tokens"] | None:
        """Logits for every pair of tokens, ready to be added to attention scores.

        Args:
            grid: Where the tokens stand.
            prefix: Tokens before the grid's (class token, registers); their rows and columns get :meth:`prefix_logits`.
            keep: Row-major indices of the grid tokens that are present, one row per sample, if some were removed.

        Returns:
            (heads, N, N), or (batch, heads, N, N) with ``keep``, prefix included; None if there is no bias.
        """
        logits = self.grid_logits(grid, keep)
        around = self.prefix_logits() if prefix else None
        if logits is None:
            if around is None:
                return None
            tokens = prod(grid.shape) if keep is None else keep.shape[1]
            logits = around.new_zeros(len(around), tokens, tokens)
        return logits_around(logits, around, prefix)

    def axis(self, grid: Grid, axis: int) -> Float[Tensor, "heads length length"] | None:
        """Logits between tokens that differ along one axis only: shape (heads, L, L); of a stationary bias."""
        table = self.table(grid)
        if table is None:
            return None
        for other in reversed(range(grid.ndim)):
            if other != axis:
                table = table.select(1 + other, grid.shape[other] - 1)
        return expand(table, (grid.shape[axis],))

    def __add__(self, other: "Bias") -> "SumBias":
        """Both biases, added."""
        return SumBias([self, other])

    def __mul__(self, other: "Bias") -> "ProductBias":
        """Both biases, multiplied."""
        return ProductBias([self, other])

    def require_heads(self, num_heads: int) -> None:
        """Check that this bias fits an attention of so many heads.

        Raises:
            UsageError: It was made for another number.
        """
        if self.num_heads is not None and self.num_heads != num_heads:
            raise UsageError(
                f"a {type(self).__name__} for {self.num_heads} heads in an attention of {num_heads} heads",
                "the same number in both",
                f"Set the bias's num_heads to {num_heads}.",
            )


class StationaryBias(Bias):
    """Logits that depend on the displacement from key to query alone: a subclass gives them in :meth:`table`."""

    @property
    def stationary(self) -> bool:
        """True."""
        return True

    @abstractmethod
    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"] | None:
        """Logits at every displacement, query minus key: shape (heads, 2L₁-1, ..., 2Lₙ-1). None means zero."""

    def grid_logits(
        self, grid: Grid, keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "*batch heads tokens tokens"] | None:
        """The table, laid out over all pairs of tokens."""
        return lay_out(self.table(grid), grid, keep)


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
