"""What :mod:`vitkit.attention.tiles` does, for float32 on a CPU, by compiled loops over each axis."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
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
    for axis, bias in enumerate(terms.biases):
        tensors = (q, k, v, _turned(bias), _gate(terms, axis), terms.real, total)
        _call("forward", tensors, lines.along(axis, q).shape, terms.scale, axis)
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
    grad_gates = None if terms.gates is None else torch.zeros_like(terms.gates, memory_format=torch.contiguous_format)
    grad_biases: list[Tensor | None] = []
    for axis, (bias, needed) in enumerate(zip(terms.biases, learned, strict=True)):
        turned = _turned(bias)
        into = torch.zeros_like(turned) if turned is not None and needed else None
        into_gate = None if grad_gates is None else grad_gates[axis]
        tensors = (q, k, v, grad, turned, _gate(terms, axis), terms.real, *grads, into, into_gate)
        _call("backward", tensors, lines.along(axis, q).shape, terms.scale, axis)
        grad_biases.append(None if into is None else into[..., : lines.lengths[axis]].mT)
    return grads, grad_gates, grad_biases


def _turned(bias: Float[Tensor, "heads query key"] | None) -> Float[Tensor, "heads key padded_query"] | None:
    """As the kernel reads it."""
    return None if bias is None else F.pad(bias.mT, (0, -bias.shape[1] % _VECTOR)).contiguous()


def _gate(terms: Terms, axis: int) -> Float[Tensor, " heads"] | None:
    return None if terms.gates is None else terms.gates[axis].contiguous()


def _call(name: str, tensors: Sequence[Tensor | None], shape: torch.Size, scale: float, axis: int) -> None:
    """Run the kernel along an axis; what the first one finds replaces, and what every other finds is added."""
    pointers = [None if x is None else x.data_ptr() for x in tensors]
    if _function(name)(*pointers, *shape, scale, int(axis > 0), torch.get_num_threads()):
        raise MemoryError("axial attention found no memory for its buffers")


@cache
def _function(name: str) -> Callable[..., Any]:
    found = library(_SOURCE)
    assert found is not None
    function = getattr(found, f"vitkit_axial_{name}")
    pointers = {"forward": 7, "backward": 12}[name]
    function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * 5 + [ctypes.c_float] + [ctypes.c_int] * 2
    return function
