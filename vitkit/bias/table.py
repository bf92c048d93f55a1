"""A learned table of logits."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.bias.bias import StationaryBias
from vitkit.errors import UsageError
from vitkit.grid import Grid


class TableBias(StationaryBias):
    """One learned logit per head and displacement (Shaw et al. 2018; the form is Swin's, Liu et al. 2021).

    The table belongs to one grid. It knows nothing of distances, so another grid is refused rather than resized by a guess.

    Args:
        num_heads: Heads, each with its own table.
        shape: Tokens along each axis of the grid it is for.
        std: Standard deviation of the initial logits.
    """

    def __init__(self, num_heads: int, shape: Sequence[int], std: float = 0.02) -> None:
        super().__init__()
        if num_heads < 1:
            raise UsageError(f"num_heads={num_heads} in TableBias", "at least one", "Set num_heads to the encoder's.")
        self.num_heads = num_heads
        self.shape = tuple(shape)
        self.std = std
        self.logits = nn.Parameter(torch.empty(num_heads, *(2 * length - 1 for length in Grid(self.shape).shape)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the logits from a normal distribution truncated at two standard deviations."""
        nn.init.trunc_normal_(self.logits, std=self.std, a=-2 * self.std, b=2 * self.std)

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """The learned logits.

        Raises:
            UsageError: Another grid than the one the table was made for.
        """
        if grid.shape != self.shape:
            raise UsageError(
                f"a TableBias of shape {self.shape} on a grid of {grid.shape} tokens",
                "the grid that it was made for",
                f"Set the bias's shape to {list(grid.shape)}, or use SpectralBias, which is defined on every grid.",
            )
        return self.logits
