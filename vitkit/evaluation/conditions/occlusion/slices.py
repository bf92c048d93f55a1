"""Slices that are missing: here and there, or a slab of them."""

from collections.abc import Sequence
from math import floor
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import hide, hole_masks, random_orders
from vitkit.corruptions.occlusion import Fill, check_fill
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Applied, Condition, Context, check_name, check_severities
from vitkit.evaluation.conditions.occlusion.base import check_ratios, painted
from vitkit.evaluation.conditions.occlusion.shapes import Place


class _Slices(Condition):
    suite = "occlusion"

    def __init__(self, axis: int, fill: Fill, name: str, title: str) -> None:
        if type(axis) is not int or axis < 0:
            raise UsageError(f"axis: {axis!r}", "a whole number from 0", "Count the image's axes from 0, without channels.")
        check_fill(fill)
        self.axis, self.fill, self.name, self.title = axis, fill, check_name(name), title

    def obstacle(self, context: Context) -> str | None:
        """Another image is not there outside of a run."""
        return "there are no other images to paint with" if self.fill == "image" and context.bank is None else None

    def obstacle_at(self, severity: float, context: Context, size: tuple[int, ...]) -> str | None:
        """Not all images have this axis."""
        if self.axis >= len(size):
            return f"images of size {size} have no axis {self.axis}"
        return self.obstacle(context)

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The axis and the fill."""
        return {"axis": self.axis, "fill": self.fill}

    def _paint(self, images: Tensor, missing: Tensor, context: Context) -> Applied:
        size = images.shape[2:]
        places = [1] * len(size)
        places[self.axis] = size[self.axis]
        return painted(images, missing.view(-1, *places).expand(-1, *size), self.fill, context)


class MissingSlices(_Slices):
    """Random slices of a volume, or rows of a picture, lost; a higher ratio loses all that a lower one loses.

    Args:
        ratios: Shares of the slices, each in [0, 1).
        axis: Across which the slices lie, from 0.
        fill: What is in their place, as for :class:`RandomOcclusion`.
        name: Name in the results, "slices" and the axis by default.

    Raises:
        UsageError: A ratio outside [0, 1), or an unknown fill or axis.
    """

    unit = "share of area"

    def __init__(self, ratios: Sequence[float], axis: int = 0, fill: Fill = "zero", name: str | None = None) -> None:
        super().__init__(axis, fill, name or f"slices.{axis}", f"Missing slices across axis {axis}")
        self.severities = check_ratios(ratios)

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """Paint over a share of the slices."""
        orders = random_orders(context.seeds(self.suite, "slices"), images.shape[2 + self.axis])
        return self._paint(images, hide(orders, severity), context)


class MissingSlab(_Slices):
    """Neighbouring slices lost: a slab.

    Args:
        lengths: Thickness of the slab, in ``unit``; rounded to whole slices.
        axis: Across which it lies, from 0.
        unit: "share" of the axis, "voxels" or "mm", which needs a model whose preprocess says the spacing.
        place: "centre", or "random": at a place that each image's seed chooses.
        fill: What is in its place, as for :class:`RandomOcclusion`.
        name: Name in the results, "slab" and the axis by default.

    Raises:
        UsageError: A length that is not positive, a share that is not below 1, or an unknown unit, place, fill or axis.
    """

    def __init__(
        self,
        lengths: Sequence[float | int],
        axis: int = 0,
        unit: Literal["share", "voxels", "mm"] = "share",
        place: Place = "centre",
        fill: Fill = "zero",
        name: str | None = None,
    ) -> None:
        super().__init__(axis, fill, name or f"slab.{axis}", f"Missing slab across axis {axis}")
        if unit not in ("share", "voxels", "mm"):
            raise UsageError(f"unit: {unit!r}", "share, voxels or mm", "Choose one of these.")
        if place not in ("centre", "random"):
            raise UsageError(f"place: {place!r}", "centre or random", "Choose one of these.")
        self.severities = check_severities("lengths", lengths)
        for index, length in enumerate(self.severities):
            if length <= 0 or (unit == "share" and length >= 1):
                wanted = "a share between 0 and 1" if unit == "share" else "a positive number"
                raise UsageError(f"lengths[{index}]: {length:g}", wanted, "Correct it.")
        self.measure, self.place = unit, place
        self.unit = {"share": "share of area", "voxels": "voxels missing", "mm": "mm missing"}[unit]

    def obstacle_at(self, severity: float, context: Context, size: tuple[int, ...]) -> str | None:
        """Not all axes are that long, and not all models say their spacing."""
        if (found := super().obstacle_at(severity, context, size)) is not None:
            return found
        if self.measure == "mm" and context.spacing is None:
            return "the model's preprocess gives no spacing in mm"
        if (count := self._count(severity, context, size)) >= size[self.axis]:
            return f"a slab of {count} slices leaves nothing of the {size[self.axis]} across axis {self.axis}"
        return None

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The place, too."""
        return {**super().params(context, size), "place": self.place}

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """Paint over the slab."""
        size = tuple(images.shape[2:])
        extent, count = size[self.axis], self._count(severity, context, size)
        if count >= extent:
            raise UsageError(f"a slab of {count} slices on an axis of {extent}", "fewer", "Use a thinner one.")
        seeds = context.seeds(self.suite, "slab")
        return self._paint(images, hole_masks((extent,), count / extent, seeds, self.place == "centre"), context)

    def _count(self, severity: float, context: Context, size: tuple[int, ...]) -> int:
        match self.measure:
            case "share":
                slices = severity * size[self.axis]
            case "mm":
                assert context.spacing is not None
                slices = severity / context.spacing[self.axis]
            case _:
                slices = severity
        return floor(slices + 0.5 + 1e-9)
