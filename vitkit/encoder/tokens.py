"""What an encoder returns."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.grid import Grid


@dataclass(frozen=True)
class Tokens:
    """Encoded tokens and where they stand.

    Args:
        prefix: Class token, then registers: (batch, P, dim).
        patches: Tokens of the grid in row-major order, or those of them that were kept: (batch, N, dim).
        grid: The whole grid.
        keep: Row-major indices of the patches that are present, (batch, N); None if all are.
        real: Which of the patches hold a real pixel or voxel and not padding alone, (batch, N); None if all do.
    """

    prefix: Float[Tensor, "batch prefix dim"]
    patches: Float[Tensor, "batch tokens dim"]
    grid: Grid
    keep: Int[Tensor, "batch tokens"] | None = None
    real: Bool[Tensor, "batch tokens"] | None = None

    def spatial(self) -> Float[Tensor, "batch dim *grid"]:
        """The patches as a map, channels first.

        Raises:
            UsageError: Some tokens were removed, so that there is no whole map.
        """
        if self.keep is not None:
            raise UsageError("tokens of which some were removed", "all of the grid's", "Encode without keep.")
        return self.patches.transpose(1, 2).unflatten(2, self.grid.shape)
