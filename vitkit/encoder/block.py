"""One transformer block."""

from typing import Literal

from jaxtyping import Float, Int
from timm.layers.drop import DropPath
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from vitkit.attention import Attention
from vitkit.grid import Grid


class Block(nn.Module):
    """Attention and an MLP, each with a residual connection.

    Args:
        attention: The block's attention.
        dim: Width of the tokens.
        mlp_ratio: Hidden width of the MLP as a multiple of ``dim``.
        norm_order: ``"pre"`` is x + f(norm(x)); ``"post"`` is norm(x + f(x)), as in Vaswani et al. 2017.
        layer_scale: Initial value of a learned scale per channel on each branch; None for no scale.
        drop_path: Probability of skipping a branch for a sample, in training.
        dropout: Probability of dropping an activation of the MLP, in training.
        eps: Added to the variance by LayerNorm.
    """

    def __init__(
        self,
        attention: Attention,
        dim: int,
        mlp_ratio: float,
        norm_order: Literal["pre", "post"],
        layer_scale: float | None,
        drop_path: float,
        dropout: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.pre = norm_order == "pre"
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attention
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=dropout)
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], grid: Grid, prefix: int = 0, keep: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Encode a sequence of prefix tokens and patches; the arguments are those of :class:`~vitkit.attention.Attention`."""
        if self.pre:
            x = x + self.drop_path(self.ls1(self.attn(self.norm1(x), grid, prefix, keep)))
            return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))
        x = self.norm1(x + self.drop_path(self.ls1(self.attn(x, grid, prefix, keep))))
        return self.norm2(x + self.drop_path(self.ls2(self.mlp(x))))
