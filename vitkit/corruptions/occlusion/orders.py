"""In which order the cells of an image are hidden: a higher ratio hides what a lower one hides, and then the next."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.corruptions.seeds import generator_for
from vitkit.errors import DataError

_DIGITS = 2.0**12


def random_orders(seeds: Sequence[int], cells: int) -> Int[Tensor, "batch cells"]:
    """A random order of the cells for each image, which its seed alone decides.

    Args:
        seeds: One for each image.
        cells: How many there are.
    """
    orders = torch.empty(len(seeds), cells, dtype=torch.int64)
    for order, seed in zip(orders, seeds, strict=True):
        # The order of raw draws is a permutation that no version of numpy may change.
        order.copy_(torch.from_numpy(generator_for(seed).bit_generator.random_raw(cells).argsort(kind="stable")))
    return orders


def salient_orders(
    scores: Float[Tensor, "batch *grid"], seeds: Sequence[int], descending: bool = True
) -> Int[Tensor, "batch cells"]:
    """The cells by their scores, on the CPU.

    A model's scores change in their last digits with the number of images that go through it at once. So scores are rounded to
    12 binary digits first, a part in 4096 of themselves. What is equal then, such as the inside of a mask, comes in the image's
    own random order: the order of the rows would hide the top of every object first.

    Args:
        scores: One for each cell.
        seeds: One for each image, for ties.
        descending: Whether the highest scores come first.

    Raises:
        DataError: Scores that are not finite.

    >>> salient_orders(torch.tensor([[0.1, 0.7, 0.2]]), [0]).tolist()
    [[1, 2, 0]]
    """
    flat = scores.flatten(1).double().cpu()
    if not flat.isfinite().all():
        raise DataError("a map of salience that is not finite", "a number for every cell", "Check the model, or the map's file.")
    mantissa, exponent = flat.frexp()
    rounded = torch.ldexp((mantissa * _DIGITS).round(), exponent)
    shuffled = random_orders(seeds, flat.shape[1])
    return shuffled.gather(1, rounded.gather(1, shuffled).argsort(dim=1, descending=descending, stable=True))
