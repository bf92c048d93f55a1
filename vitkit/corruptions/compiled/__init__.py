"""Loops of the corruptions in C++, where they can be compiled; torch and numpy do the same, bit for bit."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitkit.compiled import library

_F, _I, _L, _U, _B = torch.float32, torch.int32, torch.int64, torch.uint8, torch.bool
_TYPES = {
    "bits": (_I, _I),
    "uniform": (_I, _F),
    "normal": (_I, _F),
    "poisson": (_I, _F, _F, _F),
    "pixels": (_F, _U),
    "planes": (_U, _F),
    "blur": (_F, _F, _F, _L, _F, _L),
    "boxes": (_F, _F, _L, _L, _F, _L, _L),
    "smear": (_F, _L, _F, _L, _F),
    "rims": (_F, _B, _F),
    "distances": (_B, _F),
    "mean": (_F, _F, _L, _L),
}
"""What a function's tensors hold."""
_NUMBERS, _PLANES = (Path(__file__).with_name(name) for name in ("kernels.cpp", "filters.cpp"))


def draw(name: str, keys: Sequence[tuple[int, int]], out: Tensor) -> bool:
    """Fill rows with random numbers.

    Args:
        name: "bits", "uniform" or "normal".
        keys: Two of each row.
        out: 32 bits each, (rows, count); of normal numbers (rows, 2, count).

    Returns:
        Whether it was done: on a CPU with a compiler.
    """
    return _run(_NUMBERS, name, [torch.tensor(keys, dtype=torch.int32), out], [len(keys), out.shape[-1], torch.get_num_threads()])


def events(keys: Sequence[tuple[int, int, int, int]], rates: Tensor, power: Tensor, out: Tensor) -> bool:
    """Fill rows with numbers of events.

    Args:
        keys: Two of each row for a uniform number, and two for a normal one.
        rates: (rows, count).
        power: exp(-rate), of rates of at most 4.
        out: (rows, 2, half of the count, rounded up), of which a row's first are wanted.

    Returns:
        Whether it was done.
    """
    sizes = [*rates.shape, torch.get_num_threads()]
    return _run(_NUMBERS, "poisson", [torch.tensor(keys, dtype=torch.int32), rates, power, out], sizes)


def pixels(planes: Tensor, out: Tensor) -> bool:
    """256 levels of values in [0, 1], from (3, height, width) as float32 to (height, width, 3); whether it was done."""
    return len(planes) == 3 and _run(_NUMBERS, "pixels", [planes, out], [planes[0].numel()])


def planes(pixels: Tensor, out: Tensor) -> bool:
    """The reverse of :func:`pixels`; whether it was done."""
    return len(out) == 3 and _run(_NUMBERS, "planes", [pixels, out], [out[0].numel()])


def blur(x: Tensor, out: Tensor, weights: Sequence[Sequence[float]], places: Sequence[Tensor]) -> bool:
    """Correlate the last two axes with symmetric weights.

    Args:
        x: Any number of planes, float32.
        out: Where to write.
        weights: An odd number for each of the two axes.
        places: Which row, and which column, stands at each place, as many beyond either border as the weights reach.

    Returns:
        Whether it was done.
    """
    halves = [torch.tensor(each[len(each) // 2 :], dtype=torch.float32) for each in weights]
    tensors = [x, out, halves[0], places[0], halves[1], places[1]]
    return _run(_PLANES, "blur", tensors, [*_sizes(x), *(len(each) // 2 for each in weights), torch.get_num_threads()])


def boxes(x: Tensor, out: Tensor, steps: Sequence[tuple[int, int, float]], places: Sequence[Tensor], half: int) -> bool:
    """Add up boxes along the rows of planes.

    Args:
        x: Any number of planes, float32.
        out: Where to write.
        steps: How far each box reaches to both sides, in which rows above and below it stands, and its weight.
        places: As of :func:`blur`, ``half`` beyond either border.
        half: The furthest that a box reaches.

    Returns:
        Whether it was done.
    """
    reaches, heights, weights = zip(*steps, strict=True)
    tensors = [x, out, torch.tensor(reaches), torch.tensor(heights), torch.tensor(weights, dtype=torch.float32), *places]
    return _run(_PLANES, "boxes", tensors, [*_sizes(x), half, len(steps), torch.get_num_threads()])


def smear(
    wide: Tensor, towards: Tensor, out: Tensor, lines: Sequence[Sequence[tuple[int, int]]], weights: Sequence[float]
) -> bool:
    """Add up the pixels along the line of each pixel's direction.

    Args:
        wide: Planes with a margin on each side, float32.
        towards: Which of the lines each pixel has, (planes, height, width).
        out: As large.
        lines: Steps of each line, down and to the right.
        weights: Of the steps of any line.

    Returns:
        Whether it was done.
    """
    offsets = torch.tensor([[down * wide.shape[-1] + right for down, right in line] for line in lines])
    margin = (wide.shape[-1] - out.shape[-1]) // 2
    tensors = [wide, towards, out, offsets, torch.tensor(weights, dtype=torch.float32)]
    return _run(_PLANES, "smear", tensors, [*_sizes(out), margin, len(weights), torch.get_num_threads()])


def rims(levels: Tensor, edges: Tensor, thresholds: Sequence[float]) -> bool:
    """Edges of planes, as True; whether it was done.

    Args:
        levels: Any number of planes, float32.
        edges: Where to write, bool.
        thresholds: Least size of a gradient, least size of one somewhere on an edge, tangent of 22.5°.
    """
    given = torch.tensor(thresholds, dtype=torch.float32)
    return _run(_PLANES, "rims", [levels, edges, given], [*_sizes(levels), torch.get_num_threads()])


def distances(edges: Tensor, out: Tensor, reach: int) -> bool:
    """Squares of the distance from each pixel to the next True one of its plane, ``reach`` at most; whether it was done."""
    return _run(_PLANES, "distances", [edges, out], [*_sizes(edges), reach, torch.get_num_threads()])


def mean(x: Tensor, out: Tensor, places: Sequence[Tensor]) -> bool:
    """Mean over 3 × 3 pixels, ``places`` as of :func:`blur`, one beyond either border; whether it was done."""
    return _run(_PLANES, "mean", [x, out, *places], [*_sizes(x), torch.get_num_threads()])


def _sizes(x: Tensor) -> tuple[int, int, int]:
    height, width = x.shape[-2:]
    return x.numel() // max(height * width, 1), height, width


def _run(source: Path, name: str, tensors: Sequence[Tensor], sizes: Sequence[int]) -> bool:
    """Whether a function could be called: on tensors of its types that lie on the CPU without gaps, with a compiler."""
    usual = all(
        x.device.type == "cpu" and x.is_contiguous() and x.dtype == wanted
        for x, wanted in zip(tensors, _TYPES[name], strict=True)
    )
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    if not usual or learns or (function := _function(source, name)) is None:
        return False
    function(*(ctypes.c_void_p(x.data_ptr()) for x in tensors), *map(ctypes.c_int64, sizes))
    return True


@cache
def _function(source: Path, name: str) -> Callable[..., Any] | None:
    # Products and sums are rounded each, as torch's are.
    if (found := library(source, "-ffp-contract=off")) is None:
        return None
    function = getattr(found, f"vitkit_{name}")
    function.restype = None
    return function
