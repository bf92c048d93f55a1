"""A displacement table, laid out over pairs of tokens."""

from math import prod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.exporting import is_exporting
from vitkit.grid import Grid


def lay_out(
    table: Float[Tensor, "heads *displacements"] | None, grid: Grid, keep: Int[Tensor, "batch kept"] | None = None
) -> Float[Tensor, "*batch heads tokens tokens"] | None:
    """A displacement table over all pairs of a grid's tokens, or of those that are kept."""
    if table is None:
        return None
    if keep is not None:
        return gather(table, grid.shape, keep)
    if is_exporting():  # windows are of a fixed size
        return gather(table, grid.shape, torch.arange(prod(grid.shape), device=table.device)[None])[0]
    return expand(table, grid.shape)


def expand(table: Float[Tensor, "heads *displacements"], shape: tuple[int, ...]) -> Float[Tensor, "heads tokens tokens"]:
    """Lay a displacement table out over all pairs of tokens, without an index of size N².

    Args:
        table: (heads, 2L₁-1, ..., 2Lₙ-1), displacement zero in the middle, query minus key.
        shape: (L₁, ..., Lₙ).

    Returns:
        (heads, N, N), row-major tokens: entry (q, k) is the table at q - k.

    >>> expand(torch.arange(3.0)[None], (2,))
    tensor([[[1., 0.],
             [2., 1.]]])
    """
    if torch.compiler.is_compiling():  # which would unroll a loop over queries
        axes = tuple(range(1, 1 + len(shape)))
        windows = table.flip(axes)
        for axis, length in zip(axes, shape, strict=True):
            windows = windows.unfold(axis, length, 1)
        return windows.flip(axes).reshape(len(table), prod(shape), prod(shape))
    out: Tensor = _Expand.apply(table, tuple(shape))
    return out


class _Expand(torch.autograd.Function):
    """Linear, with :class:`_Fold` as its adjoint: each is the other's backward pass."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = shape
        return _spread(table, shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Fold.apply(grad, ctx.shape), None


class _Fold(torch.autograd.Function):
    """Sum over all pairs of tokens with the same displacement."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = shape
        return _collect(logits, shape).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Expand.apply(grad, ctx.shape), None


def _spread(table: Float[Tensor, "heads *displacements"], shape: tuple[int, ...]) -> Float[Tensor, "heads tokens tokens"]:
    """Axis by axis from the last, so that the large copies, along the first, are of long runs."""
    if not shape:
        return table.view(-1, 1, 1)
    length, rest = shape[0], shape[1:]
    inner = _spread(table.flatten(0, 1), rest).unflatten(0, table.shape[:2])
    # In the flipped table the window that starts at L-1-q holds the displacements q, q-1, ..., q-(L-1): one for each key.
    flipped = inner.flip(1).transpose(1, 2).contiguous()
    out = table.new_empty(len(table), length, prod(rest), length, prod(rest))
    for query in range(length):
        out[:, query] = flipped.narrow(2, length - 1 - query, length)
    return out.view(len(table), prod(shape), prod(shape))


def _collect(logits: Float[Tensor, "heads tokens tokens"], shape: tuple[int, ...]) -> Float[Tensor, "heads *displacements"]:
    """The adjoint of :func:`_spread`, step by step."""
    if not shape:
        return logits.flatten()
    length, rest = shape[0], prod(shape[1:])
    logits = logits.unflatten(2, (length, rest)).unflatten(1, (length, rest))
    exact = torch.promote_types(logits.dtype, torch.float32)  # a sum of many in half precision stops growing
    flipped = logits.new_zeros(len(logits), rest, 2 * length - 1, rest, dtype=exact)
    for query in range(length):
        flipped.narrow(2, length - 1 - query, length).add_(logits[:, query])
    inner = flipped.transpose(1, 2).flip(1)
    return _collect(inner.flatten(0, 1), shape[1:]).unflatten(0, inner.shape[:2])


def gather(
    table: Float[Tensor, "heads *displacements"], shape: tuple[int, ...], keep: Int[Tensor, "batch kept"]
) -> Float[Tensor, "batch heads kept kept"]:
    """The table's logits between the tokens that are kept in each sample: (batch, heads, K, K)."""
    position = torch.zeros_like(keep)
    stride = 1
    zero = 0
    remaining = keep
    # Row-major displacement index of a pair is the difference of two per-token indices, plus that of displacement zero.
    for length in reversed(shape):
        position = position + (remaining % length) * stride
        zero += (length - 1) * stride
        remaining = remaining // length
        stride *= 2 * length - 1
    index = position[:, :, None] - position[:, None, :] + zero
    return table.flatten(1)[:, index].transpose(0, 1)
