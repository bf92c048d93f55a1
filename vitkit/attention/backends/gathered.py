"""Blocks of queries with the keys that a sparse pattern lets them see."""

from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.gathered import CPU_ELEMENTS, DEVICE_ELEMENTS, gathered_attention
from vitkit.attention.patterns import SparsePattern
from vitkit.exporting import is_exporting


class Gathered(Backend):
    """:func:`~vitkit.attention.gathered.gathered_attention`: time and memory grow with the pairs that are allowed."""

    name = "gathered"
    summary = "plain products on gathered blocks of queries and the keys they see"

    def serves(self, case: Case) -> str | None:  # noqa: D102
        if case.product is None:
            return f"{type(case.scorer).__name__} scores are no dot product"
        if not isinstance(case.pattern, SparsePattern):
            return f"{type(case.pattern).__name__} is no sparse pattern"
        if case.kept is not None:
            return "tokens were removed, so blocks have holes"
        if case.dropout:
            return "it has no dropout"
        if is_exporting():
            return "an exported graph cannot be cut into blocks of a size yet unknown"
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        pairs = sum(block.entries for block in case.pattern.blocks(case.grid))
        around = case.prefix * (2 * len(case.grid) + case.prefix)
        once = 2 * case.batch * case.num_heads * (pairs + around) * case.head_dim
        most = CPU_ELEMENTS if case.device == "cpu" else DEVICE_ELEMENTS
        tile = min(most, case.batch * case.num_heads * (pairs + around))
        bias = case.num_heads * len(case.grid) ** 2 if case.biased and not case.bias.stationary else 0
        memory = (3 * tile + bias) * case.exact.itemsize
        # Queries, keys, values and outputs are laid head by head; in the backward pass the gradient in place of the outputs.
        out = case.rows * case.head_dim * case.exact.itemsize
        if not case.gradients:
            return Cost(memory + 4 * out, 2 * once)
        return Cost(memory + 4 * out, 7 * once, copies=out + case.lse)

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
        scale = case.product.scale(q.shape[-1])
        return gathered_attention(
            queries.to(q.dtype), keys.to(q.dtype), v, case.grid, case.pattern, case.bias, case.prefix, scale, case.real
        )
