"""Axial attention on tensors as they lie, in time and memory that grow with N(L₁ + ... + Lₙ).

Queries, keys and values are three tensors of tokens, (batch, N, heads, head_dim). The lines along an axis are then a view of
each: what precedes the axis joins the batch, what follows it the heads, and nothing is permuted. The lines are many and short, so
plain batched products on tiles that a CPU's cache holds are faster than torch's fused kernel, which is made for long ones. The
backward pass finds the probabilities of a tile again, so that none are kept, and adds each axis's gradients into the same three
tensors. A bias per axis is L² numbers per head, repeated for a tile; its gradient is summed over all lines.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

CPU_ELEMENTS = 2**19
"""Numbers that a tile holds per tensor: 2 MiB of float32."""
DEVICE_ELEMENTS = 2**25
"""The same on another device, which is to be kept busy: 128 MiB."""
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
    if q.device.type != "cpu" and not learned and real is None:
        return _fused(q, k, v, tuple(shape), lengths, biases, gates, scale)
    tokens = (x.contiguous() for x in (q, k, v))
    real = None if real is None else real.contiguous()
    out: Tensor = _run(*tokens, tuple(shape), tuple(lengths), gates, real, scale, *biases)
    return out


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    shape: tuple[int, ...],
    lengths: Sequence[int],
    biases: Sequence[Tensor | None],
    gates: Tensor | None,
    scale: float,
) -> Tensor:
    """With torch's own kernels and gradients, a view of each axis at a time, cut where there are more lines than they take."""
    total: Tensor | None = None
    for axis, (length, bias) in enumerate(zip(lengths, biases, strict=True)):
        lines = [_lines(x.contiguous(), shape, axis, length) for x in (q, k, v)]
        pre, _, post, heads, _ = lines[0].shape
        parts = []
        for some in _ranges(slice(0, pre), MOST_PROBLEMS):
            row = []
            for positions in _ranges(slice(0, post), MOST_PROBLEMS // heads):
                own, other, mean = (_problems(x[some, :, positions]) for x in lines)
                mask = None if bias is None else bias.detach().to(q.dtype).repeat(positions.stop - positions.start, 1, 1)[None]
                out = scaled_dot_product_attention(own, other, mean, attn_mask=mask, scale=scale)
                row.append(out.transpose(1, 2).unflatten(2, (-1, heads)))
            parts.append(row[0] if len(row) == 1 else torch.cat(row, dim=2))
        out = (parts[0] if len(parts) == 1 else torch.cat(parts)).reshape(q.shape)
        out = out if gates is None else out * gates[axis, :, None].to(out.dtype)
        total = out if total is None else total + out
    assert total is not None
    return total


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a loop over tiles, which a compiler would unroll
def _run(*arguments: Any) -> Any:
    return _Axial.apply(*arguments)


class _Axial(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        shape: tuple[int, ...],
        lengths: tuple[int, ...],
        gates: Tensor | None,
        real: Tensor | None,
        scale: float,
        *biases: Tensor | None,
    ) -> Tensor:
        exact = _exact(q)
        total = torch.empty_like(q)
        lines = [[_lines(x, shape, axis, length) for x in (q, k, v, total)] for axis, length in enumerate(lengths)]
        seen = [None if real is None else _lines(real, shape, axis, length) for axis, length in enumerate(lengths)]
        work, tokens, scores = _work([of_axis[0] for of_axis in lines], 3, 1, exact)
        for axis, tile in work:
            *read, into = (x[tile] for x in lines[axis])
            own, other, mean = (_flat(x, buffer) for x, buffer in zip(read, tokens, strict=True))
            weights = _weights(own, other, _of(biases[axis], tile), _keys(seen[axis], tile), scale, scores[0])
            out = _back(torch.bmm(weights, mean, out=own), into)
            if gates is not None:
                out.mul_(gates[axis, tile[3], None].to(exact))
            _put(out, into, axis)
        ctx.save_for_backward(q, k, v, gates, real, *biases)
        ctx.shape, ctx.lengths, ctx.scale = shape, lengths, scale
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, gates, real, *biases = ctx.saved_tensors
        exact, scale = _exact(q), ctx.scale
        grad = grad.contiguous()
        grads = [torch.empty_like(x) if x.dtype == exact else torch.empty_like(x, dtype=exact) for x in (q, k, v)]
        grad_biases = [
            torch.zeros_like(bias) if needed and bias is not None else None
            for bias, needed in zip(biases, ctx.needs_input_grad[8:], strict=True)
        ]
        grad_gates = None if gates is None else torch.zeros_like(gates)
        lines = [[_lines(x, ctx.shape, axis, length) for x in (q, k, v, grad, *grads)] for axis, length in enumerate(ctx.lengths)]
        seen = [None if real is None else _lines(real, ctx.shape, axis, length) for axis, length in enumerate(ctx.lengths)]
        work, tokens, scores = _work([of_axis[0] for of_axis in lines], 4, 3, exact)
        for axis, tile in work:
            *read, into_q, into_k, into_v = (x[tile] for x in lines[axis])
            own, other, mean, slope = (_flat(x, buffer) for x, buffer in zip(read, tokens, strict=True))
            weights = _weights(own, other, _of(biases[axis], tile), _keys(seen[axis], tile), scale, scores[0])
            slopes, products = (buffer[: weights.numel()].view_as(weights) for buffer in scores[1:])
            torch.bmm(slope, mean.transpose(1, 2), out=slopes)
            grad_v = torch.bmm(weights.transpose(1, 2), slope, out=mean)
            dots = torch.mul(slopes, weights, out=products).sum(-1)
            slopes.sub_(dots[..., None]).mul_(weights)
            heads = into_q.shape[3]
            if gates is not None and grad_gates is not None:
                grad_gates[axis, tile[3]] += dots.view(-1, heads, dots.shape[1]).sum((0, 2)).to(gates.dtype)
                gate = gates[axis, tile[3]].to(exact).repeat(len(dots) // heads)[:, None, None]
                grad_v.mul_(gate)
                slopes.mul_(gate)
            if (into_bias := grad_biases[axis]) is not None:
                into_bias[tile[3]] += slopes.view(-1, heads, *slopes.shape[1:]).sum(0)
            grad_q = torch.baddbmm(slope, slopes, other, beta=0, alpha=scale, out=slope)
            grad_k = torch.baddbmm(other, slopes.transpose(1, 2), own, beta=0, alpha=scale, out=other)
            for found, into in ((grad_q, into_q), (grad_k, into_k), (grad_v, into_v)):
                _put(_back(found, into), into, axis)
        return *(x.to(q.dtype) for x in grads), None, None, grad_gates, None, None, *grad_biases


Tile = tuple[slice, slice, slice, slice]
"""Lines before the axis, all of its length, positions after it, and heads."""


def _lines(
    x: Float[Tensor, "batch tokens *rest"] | Bool[Tensor, "batch tokens"], shape: tuple[int, ...], axis: int, length: int
) -> Float[Tensor, "before length after *rest"] | Bool[Tensor, "before length after"]:
    """Lines along an axis, or their parts of a length: what comes before it in memory, the axis, what comes after; a view."""
    return x.view(-1, length, prod(shape[axis + 1 :]), *x.shape[2:])


def _work(
    lines: Sequence[Float[Tensor, "_ _ _ heads head_dim"]], tokens: int, scores: int, dtype: torch.dtype
) -> tuple[list[tuple[int, Tile]], Float[Tensor, "tokens _"], Float[Tensor, "scores _"]]:
    """Every axis and tile, and buffers for the tokens and the scores of one at a time.

    First all of the first axis; then slabs of it, in each of which the other axes are done while a CPU's cache holds its tokens.
    The buffers, too, stay there from tile to tile.
    """
    most = CPU_ELEMENTS if lines[0].device.type == "cpu" else DEVICE_ELEMENTS
    work = [(0, tile) for tile in _tiles(lines[0].shape, slice(0, lines[0].shape[0]), most)]
    slabs = lines[0].shape[0] * lines[0].shape[1]
    for some in _ranges(slice(0, slabs), max(most // (lines[0].numel() // slabs), 1)):
        for axis, x in enumerate(lines[1:], start=1):
            each = x.shape[0] // slabs
            work += [(axis, tile) for tile in _tiles(x.shape, slice(some.start * each, some.stop * each), most)]
    sizes = [(x.numel(), x.numel() // x.shape[4] * x.shape[1]) for x in (lines[axis][tile] for axis, tile in work)]
    rooms = (max(size) for size in zip(*sizes, strict=True))
    of_tokens, of_scores = (lines[0].new_empty(n, room, dtype=dtype) for n, room in zip((tokens, scores), rooms, strict=True))
    return work, of_tokens, of_scores


def _tiles(shape: torch.Size, lines: slice, most: int) -> Iterator[Tile]:
    """Some lines at a time, so that neither their tokens nor their scores are more than ``most`` numbers; one head's at least."""
    _, length, after, heads, head_dim = shape
    problems = max(most // (length * max(length, head_dim)), 1)
    together = _ranges(slice(0, heads), problems)
    count = max(problems // heads, 1)
    everything = slice(0, length)
    if count >= after:
        places = [(some, slice(0, after)) for some in _ranges(lines, max(count // after, 1))]
    else:
        places = [
            (slice(index, index + 1), some)
            for index in range(lines.start, lines.stop)
            for some in _ranges(slice(0, after), count)
        ]
    for (before, behind), some in product(places, together):
        yield before, everything, behind, some


def _ranges(whole: slice, most: int) -> Iterator[slice]:
    for start in range(whole.start, whole.stop, most):
        yield slice(start, min(start + most, whole.stop))


def _problems(x: Float[Tensor, "before length after heads head_dim"]) -> Float[Tensor, "before problems length head_dim"]:
    """Positions after the axis as further heads; a view."""
    return x.flatten(2, 3).transpose(1, 2)


def _flat(
    x: Float[Tensor, "before length after heads head_dim"], buffer: Float[Tensor, " room"]
) -> Float[Tensor, "problems length head_dim"]:
    """A copy in one batch, as products of many small matrices want it."""
    there = x.permute(0, 2, 3, 1, 4)
    return buffer[: x.numel()].view(there.shape).copy_(there).flatten(0, 2)


def _back(
    x: Float[Tensor, "problems length head_dim"], like: Float[Tensor, "before length after heads head_dim"]
) -> Float[Tensor, "before length after heads head_dim"]:
    """The reverse of :func:`_flat`; a view."""
    before, length, after, heads, head_dim = like.shape
    return x.view(before, after, heads, length, head_dim).permute(0, 3, 1, 2, 4)


def _put(found: Float[Tensor, "*shape"], into: Float[Tensor, "*shape"], axis: int) -> None:
    """What the first axis finds, and what every other adds to it."""
    if axis:
        into.add_(found)
    else:
        into.copy_(found)


def _of(bias: Float[Tensor, "heads length length"] | None, tile: Tile) -> Float[Tensor, "some length length"] | None:
    """A bias of a tile's heads."""
    return None if bias is None else bias[tile[3]]


def _keys(seen: Bool[Tensor, "before length after"] | None, tile: Tile) -> Bool[Tensor, "problems 1 length"] | None:
    """Keys of a tile that may be seen."""
    if seen is None:
        return None
    return seen[tile[:3]].transpose(1, 2).repeat_interleave(tile[3].stop - tile[3].start, dim=1).flatten(0, 1)[:, None]


def _weights(
    q: Float[Tensor, "problems length head_dim"],
    k: Float[Tensor, "problems length head_dim"],
    bias: Float[Tensor, "heads length length"] | None,
    seen: Bool[Tensor, "problems 1 length"] | None,
    scale: float,
    buffer: Float[Tensor, " room"],
) -> Float[Tensor, "problems length length"]:
    """Probabilities; zeros where a query sees nothing."""
    count, length, _ = q.shape
    weights = buffer[: count * length**2].view(count, length, length)
    if bias is not None:
        weights.view(-1, *bias.shape).copy_(bias)
    weights.baddbmm_(q, k.transpose(1, 2), beta=0 if bias is None else 1, alpha=scale)
    if seen is None:
        return torch.softmax(weights, -1, out=weights)
    # The lowest number and not minus infinity, so that a query without keys gets numbers, which are put right after.
    weights.masked_fill_(~seen, torch.finfo(weights.dtype).min)
    return torch.softmax(weights, -1, out=weights).masked_fill_(~seen, 0)


def _exact(x: Tensor) -> torch.dtype:
    """What half precision is computed in."""
    return torch.promote_types(x.dtype, torch.float32)
