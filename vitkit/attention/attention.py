"""Multi-head self-attention on a grid."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from vitkit.attention.attend import attend
from vitkit.attention.patterns import Full, Pattern
from vitkit.bias import Bias, NoBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Attention(nn.Module, Recorded):
    """Multi-head self-attention with a relative position bias and a pattern, in any number of dimensions.

    Parameter names and layout are timm's, so weights go both ways.

    Args:
        dim: Width of the tokens.
        num_heads: Heads; must divide ``dim``.
        bias: Relative position bias.
        pattern: Who may see whom.
        qkv_bias: Whether queries, keys and values have an additive offset.
        dropout: Probability of dropping attention weights, and of dropping outputs, in training.

    Raises:
        UsageError: Heads that do not divide the width, or a bias for another number of heads.

    >>> import torch
    >>> from vitkit.bias import SpectralBias
    >>> from vitkit.spectral import Exponential
    >>> attention = Attention(64, 4, bias=SpectralBias(Exponential(num_heads=4, ndim=3)))
    >>> attention(torch.randn(2, 3, 4, 5, 64)).shape
    torch.Size([2, 3, 4, 5, 64])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        bias: Bias = NoBias(),
        pattern: Pattern = Full(),
        qkv_bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise UsageError(
                f"num_heads={num_heads} and dim={dim}", "heads that divide the width", "Change num_heads or the embedding's dim."
            )
        bias.require_heads(num_heads)
        self.num_heads = num_heads
        self.bias = bias
        self.pattern = pattern
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.attn_drop = dropout
        self.proj_drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        grid: Grid | None = None,
        prefix: int = 0,
        keep: Int[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch *tokens dim"]:
        """Attend.

        Args:
            x: Tokens laid out on their grid, ``(batch, *grid, dim)``; or, with ``grid``, as a sequence (batch, prefix + N, dim).
            grid: Where the tokens of a sequence stand.
            prefix: How many tokens precede the grid's.
            keep: Row-major indices of the grid tokens that are present, if some were removed.
        """
        if grid is None:
            grid = Grid(tuple(x.shape[1:-1]))
            return self(x.flatten(1, -2), grid).view(x.shape)
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.num_heads, dim // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.attn_drop if self.training else 0.0
        x = attend(q, k, v, grid, bias=self.bias, pattern=self.pattern, prefix=prefix, keep=keep, dropout=dropout)
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(batch, tokens, dim)))
