"""Arguments that are one number per axis, and indices along axes."""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.grid import Grid

PerAxis = int | Sequence[int]


def at_least(name: str, value: PerAxis, least: int) -> int | tuple[int, ...]:
    """The value as an int or a tuple.

    Raises:
        UsageError: A number below the least one or no whole one, or no number at all.
    """
    numbers = tuple(value) if isinstance(value, Sequence) else (value,)
    if not numbers or not all(isinstance(number, int) and number >= least for number in numbers):
        raise UsageError(f"{name} of {value}", f"at least {least} along every axis, in whole numbers", "Correct it.")
    return value if isinstance(value, int) else numbers


def per_axis(name: str, value: int | tuple[int, ...], grid: Grid) -> tuple[int, ...]:
    """One number for each axis of the grid.

    Raises:
        UsageError: As many numbers as another grid has axes.
    """
    if isinstance(value, int):
        return (value,) * grid.ndim
    if len(value) != grid.ndim:
        raise UsageError(
            f"{name} of {value}, {len(value)} axes, on a grid of {grid.ndim}, {grid.shape}",
            "one number per axis, or one for all of them",
            f"Give {grid.ndim}.",
        )
    return value


def along(flat: Int[Tensor, "*pairs"], grid: Grid) -> list[Int[Tensor, "*pairs"]]:
    """Indices along each axis of row-major ones."""
    indices = []
    for length in reversed(grid.shape):
        indices.append(flat % length)
        flat = flat // length
    return indices[::-1]
