"""What :mod:`vitkit.attention.tiles` does, for float32 on a CPU, by compiled loops over each axis."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitkit.attention.lines import Lines, Terms
from vitkit.compiled import library

LONGEST = 128
"""Tokens of a line up to which it is used: the products of longer ones are better left to a library for large matrices."""
_VECTOR = 16
_SOURCE = Path(__file__).with_name("axial.cpp")


def serves(device: str, dtype: torch.dtype, lines: Lines) -> bool:
    """Whether this can be done here, for tensors on such a device and of such a type."""
    return device == "cpu" and dtype == torch.float32 and max(lines.lengths) <= LONGEST and library(_SOURCE) is not None


def forward(
    q: Float[Tensor, "batch tokens heads head_dim"],
    k: Float[Tensor, "batch tokens heads head_dim"],
    v: Float[Tensor, "batch tokens heads head_dim"],
    lines: Lines,
    terms: Terms,
) -> Float[Tensor, "batch tokens heads head_dim"]:
    """As :func:`vitkit.attention.tiles.forward`."""
    total = torch.empty_like(q)
    _call("forward", [q, k, v, [_turned(bias) for bias in terms.biases], _gates(terms), terms.real, total], q, lines, terms.scale)
    return total


def backward(
    grad: Float[Tensor, "batch tokens heads head_dim"],
    q: Float[Tensor, "batch tokens heads head_dim"],
    k: Float[Tensor, "batch tokens heads head_dim"],
    v: Float[Tensor, "batch tokens heads head_dim"],
    lines: Lines,
    terms: Terms,
    learned: Sequence[bool],
) -> tuple[list[Tensor], Tensor | None, list[Tensor | None]]:
    """As :func:`vitkit.attention.tiles.backward`."""
    grads = [torch.empty_like(x) for x in (q, k, v)]
    gates = _gates(terms)
    grad_gates = None if gates is None else torch.zeros_like(gates)
    biases = [_turned(bias) for bias in terms.biases]
    into = [torch.zeros_like(bias) if bias is not None and needed else None for bias, needed in zip(biases, learned, strict=True)]
    _call("backward", [q, k, v, grad, biases, gates, terms.real, *grads, into, grad_gates], q, lines, terms.scale)
    grad_biases = [None if each is None else each[..., :length].mT for each, length in zip(into, lines.lengths, strict=True)]
    return grads, grad_gates, grad_biases


def _turned(bias: Float[Tensor, "heads query key"] | None) -> Float[Tensor, "heads key padded_query"] | None:
    """As the kernel reads it."""
    return None if bias is None else F.pad(bias.mT, (0, -bias.shape[1] % _VECTOR)).contiguous()


def _gates(terms: Terms) -> Float[Tensor, "axes heads"] | None:
    return None if terms.gates is None else terms.gates.contiguous()


def _call(
    name: str,
    tensors: Sequence[Tensor | list[Tensor | None] | None],
    q: Float[Tensor, "batch _ heads dim"],
    lines: Lines,
    scale: float,
) -> None:
    """Run the kernel along all axes; of what there is one for each axis, it gets an array."""
    axes = len(lines)
    assert q.shape[1] == prod(lines.shape), f"{q.shape[1]} tokens on a grid of {lines.shape}"
    integers = ctypes.c_int64 * axes
    pointers = [(ctypes.c_void_p * axes)(*map(_pointer, x)) if isinstance(x, list) else _pointer(x) for x in tensors]
    sizes = (len(q), axes, integers(*lines.shape), integers(*lines.lengths), *q.shape[2:])
    if _function(name)(*pointers, *sizes, scale, torch.get_num_threads()):
        raise MemoryError("axial attention found no memory for its buffers")


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


@cache
def _function(name: str) -> Callable[..., Any]:
    found = library(_SOURCE)
    assert found is not None
    function = getattr(found, f"vitkit_axial_{name}")
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    pointers = {"forward": 7, "backward": 12}[name]
    function.argtypes = [pointer] * pointers + [integer] * 2 + [pointer] * 2 + [integer] * 2 + [ctypes.c_float, ctypes.c_int]
    return function
