"""How an attention is computed, and why so."""

from dataclasses import dataclass

import torch

from vitkit.attention.attention import Attention
from vitkit.attention.backends import BACKENDS, Cost, choose, refusals_of
from vitkit.attention.case import Case
from vitkit.bias import StationaryBias
from vitkit.grid import Grid


@dataclass(frozen=True)
class Explanation:
    """Which backend computes an attention, why, and what it takes; as text, a few lines.

    Args:
        backend: Its name.
        why: The reason.
        cost: Temporary memory and operations, by design rather than by measurement.
        others: Why each other backend was not chosen, by name.
    """

    backend: str
    why: str
    cost: Cost
    others: dict[str, str]

    def __str__(self) -> str:
        width = max(map(len, BACKENDS))
        lines = [f"{self.backend}: {BACKENDS[self.backend].summary}", f"  because {self.why}", f"  takes {self.cost}"]
        return "\n".join([*lines, *(f"  not {name:{width}}  {reason}" for name, reason in self.others.items())])


def explain(
    attention: Attention,
    grid: Grid,
    *,
    batch: int = 1,
    prefix: int = 0,
    kept: int | None = None,
    gradients: bool | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    padded: bool = False,
) -> Explanation:
    """Which backend an attention takes for an input, without computing anything.

    Args:
        attention: The module, whose mode (training or evaluation) counts.
        grid: Where the tokens stand.
        batch: Samples.
        prefix: Tokens before the grid's.
        kept: How many of the grid's tokens are present in each sample, if some were removed.
        gradients: Whether anything is differentiated; if not given, in training mode it is.
        dtype: Of queries, keys and values.
        device: Type of the device.
        padded: Whether some of the grid's tokens may not be seen, as where inputs of several sizes were padded to one.

    Raises:
        UsageError: The backend that the attention asks for cannot serve, or the bias is not for such a grid.

    >>> from vitkit.bias import SpectralBias
    >>> from vitkit.spectral import Exponential
    >>> attention = Attention(64, 4, bias=SpectralBias(Exponential(num_heads=4, ndim=2)))
    >>> explain(attention, Grid((32, 32)), batch=4).backend
    'streamed'
    >>> explain(attention.eval(), Grid((8, 8)), batch=4).backend
    'fused'
    """
    if isinstance(attention.bias, StationaryBias):
        with torch.no_grad():
            attention.bias.table(grid)  # which is small, and refuses a grid that it is not for
    case = Case(
        grid=grid,
        scorer=attention.scorer,
        bias=attention.bias,
        pattern=attention.pattern,
        batch=batch,
        num_heads=attention.num_heads,
        head_dim=attention.head_dim,
        prefix=prefix,
        kept=kept,
        dropout=attention.attn_drop if attention.training else 0.0,
        gradients=attention.training if gradients is None else gradients,
        dtype=dtype,
        device=device,
        real=torch.ones(batch, len(grid), dtype=torch.bool) if padded else None,
    )
    chosen, why = choose(case, attention.backend)
    refusals = refusals_of(case)
    others = {
        name: refusals.get(name) or f"would serve, and take {candidate.cost(case)}"
        for name, candidate in BACKENDS.items()
        if name != chosen
    }
    return Explanation(chosen, why, BACKENDS[chosen].cost(case), others)
