"""Axial attention on tensors as they lie.

Queries, keys and values are three tensors of tokens, (batch, N, heads, head_dim). The lines along an axis are then a view of
each: what precedes the axis joins the batch, what follows it the heads, and nothing is permuted.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from vitkit.attention import compiled, tiles
from vitkit.attention.kernels import fused_attention
from vitkit.attention.lines import Lines, Terms, ranges

MOST_PROBLEMS = 2**16 - 1
"""Lines, or heads of lines, that a fused kernel on CUDA takes at once."""


def axial_attention(
    q: Float[Tensor, "batch tokens heads head_dim"],
    k: Float[Tensor, "batch tokens heads head_dim"],
    v: Float[Tensor, "batch tokens heads head_dim"],
    shape: Sequence[int],
    lengths: Sequence[int],
    biases: Sequence[Float[Tensor, "heads _ _"] | None],
    gates: Float[Tensor, "axes heads"] | None = None,
    real: Bool[Tensor, "batch tokens"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "batch tokens heads head_dim"]:
    """The sum over axes of attention along each.

    Args:
        q: Queries in row-major order; a view only if heads lie side by side in memory, otherwise it is copied first.
        k: Keys, likewise.
        v: Values, likewise.
        shape: Tokens along each axis of the grid.
        lengths: Tokens along each axis that see each other: all, or a part of the line, which divides it.
        biases: Logits along each axis among so many tokens, (heads, L, L), or None.
        gates: Factor on each axis's output per head; 1 if not given.
        real: Tokens that may be seen; all if not given. A query that sees nothing along an axis gets zeros from it.
        scale: What the dot products are multiplied by; one over the root of ``head_dim`` if not given.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    learned = any(bias is not None and bias.requires_grad for bias in biases) and torch.is_grad_enabled()
    lines = Lines(tuple(shape), tuple(lengths))
    if q.device.type != "cpu" and not learned and real is None:
        return _fused(q, k, v, lines, biases, gates, scale)
    tokens = (x.contiguous() for x in (q, k, v))
    real = None if real is None else real.contiguous()
    out: Tensor = _run(*tokens, lines, scale, gates, real, *biases)
    return out


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lines: Lines,
    biases: Sequence[Tensor | None],
    gates: Tensor | None,
    scale: float,
) -> Tensor:
    """With torch's own kernels and gradients, a view of each axis at a time, cut where there are more lines than they take."""
    total: Tensor | None = None
    for axis, bias in enumerate(biases):
        views = [lines.along(axis, x.contiguous()) for x in (q, k, v)]
        pre, _, post, heads, _ = views[0].shape
        parts = []
        for some in ranges(slice(0, pre), MOST_PROBLEMS):
            row = []
            for positions in ranges(slice(0, post), MOST_PROBLEMS // heads):
                own, other, mean = (_problems(x[some, :, positions]) for x in views)
                mask = None if bias is None else bias.detach().to(q.dtype).repeat(positions.stop - positions.start, 1, 1)[None]
                out = fused_attention(own, other, mean, mask, scale)
                row.append(out.transpose(1, 2).unflatten(2, (-1, heads)))
            parts.append(row[0] if len(row) == 1 else torch.cat(row, dim=2))
        out = (parts[0] if len(parts) == 1 else torch.cat(parts)).reshape(q.shape)
        out = out if gates is None else out * gates[axis, :, None].to(out.dtype)
        total = out if total is None else total + out
    assert total is not None
    return total


@torch.compiler.disable  # type: ignore[untyped-decorator]  # loops, which a compiler would unroll
def _run(*arguments: Any) -> Any:
    return _Axial.apply(*arguments)


class _Axial(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        lines: Lines,
        scale: float,
        gates: Tensor | None,
        real: Tensor | None,
        *biases: Tensor | None,
    ) -> Tensor:
        alike = all(x is None or x.dtype == q.dtype for x in (k, v, gates, *biases))
        way = compiled if alike and compiled.serves(q.device.type, q.dtype, lines) else tiles
        ctx.save_for_backward(q, k, v, gates, real, *biases)
        ctx.lines, ctx.scale, ctx.way = lines, scale, way
        return way.forward(q, k, v, lines, Terms(scale, biases, gates, real))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, gates, real, *biases = ctx.saved_tensors
        terms, learned = Terms(ctx.scale, biases, gates, real), ctx.needs_input_grad[7:]
        grads, grad_gates, grad_biases = ctx.way.backward(grad.contiguous(), q, k, v, ctx.lines, terms, learned)
        return *(x.to(q.dtype) for x in grads), None, None, grad_gates, None, *grad_biases


def _problems(x: Float[Tensor, "before length after heads head_dim"]) -> Float[Tensor, "before problems length head_dim"]:
    """Positions after the axis as further heads; a view."""
    return x.flatten(2, 3).transpose(1, 2)
