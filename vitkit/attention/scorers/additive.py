"""Additive scores."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.attention.scorers.hidden import hidden_scores
from vitkit.attention.scorers.scorer import Scorer
from vitkit.errors import UsageError


class Additive(Scorer):
    r"""The score of Bahdanau et al. 2015: a small network of query and key, per head.

    .. math:: v \cdot \tanh(W_q q + W_k k + b) / \tau

    It is no dot product, so no fused kernel computes it: it takes :math:`N^2` times ``hidden_dim`` hyperbolic tangents, which
    are evaluated in tiles, again in the backward pass, and never held all at once.

    Args:
        num_heads: Heads, each with parameters of its own.
        head_dim: Width of a head.
        hidden_dim: Length of :math:`v`.
        norm: Whether a LayerNorm without parameters of its own comes before the hyperbolic tangent.
        temperature: :math:`\tau`, or its initial value if it is learned.
        learned: Whether each head learns its own.

    >>> Additive(num_heads=2, head_dim=8)(torch.randn(1, 2, 5, 8), torch.randn(1, 2, 7, 8)).shape
    torch.Size([1, 2, 5, 7])
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int,
        hidden_dim: int = 64,
        norm: bool = False,
        temperature: float = 1.0,
        learned: bool = False,
    ) -> None:
        super().__init__(temperature, learned, num_heads)
        if hidden_dim < 1 or head_dim < 1:
            raise UsageError(f"head_dim={head_dim} and hidden_dim={hidden_dim} in Additive", "at least one", "Correct them.")
        self.head_dim, self.norm = head_dim, norm
        self.hidden_dim: int = hidden_dim
        self.weight_q = nn.Parameter(torch.empty(num_heads, head_dim, hidden_dim))
        self.weight_k = nn.Parameter(torch.empty(num_heads, head_dim, hidden_dim))
        self.offset = nn.Parameter(torch.empty(num_heads, hidden_dim))
        self.vector = nn.Parameter(torch.empty(num_heads, hidden_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights with which tokens of unit variance have scores of about that."""
        super().reset_parameters()
        for weight in (self.weight_q, self.weight_k):
            nn.init.normal_(weight, std=(2 * weight.shape[1]) ** -0.5)
        nn.init.zeros_(self.offset)
        nn.init.normal_(self.vector, std=self.hidden_dim**-0.5)

    def project(
        self, q: Float[Tensor, "batch heads queries head_dim"], k: Float[Tensor, "batch heads keys head_dim"]
    ) -> tuple[Float[Tensor, "batch heads queries width"], Float[Tensor, "batch heads keys width"]]:
        """The linear maps, with the offset in the queries' share."""
        offset = self.offset.to(q.dtype)[:, None]
        return q @ self.weight_q.to(q.dtype) + offset, k @ self.weight_k.to(k.dtype)

    def combine(
        self, q: Float[Tensor, "batch heads queries width"], k: Float[Tensor, "batch heads keys width"]
    ) -> Float[Tensor, "batch heads queries keys"]:
        """The sum over the hidden units, in logits."""
        vector = self.vector if self.log_temperature is None else self.vector * self.sharpness()[:, None]
        return hidden_scores(q, k, (vector * self.fixed_sharpness).to(q.dtype), self.norm)
