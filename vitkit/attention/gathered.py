"""Exact attention for a sparse pattern, in time and memory that grow with its pairs and not with N².

A pattern lists blocks of queries with the keys that they see. Blocks are gathered some at a time and computed in plain batched
products, which on short blocks are faster than torch's fused kernel. If a query stands in several blocks, as in a union, their
softmaxes are merged through the log-sum-exp. The backward pass computes the probabilities again from the log-sum-exp over all of
them, as in FlashAttention (Dao et al. 2022, algorithm 4), so that nothing of the pairs' number is kept in between.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from vitkit.attention.patterns import Pattern
from vitkit.attention.plan import Piece, Plan, plan
from vitkit.bias import Bias
from vitkit.grid import Grid

CPU_ELEMENTS = 2**19
"""Scores that are computed at once: 2 MiB, which a core's cache holds."""
DEVICE_ELEMENTS = 2**25
"""The same on another device, which is to be kept busy: 128 MiB."""


def gathered_attention(
    q: Float[Tensor, "batch heads tokens head_dim"],
    k: Float[Tensor, "batch heads tokens head_dim"],
    v: Float[Tensor, "batch heads tokens head_dim"],
    grid: Grid,
    pattern: Pattern,
    bias: Bias,
    prefix: int = 0,
    scale: float | None = None,
    real: Bool[Tensor, "batch grid_tokens"] | None = None,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Softmax of the scaled dot product plus the bias over the keys that the pattern allows, applied to the values.

    A stationary bias is read from its displacement table. Any other has to be laid out for every pair of tokens first, so that
    memory then grows with N² after all.

    Args:
        q: Queries: prefix tokens, then all of the grid's in row-major order.
        k: Keys, likewise.
        v: Values, likewise.
        grid: Where the tokens stand.
        pattern: Who may see whom; prefix tokens see and are seen by all. A query that sees nothing gets zeros.
        bias: Relative position bias, in logits.
        prefix: Tokens before the grid's.
        scale: What the dot products are multiplied by; one over the root of ``head_dim`` if not given.
        real: Which of the grid's tokens may be seen; all if not given.
    """
    exact = torch.promote_types(q.dtype, torch.float32)
    table = bias.table(grid) if bias.stationary else bias.grid_logits(grid)
    around = bias.prefix_logits() if prefix else None
    table, around = (None if logits is None else logits.to(exact) for logits in (table, around))
    if table is not None:
        table = table.flatten(1)
    seen = None if real is None else pad(real, (prefix, 0), value=True)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return _run(q, k, v, table, around, pattern, grid.shape, prefix, bias.stationary, factor, seen)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a loop over blocks, which a compiler would unroll
def _run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: Tensor | None,
    around: Tensor | None,
    pattern: Pattern,
    shape: tuple[int, ...],
    prefix: int,
    stationary: bool,
    scale: float,
    seen: Tensor | None,
) -> Tensor:
    out: Tensor = _Gathered.apply(q, k, v, table, around, plan(pattern, shape, prefix, stationary, q.device), scale, seen)
    return out


class _Gathered(torch.autograd.Function):
    """Inside, tensors are (batch · heads, tokens, head_dim), in float32 or float64."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        table: Tensor | None,
        around: Tensor | None,
        plan: Plan,
        scale: float,
        seen: Tensor | None,
    ) -> Tensor:
        exact = torch.promote_types(q.dtype, torch.float32)
        lowest = torch.finfo(exact).min
        queries, keys, values = (x.to(exact).flatten(0, 1).contiguous() for x in (q, k, v))
        out = torch.zeros_like(queries)
        lse = queries.new_full(queries.shape[:2], lowest)
        for piece in plan.pieces:
            for block, rows, keys_of, values_of, logits in _parts(plan, piece, q.shape, keys, values, table, around):
                where = piece.queries[block, rows].flatten()
                scores = torch.bmm(_take(queries, where, len(keys_of)), keys_of.transpose(1, 2)).mul_(scale)
                if logits is not None:
                    _shaped(scores, q.shape).add_(logits)
                _hide(scores, q.shape, seen, piece.keys[block])
                # Clamped, so that a query that sees nothing here gets zero weights and not NaN.
                top = scores.amax(-1, keepdim=True).clamp_(min=lowest)
                weights = scores.sub_(top).exp_()
                total = weights.sum(-1, keepdim=True)
                mean = (
                    torch.bmm(weights, values_of)
                    .div_(total.clamp(min=torch.finfo(exact).tiny))
                    .view(len(queries), -1, out.shape[-1])
                )
                here = (top + total.log()).clamp_(min=lowest).view(len(queries), -1)
                if not piece.first:
                    before = lse[:, where]
                    both = torch.logaddexp(before, here)
                    mean = mean.mul_((here - both).exp()[..., None]).add_(out[:, where] * (before - both).exp()[..., None])
                    here = both
                out.index_copy_(1, where, mean)
                lse.index_copy_(1, where, here)
        ctx.save_for_backward(q, k, v, table, around, out, lse, seen)
        ctx.plan, ctx.scale = plan, scale
        return out.view(q.shape).to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, table, around, out, lse, real = ctx.saved_tensors
        plan, scale = ctx.plan, ctx.scale
        queries, keys, values, upstream = (x.to(out.dtype).flatten(0, 1).contiguous() for x in (q, k, v, grad))
        row_sum = (upstream * out).sum(-1)
        grad_q, grad_k, grad_v = (torch.zeros_like(out) for _ in range(3))
        grad_table, grad_around = (None if x is None else torch.zeros_like(x) for x in (table, around))
        for piece in plan.pieces:
            for block, rows, keys_of, values_of, logits in _parts(plan, piece, q.shape, keys, values, table, around):
                where, seen = piece.queries[block, rows].flatten(), piece.keys[block].flatten()
                queries_of, upstream_of = _take(queries, where, len(keys_of)), _take(upstream, where, len(keys_of))
                weights = torch.bmm(queries_of, keys_of.transpose(1, 2)).mul_(scale)
                if logits is not None:
                    _shaped(weights, q.shape).add_(logits)
                _hide(weights, q.shape, real, piece.keys[block])
                weights.sub_(lse[:, where].view(len(keys_of), -1, 1)).exp_()
                grad_v.index_add_(1, seen, _join(torch.bmm(weights.transpose(1, 2), upstream_of), grad_v))
                slope = torch.bmm(upstream_of, values_of.transpose(1, 2)).sub_(row_sum[:, where].view(len(keys_of), -1, 1))
                slope.mul_(weights)
                grad_q.index_add_(1, where, _join(torch.bmm(slope, keys_of), grad_q), alpha=scale)
                grad_k.index_add_(1, seen, _join(torch.bmm(slope.transpose(1, 2), queries_of), grad_k), alpha=scale)
                if grad_table is not None or grad_around is not None:
                    _fold(plan, piece, block, rows, _shaped(slope, q.shape).sum(0), grad_table, grad_around)
        grads = (x.view(q.shape).to(like.dtype) for x, like in ((grad_q, q), (grad_k, k), (grad_v, v)))
        return *grads, grad_table, grad_around, None, None, None


