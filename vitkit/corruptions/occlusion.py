"""Occlusion: which patches are hidden, painting them over, and which tokens are left when they are removed."""

from collections.abc import Sequence
from math import floor
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.corruptions.seeds import generator_for
from vitkit.errors import UsageError
from vitkit.grid import Grid

Fill = Literal["zero", "mean"] | float


def hidden_count(ratio: float, cells: int) -> int:
    """How many of the cells a ratio hides: ⌊ratio·cells⌋ up to rounding, so 29 for 0.29 of 100, though the product falls short.

    Raises:
        UsageError: A ratio outside [0, 1).

    >>> hidden_count(0.29, 100), hidden_count(0.5, 3)
    (29, 1)
    """
    if not 0 <= ratio < 1:
        raise UsageError(f"an occlusion ratio of {ratio}", "a share of the area in [0, 1)", "Use e.g. 0.5 for half of the image.")
    return floor(ratio * cells + 1e-9)


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
    count = hidden_count(ratio, len(grid))
    masks = torch.zeros(len(seeds), len(grid), dtype=torch.bool)
    for mask, seed in zip(masks, seeds, strict=True):
        # The order of raw draws is a permutation that no version of numpy may change.
        ranking = generator_for(seed).bit_generator.random_raw(len(grid)).argsort(kind="stable")
        mask[torch.from_numpy(ranking[:count])] = True
    return masks.view(len(seeds), *grid.shape)


def kept(masks: Bool[Tensor, "batch *grid"]) -> Int[Tensor, "batch kept"]:
    """Indices of the cells that are not hidden: ascending, row-major, which is what a model's ``keep`` takes.

    Raises:
        UsageError: Masks that hide more in one image than in another, which no one tensor of indices can hold.

    >>> kept(torch.tensor([[[True, False], [False, True]]])).tolist()
    [[1, 2]]
    """
    visible = ~masks.flatten(1)
    counts = visible.sum(1)
    if len(counts) and (counts != counts[0]).any():
        raise UsageError(
            f"masks that leave between {int(counts.min())} and {int(counts.max())} cells",
            "the same number of hidden cells in every image",
            "Remove equally many tokens from every image of a batch.",
        )
    return visible.nonzero()[:, 1].view(len(masks), -1)


def edges(length: int, cells: int, spacing: float = 1.0) -> list[int]:
    """Where the cells of one axis begin and end, in pixels: cells + 1 numbers from 0 to ``length``.

    Cells are ``spacing`` pixels long if so many of them make up the axis, which is how a model's tokens lie; the last of them is
    clipped at the border, or takes in the pixels beyond the last whole token. Otherwise they share the axis as evenly as whole
    pixels can, so that nothing stays uncovered.

    Raises:
        UsageError: More cells than pixels.

    >>> edges(8, 4, 2.0), edges(30, 4, 8.0), edges(10, 4)
    ([0, 2, 4, 6, 8], [0, 8, 16, 24, 30], [0, 2, 5, 7, 10])
    """
    if cells > length:
        raise UsageError(f"a grid of {cells} cells on an axis of {length} pixels", "at most one cell a pixel", "Use fewer cells.")
    if spacing == int(spacing) and (cells - 1) * spacing < length < (cells + 1) * spacing:
        return [int(spacing) * index for index in range(cells)] + [length]
    return [index * length // cells for index in range(cells + 1)]


def area_of(
    masks: Bool[Tensor, "batch *grid"], size: Sequence[int], grid: Grid, spacing: Sequence[float] | None = None
) -> Bool[Tensor, "batch *size"]:
    """True for every pixel in a hidden cell.

    Args:
        masks: Hidden cells.
        size: Pixels along each axis of the images.
        grid: The cells; its spacing counts if it is one of whole pixels (see :func:`edges`).
        spacing: Distance between pixels along each axis in the grid's unit, such as mm; 1 if not given.

    Raises:
        UsageError: A grid of other axes than the images, or of more cells than pixels.
    """
    if grid.ndim != len(size):
        raise UsageError(
            f"a grid of shape {grid.shape} for images of size {tuple(size)}", "as many axes", "Give a number per axis."
        )
    steps = (1.0,) * grid.ndim if spacing is None else spacing
    for axis, (length, cells, cell, step) in enumerate(zip(size, grid.shape, grid.spacing, steps, strict=True), start=1):
        lengths = torch.tensor(edges(length, cells, round(cell / step, 6))).diff()  # 2.8 mm are four voxels of 0.7, and no less
        masks = masks.repeat_interleave(lengths.to(masks.device), dim=axis)
    return masks


def paint(
    images: Float[Tensor, "batch channels *size"], area: Bool[Tensor, "batch *size"], fill: Fill = "mean"
) -> Float[Tensor, "batch channels *size"]:
    """Images with an area painted over.

    Args:
        images: Values in [0, 1].
        area: What to paint over.
        fill: "zero" is black, "mean" the mean of each channel of the image itself, and a number an intensity in [0, 1].

    Raises:
        UsageError: Another fill.

    >>> paint(torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[True, False]]]), "mean").tolist()
    [[[[0.5, 1.0]]]]
    """
    check_fill(fill)
    match fill:
        case "mean":
            value = images.mean(dim=tuple(range(2, images.ndim)), keepdim=True)
        case "zero":
            value = images.new_zeros(())
        case _:
            value = images.new_tensor(fill)
    return torch.where(area.unsqueeze(1).to(images.device), value, images)


def check_fill(fill: Fill) -> None:
    """Refuse what is no fill.

    Raises:
        UsageError: Neither "zero" nor "mean" nor an intensity in [0, 1].
    """
    if fill not in ("zero", "mean") and not (isinstance(fill, (int, float)) and 0 <= fill <= 1):
        raise UsageError(f"fill {fill!r}", '"zero", "mean" or an intensity in [0, 1]', "Choose one of these.")
