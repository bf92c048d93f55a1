"""Attention as a function of queries, keys and values."""

from collections.abc import Mapping
from math import prod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitkit.attention.backends import BACKENDS, Backend, choose
from vitkit.attention.case import Case
from vitkit.attention.patterns import Full, Pattern
from vitkit.attention.scorers import ScaledDotProduct, Scorer
from vitkit.bias import Bias, NoBias
from vitkit.errors import UsageError
from vitkit.exporting import is_exporting
from vitkit.grid import Grid


def attend(
    q: Float[Tensor, "batch heads tokens head_dim"],
    k: Float[Tensor, "batch kv_heads tokens head_dim"],
    v: Float[Tensor, "batch kv_heads tokens head_dim"],
    grid: Grid,
    *,
    bias: Bias = NoBias(),
    pattern: Pattern = Full(),
    scorer: Scorer = ScaledDotProduct(),
    prefix: int = 0,
    keep: Int[Tensor, "batch kept"] | None = None,
    real: Bool[Tensor, "batch grid_tokens"] | None = None,
    gates: Float[Tensor, "terms heads"] | None = None,
    dropout: float = 0.0,
    backend: str | Backend = "auto",
) -> Float[Tensor, "batch heads tokens head_dim"]:
    r"""Softmax of the scores plus the bias, applied to the values, by the fastest backend that is exact.

    Args:
        q: Queries.
        k: Keys; with fewer heads, each serves as many query heads in turn (grouped and multi-query attention).
        v: Values, likewise.
        grid: Where the tokens stand.
        bias: Relative position bias, in logits.
        pattern: Who may see whom; prefix tokens see and are seen by all. A query that sees nothing gets zeros.
        scorer: How a query meets a key, in logits.
        prefix: How many tokens precede the grid's (class token, registers).
        keep: Row-major indices of the grid tokens that are present, if some were removed.
        real: Which of the grid's tokens may be seen, (batch, N), removed ones included; all if not given.
        gates: Factor on the output of each term of a composite pattern per head, (terms, heads); 1 if not given.
        dropout: Probability of dropping an attention weight. The caller passes 0 outside training.
        backend: ``"auto"``, or one of ``axial``, ``summed``, ``fused``, ``streamed``, ``features``, ``gathered``, ``chunked``,
            ``eager`` and ``flex``; :func:`explain` tells them apart. Or a backend of one's own.

    Raises:
        UsageError: Tensors of several types or devices, heads that do not fit, a pattern that leaves nothing, or a backend that
            cannot serve.
    """
    _check(q, k, v, bias, scorer, {"keep": keep, "real": real, "gates": gates})
    _check_tokens(q, k, v, grid, prefix, keep)
    _check_terms(q, grid, pattern, real, gates)
    if k.shape[1] != q.shape[1]:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    case = Case(
        grid=grid,
        scorer=scorer,
        bias=bias,
        pattern=pattern,
        batch=q.shape[0],
        num_heads=q.shape[1],
        head_dim=q.shape[3],
        prefix=prefix,
        kept=None if keep is None else keep.shape[1],
        dropout=dropout,
        gradients=_differentiated(q, k, v, gates, *bias.parameters(), *scorer.parameters()),
        dtype=q.dtype,
        device=q.device.type,
        real=real,
        gates=gates,
    )
    way = backend if isinstance(backend, Backend) else BACKENDS[choose(case, backend)[0]]
    return way(case, q, k, v, keep)


def _differentiated(*tensors: Tensor | None) -> bool:
    if not torch.is_grad_enabled() or is_exporting():  # an exported graph is for inference
        return False
    return any(x is not None and x.requires_grad for x in tensors)


def _check_terms(q: Tensor, grid: Grid, pattern: Pattern, real: Tensor | None, gates: Tensor | None) -> None:
    tokens = prod(grid.shape)
    if real is not None and (real.dtype != torch.bool or real.shape != (len(q), tokens)):
        raise UsageError(
            f"real of shape {tuple(real.shape)} and type {real.dtype} for a batch of {len(q)} on a grid of {grid.shape}",
            f"booleans of shape ({len(q)}, {tokens})",
            "Say of every token of the grid whether it may be seen.",
        )
    terms = len(pattern.terms(grid))
    if gates is not None and gates.shape != (terms, q.shape[1]):
        raise UsageError(
            f"gates of shape {tuple(gates.shape)} for {type(pattern).__name__} with {q.shape[1]} heads",
            f"({terms}, {q.shape[1]}), one per term and head",
            "Correct the gates.",
        )


def _check_tokens(q: Tensor, k: Tensor, v: Tensor, grid: Grid, prefix: int, keep: Tensor | None) -> None:
    if keep is not None and (keep.ndim != 2 or len(keep) != len(q) or keep.is_floating_point()):
        raise UsageError(
            f"keep of shape {tuple(keep.shape)} and type {keep.dtype} for a batch of {len(q)}",
            "indices of shape (batch, kept)",
            "Give every sample as many indices.",
        )
    # Not the grid's len, which would fix the size of a graph that is being exported.
    tokens = prefix + (prod(grid.shape) if keep is None else keep.shape[1])
    first, *others = ((x.shape[0], *x.shape[2:]) for x in (q, k, v))
    if prefix < 0 or q.shape[2] != tokens or any(other != first for other in others):
        raise UsageError(
            f"queries, keys and values of shapes {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}, for {prefix} prefix tokens"
            f" and {tokens - prefix} of a grid of {grid.shape}",
            f"(batch, heads, {tokens}, head_dim) in all",
            "Correct the grid, prefix or keep.",
        )


def _check(q: Tensor, k: Tensor, v: Tensor, bias: Bias, scorer: Scorer, others: Mapping[str, Tensor | None]) -> None:
    if not q.dtype == k.dtype == v.dtype or not q.is_floating_point():
        raise UsageError(
            f"queries, keys and values of {q.dtype}, {k.dtype}, {v.dtype}", "one type, of floating point", "Convert them."
        )
    own = {name: next(module.parameters(), q).device for name, module in (("bias", bias), ("scorer", scorer))}
    given = {name: x.device for name, x in others.items() if x is not None}
    devices = {"queries": q.device, "keys": k.device, "values": v.device, **own, **given}
    if len(set(devices.values())) > 1:
        found = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise UsageError(found, "one device", "Move them to the same one.")
    if k.shape[1] != v.shape[1] or not k.shape[1] or q.shape[1] % k.shape[1]:
        raise UsageError(
            f"{q.shape[1]} heads of queries, {k.shape[1]} of keys and {v.shape[1]} of values",
            "as many of keys as of values, and a number that divides the queries'",
            "Change kv_heads.",
        )
    bias.require_heads(q.shape[1])
    scorer.require(q.shape[1], q.shape[3])
