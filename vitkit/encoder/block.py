"""One transformer block."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from jaxtyping import Bool, Float, Int
from timm.layers.drop import DropPath
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from vitkit.attention import Attention
from vitkit.grid import Grid


class Block(nn.Module):
    """Attention and an MLP, each with a residual connection.

    Args:
        attentions: The block's attention; several follow each other, each with a residual connection of its own.
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
        attentions: Sequence[Attention],
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
        self.attn = attentions[0]
        self.ls1 = _scale(dim, layer_scale)
        self.further = nn.ModuleList(
            nn.ModuleList([nn.LayerNorm(dim, eps=eps), attention, _scale(dim, layer_scale)]) for attention in attentions[1:]
        )
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=dropout)
        self.ls2 = _scale(dim, layer_scale)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    @property
    def attentions(self) -> list[nn.Module]:
        """The block's attentions in turn."""
        return [attention for _, attention, _ in self._branches()]

    def _branches(self) -> Iterator[Iterable[nn.Module]]:
        """Norm, attention and scale of each."""
        yield self.norm1, self.attn, self.ls1
        yield from self.further  # type: ignore[misc]  # lists of three

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        grid: Grid,
        prefix: int = 0,
        keep: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch grid_tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Encode a sequence of prefix tokens and patches; the arguments are those of :class:`~vitkit.attention.Attention`."""
        if self.pre:
            for norm, attention, scale in self._branches():
                x = x + self.drop_path(scale(attention(norm(x), grid, prefix, keep, real)))
            return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))
        for norm, attention, scale in self._branches():
            x = norm(x + self.drop_path(scale(attention(x, grid, prefix, keep, real))))
        return self.norm2(x + self.drop_path(self.ls2(self.mlp(x))))


def _scale(dim: int, initial: float | None) -> nn.Module:
    return nn.Identity() if initial is None else LayerScale(dim, initial)
