"""Attention as it is written down."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case
from vitkit.attention.mask import allowed_of, average, logits_of


class Eager(Backend):
    """Scores, softmax, average: the reference, and the fastest for a few tokens."""

    name = "eager"
    summary = "all scores at once, in plain products"

    def serves(self, case: Case) -> None:  # noqa: D102
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        # With gradients: the weights, and the gradients of weights and of scores; without: scores and weights.
        copies = 3 if case.gradients else 2
        shared = case.pairs * (2 if case.bias_learns else 1) if case.biased else 0
        once = case.pair_flops + case.flops(1)
        return Cost((copies * case.scores + shared) * case.exact.itemsize, once * 3 if case.gradients else once)

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        logits, allowed = logits_of(case, keep), allowed_of(case, keep, q.device)
        with torch.autocast(q.device.type, enabled=False):
            scores = case.scorer(q.to(case.exact), k.to(case.exact))
            return average(scores, v.to(case.exact), logits, allowed, case.dropout).to(q.dtype)
