"""Pure functions from images in [0, 1] to images in [0, 1], batched, on the images' device, in any number of dimensions."""

from vitkit.corruptions.brightness import contrast, gain, gamma, hsv_value, shift
from vitkit.corruptions.occlusion import area_of, edges, hidden_count, kept, paint, random_masks
from vitkit.corruptions.seeds import generator_for, seed_for

__all__ = [
    "area_of",
    "contrast",
    "edges",
    "gain",
    "gamma",
    "generator_for",
    "hidden_count",
    "hsv_value",
    "kept",
    "paint",
    "random_masks",
    "seed_for",
    "shift",
]
