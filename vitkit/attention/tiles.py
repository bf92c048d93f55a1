"""Axial attention in torch, a tile of lines at a time, in time and memory that grow with N(L₁ + ... + Lₙ).

The lines are many and short, so plain batched products on tiles that a CPU's cache holds are faster than torch's fused kernel,
which is made for long ones. The backward pass finds the probabilities of a tile again, so that none are kept, and adds each
axis's gradients into the same three tensors. A bias per axis is L² numbers per head, repeated for a tile; its gradient is summed
over all lines.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.attention.lines import Lines, Terms, ranges

CPU_ELEMENTS = 2**19
"""Numbers that a tile holds per tensor: 2 MiB of float32."""
DEVICE_ELEMENTS = 2**25
"""The same on another device, which is to be kept busy: 128 MiB."""


def forward(
    q: Float[Tensor, "batch tokens heads head_dim"],
    k: Float[Tensor, "batch tokens heads head_dim"],
    v: Float[Tensor, "batch tokens heads head_dim"],
    lines: Lines,
    terms: Terms,
) -> Float[Tensor, "batch tokens heads head_dim"]:
    """The sum over axes; the arguments are :func:`~vitkit.attention.axial.axial_attention`'s, and contiguous."""
    exact, gates, real = exact_dtype(q), terms.gates, terms.real
    total = torch.empty_like(q)
    views = [[lines.along(axis, x) for x in (q, k, v, total)] for axis in range(len(lines))]
    seen = [None if real is None else lines.along(axis, real) for axis in range(len(lines))]
    work, tokens, scores = _work([of_axis[0] for of_axis in views], 3, 1, exact)
    for axis, tile in work:
        *read, into = (x[tile] for x in views[axis])
        own, other, mean = (_flat(x, buffer) for x, buffer in zip(read, tokens, strict=True))
        weights = _weights(own, other, _of(terms.biases[axis], tile), _keys(seen[axis], tile), terms.scale, scores[0])
        out = _back(torch.bmm(weights, mean, out=own), into)
        if gates is not None:
            out.mul_(gates[axis, tile[3], None].to(exact))
        _put(out, into, axis)
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
    """Gradients of q, k and v, which half precision gets in float32; of the gates; and of those biases that learn."""
    exact, gates, real = exact_dtype(q), terms.gates, terms.real
    grads = [torch.empty_like(x) if x.dtype == exact else torch.empty_like(x, dtype=exact) for x in (q, k, v)]
    grad_biases = [
        torch.zeros_like(bias) if needed and bias is not None else None
        for bias, needed in zip(terms.biases, learned, strict=True)
    ]
    grad_gates = None if gates is None else torch.zeros_like(gates)
    views = [[lines.along(axis, x) for x in (q, k, v, grad, *grads)] for axis in range(len(lines))]
    seen = [None if real is None else lines.along(axis, real) for axis in range(len(lines))]
    work, tokens, scores = _work([of_axis[0] for of_axis in views], 4, 3, exact)
    for axis, tile in work:
        *read, into_q, into_k, into_v = (x[tile] for x in views[axis])
        own, other, mean, slope = (_flat(x, buffer) for x, buffer in zip(read, tokens, strict=True))
        weights = _weights(own, other, _of(terms.biases[axis], tile), _keys(seen[axis], tile), terms.scale, scores[0])
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
        grad_q = torch.baddbmm(slope, slopes, other, beta=0, alpha=terms.scale, out=slope)
        grad_k = torch.baddbmm(other, slopes.transpose(1, 2), own, beta=0, alpha=terms.scale, out=other)
        for found, into in ((grad_q, into_q), (grad_k, into_k), (grad_v, into_v)):
            _put(_back(found, into), into, axis)
    return grads, grad_gates, grad_biases


def exact_dtype(x: Tensor) -> torch.dtype:
    """What half precision is computed in."""
    return torch.promote_types(x.dtype, torch.float32)


Tile = tuple[slice, slice, slice, slice]
"""Lines before the axis, all of its length, positions after it, and heads."""


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
    for some in ranges(slice(0, slabs), max(most // (lines[0].numel() // slabs), 1)):
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
    together = ranges(slice(0, heads), problems)
    count = max(problems // heads, 1)
    everything = slice(0, length)
    if count >= after:
        places = [(some, slice(0, after)) for some in ranges(lines, max(count // after, 1))]
    else:
        places = [
            (slice(index, index + 1), some) for index in range(lines.start, lines.stop) for some in ranges(slice(0, after), count)
        ]
    for (before, behind), some in product(places, together):
        yield before, everything, behind, some


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