Part = tuple[slice, slice, Tensor, Tensor, Tensor | None]


def _parts(
    plan: Plan, piece: Piece, shape: torch.Size, keys: Tensor, values: Tensor, table: Tensor | None, around: Tensor | None
) -> Iterator[Part]:
    """Blocks and rows of them that are computed at once, with their gathered keys and values, and their logits."""
    count, rows, columns = *piece.queries.shape, piece.keys.shape[1]
    most = (CPU_ELEMENTS if keys.device.type == "cpu" else DEVICE_ELEMENTS) // len(keys)
    blocks_at_once = max(most // (rows * columns), 1)
    rows_at_once = min(max(most // columns, 1), rows)
    shared = piece.alike and rows_at_once == rows
    logits = _logits(plan, piece, slice(0, 1), slice(0, rows), table, around, keys.dtype) if shared else None
    for start in range(0, count, blocks_at_once):
        block = slice(start, min(start + blocks_at_once, count))
        seen, number = piece.keys[block].flatten(), len(keys) * (block.stop - block.start)
        keys_of, values_of = _take(keys, seen, number), _take(values, seen, number)
        for begin in range(0, rows, rows_at_once):
            some = slice(begin, min(begin + rows_at_once, rows))
            yield (
                block,
                some,
                keys_of,
                values_of,
                logits if shared else _logits(plan, piece, block, some, table, around, keys.dtype),
            )


def _logits(
    plan: Plan, piece: Piece, block: slice, rows: slice, table: Tensor | None, around: Tensor | None, dtype: torch.dtype
) -> Float[Tensor, "#heads #blocks rows keys"] | None:
    """Bias and mask of a part; None if both are nothing."""
    allowed = piece.mask(block, rows)
    logits = None
    if piece.of_prefix:
        if around is not None:
            logits = around[:, [2] * plan.prefix + [1] * (piece.keys.shape[1] - plan.prefix)][:, None, None]
            logits = logits.expand(-1, -1, rows.stop - rows.start, -1)
    elif table is not None or around is not None:
        before = plan.prefix if piece.first else 0
        index = plan.index(piece, block, rows)
        some = table if table is not None else around
        assert some is not None
        logits = some.new_zeros(len(some), *index.shape[:2], before + index.shape[2])
        if table is not None:
            logits[..., before:] = table[:, index]
        if around is not None:
            logits[..., :before] = around[:, 0, None, None, None]
    if allowed is None:
        return logits
    if logits is None:
        logits = torch.zeros((), dtype=dtype, device=allowed.device)
    return torch.where(allowed[None], logits, float("-inf"))


def _fold(
    plan: Plan,
    piece: Piece,
    block: slice,
    rows: slice,
    slope: Float[Tensor, "heads blocks rows keys"],
    grad_table: Tensor | None,
    grad_around: Tensor | None,
) -> None:
    """Add the gradient of a part's logits to those of the table and of the prefix's logits."""
    before = plan.prefix if piece.first else 0
    if grad_around is not None and before:
        grad_around[:, 2 if piece.of_prefix else 0] += slope[..., :before].sum((1, 2, 3))
        if piece.of_prefix:
            grad_around[:, 1] += slope[..., before:].sum((1, 2, 3))
    if grad_table is not None and not piece.of_prefix:
        slope = slope[..., before:]
        if piece.translates:
            slope = slope.sum(1, keepdim=True)
        index = plan.index(piece, block, rows).flatten()
        grad_table.scatter_add_(1, index.expand(len(slope), -1), slope.flatten(1))


def _take(x: Float[Tensor, "many tokens head_dim"], index: Tensor, number: int) -> Float[Tensor, "blocks some head_dim"]:
    """Gather tokens, ``number`` blocks of them."""
    return x.index_select(1, index).view(number, -1, x.shape[2])


def _join(x: Float[Tensor, "blocks some head_dim"], like: Float[Tensor, "many tokens head_dim"]) -> Tensor:
    """The reverse of :func:`_take`'s layout."""
    return x.view(len(like), -1, x.shape[2])


def _hide(scores: Tensor, shape: torch.Size, seen: Bool[Tensor, "batch tokens"] | None, keys: Int[Tensor, "blocks keys"]) -> None:
    """Leave out the keys that may not be seen."""
    if seen is not None:
        _shaped(scores, shape).masked_fill_(~seen[:, None, keys][:, :, :, None], float("-inf"))


def _shaped(scores: Float[Tensor, "blocks queries keys"], shape: torch.Size) -> Float[Tensor, "batch heads some queries keys"]:
    return scores.view(shape[0], shape[1], -1, *scores.shape[1:])
