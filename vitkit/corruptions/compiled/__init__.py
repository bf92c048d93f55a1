"""Loops of the corruptions in C++, where they can be compiled; torch and numpy do the same, bit for bit."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitkit.compiled import library

_SOURCE = Path(__file__).with_name("kernels.cpp")
_SIZES = {"bits": 2, "uniform": 2, "normal": 2, "pixels": 1, "planes": 1}


def draw(name: str, keys: Sequence[tuple[int, int]], out: Tensor) -> bool:
    """Fill rows with random numbers.

    Args:
        name: "bits", "uniform" or "normal".
        keys: Two of each row.
        out: 32 bits each, (rows, count); of normal numbers (rows, 2, count).

    Returns:
        Whether it was done: on a CPU with a compiler.
    """
    if out.device.type != "cpu" or (function := _function(name)) is None:
        return False
    given = torch.tensor(keys, dtype=torch.int32)
    function(given.data_ptr(), out.data_ptr(), len(keys), out.shape[-1], torch.get_num_threads())
    return True


def pixels(planes: Tensor, out: Tensor) -> bool:
    """256 levels of values in [0, 1], from (3, height, width) as float32 to (height, width, 3); whether it was done."""
    return _turn("pixels", planes, out, planes)


def planes(pixels: Tensor, out: Tensor) -> bool:
    """The reverse of :func:`pixels`; whether it was done."""
    return _turn("planes", pixels, out, out)


def _turn(name: str, source: Tensor, out: Tensor, of_planes: Tensor) -> bool:
    usual = len(of_planes) == 3 and source.is_contiguous() and out.is_contiguous()
    if not usual or (function := _function(name)) is None:
        return False
    function(source.data_ptr(), out.data_ptr(), of_planes[0].numel())
    return True


@cache
def _function(name: str) -> Callable[..., Any] | None:
    # Products and sums are rounded each, as torch's are.
    if (found := library(_SOURCE, "-ffp-contract=off")) is None:
        return None
    function = getattr(found, f"vitkit_{name}")
    sizes = _SIZES[name]
    function.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * sizes + ([ctypes.c_int] if sizes == 2 else [])
    function.restype = None
    return function
