"""Random cells."""

from collections.abc import Sequence

from jaxtyping import Bool
from torch import Tensor

from vitkit.corruptions import Cells, hide, random_orders
from vitkit.corruptions.occlusion import Fill
from vitkit.evaluation.condition import Context
from vitkit.evaluation.conditions.occlusion.base import CellOcclusion, Mode
from vitkit.evaluation.conditions.occlusion.layout import Lengths, Unit


class RandomOcclusion(CellOcclusion):
    """Random patches hidden: painted over, or removed as tokens.

    Both modes hide the same patches of the same image, and a higher ratio hides all that a lower one hides. Their difference is
    the missingness bias: what the paint does to the model beyond the missing information.

    Args:
        mode: "painted", which any model can take, or "removed", which needs a model that takes ``keep``.
        ratios: Shares of the patches to hide, each in [0, 1).
        fill: Paint, see :func:`vitkit.corruptions.paint`: "zero" is black, "mean" the mean of each channel of the image, a number
            an intensity in [0, 1], "noise" uniform, "blur" the image's own blur, "image" the same place of another image.
        grid: Patches along each axis, one number or a list. The model's tokens if not given; for a model that has none, 14 along
            each axis of a picture (Naseer et al. 2021) and 8 of a volume, or half as many as there are pixels if that is fewer.
        patch: Length of a patch along each axis instead, one number or a list; cuboids in volumes.
        offset: How far the patches are moved along each axis; those at the border are then cut, and ratios count area.
        unit: Of ``patch`` and ``offset``: "patches" (the model's tokens), "pixels" or "mm".
        name: Name in the results, for a suite that holds several of a mode, e.g. with other fills; "random.painted" by default.

    Raises:
        UsageError: A ratio outside [0, 1), an unknown mode, fill or unit, or a grid for tokens that are removed.
    """

    unit = "share of patches"

    def __init__(
        self,
        mode: Mode,
        ratios: Sequence[float],
        fill: Fill = "mean",
        grid: int | Sequence[int] | None = None,
        name: str | None = None,
        patch: Lengths | None = None,
        offset: Lengths = 0,
        unit: Unit = "patches",
    ) -> None:
        super().__init__(mode, ratios, "random", "Random patches", fill, grid, patch, offset, unit, name)

    def masks(self, cells: Cells, severity: float, images: Tensor, context: Context) -> Bool[Tensor, "batch *grid"]:
        """The first cells of each image's random order."""
        areas = cells.areas()
        orders = random_orders(context.seeds(self.suite, "random"), len(areas))
        return hide(orders, severity, areas if self.layout.own else None).view(len(images), *cells.shape)
