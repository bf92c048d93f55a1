"""Occlusion: which cells of an image are hidden, what is painted over them, and which tokens are left when they are removed."""

from vitkit.corruptions.occlusion.cells import Cells, area_of, edges, hidden_count, kept
from vitkit.corruptions.occlusion.fills import Fill, check_fill, paint
from vitkit.corruptions.occlusion.masks import border_mask, checkerboard_mask, hide, hole_masks, random_masks
from vitkit.corruptions.occlusion.orders import random_orders, salient_orders
from vitkit.corruptions.occlusion.shuffle import shuffle

__all__ = [
    "Cells",
    "Fill",
    "area_of",
    "border_mask",
    "check_fill",
    "checkerboard_mask",
    "edges",
    "hidden_count",
    "hide",
    "hole_masks",
    "kept",
    "paint",
    "random_masks",
    "random_orders",
    "salient_orders",
    "shuffle",
]
