"""Cells by how salient they are."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.corruptions import Cells, hide, salient_orders
from vitkit.corruptions.occlusion import Fill
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Context
from vitkit.evaluation.conditions.occlusion.base import CellOcclusion, Mode
from vitkit.evaluation.conditions.occlusion.layout import Lengths, Unit, tokens
from vitkit.evaluation.conditions.occlusion.maps import MapFolder, Maps, find_maps
from vitkit.evaluation.saliency import METHODS

By = Literal["attention", "rollout", "gradient", "map"]


class SalientOcclusion(CellOcclusion):
    """The most or the least salient patches hidden: painted over, or removed as tokens.

    A ratio is a share of the area, not of the salience: PatchDrop (Naseer et al. 2021) hides the patches that hold a share of the
    attention, so that two models, or two images, lose different areas at the same number. Here every image loses as much at a
    ratio, and salient, non-salient and random patches can be compared.

    Salience is that of the clean image. Scores are rounded to a part in 4096 before they are sorted, so that the rounding of
    another batch size does not change the order, and equal ones come in the image's own random order (see
    :func:`vitkit.corruptions.salient_orders`).

    Args:
        mode: "painted" or "removed".
        ratios: Shares of the area to hide, each in [0, 1).
        order: "salient" hides the most salient patches first, "nonsalient" the least.
        by: "attention" of the class token in the last block, attention "rollout" over all blocks, the "gradient" of the highest
            logit, or a given "map"; see :class:`vitkit.evaluation.saliency.Saliency`.
        maps: For "map": a folder with a .npy, .png or .nii map or mask for every sample, named by its id; or a function
            ``maps(images, ids)`` to ``(batch, *places)``, or where to import it from. A map has a number for every pixel of the
            image as the model gets it, or for every patch.
        fill: Paint, as for :class:`RandomOcclusion`; so are the next four.
        grid: Patches along each axis.
        patch: Length of a patch along each axis.
        offset: How far the patches are moved along each axis.
        unit: Of ``patch`` and ``offset``.
        name: Name in the results, "salient.attention.painted" and so on by default.

    Raises:
        UsageError: As for :class:`RandomOcclusion`; an unknown order or kind of salience, or no maps where they are needed.
    """

    def __init__(
        self,
        mode: Mode,
        ratios: Sequence[float],
        order: Literal["salient", "nonsalient"] = "salient",
        by: By = "attention",
        maps: str | Callable[..., Any] | None = None,
        fill: Fill = "mean",
        grid: int | Sequence[int] | None = None,
        patch: Lengths | None = None,
        offset: Lengths = 0,
        unit: Unit = "patches",
        name: str | None = None,
    ) -> None:
        if order not in ("salient", "nonsalient"):
            raise UsageError(f"order: {order!r}", "salient or nonsalient", "Choose one of these.")
        if by not in (*METHODS, "map"):
            raise UsageError(f"by: {by!r}", f"one of {', '.join(METHODS)} or map", "Choose one of these.")
        if (maps is None) == (by == "map"):
            raise UsageError(
                f"maps: {maps!r} with by: {by}", "maps for by: map, and for nothing else", "Give maps, or leave them out."
            )
        words = {"attention": "attention", "rollout": "attention rollout", "gradient": "gradient", "map": "map"}[by]
        title = f"{'Most' if order == 'salient' else 'Least'} salient patches by {words}"
        super().__init__(mode, ratios, f"{order}.{by}", title, fill, grid, patch, offset, unit, name)
        self.order, self.by = order, by
        self.maps: Maps | None = None if maps is None else find_maps(maps)
        # A function is written down by where it is found, so that a suite with one can be stored.
        if maps is not None and not isinstance(maps, str):
            named = maps if hasattr(maps, "__qualname__") else type(maps)
            self._recipe_arguments["maps"] = f"{named.__module__}.{named.__qualname__}"

    def obstacle(self, context: Context) -> str | None:
        """Not every model has attention that can be seen, or a gradient."""
        if (found := super().obstacle(context)) is not None or self.by == "map":
            return found
        return "there is no model to ask" if context.saliency is None else context.saliency.obstacle(self.by)

    def params(self, context: Context, size: tuple[int, ...]) -> dict[str, Any]:
        """The order and what it follows, too."""
        return {**super().params(context, size), "order": self.order, "by": self.by}

    def reads(self) -> str | None:
        """The maps of a folder."""
        return self.maps.fingerprint() if isinstance(self.maps, MapFolder) else None

    def masks(self, cells: Cells, severity: float, images: Tensor, context: Context) -> Bool[Tensor, "batch *grid"]:
        """The first cells in the order of their scores."""
        if self.maps is not None:
            maps = self.maps(images, context.ids).to("cpu")
        else:
            assert context.saliency is not None
            maps = context.saliency(images, self.by, context.ids, context.real)
        scores = _scores(maps, cells, context)
        orders = salient_orders(scores, context.seeds(self.suite, "random"), descending=self.order == "salient")
        areas = cells.areas() if self.layout.own else None
        return hide(orders, severity, areas).view(len(images), *cells.shape)


def _scores(maps: Float[Tensor, "batch *places"], cells: Cells, context: Context) -> Float[Tensor, "batch *grid"]:
    """The mean of each map over each cell."""
    known = tokens(context, cells.size)
    match tuple(maps.shape[1:]):
        case cells.shape:
            return maps.double()
        case cells.size:
            return cells.pool(maps)
        case known.shape:
            return cells.pool(known.spread(maps))
        case other:
            shapes = dict.fromkeys((cells.size, cells.shape, known.shape))
            raise UsageError(
                f"maps of shape {other} for images of size {cells.size}",
                f"one of {', '.join(map(str, shapes))}",
                "Give a number for every pixel of the image as the model gets it, or for every patch.",
            )
