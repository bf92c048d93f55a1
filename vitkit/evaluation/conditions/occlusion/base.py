"""What all conditions that hide cells have in common: painted or removed, a fill, cells, and ratios."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.corruptions import Cells, kept, paint
from vitkit.corruptions.occlusion import Fill, check_fill
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Applied, Condition, Context, check_name, check_severities
from vitkit.evaluation.conditions.occlusion.layout import Layout, Lengths, Unit

Mode = Literal["painted", "removed"]


class CellOcclusion(Condition):
    """Cells of each image hidden: painted over, or removed as tokens; a subclass says which.

    Args:
        mode: "painted", which any model can take, or "removed", which needs a model that takes ``keep``.
        ratios: Shares of the area to hide, each in [0, 1). Of the model's own tokens as many are hidden in every image.
        family: Name of the condition without its mode.
        title: What a reader sees, without its mode.
        fill: Paint, see :func:`vitkit.corruptions.paint`.
        grid: Cells along each axis, if not the model's tokens.
        patch: Length of a cell along each axis, instead of ``grid``.
        offset: How far the cells are moved along each axis.
        unit: Of ``patch`` and ``offset``: "patches", "pixels" or "mm".
        name: Name in the results instead of ``family.mode``.

    Raises:
        UsageError: A ratio outside [0, 1), an unknown mode, fill or unit, or cells of one's own for tokens that are removed.
    """

    suite = "occlusion"
    unit = "share of area"

    def __init__(
        self,
        mode: Mode,
        ratios: Sequence[float],
        family: str,
        title: str,
        fill: Fill = "mean",
        grid: int | Sequence[int] | None = None,
        patch: Lengths | None = None,
        offset: Lengths = 0,
        unit: Unit = "patches",
        name: str | None = None,
    ) -> None:
        if mode not in ("painted", "removed"):
            raise UsageError(f"mode: {mode!r}", "painted or removed", "Choose one of these.")
        self.layout = Layout(grid, patch, offset, unit)
        if mode == "removed" and (self.layout.own or fill != "mean"):
            raise UsageError(
                "mode: removed with a grid or a fill",
                "neither",
                "Leave them out: tokens are the model's own, and no paint is used.",
            )
        check_fill(fill)
        self.severities = check_ratios(ratios)
        self.mode, self.fill = mode, fill
        self.name = check_name(name or f"{family}.{mode}")
        self.title = f"{title} {mode}" + ("" if fill == "mean" else f" with {_in_words(fill)}")

    @abstractmethod
    def masks(self, cells: Cells, severity: float, images: Tensor, context: Context) -> Bool[Tensor, "batch *grid"]:
        """Which cells of each image to hide."""

    def obstacle(self, context: Context) -> str | None:
        """Tokens are not removed from every model, and not every model says its spacing."""
        if self.mode == "removed" and context.no_removal is not None:
            return context.no_removal
        if self.fill == "image" and context.bank is None:
            return "there are no other images to paint with"
        return self.layout.obstacle(context)

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The mode, the fill and the cells."""
        return {
            "mode": self.mode,
            "fill": self.fill if self.mode == "painted" else None,
            **self.layout.params(context, size),
        }

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """Hide a share of each image."""
        cells = self.layout.cells(context, tuple(images.shape[2:]))
        masks = self.masks(cells, severity, images, context)
        area = cells.spread(masks)
        if self.mode == "removed":
            return Applied(images, keep=kept(masks).to(images.device), area=area)
        return painted(images, area, self.fill, context)


def painted(
    images: Float[Tensor, "batch channels *size"], area: Bool[Tensor, "batch *size"], fill: Fill, context: Context
) -> Applied:
    """Images with an area painted over, with the noise and the other image that the suite has for each."""
    seeds = context.seeds(CellOcclusion.suite, "fill")
    others = None
    if fill == "image":
        if context.bank is None:
            raise UsageError('fill "image" without a bank', "other images", "Run it in a suite, or give the context a bank.")
        others = context.bank().others(context.ids, seeds)
    return Applied(paint(images, area, fill, seeds, others), area=area)


def check_ratios(ratios: Any) -> list[float]:
    """The ratios as a list of shares in [0, 1).

    Raises:
        UsageError: They are not.
    """
    shares = check_severities("ratios", ratios)
    for index, ratio in enumerate(shares):
        if not 0 <= ratio < 1:
            raise UsageError(f"ratios[{index}]: {ratio}", "a share in [0, 1)", "Use e.g. 0.5 for half of the area.")
    return shares


def _in_words(fill: Fill) -> str:
    match fill:
        case "zero":
            return "black"
        case "blur":
            return "their own blur"
        case "image":
            return "another image"
        case "noise":
            return "noise"
        case _:
            return f"an intensity of {fill:g}" if isinstance(fill, (int, float)) else "their mean"
