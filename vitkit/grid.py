"""The grid of tokens: how many along each axis, and how far apart."""

from dataclasses import dataclass
from math import isfinite, prod

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.errors import UsageError


@dataclass(frozen=True)
class Grid:
    """A regular grid of tokens in n dimensions, without anything of size N².

    Args:
        shape: Tokens along each axis, in the order of the tensor's axes: (height, width) or (depth, height, width).
        spacing: Distance between neighbouring tokens along each axis, in pixels, or in mm for scans. One unit if not given.

    Raises:
        UsageError: An axis with no token, or a spacing that is not one positive finite number per axis.

    >>> grid = Grid((2, 3), spacing=(16.0, 16.0))
    >>> len(grid), grid.ndim
    (6, 2)
    >>> grid.offsets(1).tolist()
    [-32.0, -16.0, 0.0, 16.0, 32.0]
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(map(_whole, self.shape)))
        object.__setattr__(self, "spacing", tuple(float(step) for step in self.spacing) or (1.0,) * len(self.shape))
        if not self.shape or min(self.shape) < 1:
            raise UsageError(
                f"a grid of shape {self.shape}", "at least one token along each axis", "Use a smaller patch, or a larger input."
            )
        if len(self.spacing) != len(self.shape):
            raise UsageError(
                f"a spacing of {len(self.spacing)} numbers, {self.spacing}, for the {len(self.shape)} axes of {self.shape}",
                "one number per axis",
                "Give the distance between tokens along every axis.",
            )
        if not all(isfinite(step) and step > 0 for step in self.spacing):
            raise UsageError(f"spacing {self.spacing}", "positive finite distances", "Check the image's header or your config.")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        """Number of tokens."""
        return prod(self.shape)

    def offsets(
        self, axis: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Float[Tensor, " displacements"]:
        """Every displacement between two tokens along one axis, query minus key: 2L-1 numbers, ascending, in the grid's unit."""
        length = self.shape[axis]
        return torch.arange(1 - length, length, device=device, dtype=dtype or torch.get_default_dtype()) * self.spacing[axis]

    def displacements(
        self, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Float[Tensor, "*displacements ndim"]:
        """Every displacement between two tokens, query minus key: shape (2L₁-1, ..., 2Lₙ-1, n), in the grid's unit."""
        axes = [self.offsets(axis, device=device, dtype=dtype) for axis in range(self.ndim)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def coordinates(
        self, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Float[Tensor, "tokens ndim"]:
        """Position of every token, the first at the origin: shape (N, n), row-major, in the grid's unit."""
        dtype = dtype or torch.get_default_dtype()
        axes = [
            torch.arange(length, device=device, dtype=dtype) * step for length, step in zip(self.shape, self.spacing, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


def _whole(length: int | torch.SymInt) -> int:
    """A plain int, but for the size yet unknown of a graph that is being exported."""
    if isinstance(length, torch.SymInt):
        return length  # type: ignore[return-value]  # it stands for one
    if length != int(length):
        raise UsageError(f"{length} tokens along an axis of a grid", "a whole number", "Round it as you mean it.")
    return int(length)
