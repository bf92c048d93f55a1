"""Torch's fused kernels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.kernels import fused_attention
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
        size = case.dtype.itemsize
        laid_out = case.pairs * (1 if case.kept is None else case.batch) * size if case.biased else 0
        summed = case.pairs * case.masks * size if case.biased and case.restricted else 0
        # What may not be seen is first three sets of booleans. A bias is laid out, then once more with the prefix.
        shut = case.mask * size
        memory = max(laid_out + summed + shut + 3 * case.mask, 2 * laid_out if case.prefix else 0)
        if not case.gradients:
            return Cost(memory, case.flops(2))
        memory += case.pairs * case.masks * size if case.bias_learns else 0
        kept = (summed or laid_out) if case.biased else shut
        # The kernel keeps its output, and the one with zeros for queries that see nothing is another.
        out = case.rows * case.head_dim * size if case.restricted and not case.prefix else 0
        return Cost(memory, case.flops(7), kept=kept, copies=case.lse + out)

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
            shut = torch.zeros(allowed.shape, dtype=q.dtype, device=q.device).masked_fill_(refused(allowed), float("-inf"))
            mask = shut if mask is None else mask + shut
        queries, keys = case.product.project(q.to(case.exact), k.to(case.exact))
        scale = case.product.scale(q.shape[-1])
        out = fused_attention(queries.to(q.dtype), keys.to(q.dtype), v, mask, scale, case.dropout)
        return out if case.prefix else blank(out, allowed)  # which every query sees
