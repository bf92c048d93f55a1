"""A logit per key."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitkit.bias.bias import Bias
from vitkit.errors import UsageError
from vitkit.grid import Grid


class KeyBias(Bias):
    """One learned logit per head and key, the same for every query: how much each place is looked at, from wherever.

    It belongs to one grid, as its places have no distances. A logit per query would change nothing, since softmax takes no
    notice of what a row has in common.

    Args:
        num_heads: Heads, each with its own logits.
        shape: Tokens along each axis of the grid it is for.
        std: Standard deviation of the initial logits.

    >>> KeyBias(num_heads=2, shape=(2, 3))(Grid((2, 3)), prefix=1).shape
    torch.Size([2, 7, 7])
    """

    def __init__(self, num_heads: int, shape: Sequence[int], std: float = 0.02) -> None:
        super().__init__()
        if num_heads < 1:
            raise UsageError(f"num_heads={num_heads} in KeyBias", "at least one", "Set num_heads to the encoder's.")
        self.num_heads = num_heads
        self.shape = Grid(tuple(shape)).shape
        self.std = std
        self.values = nn.Parameter(torch.empty(num_heads, *self.shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the logits from a normal distribution truncated at two standard deviations."""
        nn.init.trunc_normal_(self.values, std=self.std, a=-2 * self.std, b=2 * self.std)

    def grid_logits(
        self, grid: Grid, keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "*batch heads tokens tokens"]:
        """The learned logits, a row repeated for every query.

        Raises:
            UsageError: Another grid than the one it was made for.
        """
        row = self._row(grid)
        if keep is not None:
            row = row[:, keep].transpose(0, 1)
        return row[..., None, :].expand(*row.shape, row.shape[-1])

    @property
    def rank(self) -> int:
        """One: a query's is 1, a key's its logit."""
        return 1

    def grid_features(self, grid: Grid) -> tuple[Float[Tensor, "heads tokens 1"], Float[Tensor, "heads tokens 1"]]:
        """One for every query, and the learned logits."""
        row = self._row(grid)[..., None]
        return torch.ones_like(row), row

    def _row(self, grid: Grid) -> Float[Tensor, "heads tokens"]:
        if grid.shape != self.shape:
            raise UsageError(
                f"a KeyBias of shape {self.shape} on a grid of {grid.shape} tokens",
                "the grid that it was made for",
                f"Set the bias's shape to {list(grid.shape)}.",
            )
        return self.values.flatten(1)
