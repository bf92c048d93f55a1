"""What every bias has in common."""

from abc import ABC, abstractmethod
from math import prod
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitkit.bias.layout import expand, lay_out
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded

if TYPE_CHECKING:
    from vitkit.bias.compose import ProductBias, SumBias


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
        if keep is not None:
            parts = parts[0][:, keep].transpose(0, 1), parts[1][:, keep].transpose(0, 1)
        q, k = (torch.cat([part.new_zeros(*part.shape[:-2], prefix, part.shape[-1]), part], dim=-2) for part in parts)
        if around is None:
            return q, k
        first = torch.arange(q.shape[-2], device=q.device) < prefix
        to, of, among = around[..., None].unbind(1)
        where = torch.stack([first, ~first], dim=-1).to(q.dtype).expand(*q.shape[:-1], 2)
        logits = torch.stack([torch.where(first, among, of), torch.where(first, to, 0)], dim=-1).expand(*k.shape[:-1], 2)
        return torch.cat([q, where], dim=-1), torch.cat([k, logits], dim=-1)

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
        if around is None:
            return nn.functional.pad(logits, (prefix, 0, prefix, 0)) if logits is not None and prefix else logits
        if logits is None:
            tokens = prod(grid.shape) if keep is None else keep.shape[1]
            logits = around.new_zeros(len(around), tokens, tokens)
        *batch, heads, tokens, _ = logits.shape
        to, of, among = (
            around[:, index, None, None].expand(*batch, heads, *shape)
            for index, shape in enumerate(((tokens, prefix), (prefix, tokens), (prefix, prefix)))
        )
        return torch.cat([torch.cat([among, of], dim=-1), torch.cat([to, logits], dim=-1)], dim=-2)

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
        from vitkit.bias.compose import SumBias  # it inherits this class

        return SumBias([self, other])

    def __mul__(self, other: "Bias") -> "ProductBias":
        """Both biases, multiplied."""
        from vitkit.bias.compose import ProductBias  # it inherits this class

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
