"""Pure functions from images in [0, 1] to images in [0, 1], batched, on the images' device, in any number of dimensions."""

from vitkit.corruptions.brightness import contrast, gain, gamma, hsv_value, shift
from vitkit.corruptions.occlusion import (
    Cells,
    area_of,
    border_mask,
    checkerboard_mask,
    edges,
    hidden_count,
    hide,
    hole_masks,
    kept,
    paint,
    random_masks,
    random_orders,
    salient_orders,
    shuffle,
)
from vitkit.corruptions.seeds import generator_for, seed_for

__all__ = [
    "Cells",
    "area_of",
    "border_mask",
    "checkerboard_mask",
    "contrast",
    "edges",
    "gain",
    "gamma",
    "generator_for",
    "hidden_count",
    "hide",
    "hole_masks",
    "hsv_value",
    "kept",
    "paint",
    "random_masks",
    "random_orders",
    "salient_orders",
    "seed_for",
    "shift",
    "shuffle",
]
