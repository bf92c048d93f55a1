"""A bias that falls with distance."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitkit.bias.bias import Bias
from vitkit.bias.distance import Distance, GridDistance, MatrixDistance
from vitkit.bias.layout import lay_out
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral.density import at_least_single, require_positive


class DistanceBias(Bias):
    r"""Logits that fall with any distance d between query and key, for each head by scales of its own.

    .. math:: -d/\ell \qquad\text{or}\qquad -m \log(1 + d/\ell)

    On a line of tokens the linear penalty is ALiBi's (Press et al. 2022), of slope :math:`1/\ell`: see :meth:`alibi`. The
    logarithmic one is KERPLE's (Chi et al. 2022). Scales are learned, as logarithms.

    Args:
        num_heads: Heads, each with its own scales.
        distance: On the grid, in its unit, or of a matrix or a graph.
        penalty: ``"linear"`` or ``"log"``.
        lengthscale: Initial :math:`\ell`, in the distance's unit; or one for each head.
        outputscale: Initial m of the logarithmic penalty, in logits.
        spread: Ratio of the longest to the shortest initial length scale over the heads, if one is given for all.

    Raises:
        UsageError: An unknown penalty, a scale that is not positive and finite, a spread below one, no head, or length scales
            that are not one for each.

    >>> DistanceBias(num_heads=1, lengthscale=4.0).table(Grid((1, 3), (16.0, 16.0))).detach()
    tensor([[[-8., -4., -0., -4., -8.]]])
    """

    def __init__(
        self,
        num_heads: int,
        distance: Distance = GridDistance(),
        penalty: Literal["linear", "log"] = "linear",
        lengthscale: float | list[float] = 16.0,
        outputscale: float = 1.0,
        spread: float = 4.0,
    ) -> None:
        super().__init__()
        if num_heads < 1:
            raise UsageError(f"num_heads={num_heads} in DistanceBias", "at least one", "Set num_heads to the encoder's.")
        if penalty not in ("linear", "log"):
            raise UsageError(f"penalty={penalty!r} in DistanceBias", '"linear" or "log"', "Correct penalty.")
        if not (math.isfinite(spread) and spread >= 1):
            raise UsageError(f"spread={spread} in DistanceBias", "a ratio of at least 1", "Use 1 to start all heads alike.")
        lengths = lengthscale if isinstance(lengthscale, list) else geometric(lengthscale, spread, num_heads)
        if len(lengths) != num_heads:
            raise UsageError(f"{len(lengths)} length scales for {num_heads} heads", "one for each", "Correct lengthscale.")
        for length in lengths:
            require_positive("DistanceBias", lengthscale=length, outputscale=outputscale)
        self.num_heads, self.distance, self.penalty = num_heads, distance, penalty
        self.raw_lengthscale = nn.Parameter(torch.tensor(lengths).log())
        self.raw_outputscale = nn.Parameter(torch.full((num_heads,), math.log(outputscale))) if penalty == "log" else None
        matrix = distance.matrix if isinstance(distance, MatrixDistance) else None
        self.register_buffer("matrix", matrix, persistent=False)
        self.matrix: Tensor | None

    @classmethod
    def alibi(cls, num_heads: int) -> "DistanceBias":
        """ALiBi's slopes 2^(-8h/H), h = 1, ..., H, per token of a grid whose spacing is one."""
        return cls(num_heads, GridDistance(1.0), lengthscale=[2 ** (8 * (head + 1) / num_heads) for head in range(num_heads)])

    @property
    def stationary(self) -> bool:
        """Whether the distance is the grid's."""
        return self.matrix is None

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"] | None:
        """Logits at every displacement, if the distance is the grid's.

        Raises:
            UsageError: The distance is that of a matrix or a graph.
        """
        if isinstance(self.distance, GridDistance):
            return self._penalise(self.distance.table(grid, self.raw_lengthscale)[None])
        return super().table(grid)

    def grid_logits(
        self, grid: Grid, keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "*batch heads tokens tokens"] | None:
        """Logits between the grid's tokens.

        Raises:
            UsageError: A grid that has not as many tokens as the matrix or graph has nodes.
        """
        if self.matrix is None:
            return lay_out(self.table(grid), grid, keep)
        if len(self.matrix) != len(grid):
            raise UsageError(
                f"a DistanceBias of {len(self.matrix)} nodes on a grid of {grid.shape}, {len(grid)} tokens",
                "a node for every token",
                "Give the distances of this grid's tokens, row by row.",
            )
        distance = self.matrix if keep is None else self.matrix[keep[:, :, None], keep[:, None, :]]
        return self._penalise(distance.unsqueeze(-3))

    def _penalise(self, distance: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Logits of distances that have an axis of length one for the heads."""
        trailing = (1,) * (distance.ndim - 1 if self.matrix is None else 2)
        lengths = at_least_single(self.raw_lengthscale).exp()
        scaled = distance.to(lengths.dtype) / lengths.view(-1, *trailing)
        if self.raw_outputscale is None:
            return -scaled
        return -at_least_single(self.raw_outputscale).exp().view(-1, *trailing) * scaled.log1p()


def geometric(middle: float, spread: float, count: int) -> list[float]:
    """A geometric range around the middle, whose last is ``spread`` times its first."""
    return [middle * spread ** (index / (count - 1) - 0.5) if count > 1 else middle for index in range(count)]
