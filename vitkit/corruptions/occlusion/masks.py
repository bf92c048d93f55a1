"""Which cells are hidden at a ratio: the first of an order, a hole, a border, or a checkerboard."""

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.corruptions.occlusion.cells import hidden_count
from vitkit.corruptions.occlusion.orders import random_orders
from vitkit.corruptions.seeds import generator_for
from vitkit.grid import Grid


def hide(
    orders: Int[Tensor, "batch cells"], ratio: float, areas: Int[Tensor, " cells"] | None = None
) -> Bool[Tensor, "batch cells"]:
    """The first cells of each image's order, as many as the ratio holds.

    Args:
        orders: The cells in the order in which they are hidden.
        ratio: Share of the area, in [0, 1).
        areas: Pixels of each cell. If not given, cells count alike: ⌊ratio·N⌋ in every image, as the removal of tokens needs.

    >>> hide(torch.tensor([[2, 0, 1]]), 0.7).tolist(), hide(torch.tensor([[2, 0, 1]]), 0.7, torch.tensor([1, 2, 7])).tolist()
    ([[True, False, True]], [[False, False, True]])
    """
    count = hidden_count(ratio, orders.shape[1])
    if areas is None:
        first = (torch.arange(orders.shape[1]) < count).expand_as(orders)
    else:
        first = areas[orders].cumsum(1) <= ratio * int(areas.sum()) + 1e-9
    return torch.zeros(orders.shape, dtype=torch.bool).scatter_(1, orders, first)


def random_masks(seeds: Sequence[int], grid: Grid, ratio: float) -> Bool[Tensor, "batch *grid"]:
    """True where a cell is hidden, ⌊ratio·N⌋ random cells for each image.

    The cells of one image are ranked by a permutation that its seed alone decides, and a ratio hides the first of them. So a
    higher ratio hides all that a lower one hides: every image goes through one growing occlusion, differences between ratios
    have less variance than with fresh masks, and the patches that are painted are those that are removed.

    Args:
        seeds: One for each image.
        grid: The cells.
        ratio: Share of the cells, in [0, 1).
    """
    return hide(random_orders(seeds, len(grid)), ratio).view(len(seeds), *grid.shape)


def hole_masks(shape: Sequence[int], ratio: float, seeds: Sequence[int], centred: bool = True) -> Bool[Tensor, "batch *grid"]:
    """A hole in each image that has the image's own shape, a square in a square one, and never more than ⌊ratio·N⌋ cells.

    It grows by one row of cells at a time, along the axis of which it takes up the least, so that a higher ratio hides all that
    a lower one hides.

    Args:
        shape: Cells along each axis.
        ratio: Share of the cells, in [0, 1).
        seeds: One for each image, which decides its place.
        centred: Whether it is in the middle of every image instead.

    >>> hole_masks((4, 4), 0.25, [0])[0].int().tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    limit = hidden_count(ratio, prod(shape))
    lengths = _grown(shape, limit)
    masks = torch.zeros(len(seeds), *shape, dtype=torch.bool)
    for mask, seed in zip(masks, seeds, strict=True):
        free = [extent - length for extent, length in zip(shape, lengths, strict=True)]
        drawn = generator_for(seed).bit_generator.random_raw(len(shape)).tolist()
        # The upper bits of a draw, so that a growing hole moves by one cell at most, and stays over what it hid.
        starts = [gap // 2 if centred else (draw * (gap + 1)) >> 64 for gap, draw in zip(free, drawn, strict=True)]
        mask[tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))] = True
    return masks


def border_mask(shape: Sequence[int], ratio: float) -> Bool[Tensor, "*grid"]:
    """All but a window in the middle that has the image's own shape, never more than ⌊ratio·N⌋ cells.

    Args:
        shape: Cells along each axis.
        ratio: Share of the cells, in [0, 1).

    >>> border_mask((4, 4), 0.8).int().tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    visible = prod(shape) - hidden_count(ratio, prod(shape))
    lengths = _grown(shape, visible, enough=True)
    mask = torch.ones(tuple(shape), dtype=torch.bool)
    starts = [(extent - length) // 2 for extent, length in zip(shape, lengths, strict=True)]
    mask[tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))] = False
    return mask


def _grown(shape: Sequence[int], limit: int, enough: bool = False) -> list[int]:
    """Lengths of the largest box of at most so many cells, or of the smallest of at least so many."""
    if limit < 1:
        return [0] * len(shape)
    lengths = [1] * len(shape)
    while prod(lengths) < limit:
        shares = [length / extent for length, extent in zip(lengths, shape, strict=True)]
        axis = shares.index(min(shares))
        larger = [length + (index == axis) for index, length in enumerate(lengths)]
        if not enough and prod(larger) > limit:
            break
        lengths = larger
    return lengths


def checkerboard_mask(shape: Sequence[int]) -> Bool[Tensor, "*grid"]:
    """Every other cell, the first one being visible: exactly half of an even number, and ⌊N/2⌋ of an odd one.

    >>> checkerboard_mask((2, 3)).int().tolist()
    [[0, 1, 0], [1, 0, 1]]
    """
    steps = torch.zeros(tuple(shape), dtype=torch.int64)
    for axis, extent in enumerate(shape):
        steps += torch.arange(extent).view(-1, *[1] * (len(shape) - axis - 1))
    return steps % 2 == 1
