"""The fused kernel in tiles, with a learned displacement table."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.hiding import Hiding
from vitkit.attention.patterns import Full
from vitkit.attention.streamed import BACKWARD_ELEMENTS, FORWARD_ELEMENTS, streamed_attention
from vitkit.exporting import is_exporting


class Streamed(Backend):
    """:func:`~vitkit.attention.streamed.streamed_attention`: seven products, and never a bias of every pair."""

    name = "streamed"
    summary = "torch's fused kernel on tiles of queries, with an exact backward pass into the displacement table"

    def serves(self, case: Case) -> str | None:  # noqa: D102
        if case.device != "cpu":
            return "it is made for the CPU"
        if case.product is None:
            return f"{type(case.scorer).__name__} scores are no dot product"
        if not case.biased:
            return "there is no bias"
        if not case.bias.stationary:
            return f"{type(case.bias).__name__} depends on more than the displacement"
        if not isinstance(case.pattern, Full):
            return f"it sees every pair, and {type(case.pattern).__name__} does not"
        if case.kept is not None:
            return "tokens were removed, so tiles are no windows of the table"
        if case.dropout:
            return "it has no dropout"
        if is_exporting():
            return "an exported graph cannot be cut into tiles of a size yet unknown"
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        row = case.num_heads * case.tokens
        memory = max(min(FORWARD_ELEMENTS, row * case.tokens), row)
        if case.gradients:
            memory = max(memory, 3 * max(min(BACKWARD_ELEMENTS, case.batch * case.tokens**2), case.batch * case.tokens))
        tokens = case.rows * case.head_dim * case.dtype.itemsize  # of queries, or of outputs
        # With padding tokens are longer by a number. Those for a backward pass take the place of what they are copies of.
        added = 3 * case.rows * case.dtype.itemsize if case.real is not None else 0
        longer = 3 * tokens + added if case.real is not None else 0
        if not case.gradients:
            queries = min(FORWARD_ELEMENTS // max(row, 1), case.tokens)  # of a tile, which are turned round, as their outputs are
            turned = 3 * tokens * queries // max(case.tokens, 1)
            return Cost(memory * case.exact.itemsize + tokens + turned + longer, case.flops(2))
        copies = 2 * tokens + case.lse  # queries and outputs head by head
        return Cost(memory * case.exact.itemsize + added, case.flops(7), kept=added, copies=copies)

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        assert case.product is not None
        table = case.bias.table(case.grid)
        around = case.bias.prefix_logits() if case.prefix else None
        if table is None:
            table = torch.zeros(case.num_heads, *(2 * length - 1 for length in case.grid.shape))
        queries, keys = (x.to(q.dtype) for x in case.product.project(q.to(case.exact), k.to(case.exact)))
        hide = Hiding(case)
        queries, keys, values = hide(queries.contiguous(), keys, v)
        out = streamed_attention(
            queries,
            keys,
            values,
            table.to(case.exact),
            case.grid.shape,
            case.prefix,
            None if around is None else around.to(case.exact),
            case.product.scale(q.shape[-1]),
        )
        return hide.undo(out)
