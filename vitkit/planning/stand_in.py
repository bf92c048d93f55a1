"""A backend that holds what another would hold, and computes nothing."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import _disable_current_modes

from vitkit.attention import Attention
from vitkit.attention.backends import BACKENDS, Backend, Cost, choose
from vitkit.attention.case import Case
from vitkit.planning.ledger import Ledger


class StandIn(Backend):
    """Stands in for the backend that the rule chooses, with its :class:`~vitkit.attention.backends.Cost`.

    Args:
        attention: The attention it stands in for, with real parameters, which the choice of a backend may look at.
        device: Type of the device that is meant.
        ledger: Where its operations are written down.
    """

    name = "stand-in"
    summary = "memory without numbers"

    def __init__(self, attention: Attention, device: str, ledger: Ledger) -> None:
        self.attention, self.device, self.ledger = attention, device, ledger
        self.chosen: set[str] = set()

    def serves(self, case: Case) -> None:  # noqa: D102
        return None

    def cost(self, case: Case) -> Cost:  # noqa: D102
        return BACKENDS[self._choose(case)].cost(case)

    def _choose(self, case: Case) -> str:
        name, _ = choose(case, self.attention.backend)
        return name

    def __call__(  # noqa: D102
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        real = replace(case, scorer=self.attention.scorer, bias=self.attention.bias, device=self.device)
        with _disable_current_modes():
            name = self._choose(real)
            cost = BACKENDS[name].cost(real)
            forward = BACKENDS[name].cost(replace(real, gradients=False))
        self.chosen.add(name)
        table = _table(case) if case.biased and name != "features" else None
        out: Tensor = _Held.apply(q, k, v, table, cost, forward, self.ledger)
        return out


def _table(case: Case) -> Tensor | None:
    """The table of displacements, whose own graph is kept as well; None where a bias has none, or computes it from values."""
    if not case.bias.stationary:
        return None
    try:
        return case.bias.table(case.grid)
    except (RuntimeError, NotImplementedError, TypeError):
        return None


class _Held(torch.autograd.Function):
    """Takes and gives back memory as attention does; its output lies in memory as the layer's does, heads side by side."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, cost: Cost, forward: Cost, ledger: Ledger
    ) -> Tensor:
        kept = q.new_empty(cost.kept + cost.copies, dtype=torch.uint8)
        _take(q, max(forward.memory - cost.kept, 0))
        batch, heads, tokens, head_dim = q.shape
        out = q.new_empty(batch, tokens, heads, head_dim).transpose(1, 2)
        ledger.flops[ledger.kinds[-1]] += forward.flops
        ledger.traffic += q.nbytes + k.nbytes + v.nbytes + out.nbytes
        ctx.save_for_backward(q, k, v, out, kept, table)
        ctx.cost, ctx.forward, ctx.ledger = cost, forward, ledger
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, _, _, table = ctx.saved_tensors
        grads = [torch.empty_like(x) for x in (q, k, v)]
        _take(q, max(ctx.cost.memory - ctx.cost.kept, 0))
        ctx.ledger.flops[ctx.ledger.kinds[-1]] += ctx.cost.flops - ctx.forward.flops
        ctx.ledger.traffic += 8 * grad.nbytes
        return *grads, None if table is None else torch.empty_like(table), None, None, None


def _take(like: Tensor, size: int) -> None:
    """Hold so many bytes for a moment."""
    like.new_empty(size, dtype=torch.uint8)
