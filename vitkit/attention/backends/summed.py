"""The terms of a pattern, one after another."""

from collections.abc import Callable
from dataclasses import replace

from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention.backends.backend import Backend, Cost
from vitkit.attention.case import Case


class Summed(Backend):
    """Each term of a composite pattern by the backend that is chosen for it alone, and the outputs added.

    Args:
        best: Chooses a backend.
    """

    name = "summed"
    summary = "each term of the pattern by its own backend, and the outputs added"
    composite = True

    def __init__(self, best: Callable[[Case], Backend]) -> None:
        self.best = best

    def serves(self, case: Case) -> str | None:  # noqa: D102
        return None if case.pattern.composite else f"{type(case.pattern).__name__} is one term"

    def cost(self, case: Case) -> Cost:  # noqa: D102
        ways = [(self.best(term), term) for term in _terms(case)]
        costs = [way.cost(term) for way, term in ways]
        flops = sum(cost.flops for cost in costs)
        out = case.rows * case.head_dim * case.dtype.itemsize
        if not case.gradients:
            return Cost(max(cost.memory for cost in costs) + out, flops)
        # What a term finds is kept by its kernel or its gate, and gathered blocks count it among their copies.
        kept = sum(cost.kept for cost in costs) + out * sum(way.name != "gathered" for way, _ in ways)
        work = max(cost.memory - cost.kept for cost in costs) + out
        return Cost(work + kept, flops, kept=kept, copies=sum(cost.copies for cost in costs))

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        outs = [self.best(term)(term, q, k, v, keep) for term in _terms(case)]
        if case.gates is not None:
            outs = [out * gate[:, None, None].to(out.dtype) for out, gate in zip(outs, case.gates, strict=True)]
        return sum(outs[1:], start=outs[0])


def _terms(case: Case) -> list[Case]:
    return [replace(case, pattern=term, gates=None) for term in case.pattern.terms(case.grid)]
