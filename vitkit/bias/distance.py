"""Distances between tokens, on the grid or as given."""

from abc import ABC

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Distance(Recorded, ABC):
    """How far each query is from each key."""


class GridDistance(Distance):
    r"""Distance on the grid, in its unit: :math:`\bigl(\sum_i |r_i|^p\bigr)^{1/p}`.

    Args:
        order: p: 1 for the sum over the axes, 2 for the straight line, infinity for the longest axis.

    Raises:
        UsageError: An order below one, which is no distance.
    """

    def __init__(self, order: float = 2.0) -> None:
        if not order >= 1:
            raise UsageError(f"order={order} in GridDistance", "at least 1, which makes it a distance", "Use 1, 2 or infinity.")
        self.order = order

    def table(self, grid: Grid, like: Tensor) -> Float[Tensor, "*displacements"]:
        """Distance at every displacement, of the device of ``like`` and in at least single precision."""
        r = grid.displacements(device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
        return torch.linalg.vector_norm(r, self.order, dim=-1)


class MatrixDistance(Distance):
    """Distances as they are given; nodes are the grid's tokens in row-major order.

    Args:
        distances: Rows of the matrix: from each query to each key.

    Raises:
        UsageError: No square matrix, or a distance that is negative or not finite.
    """

    def __init__(self, distances: list[list[float]]) -> None:
        self.matrix = torch.from_numpy(square(distances, "a distance matrix"))


def square(rows: list[list[float]], what: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A matrix of the rows.

    Raises:
        UsageError: It is not square, or has an entry that is negative or not finite.
    """
    lengths = {len(row) for row in rows}
    if lengths != {len(rows)}:
        raise UsageError(f"{what} of {len(rows)} rows of {sorted(lengths)} numbers", "a square matrix", "Give a row per node.")
    matrix = np.array(rows, dtype=np.float64)
    wrong = ~(np.isfinite(matrix) & (matrix >= 0))
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise UsageError(
            f"{what} with {matrix[row, column]} in row {row}, column {column}",
            "finite numbers that are not negative",
            "Correct it.",
        )
    return matrix
