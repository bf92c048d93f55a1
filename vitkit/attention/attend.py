"""Attention as a function of queries, keys and values."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from vitkit.attention.patterns import Full, Pattern
from vitkit.bias import Bias, NoBias
from vitkit.grid import Grid


def attend(
    q: Float[Tensor, "batch heads tokens head_dim"],
    k: Float[Tensor, "batch heads tokens head_dim"],
    v: Float[Tensor, "batch heads tokens head_dim"],
    grid: Grid,
    *,
    bias: Bias = NoBias(),
    pattern: Pattern = Full(),
    prefix: int = 0,
    keep: Int[Tensor, "batch kept"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    r"""Softmax of :math:`q k^\top / \sqrt{d}` plus the bias, applied to the values, through torch's fused kernels.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        grid: Where the tokens stand.
        bias: Relative position bias, in logits.
        pattern: Who may see whom; prefix tokens see and are seen by all.
        prefix: How many tokens precede the grid's (class token, registers).
        keep: Row-major indices of the grid tokens that are present, if some were removed.
        dropout: Probability of dropping an attention weight. The caller passes 0 outside training.
    """
    logits = bias(grid, prefix, keep)
    if logits is not None:
        # Four dimensions: with three, torch leaves the fused kernel.
        logits = logits.to(q.dtype) if logits.ndim == 4 else logits.to(q.dtype)[None]
    allowed = pattern.allowed(grid)
    if allowed is not None:
        if keep is not None:
            allowed = allowed[keep[:, :, None], keep[:, None, :]]
        allowed = pad(allowed.view(-1, 1, *allowed.shape[-2:]), (prefix, 0, prefix, 0), value=True).to(q.device)
        refused = torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill(~allowed, float("-inf"))
        logits = refused if logits is None else logits + refused
    return scaled_dot_product_attention(q, k, v, attn_mask=logits, dropout_p=dropout)
