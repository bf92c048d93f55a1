"""How an image is cut into the cells that a condition hides."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

from vitkit.corruptions import Cells
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Context
from vitkit.grid import Grid

Unit = Literal["patches", "pixels", "mm"]
Lengths = float | int | Sequence[float | int]
_UNITS = ("patches", "pixels", "mm")


class Layout:
    """The model's own tokens, or cells of one's own.

    Args:
        grid: Cells along each axis; one number for all axes, or a list.
        patch: Length of a cell along each axis, in ``unit``; one number or a list. Not together with ``grid``.
        offset: How far the cells are moved along each axis, in ``unit``; the first and the last of an axis are then smaller.
        unit: "patches" are the model's tokens; for a model that has none, a 14th of each axis of a picture (Naseer et al. 2021)
            and an 8th of a volume, or two pixels where that is more. "pixels" are voxels in a volume. "mm" needs a model whose
            preprocess says the spacing.

    Raises:
        UsageError: Both a grid and a patch, numbers that are not positive, or an unknown unit.
    """

    def __init__(
        self,
        grid: int | Sequence[int] | None,
        patch: Lengths | None,
        offset: Lengths,
        unit: Unit,
    ) -> None:
        if grid is not None and patch is not None:
            raise UsageError("patch: given together with a grid", "one of the two", "Leave one out.")
        if unit not in _UNITS:
            raise UsageError(f"unit: {unit!r}", f"one of {', '.join(_UNITS)}", "Choose one of these.")
        numbers = [grid] if type(grid) is int else grid
        if numbers is not None and not (
            isinstance(numbers, (list, tuple)) and numbers and all(type(cells) is int and cells > 0 for cells in numbers)
        ):
            raise UsageError(f"grid: {grid!r}", "a list of whole numbers from 1, one an axis", "Write e.g. grid: [14, 14].")
        _check_lengths("patch", patch, positive=True)
        _check_lengths("offset", offset, positive=False)
        self._grid, self._patch, self._offset, self.unit = grid, patch, offset, unit

    @property
    def moved(self) -> bool:
        """Whether there is an offset."""
        return any(_per_axis(self._offset, 1)) if isinstance(self._offset, (int, float)) else any(self._offset)

    @property
    def own(self) -> bool:
        """Whether the cells are other than the model's tokens."""
        return self._grid is not None or self._patch is not None or self.moved

    def obstacle(self, context: Context) -> str | None:
        """Millimetres mean nothing to a model without a spacing."""
        if self.unit == "mm" and self.own and context.spacing is None:
            return "the model's preprocess gives no spacing in mm"
        return None

    def cells(self, context: Context, size: tuple[int, ...]) -> Cells:
        """The cells of images of a size.

        Raises:
            UsageError: Other axes than the images have, more cells than pixels, or a cell of less than a pixel.
        """
        if self._grid is not None and not self.moved:
            return Cells.of(size, Grid(_wholes(self._grid, len(size))))
        if not self.own:
            return tokens(context, size)
        steps = self._steps(context, size)
        offsets = [shift * step for shift, step in zip(self._lengths("offset", self._offset, size), steps, strict=True)]
        if self._grid is not None:
            counts = Cells.of(size, Grid(_wholes(self._grid, len(size)))).shape
            return Cells.laid(size, [length / count for length, count in zip(size, counts, strict=True)], offsets)
        patch = 1.0 if self._patch is None and self.unit == "patches" else self._patch
        if patch is None:  # an offset in pixels or mm of the model's own tokens
            lengths = [float(cuts[1]) for cuts in tokens(context, size).cuts]
        else:
            lengths = [length * step for length, step in zip(self._lengths("patch", patch, size), steps, strict=True)]
        return Cells.laid(size, lengths, offsets)

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The cells along each axis, and what else was asked for."""
        asked = {"patch": self._patch, "offset": self._offset if self.moved else None}
        given = {name: value for name, value in asked.items() if value is not None}
        known = {} if self.obstacle(context) else {"grid": list(self.cells(context, size).shape)}
        return known | given | ({"unit": self.unit} if given else {})

    def _steps(self, context: Context, size: tuple[int, ...]) -> list[float]:
        """Pixels of one unit along each axis."""
        match self.unit:
            case "pixels":
                return [1.0] * len(size)
            case "mm":
                assert context.spacing is not None
                return [1 / step for step in context.spacing]
            case _:
                return [float(cuts[1]) for cuts in tokens(context, size).cuts]

    def _lengths(self, name: str, value: Lengths, size: tuple[int, ...]) -> list[float]:
        lengths = _per_axis(value, len(size))
        if len(lengths) != len(size):
            raise UsageError(f"{name}: {value!r} for images of size {size}", "as many axes", "Give a number per axis.")
        return lengths


def tokens(context: Context, size: tuple[int, ...]) -> Cells:
    """The model's tokens, or what stands for them where there are none."""
    if context.grid is not None:
        return Cells.of(size, context.grid, context.spacing)
    default = 14 if len(size) == 2 else 8
    return Cells.of(size, Grid(tuple(max(1, min(default, length // 2)) for length in size)))


def _wholes(value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    return (value,) * ndim if isinstance(value, int) else tuple(value)


def _per_axis(value: Lengths, ndim: int) -> list[float]:
    return [float(value)] * ndim if isinstance(value, (int, float)) else [float(length) for length in value]


def _check_lengths(name: str, value: Any, positive: bool) -> None:
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    for length in [] if value is None else given or [None]:
        number = isinstance(length, (int, float)) and not isinstance(length, bool) and isfinite(length)
        if not number or length < 0 or (positive and length == 0):
            wanted = "a positive number, or one an axis" if positive else "a number from 0, or one an axis"
            raise UsageError(f"{name}: {value!r}", wanted, f"Write e.g. {name}: 8.")
