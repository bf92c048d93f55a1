"""What a backend is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from vitkit.attention.case import Case


@dataclass(frozen=True)
class Cost:
    """What a backend takes for a case, by its design rather than by measurement.

    Args:
        memory: Largest temporary tensors that it holds at once, in bytes, beyond the inputs, the output and their gradients.
        flops: Floating-point operations of products, forward and, with gradients, backward.
        kept: How many bytes of ``memory`` stay from the forward pass to the backward pass.
        copies: Bytes that stay beside ``memory``: copies of tokens in another layout, log-sum-exps.
    """

    memory: int
    flops: int
    kept: int = 0
    copies: int = 0

    def __str__(self) -> str:
        return f"{self.memory / 2**20:,.1f} MiB, {self.flops / 1e9:,.2f} GFLOP"


class Backend(ABC):
    """One way to compute attention. All of them are exact: they differ in time, in memory and in what they serve."""

    name: str
    summary: str
    composite = False
    """Whether it computes a pattern of several terms."""

    @abstractmethod
    def serves(self, case: Case) -> str | None:
        """Why it cannot compute this case; None if it can."""

    @abstractmethod
    def cost(self, case: Case) -> Cost:
        """What it takes."""

    @abstractmethod
    def __call__(
        self,
        case: Case,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch heads tokens head_dim"],
        v: Float[Tensor, "batch heads tokens head_dim"],
        keep: Int[Tensor, "batch kept"] | None,
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """Compute it."""
