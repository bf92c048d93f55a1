"""Absolute positions, added to the tokens."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Position(nn.Module, Recorded, ABC):
    """Something that tells a token where it stands on the grid."""

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "batch tokens dim"], grid: Grid) -> Float[Tensor, "batch tokens dim"]:
        """The tokens with their positions added."""


class NoPosition(Position):
    """No absolute position: without a bias the encoder is then equivariant to any reordering of its tokens."""

    def forward(self, tokens: Float[Tensor, "batch tokens dim"], grid: Grid) -> Float[Tensor, "batch tokens dim"]:
        """The tokens as they are."""
        return tokens


class SinCosPosition(Position):
    r"""Fixed sines and cosines of each token's index along each axis (Vaswani et al. 2017, in n dimensions).

    The width is shared equally among the axes. Each gets :math:`\sin(p\,\omega_j)` and :math:`\cos(p\,\omega_j)` with
    :math:`\omega_j = T^{-j/m}, j = 0, \dots, m-1`, where m is the width divided by 2n, rounded down; channels left over are zero.

    Args:
        shape: Grid on which one step along an axis counts as one. On another grid the positions are spread over the same extent,
            which is what resampling does; if not given, steps are tokens on every grid.
        temperature: T, the ratio of the slowest to the fastest wavelength.
    """

    def __init__(self, shape: Sequence[int] | None = None, temperature: float = 10_000.0) -> None:
        super().__init__()
        self.shape = None if shape is None else Grid(tuple(shape)).shape
        self.temperature = temperature

    def forward(self, tokens: Float[Tensor, "batch tokens dim"], grid: Grid) -> Float[Tensor, "batch tokens dim"]:
        """The tokens plus their positions."""
        dim = tokens.shape[-1]
        bands = dim // (2 * grid.ndim)
        if bands < 1:
            raise UsageError(
                f"tokens of width {dim} on {grid.ndim} axes", f"a width of at least {2 * grid.ndim}", "Widen the tokens."
            )
        rates = self.temperature ** -(torch.arange(bands, device=tokens.device, dtype=torch.float32) / bands)
        axes = []
        for axis, length in enumerate(grid.shape):
            index = torch.arange(length, device=tokens.device, dtype=torch.float32)
            if self.shape is not None:
                index = (index + 0.5) * (self.shape[axis] / length) - 0.5
            angle = index[:, None] * rates
            along = torch.cat([angle.sin(), angle.cos()], dim=-1)
            axes.append(along.view(*(length if other == axis else 1 for other in range(grid.ndim)), -1).expand(*grid.shape, -1))
        position = torch.cat(axes, dim=-1).flatten(0, -2)
        return tokens + nn.functional.pad(position, (0, dim - position.shape[-1])).to(tokens.dtype)


class LearnedPosition(Position):
    """A learned vector per token of one grid, resampled on another: bicubic in 2D as in timm, linear otherwise.

    Args:
        dim: Width of the tokens.
        shape: Tokens along each axis of the grid it is for.
        std: Standard deviation of the initial values.
    """

    def __init__(self, dim: int, shape: Sequence[int], std: float = 0.02) -> None:
        super().__init__()
        self.shape = Grid(tuple(shape)).shape
        self.embedding = nn.Parameter(torch.empty(*self.shape, dim))
        nn.init.trunc_normal_(self.embedding, std=std)

    def forward(self, tokens: Float[Tensor, "batch tokens dim"], grid: Grid) -> Float[Tensor, "batch tokens dim"]:
        """The tokens plus their positions.

        Raises:
            UsageError: Tokens of another width, or a grid of another number of axes.
        """
        dim = self.embedding.shape[-1]
        if tokens.shape[-1] != dim or grid.ndim != len(self.shape):
            raise UsageError(
                f"positions of width {dim} on {len(self.shape)} axes for tokens of width {tokens.shape[-1]} on {grid.ndim}",
                "the same in both",
                "Set the position's dim and shape to the embedding's.",
            )
        position: Tensor = self.embedding
        if grid.shape != self.shape:
            mode = {1: "linear", 2: "bicubic", 3: "trilinear"}[grid.ndim]
            channels_first = position.movedim(-1, 0)[None].float()
            resampled = interpolate(channels_first, size=grid.shape, mode=mode, antialias=mode == "bicubic")
            position = resampled[0].movedim(0, -1).to(position.dtype)
        return tokens + position.flatten(0, -2)
