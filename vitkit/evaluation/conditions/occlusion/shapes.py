"""Cells in a shape: a hole, a border, a checkerboard."""

from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Bool
from torch import Tensor

from vitkit.corruptions import Cells, border_mask, checkerboard_mask, hole_masks
from vitkit.corruptions.occlusion import Fill
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Context
from vitkit.evaluation.conditions.occlusion.base import CellOcclusion, Mode
from vitkit.evaluation.conditions.occlusion.layout import Lengths, Unit

Place = Literal["centre", "random"]


class HoleOcclusion(CellOcclusion):
    """One hole, square in a square image and a cube in a cubic volume: of the image's own shape, as large as the ratio allows.

    It is made of whole cells, so it hides a row of them less than the ratio at most; ``patch: 1`` and ``unit: pixels`` come
    closest. The area that it hides in fact is among the results.

    Args:
        mode: "painted" or "removed".
        ratios: Shares of the area to hide, each in [0, 1).
        place: "centre", or "random": at a place that each image's seed chooses, and keeps over all ratios.
        fill: Paint, as for :class:`RandomOcclusion`; so are the next four.
        grid: Cells along each axis.
        patch: Length of a cell along each axis.
        offset: How far the cells are moved along each axis.
        unit: Of ``patch`` and ``offset``.
        name: Name in the results, "hole.painted" and so on by default.

    Raises:
        UsageError: As for :class:`RandomOcclusion`, or an unknown place.
    """

    def __init__(
        self,
        mode: Mode,
        ratios: Sequence[float],
        place: Place = "centre",
        fill: Fill = "mean",
        grid: int | Sequence[int] | None = None,
        patch: Lengths | None = None,
        offset: Lengths = 0,
        unit: Unit = "patches",
        name: str | None = None,
    ) -> None:
        if place not in ("centre", "random"):
            raise UsageError(f"place: {place!r}", "centre or random", "Choose one of these.")
        family, title = ("hole", "Hole in the middle") if place == "centre" else ("hole.random", "Hole at a random place")
        super().__init__(mode, ratios, family, title, fill, grid, patch, offset, unit, name)
        self.place = place

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The place, too."""
        return {**super().params(context, size), "place": self.place}

    def masks(self, cells: Cells, severity: float, images: Tensor, context: Context) -> Bool[Tensor, "batch *grid"]:
        """The hole."""
        return hole_masks(cells.shape, severity, context.seeds(self.suite, "hole"), centred=self.place == "centre")


class BorderOcclusion(CellOcclusion):
    """All but a window in the middle, of the image's own shape: the reverse of a hole.

    Args:
        mode: "painted" or "removed".
        ratios: Shares of the area to hide, each in [0, 1).
        fill: Paint, as for :class:`RandomOcclusion`; so are the next four.
        grid: Cells along each axis.
        patch: Length of a cell along each axis.
        offset: How far the cells are moved along each axis.
        unit: Of ``patch`` and ``offset``.
        name: Name in the results, "border.painted" and so on by default.

    Raises:
        UsageError: As for :class:`RandomOcclusion`.
    """

    def __init__(
        self,
        mode: Mode,
        ratios: Sequence[float],
        fill: Fill = "mean",
        grid: int | Sequence[int] | None = None,
        patch: Lengths | None = None,
        offset: Lengths = 0,
        unit: Unit = "patches",
        name: str | None = None,
    ) -> None:
        super().__init__(mode, ratios, "border", "Border", fill, grid, patch, offset, unit, name)

    def masks(self, cells: Cells, severity: float, images: Tensor, context: Context) -> Bool[Tensor, "batch *grid"]:
        """The border."""
        return border_mask(cells.shape, severity).expand(len(images), *cells.shape)


class CheckerboardOcclusion(CellOcclusion):
    """Every other cell, half of the image: one severity, .5.

    Args:
        mode: "painted" or "removed".
        fill: Paint, as for :class:`RandomOcclusion`; so are the next four.
        grid: Squares along each axis.
        patch: Length of a square along each axis.
        offset: How far the squares are moved along each axis.
        unit: Of ``patch`` and ``offset``.
        name: Name in the results, "checkerboard.painted" and so on by default.

    Raises:
        UsageError: As for :class:`RandomOcclusion`.
    """

    def __init__(
        self,
        mode: Mode,
        fill: Fill = "mean",
        grid: int | Sequence[int] | None = None,
        patch: Lengths | None = None,
        offset: Lengths = 0,
        unit: Unit = "patches",
        name: str | None = None,
    ) -> None:
        super().__init__(mode, [0.5], "checkerboard", "Checkerboard", fill, grid, patch, offset, unit, name)

    def masks(self, cells: Cells, severity: float, images: Tensor, context: Context) -> Bool[Tensor, "batch *grid"]:
        """Every other cell."""
        return checkerboard_mask(cells.shape).expand(len(images), *cells.shape)
