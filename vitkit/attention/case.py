"""What there is to compute, as far as the choice of a backend depends on it."""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitkit.attention.patterns import Full, Pattern
from vitkit.attention.scorers import ProductScorer, Scorer
from vitkit.bias import Bias, NoBias
from vitkit.grid import Grid


@dataclass(frozen=True)
class Case:
    """One call of :func:`~vitkit.attention.attend`, without its queries, keys and values.

    Args:
        grid: Where the tokens stand.
        scorer: How a query meets a key.
        bias: Relative position bias.
        pattern: Who may see whom.
        batch: Samples.
        num_heads: Heads.
        head_dim: Width of a head.
        prefix: Tokens before the grid's.
        kept: How many of the grid's tokens are present in each sample; None if none was removed.
        dropout: Probability of dropping an attention weight.
        gradients: Whether anything will be differentiated.
        dtype: Of queries, keys and values.
        device: Type of their device.
        real: Grid tokens that may be seen, (batch, N); all if None.
        gates: Factor on each term of the pattern per head, (terms, heads); 1 if None.
    """

    grid: Grid
    scorer: Scorer
    bias: Bias
    pattern: Pattern
    batch: int
    num_heads: int
    head_dim: int
    prefix: int = 0
    kept: int | None = None
    dropout: float = 0.0
    gradients: bool = False
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    real: Bool[Tensor, "batch grid_tokens"] | None = None
    gates: Float[Tensor, "terms heads"] | None = None

    @property
    def tokens(self) -> int:
        """Length of the sequence."""
        # Not the grid's len, which would fix the size of a graph that is being exported.
        return self.prefix + (prod(self.grid.shape) if self.kept is None else self.kept)

    @property
    def biased(self) -> bool:
        """Whether there is a bias."""
        return not isinstance(self.bias, NoBias)

    @property
    def bias_learns(self) -> bool:
        """Whether the bias needs a gradient."""
        return self.gradients and _learns(self.bias)

    @property
    def restricted(self) -> bool:
        """Whether not every token sees every token."""
        return not isinstance(self.pattern, Full) or self.real is not None

    @property
    def masks(self) -> int:
        """How many masks there are: one for all samples, or one each."""
        return self.batch if self.kept is not None or self.real is not None else 1

    @property
    def mask(self) -> int:
        """Numbers of all masks: of every pair, or of the keys alone where the pattern lets every query see all there is."""
        rows = 1 if isinstance(self.pattern, Full) else self.tokens
        return self.masks * rows * self.tokens if self.restricted else 0

    @property
    def product(self) -> ProductScorer | None:
        """The scorer, if it is a dot product."""
        return self.scorer if isinstance(self.scorer, ProductScorer) else None

    @property
    def exact(self) -> torch.dtype:
        """What half precision is computed in, where no fused kernel does it."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def pairs(self) -> int:
        """Pairs of a query and a key in all heads of one sample."""
        return self.num_heads * self.tokens**2

    @property
    def scores(self) -> int:
        """Pairs of a query and a key in all heads and samples."""
        return self.batch * self.pairs

    @property
    def rows(self) -> int:
        """Queries in all heads and samples."""
        return self.batch * self.num_heads * self.tokens

    @property
    def lse(self) -> int:
        """Bytes of a log-sum-exp of every query, if there will be a backward pass that asks for it."""
        return self.rows * self.exact.itemsize if self.gradients else 0

    @property
    def pair_flops(self) -> int:
        """Operations of the scores: a product, or four for each hidden unit, a hyperbolic tangent counted as one."""
        return self.flops(1) if self.scorer.hidden_dim is None else 4 * self.scores * self.scorer.hidden_dim

    def flops(self, products: int) -> int:
        """Floating-point operations of so many products of the scores' size with tokens."""
        return 2 * products * self.scores * self.head_dim


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
