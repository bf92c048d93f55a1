"""Logits of tokens that stand nowhere."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.bias.bias import StationaryBias
from vitkit.errors import UsageError
from vitkit.grid import Grid


class PrefixBias(StationaryBias):
    """Learned logits of prefix tokens (class token, registers), three per head; none between the grid's tokens.

    They are those of a grid's query to a prefix key, of a prefix query to a grid's key, and among the prefix. BEiT (Bao et al.
    2022) has the same three. Add it to a bias of the grid's tokens, which alone gives zero to the prefix.

    Args:
        num_heads: Heads, each with its own logits.

    >>> from vitkit.bias import DistanceBias
    >>> bias = DistanceBias(num_heads=1, lengthscale=1.0) + PrefixBias(num_heads=1)
    >>> with torch.no_grad():
    ...     _ = bias.parts[1].values.copy_(torch.tensor([[5.0, 6.0, 7.0]]))
    >>> bias(Grid((2,)), prefix=1).detach()
    tensor([[[ 7.,  6.,  6.],
             [ 5., -0., -1.],
             [ 5., -1., -0.]]])
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1:
            raise UsageError(f"num_heads={num_heads} in PrefixBias", "at least one", "Set num_heads to the encoder's.")
        self.num_heads = num_heads
        self.values = nn.Parameter(torch.zeros(num_heads, 3))

    @property
    def rank(self) -> int:
        """No features of the grid's tokens."""
        return 0

    def grid_features(self, grid: Grid) -> None:
        """No features."""

    def table(self, grid: Grid) -> None:
        """No logits between the grid's tokens."""

    def prefix_logits(self) -> Float[Tensor, "heads 3"]:
        """The learned logits."""
        return self.values
