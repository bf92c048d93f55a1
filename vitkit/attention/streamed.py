"""Exact attention with a learned relative position bias, in the time and memory of attention without one.

Torch's fused kernels take a mask but give no gradient to it (on the CPU), or one of the mask's full size (on CUDA). Here the
forward pass is the fused kernel on tiles of queries, with the bias laid out for one tile at a time, and the backward pass finds
the probabilities of a tile again from the saved log-sum-exp: five matrix products, as in FlashAttention (Dao et al. 2022,
algorithm 4). The gradient of the logits is summed over the batch and folded into the displacement table before the next tile.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

Box = tuple[tuple[int, int], ...]

FORWARD_ELEMENTS = 2**22  # logits of a tile in the forward pass, 16 MiB of float32
BACKWARD_ELEMENTS = 2**20  # scores of a tile in the backward pass, 4 MiB of float32


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a loop over tiles, which a compiler would unroll
def streamed_attention(
    q: Float[Tensor, "batch heads tokens head_dim"],
    k: Float[Tensor, "batch heads tokens head_dim"],
    v: Float[Tensor, "batch heads tokens head_dim"],
    table: Float[Tensor, "heads *displacements"],
    shape: Sequence[int],
    prefix: int = 0,
    around: Float[Tensor, "heads 3"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Softmax of the scaled dot product plus the bias, applied to the values; on the CPU.

    Args:
        q: Queries: prefix tokens, then the grid's in row-major order.
        k: Keys, likewise.
        v: Values, likewise.
        table: Logits at every displacement, query minus key: (heads, 2L₁-1, ..., 2Lₙ-1), float32 or float64.
        shape: Tokens along each axis of the grid.
        prefix: Tokens before the grid's.
        around: Logits of a grid's query to a prefix key, a prefix query to a grid's key, and among the prefix; None means zero.
        scale: What the dot product is multiplied by; one over the root of ``head_dim`` if not given.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if around is not None and not prefix:
        around = None
    out: Tensor = _Streamed.apply(q, k, v, table, around, tuple(shape), prefix, scale)
    return out


class _Streamed(torch.autograd.Function):
    """The queries of a tile are taken in reversed order, in which its bias is a plain window of the flipped table."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        table: Tensor,
        around: Tensor | None,
        shape: tuple[int, ...],
        prefix: int,
        scale: float,
    ) -> Tensor:
        flipped = table.flip(tuple(range(1, table.ndim)))
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.promote_types(q.dtype, torch.float32))
        for box, rows in _tiles(shape, prefix, FORWARD_ELEMENTS // (q.shape[1] * q.shape[2])):
            bias = _tile(flipped, around, shape, box, prefix)
            values, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                _turned(q[:, :, rows], 2, box), k, v, 0.0, False, attn_mask=None if bias is None else bias[None], scale=scale
            )
            out[:, :, rows], lse[:, :, rows] = _turned(values, 2, box), _turned(sums, 2, box)
            del bias, values, sums  # or they would be there beside those of the next tile
        ctx.save_for_backward(q, k, v, flipped, around, out, lse)
        ctx.shape, ctx.prefix, ctx.scale = shape, prefix, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, flipped, around, out, lse = ctx.saved_tensors
        shape, prefix, scale = ctx.shape, ctx.prefix, ctx.scale
        batch, heads, tokens, head_dim = q.shape
        exact = lse.dtype  # half precision is computed in float32
        row_sum = torch.linalg.vecdot(grad.to(exact), out.to(exact))
        grad_q = torch.empty_like(q)
        # Head by head: so laid out, that the sums over tiles of one head are contiguous.
        grad_k = torch.zeros(heads, batch, tokens, head_dim, dtype=exact, device=q.device)
        grad_v = torch.zeros_like(grad_k)
        grad_flipped = torch.zeros_like(flipped)
        grad_around = None if around is None else torch.zeros_like(around)
        tiles = list(_tiles(shape, prefix, BACKWARD_ELEMENTS // (batch * tokens)))
        # Two buffers for all tiles: memory that is taken anew for each costs as much time as a product.
        buffers = q.new_empty(2, batch * max(rows.stop - rows.start for _, rows in tiles) * tokens, dtype=exact)
        for head in range(heads):
            keys, values = k[:, head].to(exact), pad(v[:, head].to(exact), (0, 1), value=1.0)
            one = None if around is None else around[head : head + 1]
            for box, rows in tiles:
                queries, upstream, sums, dots = (_turned(x[:, head, rows], 1, box) for x in (q, grad, lse, row_sum))
                queries, upstream = queries.to(exact), upstream.to(exact)
                bias = _tile(flipped[head : head + 1], one, shape, box, prefix)
                start = q.new_zeros(tokens, dtype=exact) if bias is None else bias.to(exact)
                shaped = (batch, rows.stop - rows.start, tokens)
                weights, scores = (buffer[: prod(shaped)].view(shaped) for buffer in buffers)
                torch.sub(start, sums[..., None], out=weights)
                weights.baddbmm_(queries, keys.transpose(1, 2), alpha=scale).exp_()
                grad_v[head].baddbmm_(weights.transpose(1, 2), upstream)
                # With a one at each value's end the product subtracts the row's sum as well.
                longer = torch.cat([upstream, -dots[..., None]], dim=-1)
                torch.bmm(longer, values.transpose(1, 2), out=scores).mul_(weights)
                grad_q[:, head, rows] = _turned(torch.bmm(scores, keys).mul_(scale).to(q.dtype), 1, box)
                grad_k[head].baddbmm_(scores.transpose(1, 2), queries, alpha=scale)
                if bias is None or not any(ctx.needs_input_grad[3:5]):
                    continue
                summed = scores.sum(0)
                if box is not None:
                    _fold(summed[:, prefix:], grad_flipped[head], shape, box)
                if grad_around is not None and box is not None:
                    grad_around[head, 0] += summed[:, :prefix].sum()
                elif grad_around is not None:
                    grad_around[head, 1] += summed[:, prefix:].sum()
                    grad_around[head, 2] += summed[:, :prefix].sum()
        return (
            grad_q,
            grad_k.transpose(0, 1).to(k.dtype),
            grad_v.transpose(0, 1).to(v.dtype),
            grad_flipped.flip(tuple(range(1, flipped.ndim))),
            grad_around,
            None,
            None,
            None,
        )


def _turned(x: Float[Tensor, "*shape"], axis: int, box: Box | None) -> Float[Tensor, "*shape"]:
    """Queries last to first, if they are of the grid and not of the prefix; its own inverse."""
    return x if box is None else x.flip(axis)


def _tiles(shape: tuple[int, ...], prefix: int, most: int) -> Iterator[tuple[Box | None, slice]]:
    """Boxes of the grid of at most ``most`` tokens, if a box can be so small, and where they stand in the sequence.

    A box is one index on the first axes, a range on the next and everything on the rest, so its tokens are neighbours in the
    sequence. It counts from the last token to the first, as the flipped table does. The prefix comes first, without a box.
    """
    if prefix:
        yield None, slice(0, prefix)
    axis = next((axis for axis in range(len(shape)) if prod(shape[axis + 1 :]) <= most), len(shape) - 1)
    inner = prod(shape[axis + 1 :])
    step = max(most // inner, 1)
    end = prefix + prod(shape)
    for lead in product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], step):
            stop = min(start + step, shape[axis])
            box = (*((index, index + 1) for index in lead), (start, stop), *((0, length) for length in shape[axis + 1 :]))
            yield box, slice(end - (stop - start) * inner, end)
            end -= (stop - start) * inner


def _tile(
    flipped: Float[Tensor, "heads *displacements"],
    around: Float[Tensor, "heads 3"] | None,
    shape: tuple[int, ...],
    box: Box | None,
    prefix: int,
) -> Float[Tensor, "heads queries tokens"] | None:
    """Logits of a box of reversed queries, or of the prefix, against all keys; None means zero."""
    if box is None:
        if around is None:
            return None
        _, of, among = around.to(flipped.dtype)[:, :, None, None].unbind(1)
        return torch.cat([among.expand(-1, prefix, prefix), of.expand(-1, prefix, prod(shape))], dim=-1)
    windows = flipped
    for axis, ((start, stop), length) in enumerate(zip(box, shape, strict=True), start=1):
        windows = windows.narrow(axis, start, stop - start + length - 1)
    for axis, length in enumerate(shape, start=1):
        windows = windows.unfold(axis, length, 1)
    tile = flipped.new_empty(flipped.shape[0], prod(stop - start for start, stop in box), prefix + prod(shape))
    tile[:, :, :prefix] = 0 if around is None else around[:, :1, None]
    tile[:, :, prefix:].unflatten(2, shape).unflatten(1, windows.shape[1 : 1 + len(shape)]).copy_(windows)
    return tile


def _fold(grad: Float[Tensor, "queries keys"], into: Float[Tensor, "*displacements"], shape: tuple[int, ...], box: Box) -> None:
    """Add a tile's gradient to that of one head's flipped table, where a displacement is the sum of two indices."""
    sizes = [stop - start for start, stop in box]
    grad = grad.view(*sizes, *shape)
    for axis in reversed(range(len(shape))):
        # Now: query axes up to this one, key axes up to this one, then displacements of the axes that are done.
        pair = grad.movedim((axis, 2 * axis + 1), (-2, -1))
        grad = _diagonal_sums(pair).movedim(-1, 2 * axis)
    for axis, ((start, stop), length) in enumerate(zip(box, shape, strict=True)):
        into = into.narrow(axis, start, stop - start + length - 1)
    into += grad


def _diagonal_sums(x: Float[Tensor, "*rest rows columns"]) -> Float[Tensor, "*rest diagonals"]:
    """Sums over the entries whose row and column have the same sum: (..., R, C) to (..., R + C - 1)."""
    rows, columns = x.shape[-2:]
    if rows == 1:
        return x.squeeze(-2)
    # In rows of R + C entries, read again as rows of R + C - 1, every row begins one place further.
    sheared = pad(x, (0, rows)).flatten(-2)[..., : rows * (rows + columns - 1)]
    return sheared.unflatten(-1, (rows, rows + columns - 1)).sum(-2)
