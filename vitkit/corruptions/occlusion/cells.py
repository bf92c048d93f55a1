"""The cells that occlusion hides: where they begin and end, how large they are, and which tokens are left without them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.grid import Grid


@dataclass(frozen=True)
class Cells:
    """An image cut into cells along every axis, in whole pixels.

    Args:
        cuts: For each axis where its cells begin and end, from 0 to its length, ascending.

    >>> cells = Cells.laid((8, 8), (4.0, 4.0), (2.0, 0.0))
    >>> cells.cuts, cells.shape, cells.areas().tolist()
    (((0, 2, 6, 8), (0, 4, 8)), (3, 2), [8, 8, 16, 16, 8, 8])
    """

    cuts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, size: Sequence[int], grid: Grid, spacing: Sequence[float] | None = None) -> "Cells":
        """The cells of a grid of tokens, see :func:`edges`.

        Args:
            size: Pixels along each axis of the images.
            grid: The tokens; its spacing counts if it is one of whole pixels.
            spacing: Distance between pixels along each axis in the grid's unit, such as mm; 1 if not given.

        Raises:
            UsageError: A grid of other axes than the images, or of more cells than pixels.
        """
        if grid.ndim != len(size):
            raise UsageError(
                f"a grid of shape {grid.shape} for images of size {tuple(size)}", "as many axes", "Give a number per axis."
            )
        steps = (1.0,) * grid.ndim if spacing is None else spacing
        axes = zip(size, grid.shape, grid.spacing, steps, strict=True)
        # 2.8 mm are four voxels of 0.7, and no less
        return cls(tuple(tuple(edges(length, cells, round(cell / step, 6))) for length, cells, cell, step in axes))

    @classmethod
    def laid(cls, size: Sequence[int], lengths: Sequence[float], offsets: Sequence[float] | None = None) -> "Cells":
        """Cells of a length, laid from an offset on; the first and the last of an axis are what the border leaves of them.

        Args:
            size: Pixels along each axis of the images.
            lengths: Pixels of a cell along each axis, whole or not: every border is rounded to the next pixel.
            offsets: Pixels from the image's corner to a cell's along each axis; 0 if not given.

        Raises:
            UsageError: Lengths or offsets of other axes than the images, or a cell of less than a pixel.
        """
        shifts = (0.0,) * len(lengths) if offsets is None else tuple(offsets)
        if not len(lengths) == len(size) == len(shifts):
            raise UsageError(
                f"cells of {len(lengths)} lengths and {len(shifts)} offsets for images of size {tuple(size)}",
                "a number per axis",
                "Give one for every axis.",
            )
        if min(lengths) < 1 - 1e-6:
            raise UsageError(
                f"cells of {' × '.join(f'{length:g}' for length in lengths)} pixels", "a pixel at least", "Use larger cells."
            )
        cuts = []
        for extent, length, shift in zip(size, lengths, shifts, strict=True):
            first = shift % length
            inner = {floor(first + index * length + 0.5 + 1e-9) for index in range(floor(extent / length) + 1)}
            cuts.append((0, *sorted(cut for cut in inner if 0 < cut < extent), extent))
        return cls(tuple(cuts))

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(len(cuts) - 1 for cuts in self.cuts)

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(cuts[-1] for cuts in self.cuts)

    def areas(self) -> Int[Tensor, " cells"]:
        """Pixels of each cell, row by row."""
        areas = torch.ones(1, dtype=torch.int64)
        for cuts in self.cuts:
            areas = (areas[:, None] * torch.tensor(cuts).diff()).flatten()
        return areas

    def spread(self, masks: Shaped[Tensor, "batch *grid"]) -> Shaped[Tensor, "batch *size"]:
        """What each cell has, for every pixel in it: where cells are hidden, or scores."""
        # The last axis first, while rows are few: then whole rows are copied for the others.
        for axis, cuts in reversed(list(enumerate(self.cuts, start=1))):
            if len(cuts) <= cuts[-1]:
                cell = torch.repeat_interleave(torch.tensor(cuts).diff()).to(masks.device)  # that each pixel is in
                masks = masks.index_select(axis, cell)
        return masks

    def pool(self, values: Float[Tensor, "batch *size"]) -> Float[Tensor, "batch *grid"]:
        """The mean of a map over each cell, in float64.

        Raises:
            UsageError: A map of another size than the image.
        """
        if tuple(values.shape[1:]) != self.size:
            raise UsageError(
                f"a map of shape {tuple(values.shape[1:])} for images of size {self.size}", "the images' own size", "Resize it."
            )
        values = values.double()
        for axis, cuts in enumerate(self.cuts, start=1):
            marks = torch.tensor(cuts, device=values.device)
            sums = torch.cat([torch.zeros_like(values.narrow(axis, 0, 1)), values.cumsum(axis)], axis).index_select(axis, marks)
            lengths = marks.diff().view(-1, *[1] * (values.ndim - axis - 1))
            values = sums.diff(dim=axis) / lengths
        return values


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
    """True for every pixel in a hidden cell of a grid; the arguments are those of :meth:`Cells.of`.

    Raises:
        UsageError: A grid of other axes than the images, or of more cells than pixels.
    """
    return Cells.of(size, grid, spacing).spread(masks)
