"""Torch's fused kernels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.mask import allowed_of, blank, logits_of, refused


class Fused(Backend):
    """``scaled_dot_product_attention``, with bias and pattern as its mask."""

    name = "fused"
    summary = "torch's fused kernel, with bias and pattern as one mask"

    def serves(self, case: Case) -> str | None:  # noqa: D102
        if case.product is None:
            return f"{type(case.scorer).__name__} scores are no dot product"
        if case.device == "cpu" and case.bias_learns:
            return "on the CPU torch's fused kernel gives no gradient to a mask"
        if case.device == "cpu" and case.dropout:
            return "on the CPU torch's fused kernel takes no dropout"
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        once = case.pairs
        samples = case.masks
        copies = max(1 + case.restricted + case.bias_learns, 2 if case.prefix else 1)  # laid out, then once more with the prefix
        biased = once * samples * case.dtype.itemsize * copies if case.biased else 0
        alone = once // case.num_heads * samples * case.dtype.itemsize if case.restricted else 0
        if not case.gradients:
            return Cost(biased + alone, case.flops(2))
        mask = once * samples * case.dtype.itemsize if case.biased else alone
        return Cost(biased + alone, case.flops(7), kept=mask, copies=case.lse)

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        assert case.product is not None
        # Four dimensions, and no view of a parameter if there is no gradient: otherwise torch leaves the fused kernel.
        mask, allowed = logits_of(case, keep), allowed_of(case, keep, q.device)
        if mask is not None:
            mask = (mask if case.bias_learns else mask.detach()).to(q.dtype)
        if allowed is not None:
            shut = torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill(refused(allowed), float("-inf"))
            mask = shut if mask is None else mask + shut
        queries, keys = case.product.project(q.to(case.exact), k.to(case.exact))
        scale = case.product.scale(q.shape[-1])
        out = scaled_dot_product_attention(
            queries.to(q.dtype), keys.to(q.dtype), v, attn_mask=mask, dropout_p=case.dropout, scale=scale
        )
        return blank(out, allowed)
