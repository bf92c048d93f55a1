"""A bias that is a covariance function."""

from jaxtyping import Float
from torch import Tensor

from vitkit.bias.bias import Bias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Density


class SpectralBias(Bias):
    r"""Logits :math:`b(r)` that are the covariance function of a spectral density at the displacement :math:`r`.

    It has a handful of parameters per head, is defined on every grid and spacing, and never needs resampling.

    Args:
        density: Covariance family with its scales per head and axis.

    >>> from vitkit.spectral import Exponential
    >>> bias = SpectralBias(Exponential(num_heads=3, ndim=2))
    >>> bias(Grid((4, 5))).shape
    torch.Size([3, 20, 20])
    """

    def __init__(self, density: Density) -> None:
        super().__init__()
        self.density = density
        self.num_heads = density.num_heads

    def table(self, grid: Grid) -> Float[Tensor, "heads *displacements"]:
        """Covariance in logits at every displacement of the grid.

        Raises:
            UsageError: The density has another number of axes than the grid.
        """
        if self.density.ndim != grid.ndim:
            raise UsageError(
                f"a density of {self.density.ndim} axes on a grid of {grid.ndim}, {grid.shape}",
                "as many axes in both",
                f"Set the density's ndim to {grid.ndim}.",
            )
        return self.density.table(grid)
