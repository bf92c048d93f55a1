"""Torch's fused kernels without a mask, the bias as further features of queries and keys."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case

_MULTIPLE = 16  # widths that the kernels' products are fast at
_TOLERANCE = 1e-5  # in logits


class Features(Backend):
    """``scaled_dot_product_attention`` of queries and keys that are longer by the features of a bias of finite rank.

    Memory is that of attention without a bias but for the longer tokens, whatever the bias learns and whichever tokens were
    removed. The logits of a distance are small differences of large squares, and inherit their rounding; where that is more than
    1e-5 this backend does not serve.
    """

    name = "features"
    summary = "torch's fused kernel without a mask, the bias as further features of queries and keys"

    def serves(self, case: Case) -> str | None:  # noqa: D102
        if case.product is None:
            return f"{type(case.scorer).__name__} scores are no dot product"
        if not case.biased:
            return "there is no bias"
        if case.bias.rank is None:
            return f"{type(case.bias).__name__} is no dot product of a few features"
        if case.real is not None:
            return "it sees every pair, and some tokens may not be seen"
        if case.restricted:
            return f"it sees every pair, and {type(case.pattern).__name__} does not"
        if case.device == "cpu" and case.dropout:
            return "on the CPU torch's fused kernel takes no dropout"
        if torch.compiler.is_compiling():
            return "a compiled graph cannot look at how large the features are"
        if (rounding := _rounding(case)) > _TOLERANCE:
            return f"in {case.dtype} logits that are products of features would be off by {rounding:.0e}"
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        width = self._width(case)
        longer = case.batch * case.num_heads * case.tokens * width * case.dtype.itemsize
        products = 7 if case.gradients else 2
        flops = case.flops(products) * width // case.head_dim
        if not case.gradients:
            return Cost(3 * longer, flops)
        # They take the place of those that they are copies of.
        added = longer - case.rows * case.head_dim * case.dtype.itemsize
        return Cost(6 * longer, flops, kept=3 * added, copies=longer + case.lse)

    @staticmethod
    def _width(case: Case) -> int:
        rank = (case.bias.rank or 0) + (2 if case.prefix else 0)
        return -(-(case.head_dim + rank) // _MULTIPLE) * _MULTIPLE

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        assert case.product is not None
        width, scale = self._width(case), case.product.scale(q.shape[-1])
        own, other = case.bias.features(case.grid, case.prefix, keep)
        queries, keys = case.product.project(q, k)
        queries, keys = (
            torch.cat([x, features.to(x.dtype).expand(*x.shape[:2], -1, -1)], dim=-1)
            for x, features in ((queries, own / scale), (keys, other))
        )
        queries, keys, values = (pad(x, (0, width - x.shape[-1])) for x in (queries, keys, v))
        return scaled_dot_product_attention(queries, keys, values, scale=scale)[..., : v.shape[-1]]


@torch.no_grad()
def _rounding(case: Case) -> float:
    """Largest error of a logit: half a unit in the last place of the largest products."""
    q, k = case.bias.features(case.grid, case.prefix)
    largest = (q.abs().amax(-2) * k.abs().amax(-2)).sum(-1).max()
    return float(largest) * torch.finfo(case.dtype).eps / 2
