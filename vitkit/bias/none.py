"""No bias."""

from vitkit.bias.bias import StationaryBias
from vitkit.grid import Grid


class NoBias(StationaryBias):
    """No relative position bias; attention then takes the fused path without a mask."""

    @property
    def rank(self) -> int:
        """None at all."""
        return 0

    def grid_features(self, grid: Grid) -> None:
        """No features."""

    def table(self, grid: Grid) -> None:
        """No logits."""
