"""What all scorers have in common: a temperature, and work per token kept apart from work per pair."""

from abc import ABC, abstractmethod
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.errors import UsageError
from vitkit.recipe import Recorded
from vitkit.spectral.density import require_positive


class Scorer(nn.Module, Recorded, ABC):
    r"""Scores, in logits, of every query with every key: :math:`\operatorname{combine}(\operatorname{project}(q, k))`.

    What can be done token by token stands in :meth:`project`, so that a backend does it once; :meth:`combine` is called for
    some of the queries at a time. A score whose :meth:`combine` is a plain dot product derives from :class:`ProductScorer`, and
    every fused kernel serves it.

    Args:
        temperature: What scores are divided by; its initial value if it is learned.
        learned: Whether each head learns its own temperature, through its logarithm.
        num_heads: Heads, for a scorer that has parameters.

    Raises:
        UsageError: A temperature that is not positive and finite, or parameters without a number of heads.
    """

    num_heads: int | None
    """Heads that this scorer has parameters for; None fits any number."""
    head_dim: int | None = None
    """Width of a head that this scorer has parameters for; None fits any."""
    hidden_dim: int | None = None
    """Hidden units of a score that is no dot product."""

    def __init__(self, temperature: float = 1.0, learned: bool = False, num_heads: int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        require_positive(name, temperature=temperature)
        if num_heads is not None and num_heads < 1:
            raise UsageError(f"num_heads={num_heads} in {name}", "at least one", "Set num_heads to the encoder's.")
        if learned and num_heads is None:
            raise UsageError(
                f"a learned temperature in {name} without num_heads", "a number of heads", "Set num_heads to the encoder's."
            )
        self.temperature = temperature
        self.num_heads = num_heads
        self.log_temperature = nn.Parameter(torch.empty(num_heads or 1)) if learned else None
        if self.log_temperature is not None:
            nn.init.constant_(self.log_temperature, log(temperature))

    def reset_parameters(self) -> None:
        """Draw new initial values; an encoder calls this on the copy that it gives to each block."""
        if self.log_temperature is not None:
            nn.init.constant_(self.log_temperature, log(self.temperature))

    def require(self, num_heads: int, head_dim: int) -> None:
        """Check that this scorer fits an attention.

        Raises:
            UsageError: It was made for other heads.
        """
        for name, own, given in (("num_heads", self.num_heads, num_heads), ("head_dim", self.head_dim, head_dim)):
            if own is not None and own != given:
                raise UsageError(
                    f"a {type(self).__name__} of {name}={own} in an attention of {name}={given}",
                    "the same number in both",
                    f"Set the scorer's {name} to {given}.",
                )

    def sharpen(self, x: Float[Tensor, "batch heads tokens width"]) -> Float[Tensor, "batch heads tokens width"]:
        """Divide by the learned temperature, if there is one."""
        return x if self.log_temperature is None else x * self.sharpness().to(x.dtype)[:, None, None]

    def sharpness(self) -> Float[Tensor, " heads"]:
        """One over the learned temperature of each head."""
        assert self.log_temperature is not None
        return (-self.log_temperature).exp()

    @property
    def fixed_sharpness(self) -> float:
        """One over the temperature, or one if it is learned."""
        return 1.0 if self.log_temperature is not None else 1 / self.temperature

    @abstractmethod
    def project(
        self, q: Float[Tensor, "batch heads queries head_dim"], k: Float[Tensor, "batch heads keys head_dim"]
    ) -> tuple[Float[Tensor, "batch heads queries width"], Float[Tensor, "batch heads keys width"]]:
        """What is done to each query and each key alone."""

    @abstractmethod
    def combine(
        self, q: Float[Tensor, "batch heads queries width"], k: Float[Tensor, "batch heads keys width"]
    ) -> Float[Tensor, "batch heads queries keys"]:
        """Scores of projected queries with projected keys, in logits."""

    def forward(
        self, q: Float[Tensor, "batch heads queries head_dim"], k: Float[Tensor, "batch heads keys head_dim"]
    ) -> Float[Tensor, "batch heads queries keys"]:
        """Scores of every query with every key, in logits."""
        return self.combine(*self.project(q, k))


class ProductScorer(Scorer):
    """Scores that are dot products of what :meth:`project` returns, times a constant."""

    @abstractmethod
    def scale(self, head_dim: int) -> float:
        """The constant."""

    def combine(
        self, q: Float[Tensor, "batch heads queries width"], k: Float[Tensor, "batch heads keys width"]
    ) -> Float[Tensor, "batch heads queries keys"]:
        """The scaled dot product."""
        return (q * self.scale(q.shape[-1])) @ k.transpose(-2, -1)
