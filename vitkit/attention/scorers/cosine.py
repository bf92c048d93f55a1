"""The cosine."""

from math import log

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from vitkit.attention.scorers.scorer import ProductScorer

_COLDEST = 0.01


class Cosine(ProductScorer):
    r"""The cosine between query and key, over a temperature.

    .. math:: \cos(q, k) / \max(\tau, 0.01)

    With a learned temperature that begins at 0.1 it is Swin Transformer V2's (Liu et al. 2022, section 3.2), whose
    ``logit_scale`` is :math:`-\log\tau`.

    Args:
        num_heads: Heads; needed for a learned temperature.
        temperature: :math:`\tau`, or its initial value if it is learned.
        learned: Whether each head learns its own. The bound of 0.01 holds for a learned one alone.

    >>> import torch
    >>> q, k = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2), torch.tensor([2.0, 0.0]).view(1, 1, 1, 2)
    >>> round(Cosine(learned=False, temperature=0.5)(q, k).item(), 4)
    1.2
    """

    def __init__(self, num_heads: int | None = None, temperature: float = 0.1, learned: bool = True) -> None:
        super().__init__(temperature, learned, num_heads)

    def scale(self, head_dim: int) -> float:
        """One over the temperature if that is fixed."""
        return self.fixed_sharpness

    def sharpness(self) -> Float[Tensor, " heads"]:
        """One over the learned temperature of each head, at most a hundred."""
        assert self.log_temperature is not None
        return (-self.log_temperature).clamp(max=-log(_COLDEST)).exp()

    def project(
        self, q: Float[Tensor, "batch heads queries head_dim"], k: Float[Tensor, "batch heads keys head_dim"]
    ) -> tuple[Float[Tensor, "batch heads queries head_dim"], Float[Tensor, "batch heads keys head_dim"]]:
        """Unit vectors, those of queries over the learned temperature."""
        return self.sharpen(normalize(q, dim=-1)), normalize(k, dim=-1)
