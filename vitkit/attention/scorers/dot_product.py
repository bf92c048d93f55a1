"""The dot product."""

from jaxtyping import Float
from torch import Tensor

from vitkit.attention.scorers.scorer import ProductScorer


class ScaledDotProduct(ProductScorer):
    r"""The scaled dot product of Vaswani et al. 2017, over a temperature.

    .. math:: q \cdot k / (\tau \sqrt d)

    Args:
        temperature: :math:`\tau`, or its initial value if it is learned.
        learned: Whether each head learns its own.
        num_heads: Heads; needed for a learned temperature.

    >>> import torch
    >>> q, k = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2), torch.tensor([1.0, 1.0]).view(1, 1, 1, 2)
    >>> ScaledDotProduct(temperature=7.0)(q, k).item()
    0.7071067690849304
    """

    def scale(self, head_dim: int) -> float:
        """One over the root of the width, and over the temperature if that is fixed."""
        return head_dim**-0.5 * self.fixed_sharpness

    def project(
        self, q: Float[Tensor, "batch heads queries head_dim"], k: Float[Tensor, "batch heads keys head_dim"]
    ) -> tuple[Float[Tensor, "batch heads queries head_dim"], Float[Tensor, "batch heads keys head_dim"]]:
        """Queries over the learned temperature, and keys as they are."""
        return self.sharpen(q), k
