"""Bias and pattern, laid out over pairs of tokens."""

from math import prod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from vitkit.attention.case import Case
from vitkit.errors import UsageError


def logits_of(case: Case, keep: Int[Tensor, "batch kept"] | None) -> Float[Tensor, "some heads tokens tokens"] | None:
    """The bias of every pair, with one sample for all if no token was removed; None means zero."""
    logits = case.bias(case.grid, case.prefix, keep)
    if logits is None:
        return None
    return logits if logits.ndim == 4 else logits[None]


def allowed_of(
    case: Case, keep: Int[Tensor, "batch kept"] | None, device: torch.device
) -> Bool[Tensor, "some 1 _ tokens"] | None:
    """Whether the query (row) may see the key (column), prefix included; None if everything is allowed.

    Where the pattern lets every query see all there is, one row serves them all.

    Raises:
        UsageError: No query may see any key, or the pattern's mask is none of this grid.
    """
    allowed, real = case.pattern.allowed(case.grid), _real_of(case, keep)
    if allowed is None:
        return real
    tokens = prod(case.grid.shape)
    if allowed.dtype != torch.bool or allowed.shape != (tokens, tokens):
        raise UsageError(
            f"a mask of {tuple(allowed.shape)}, {allowed.dtype}, by {type(case.pattern).__name__} on a grid of {case.grid.shape}",
            f"booleans of shape ({tokens}, {tokens})",
            "Correct the pattern's allowed.",
        )
    if not torch.compiler.is_compiling() and not allowed.any():
        raise UsageError(
            f"a {type(case.pattern).__name__} that leaves nothing to see on a grid of {case.grid.shape}",
            "at least one pair of tokens",
            "Widen the pattern.",
        )
    allowed = allowed.to(device)
    allowed = allowed[None] if keep is None else allowed[keep[:, :, None], keep[:, None, :]]
    allowed = pad(allowed[:, None], (case.prefix, 0, case.prefix, 0), value=True)
    return allowed if real is None else allowed & real


def _real_of(case: Case, keep: Int[Tensor, "batch kept"] | None) -> Bool[Tensor, "batch 1 1 tokens"] | None:
    """Which keys are no padding, prefix included; None if none is."""
    if case.real is None:
        return None
    real = case.real if keep is None else case.real.gather(1, keep)
    return pad(real[:, None, None], (case.prefix, 0), value=True)


def average(
    scores: Float[Tensor, "batch heads queries keys"],
    v: Float[Tensor, "batch heads keys head_dim"],
    logits: Float[Tensor, "some heads queries keys"] | None,
    allowed: Bool[Tensor, "masks 1 #queries keys"] | None,
    dropout: float,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Values averaged with the softmax of the scores; zero for a query that may see nothing."""
    if logits is not None:
        scores = scores + logits.to(scores.dtype)
    if allowed is not None:
        scores = scores.masked_fill(refused(allowed), float("-inf"))
    weights = scores.softmax(-1)
    if dropout:
        weights = torch.nn.functional.dropout(weights, dropout)
    return blank(weights @ v, allowed)


def refused(allowed: Bool[Tensor, "masks 1 queries keys"]) -> Bool[Tensor, "masks 1 queries keys"]:
    """What to fill with minus infinity: nothing in the row of a query that may see nothing, whose softmax has no value."""
    return ~allowed & allowed.any(-1, keepdim=True)


def blank(
    out: Float[Tensor, "batch heads queries head_dim"], allowed: Bool[Tensor, "masks 1 #queries keys"] | None
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Zero where a query may see nothing."""
    return out if allowed is None else out.masked_fill(~allowed.any(-1, keepdim=True), 0)
