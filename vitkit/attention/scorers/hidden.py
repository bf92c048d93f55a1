"""The hidden layer of additive scores, evaluated in tiles that fit a cache and never held as a whole."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import layer_norm

WHOLE = 2**20
"""Hidden units up to which all are held at once, which spares the tiles' overhead."""
TILE = 2**21
"""Hidden units of a tile on the CPU; other devices take as many as :data:`WHOLE`."""

_EPS = 1e-5
_SMALL = 0.5  # where 2σ(2x) - 1 still has all but three bits of tanh(x)


def hidden_scores(
    q: Float[Tensor, "batch heads queries width"],
    k: Float[Tensor, "batch heads keys width"],
    vector: Float[Tensor, "heads width"],
    norm: bool,
) -> Float[Tensor, "batch heads queries keys"]:
    """Scores v · tanh(q + k), with a LayerNorm of the sum or not."""
    if torch.compiler.is_compiling() or q.shape[2] * k.numel() <= WHOLE:
        hidden = q[:, :, :, None] + k[:, :, None]
        if norm:
            hidden = layer_norm(hidden, hidden.shape[-1:], eps=_EPS)
        return torch.matmul(hidden.tanh(), vector[:, None, :, None]).squeeze(-1)
    scores: Tensor = _HiddenScores.apply(q, k, vector, norm)
    return scores


class _HiddenScores(torch.autograd.Function):
    """Keeps its inputs alone: the backward pass computes each tile again."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, vector: Tensor, norm: bool) -> Tensor:
        scores = q.new_empty(*q.shape[:3], k.shape[2])
        small = not norm and float(q.detach().abs().amax() + k.detach().abs().amax()) < _SMALL
        for sample, head, rows in _tiles(q, k):
            hidden = q[sample, head, rows, None] + k[sample, head]
            if norm:
                hidden = layer_norm(hidden, hidden.shape[-1:], eps=_EPS)
            torch.matmul(_tanh_(hidden, small), vector[head], out=scores[sample, head, rows])
        ctx.save_for_backward(q, k, vector)
        ctx.norm, ctx.small = norm, small
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, vector = ctx.saved_tensors
        grad_q, grad_k, grad_vector = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(vector)
        for sample, head, rows in _tiles(q, k):
            total = q[sample, head, rows, None] + k[sample, head]
            if ctx.norm:
                normed, mean, rstd = torch.native_layer_norm(total, total.shape[-1:], None, None, _EPS)
                hidden = _tanh_(normed, ctx.small)
            else:
                hidden = _tanh_(total, ctx.small)
            upstream = grad[sample, head, rows]
            grad_vector[head] += hidden.flatten(0, 1).T @ upstream.flatten()
            inner = hidden.square_().neg_().add_(1).mul_(upstream[..., None])
            if ctx.norm:
                inner.mul_(vector[head])
                inner, _, _ = torch.ops.aten.native_layer_norm_backward(
                    inner, total, total.shape[-1:], mean, rstd, None, None, [True, False, False]
                )
            grad_q[sample, head, rows] = inner.sum(1)
            grad_k[sample, head] += inner.sum(0)
        if not ctx.norm:
            grad_q, grad_k = grad_q.mul_(vector[:, None]), grad_k.mul_(vector[:, None])
        return grad_q, grad_k, grad_vector, None


def _tanh_(x: Float[Tensor, "rows keys width"], small: bool) -> Float[Tensor, "rows keys width"]:
    """Hyperbolic tangent, in place.

    On the CPU torch's logistic function takes a sixth of its time; tanh(x) = 2σ(2x) - 1 loses the digits of a small x alone.
    """
    if small or x.device.type != "cpu":
        return x.tanh_()
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def _tiles(q: Tensor, k: Tensor) -> Iterator[tuple[int, int, slice]]:
    """Some queries of one head of one sample at a time."""
    rows = max((TILE if q.device.type == "cpu" else WHOLE) // max(k.shape[2] * k.shape[3], 1), 1)
    for sample in range(q.shape[0]):
        for head in range(q.shape[1]):
            for start in range(0, q.shape[2], rows):
                yield sample, head, slice(start, start + rows)
