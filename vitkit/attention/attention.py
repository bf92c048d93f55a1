"""Multi-head self-attention on a grid."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitkit.attention.attend import attend
from vitkit.attention.backends import BACKENDS
from vitkit.attention.patterns import Axial, Full, Pattern
from vitkit.attention.projection import Projection, project
from vitkit.attention.scorers import ScaledDotProduct, Scorer
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
        scorer: How a query meets a key.
        kv_heads: Heads of keys and values, each shared by as many query heads (grouped-query attention, Ainslie et al. 2023; with
            1, multi-query attention, Shazeer 2019); must divide ``num_heads``. As many as queries have if not given.
        qk_norm: Whether queries and keys go through a LayerNorm per head first.
        backend: How it is computed, see :func:`~vitkit.attention.attend`.

    Raises:
        UsageError: Heads that do not divide the width or each other, a bias or a scorer for other heads, a dropout that is no
            probability, or an unknown backend.

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
        scorer: Scorer = ScaledDotProduct(),
        kv_heads: int | None = None,
        qk_norm: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise UsageError(
                f"num_heads={num_heads} and dim={dim}", "heads that divide the width", "Change num_heads or the embedding's dim."
            )
        shared = num_heads if kv_heads is None else kv_heads
        if shared < 1 or num_heads % shared:
            raise UsageError(
                f"kv_heads={kv_heads} and num_heads={num_heads}",
                "a number that divides the heads",
                "Change kv_heads or num_heads.",
            )
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout={dropout} in Attention", "a probability in [0, 1)", "Correct dropout.")
        if backend not in ("auto", *BACKENDS):
            raise UsageError(f"backend={backend!r}", f'"auto" or one of {", ".join(BACKENDS)}', "Correct backend.")
        head_dim = dim // num_heads
        bias.require_heads(num_heads)
        scorer.require(num_heads, head_dim)
        self.num_heads, self.kv_heads, self.head_dim = num_heads, shared, head_dim
        self.bias = bias
        self.pattern = pattern
        self.scorer = scorer
        self.backend = backend
        self.qkv = nn.Linear(dim, dim + 2 * shared * head_dim, bias=qkv_bias)
        self.q_norm = nn.LayerNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()
        self.proj = Projection(dim, dim)
        gates = pattern.gates if isinstance(pattern, Axial) else 0
        self.gates = nn.Parameter(torch.ones(gates, num_heads)) if gates else None
        self.attn_drop = dropout
        self.proj_drop = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        grid: Grid | None = None,
        prefix: int = 0,
        keep: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch grid_tokens"] | None = None,
    ) -> Float[Tensor, "batch *tokens dim"]:
        """Attend.

        Args:
            x: Tokens laid out on their grid, ``(batch, *grid, dim)``; or, with ``grid``, as a sequence (batch, prefix + N, dim).
            grid: Where the tokens of a sequence stand.
            prefix: How many tokens precede the grid's.
            keep: Row-major indices of the grid tokens that are present, if some were removed.
            real: Which of the grid's tokens may be seen, (batch, N), removed ones included; all if not given.
        """
        if grid is None:
            grid = Grid(tuple(x.shape[1:-1]))
            return self(x.flatten(1, -2), grid, real=real).view(x.shape)
        batch, tokens, dim = x.shape
        q, k, v = self._project(x)
        x = attend(
            self.q_norm(q),
            self.k_norm(k),
            v,
            grid,
            bias=self.bias,
            pattern=self.pattern,
            scorer=self.scorer,
            prefix=prefix,
            keep=keep,
            real=real,
            gates=self.gates,
            dropout=self.attn_drop if self.training else 0.0,
            backend=self.backend,
        )
        del q, k, v  # without gradients, their memory is the projection's
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(batch, tokens, dim)))

    @torch.no_grad()
    def weights(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        grid: Grid | None = None,
        prefix: int = 0,
        keep: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch grid_tokens"] | None = None,
    ) -> Float[Tensor, "batch heads length length"]:
        """Who attends to whom and how much, query by key, without dropout; the arguments are those of :meth:`forward`.

        Found by attending to values that are columns of the identity, so it holds for every pattern, bias and backend. Each row
        sums to one, but where a composite pattern adds several attentions, and where a query sees nothing.

        >>> Attention(8, 2).weights(torch.randn(1, 2, 2, 8)).sum(-1).round(decimals=5).unique()
        tensor([1.])
        """
        if grid is None:
            grid = Grid(tuple(x.shape[1:-1]))
            x = x.flatten(1, -2)
        length = x.shape[1]
        q, k, values = self._project(x)
        q, k = self.q_norm(q), self.k_norm(k)
        terms: dict[str, Any] = {"bias": self.bias, "pattern": self.pattern, "scorer": self.scorer, "gates": self.gates}
        tokens: dict[str, Any] = {"prefix": prefix, "keep": keep, "real": real}
        columns = []
        for start in range(0, length, self.head_dim):
            width = min(self.head_dim, length - start)
            v = torch.zeros_like(values)
            v[:, :, range(start, start + width), range(width)] = 1
            columns.append(attend(q, k, v, grid, **terms, **tokens, backend=self.backend)[..., :width])
        return torch.cat(columns, dim=-1)

    def _project(self, x: Float[Tensor, "batch tokens dim"]) -> tuple[Float[Tensor, "batch some_heads tokens head_dim"], ...]:
        """Queries, keys and values."""
        heads = (self.num_heads, self.kv_heads, self.kv_heads)
        if isinstance(self.pattern, Axial):  # three tensors, of which the lines along an axis are views
            widths = [count * self.head_dim for count in heads]
            offsets = (None,) * 3 if self.qkv.bias is None else self.qkv.bias.split(widths)
            parts = project(x, self.qkv.weight.split(widths), offsets)
            return tuple(part.unflatten(2, (-1, self.head_dim)).transpose(1, 2) for part in parts)
        return self.qkv(x).unflatten(2, (sum(heads), self.head_dim)).transpose(1, 2).split(heads, dim=1)
