"""Everything sees everything."""

from vitkit.attention.patterns.pattern import Pattern
from vitkit.grid import Grid


class Full(Pattern):
    """Every token sees every token."""

    def allowed(self, grid: Grid) -> None:
        """No restriction."""
