"""A bilinear form."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitkit.attention.scorers.scorer import ProductScorer


class Bilinear(ProductScorer):
    r"""A learned bilinear form of query and key, per head.

    .. math:: q^\top W k / (\tau \sqrt d)

    The form is the "general" score of Luong et al. 2015; the constant keeps the scale of the dot product, with which it begins:
    :math:`W` starts as the identity.

    Args:
        num_heads: Heads, each with its own :math:`W`.
        head_dim: Width :math:`d` of a head.
        temperature: :math:`\tau`, or its initial value if it is learned.
        learned: Whether each head learns its own.

    >>> import torch
    >>> scorer = Bilinear(num_heads=1, head_dim=4)
    >>> scorer(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4)).item()
    2.0
    """

    def __init__(self, num_heads: int, head_dim: int, temperature: float = 1.0, learned: bool = False) -> None:
        super().__init__(temperature, learned, num_heads)
        self.head_dim = head_dim
        self.weight = nn.Parameter(torch.empty(num_heads, head_dim, head_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin as the dot product."""
        super().reset_parameters()
        with torch.no_grad():
            self.weight.copy_(torch.eye(self.weight.shape[-1]))

    def scale(self, head_dim: int) -> float:
        """One over the root of the width, and over the temperature if that is fixed."""
        return head_dim**-0.5 * self.fixed_sharpness

    def project(
        self, q: Float[Tensor, "batch heads queries head_dim"], k: Float[Tensor, "batch heads keys head_dim"]
    ) -> tuple[Float[Tensor, "batch heads queries head_dim"], Float[Tensor, "batch heads keys head_dim"]]:
        """Queries times the form and over the learned temperature, and keys as they are."""
        return self.sharpen(q @ self.weight.to(q.dtype)), k
