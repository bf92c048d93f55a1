"""Occlusion as conditions of a suite."""

from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.occlusion import Fill, area_of, check_fill, kept, paint, random_masks
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Applied, Condition, Context, check_name, check_severities
from vitkit.grid import Grid


class RandomOcclusion(Condition):
    """Random patches hidden: painted over, or removed as tokens.

    Both modes hide the same patches of the same image, and a higher ratio hides all that a lower one hides. Their difference is
    the missingness bias: what the paint does to the model beyond the missing information.

    Args:
        mode: "painted", which any model can take, or "removed", which needs a model that takes ``keep``.
        ratios: Shares of the patches to hide, each in [0, 1).
        fill: Paint: "zero" is black, "mean" the mean of each channel of the image, a number an intensity in [0, 1].
        grid: Patches along each axis. The model's tokens if not given; for a model that has none, 14 along each axis of a picture
            (Naseer et al. 2021) and 8 of a volume, or half as many as there are pixels where that is fewer.
        name: Name in the results, for a suite that holds several of a mode, e.g. with other fills; "random.painted" by default.

    Raises:
        UsageError: A ratio outside [0, 1), an unknown mode or fill, or a grid for tokens that are removed.
    """

    suite = "occlusion"
    unit = "share of patches"

    def __init__(
        self,
        mode: Literal["painted", "removed"],
        ratios: Sequence[float],
        fill: Fill = "mean",
        grid: Sequence[int] | None = None,
        name: str | None = None,
    ) -> None:
        if mode not in ("painted", "removed"):
            raise UsageError(f"mode: {mode!r}", "painted or removed", "Choose one of these.")
        if mode == "removed" and (grid is not None or fill != "mean"):
            raise UsageError(
                "mode: removed with a grid or a fill",
                "neither",
                "Leave them out: tokens are the model's own, and no paint is used.",
            )
        check_fill(fill)
        self.severities = check_severities("ratios", ratios)
        for index, ratio in enumerate(self.severities):
            if not 0 <= ratio < 1:
                raise UsageError(f"ratios[{index}]: {ratio}", "a share in [0, 1)", "Use e.g. 0.5 for half of the patches.")
        self.mode, self.fill = mode, fill
        if grid is not None and not (isinstance(grid, (list, tuple)) and all(type(cells) is int for cells in grid)):
            raise UsageError(f"grid: {grid!r}", "a list of whole numbers, one an axis", "Write e.g. grid: [14, 14].")
        self.cells = None if grid is None else Grid(tuple(grid))
        self.name = check_name(name or f"random.{mode}")
        self.title = f"Random patches {mode}"

    def obstacle(self, context: Context) -> str | None:
        """Tokens are not removed from every model."""
        return context.no_removal if self.mode == "removed" else None

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The mode, the fill and the grid."""
        return {
            "mode": self.mode,
            "fill": self.fill if self.mode == "painted" else None,
            "grid": list(self._grid(context, size).shape),
        }

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """Hide ⌊severity · N⌋ of the N patches of each image."""
        size = tuple(images.shape[2:])
        grid = self._grid(context, size)
        masks = random_masks(context.seeds(self.suite, "random"), grid, severity)
        area = area_of(masks, size, grid, context.spacing if grid is context.grid else None)
        if self.mode == "removed":
            return Applied(images, keep=kept(masks).to(images.device), area=area)
        return Applied(paint(images, area, self.fill), area=area)

    def _grid(self, context: Context, size: tuple[int, ...]) -> Grid:
        default = 14 if len(size) == 2 else 8
        return self.cells or context.grid or Grid(tuple(max(1, min(default, length // 2)) for length in size))
