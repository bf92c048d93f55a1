"""Torch's FlexAttention."""

from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.flex import TILE, block_mask, flex_attention
from vitkit.attention.patterns import Full, Pattern, SparsePattern, Union
from vitkit.exporting import is_exporting

TRITON = find_spec("triton") is not None
"""Whether the compiler of its kernels is installed, as it is with torch for CUDA on Linux."""


class Flex(Backend):
    """:func:`~vitkit.attention.flex.flex_attention`: a kernel compiled for the bias and the pattern, on CUDA."""

    name = "flex"
    summary = "torch's FlexAttention, a kernel compiled for this bias and pattern"

    def serves(self, case: Case) -> str | None:  # noqa: D102
        if case.product is None:
            return f"{type(case.scorer).__name__} scores are no dot product"
        if not _by_pairs(case.pattern):
            return f"{type(case.pattern).__name__} is no sparse pattern"
        if case.real is not None:
            return "some tokens may not be seen"
        if case.kept is not None:
            return "tokens were removed, so a place in the sequence is none on the grid"
        if case.dropout:
            return "it has no dropout"
        if is_exporting():
            return "an exported graph cannot hold kernels for sizes yet unknown"
        if case.head_dim.bit_count() != 1:  # torch 2.6 takes no other
            return f"it takes heads whose width is a power of two, not {case.head_dim}"
        if case.device == "cpu":
            return "on the CPU torch's FlexAttention has no backward pass" if case.gradients else None
        return self._serves_cuda(case)

    @staticmethod
    def _serves_cuda(case: Case) -> str | None:
        if case.device != "cuda":
            return "it is made for CUDA"
        if not TRITON:
            return "its kernels are compiled by triton, which is not installed"
        if case.dtype == torch.float64:
            return "on CUDA it sums in single precision"
        if case.head_dim < 16 or case.tokens < TILE:
            return f"its kernels are for heads of at least 16 and {TILE} tokens, not {case.head_dim} and {case.tokens}"
        if case.bias_learns and torch.are_deterministic_algorithms_enabled():
            return "it sums the gradient of a bias in no fixed order"
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        if case.device == "cpu":  # in plain products
            return Cost(3 * case.scores * case.exact.itemsize, case.flops(2))
        pairs, tiles = case.tokens**2, 0
        if case.restricted:
            mask = block_mask(case.pattern, case.grid.shape, case.prefix, torch.device("cpu"))
            pairs, tiles = int(mask.kv_num_blocks.sum()) * TILE**2, 2 * mask.kv_indices.nbytes
        rows = case.batch * case.num_heads * case.tokens * (2 if case.gradients else 1)
        laid_out = case.biased and not case.bias.stationary
        bias = case.num_heads * len(case.grid) ** 2 * (2 if case.bias_learns else 1) if laid_out else 0
        once = 2 * case.batch * case.num_heads * pairs * case.head_dim
        return Cost(tiles + (rows + bias) * case.exact.itemsize, once * (7 if case.gradients else 2), kept=case.lse)

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        assert case.product is not None
        queries, keys = case.product.project(q.to(case.exact), k.to(case.exact))
        queries, keys = queries.to(q.dtype), keys.to(q.dtype)
        if not case.gradients:
            queries, keys, v = queries.detach(), keys.detach(), v.detach()  # on the CPU torch refuses what asks for a gradient
        return flex_attention(queries, keys, v, case.grid, case.pattern, case.bias, case.prefix, case.product.scale(q.shape[-1]))


def _by_pairs(pattern: Pattern) -> bool:
    """Whether the pattern says pair by pair, in elementwise operations, who sees whom."""
    if isinstance(pattern, Union):
        return all(map(_by_pairs, pattern.patterns))
    return isinstance(pattern, Full | SparsePattern)
