"""Who may see whom."""

from abc import ABC, abstractmethod

from jaxtyping import Bool
from torch import Tensor

from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Pattern(Recorded, ABC):
    """A rule on the grid that says which keys a query may attend to."""

    @abstractmethod
    def allowed(self, grid: Grid) -> Bool[Tensor, "tokens tokens"] | None:
        """True where the query (row) may see the key (column); None if everything is allowed."""
