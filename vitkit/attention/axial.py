"""Axial attention on tensors as they lie, in time and memory that grow with N(L₁ + ... + Lₙ).

Queries, keys and values are three tensors of tokens, (batch, N, heads, head_dim). The lines along an axis are then a view of
each: what precedes the axis joins the batch, what follows it the heads, and nothing is permuted. On the CPU the forward pass is
torch's fused kernel on such views. The backward pass finds the probabilities again from the log-sum-exp, as in FlashAttention
(Dao et al. 2022, algorithm 4), in plain batched products on tiles that a core's cache holds, and adds each axis's gradients into
the same three tensors. A bias per axis is L² numbers per head, repeated for a tile; its gradient is summed over all lines.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

CPU_FORWARD, CPU_BACKWARD = 2**24, 2**18
"""Numbers that a tile holds per tensor: with the fused kernel all there is, with plain products a MiB of float32."""
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
        for some in _ranges(pre, MOST_PROBLEMS):
            row = []
            for positions in _ranges(post, MOST_PROBLEMS // heads):
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
        total: Tensor | None = None
        sums = []
        for axis, (length, bias) in enumerate(zip(lengths, biases, strict=True)):
            queries, keys, values = (_lines(x, shape, axis, length) for x in (q, k, v))
            seen = None if real is None else _lines(real.contiguous(), shape, axis, length)
            lse = q.new_empty(*queries.shape[:4], dtype=_exact(q))
            for tile in _tiles(queries, CPU_FORWARD if q.device.type == "cpu" else DEVICE_ELEMENTS):
                own, other, mean = (_problems(x[tile]) for x in (queries, keys, values))
                out, lse_of = _attend(own, other, mean, _logits(bias, seen, tile, queries.shape[3], q), scale)
                if seen is not None:
                    blind = ~_keys(seen[tile], queries.shape[3]).any(-1)[..., None]
                    # An infinite sum makes every probability zero, here and in the backward pass.
                    out, lse_of = out.masked_fill(blind[..., None], 0), lse_of.masked_fill(blind, float("inf"))
                out = _back(out, queries[tile])
                if gates is not None:
                    out = out * gates[axis, :, None].to(out.dtype)
                lse[tile] = lse_of.transpose(1, 2).reshape(lse[tile].shape)
                if total is None and out.numel() == q.numel():
                    total = out.reshape(q.shape)  # all of the first axis: nothing to add it to
                    continue
                total = torch.empty_like(q) if total is None else total
                _put(out, _lines(total, shape, axis, length)[tile], axis)
            sums.append(lse)
        ctx.save_for_backward(q, k, v, gates, real, *sums, *biases)
        ctx.shape, ctx.lengths, ctx.scale = shape, lengths, scale
        assert total is not None
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, gates, real, *rest = ctx.saved_tensors
        sums, biases = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        exact, scale, heads = _exact(q), ctx.scale, q.shape[2]
        grad = grad.contiguous()
        grads = [torch.empty_like(x) if x.dtype == exact else torch.empty_like(x, dtype=exact) for x in (q, k, v)]
        grad_biases = [
            torch.zeros_like(bias) if needed and bias is not None else None
            for bias, needed in zip(biases, ctx.needs_input_grad[8:], strict=True)
        ]
        grad_gates = None if gates is None else torch.zeros_like(gates)
        for axis, (length, bias, lse) in enumerate(zip(ctx.lengths, biases, sums, strict=True)):
            queries, keys, values, upstream, *into = (_lines(x, ctx.shape, axis, length) for x in (q, k, v, grad, *grads))
            seen = None if real is None else _lines(real.contiguous(), ctx.shape, axis, length)
            for tile in _tiles(queries, CPU_BACKWARD if q.device.type == "cpu" else DEVICE_ELEMENTS):
                own, other, mean, slope = (_flat(x[tile], exact) for x in (queries, keys, values, upstream))
                count = len(own)
                of = lse[tile].flatten(2).transpose(1, 2).reshape(count, length, 1)
                if bias is None:
                    weights = torch.baddbmm(of, own, other.transpose(1, 2), beta=-1, alpha=scale)
                else:
                    weights = (bias.to(exact) - of.view(-1, heads, length, 1)).view(count, length, length)
                    weights.baddbmm_(own, other.transpose(1, 2), alpha=scale)
                if seen is not None:
                    weights.masked_fill_(~_keys(seen[tile], heads).reshape(count, 1, length), float("-inf"))
                weights.exp_()
                grad_v = torch.bmm(weights.transpose(1, 2), slope)
                scores = torch.bmm(slope, mean.transpose(1, 2))
                dots = torch.linalg.vecdot(scores, weights)
                scores.sub_(dots[..., None]).mul_(weights)
                if gates is not None and grad_gates is not None:
                    grad_gates[axis] += dots.view(-1, heads, length).sum((0, 2)).to(gates.dtype)
                    gate = gates[axis].to(exact).repeat(count // heads)[:, None, None]
                    grad_v.mul_(gate)
                    scores.mul_(gate)
                if (into_bias := grad_biases[axis]) is not None:
                    into_bias += scores.view(-1, heads, length, length).sum(0)
                grad_q, grad_k = (
                    torch.baddbmm(torch.empty_like(own), left, right, beta=0, alpha=scale)
                    for left, right in ((scores, other), (scores.transpose(1, 2), own))
                )
                for where, found in zip(into, (grad_q, grad_k, grad_v), strict=True):
                    there = where[tile]
                    _put(_back(found.view(there.shape[0], -1, length, found.shape[-1]), there), there, axis)
        return *(x.to(q.dtype) for x in grads), None, None, grad_gates, None, None, *grad_biases


Tile = tuple[slice, slice, slice]


def _lines(
    x: Float[Tensor, "batch tokens *rest"] | Bool[Tensor, "batch tokens"], shape: tuple[int, ...], axis: int, length: int
) -> Float[Tensor, "before length after *rest"] | Bool[Tensor, "before length after"]:
    """Lines along an axis, or their parts of a length: what comes before it in memory, the axis, what comes after; a view."""
    return x.view(-1, length, prod(shape[axis + 1 :]), *x.shape[2:])


def _tiles(lines: Float[Tensor, "before length after heads head_dim"], most: int) -> Iterator[Tile]:
    """Some lines at a time, so that neither their tokens nor their scores are more than ``most`` numbers."""
    before, length, after, heads, head_dim = lines.shape
    count = max(most // (length * max(length, head_dim) * heads), 1)
    everything = slice(0, length)
    if count >= after:
        for some in _ranges(before, max(count // max(after, 1), 1)):
            yield some, everything, slice(0, after)
        return
    for index in range(before):
        for positions in _ranges(after, count):
            yield slice(index, index + 1), everything, positions


def _ranges(total: int, most: int) -> Iterator[slice]:
    for start in range(0, total, most):
        yield slice(start, min(start + most, total))


def _problems(x: Float[Tensor, "before length after heads head_dim"]) -> Float[Tensor, "before problems length head_dim"]:
    """Positions after the axis as further heads; a view."""
    return x.flatten(2, 3).transpose(1, 2)


def _back(
    x: Float[Tensor, "before problems length head_dim"], like: Float[Tensor, "before length after heads head_dim"]
) -> Float[Tensor, "before length after heads head_dim"]:
    """The reverse of :func:`_problems`."""
    return x.transpose(1, 2).unflatten(2, like.shape[2:4])


def _flat(
    x: Float[Tensor, "before length after heads head_dim"], dtype: torch.dtype
) -> Float[Tensor, "problems length head_dim"]:
    """A copy in one batch, as products of many small matrices want it."""
    return _problems(x).to(dtype).reshape(-1, x.shape[1], x.shape[4])


def _put(found: Float[Tensor, "*shape"], into: Float[Tensor, "*shape"], axis: int) -> None:
    """What the first axis finds, and what every other adds to it."""
    if axis:
        into.add_(found)
    else:
        into.copy_(found)


def _keys(seen: Bool[Tensor, "before length after"], heads: int) -> Bool[Tensor, "before problems length"]:
    return seen.transpose(1, 2).repeat_interleave(heads, dim=1)


def _logits(
    bias: Float[Tensor, "heads length length"] | None,
    seen: Bool[Tensor, "before length after"] | None,
    tile: Tile,
    heads: int,
    like: Tensor,
) -> Float[Tensor, "some problems #length length"] | None:
    """Bias and mask of a tile."""
    mask = None if bias is None else bias.to(like.dtype).repeat(tile[2].stop - tile[2].start, 1, 1)[None]
    if seen is None:
        return mask
    # The lowest number and not minus infinity, so that a query without keys gets numbers, which are put right later.
    shut = torch.zeros((), dtype=like.dtype, device=like.device) if mask is None else mask
    return torch.where(_keys(seen[tile], heads)[:, :, None], shut, torch.finfo(like.dtype).min)


def _attend(
    q: Float[Tensor, "before problems length head_dim"],
    k: Float[Tensor, "before problems length head_dim"],
    v: Float[Tensor, "before problems length head_dim"],
    logits: Float[Tensor, "some problems #length length"] | None,
    scale: float,
) -> tuple[Float[Tensor, "before problems length head_dim"], Float[Tensor, "before problems length"]]:
    """Attention and its log-sum-exp."""
    if q.device.type == "cpu":
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, attn_mask=logits, scale=scale)
        return out, lse
    exact = _exact(q)
    scores = (q.to(exact) @ k.to(exact).transpose(-1, -2)).mul_(scale)
    if logits is not None:
        scores = scores + logits
    lse = scores.logsumexp(-1)
    return ((scores - lse[..., None]).exp_() @ v.to(exact)).to(q.dtype), lse


def _exact(x: Tensor) -> torch.dtype:
    """What half precision is computed in."""
    return torch.promote_types(x.dtype, torch.float32)
