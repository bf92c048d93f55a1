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
        copies += 2 if case.dropout else 0  # which of them are dropped, and what is left of them
        memory = (copies * case.scores + shared) * case.exact.itemsize + case.mask
        if not case.gradients:
            return Cost(memory, once)
        # Tokens in another layout take the place of those that they are copies of, unless these are of half precision.
        wider = 3 * case.rows * case.head_dim * case.exact.itemsize if case.exact != case.dtype else 0
        weights = (3 if case.dropout else 1) * case.scores * case.exact.itemsize
        return Cost(memory, once * 3, kept=weights + case.mask, copies=wider)

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
            values = v.to(case.exact)
            # Scores have no name here, so that a bias or a mask makes no more than one copy of them.
            return average(case.scorer(q.to(case.exact), k.to(case.exact)), values, logits, allowed, case.dropout).to(q.dtype)
