"""No bias."""

from vitkit.bias.bias import StationaryBias
from vitkit.grid import Grid


class NoBias(StationaryBias):
    """No relative position bias; attention then takes the fused path without a mask."""

    def table(self, grid: Grid) -> None:
        """No logits."""
