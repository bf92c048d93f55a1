"""The position schemes that are compared, and how each meets a grid that it was not trained on."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.layers import RotaryEmbeddingCat, apply_rot_embed_cat, resize_rel_pos_bias_table, resize_rel_pos_bias_table_simple
from torch import Tensor, nn

from vitkit.bias import Bias, LogCPBBias, NoBias, SpectralBias, TableBias
from vitkit.embedding import NoPosition, PatchEmbed, Position, SinCosPosition
from vitkit.encoder import Classifier, Encoder
from vitkit.preprocess import Preprocess
from vitkit.spectral import Density, Exponential, Gaussian, Matern, RationalQuadratic, SpectralMixture

Rule = Literal["per token", "per image"]
"""What another grid is met by: a step from token to token counts as in training, or the whole image does."""
RULES: tuple[Rule, ...] = ("per token", "per image")


@dataclass(frozen=True)
class Shape:
    """The model but for its positions."""

    grid: tuple[int, int]
    patch: int
    dim: int = 64
    heads: int = 4
    depth: int = 2
    lengthscale: float = 2.0
    """Initial length scale of the spectral biases, in patches."""
    rope_temperature: float = 100.0
    """As in Heo et al. 2024, whose grids are small too."""


class Rotary(nn.Module):
    """timm's axial rotary positions, which stand where an attention has the norm of its queries and of its keys.

    Args:
        shape: The model's.
        grid: Tokens along each axis.
        counted_as: Tokens along each axis that their indices are stretched to.
    """

    embedding: Tensor

    def __init__(self, shape: Shape, grid: tuple[int, ...], counted_as: tuple[int, ...] | None = None) -> None:
        super().__init__()
        reference = None if counted_as is None else list(counted_as)
        made = RotaryEmbeddingCat(
            shape.dim // shape.heads, temperature=shape.rope_temperature, in_pixels=False, ref_feat_shape=reference
        )
        self.shape = shape
        self.register_buffer("embedding", made.get_embed(list(grid)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Queries or keys (batch, heads, tokens, head_dim), turned."""
        return apply_rot_embed_cat(x, self.embedding)


def spectral(
    density: type[Density], form: Literal["covariance", "log"] = "covariance", offset: bool = False, **options: Any
) -> "Scheme":
    """A spectral bias with the initial scales that the documentation advises."""

    def make(shape: Shape) -> SpectralBias:
        scales = density(shape.heads, 2, lengthscale=shape.lengthscale * shape.patch, **options)
        return SpectralBias(scales, form, offset=offset)

    return make


Scheme = Callable[[Shape], Bias | Position | Rotary]

SCHEMES: dict[str, Scheme] = {
    "none": lambda shape: NoBias(),
    "sin-cos": lambda shape: SinCosPosition(shape.grid),
    "table": lambda shape: TableBias(shape.heads, shape.grid),
    "log-CPB": lambda shape: LogCPBBias(shape.heads, 2, extent=[float(shape.patch * (length - 1)) for length in shape.grid]),
    "RoPE": lambda shape: Rotary(shape, shape.grid),
    "exponential": spectral(Exponential),
    "exponential, log": spectral(Exponential, "log"),
    "exponential, offset": spectral(Exponential, offset=True),
    "exponential, log, offset": spectral(Exponential, "log", offset=True),
    "Matern 1/2": spectral(Matern, nu=0.5),
    "Matern 3/2": spectral(Matern, nu=1.5),
    "Matern 5/2": spectral(Matern, nu=2.5),
    "Gaussian": spectral(Gaussian),
    "Gaussian, log": spectral(Gaussian, "log"),
    "rational quadratic": spectral(RationalQuadratic),
    "spectral mixture": spectral(SpectralMixture),
}
"""Each is the model's only source of position."""


def classifier(scheme: str, shape: Shape, classes: int, preprocess: Preprocess, seed: int) -> Classifier:
    """A model whose initial weights, but for those of the scheme, depend on the seed alone."""

    def build(part: Bias | Position | Rotary) -> Classifier:
        torch.manual_seed(seed)
        encoder = Encoder(
            PatchEmbed(2, shape.patch, preprocess.channels, shape.dim),
            depth=shape.depth,
            num_heads=shape.heads,
            position=part if isinstance(part, Position) else NoPosition(),
            bias=part if isinstance(part, Bias) else NoBias(),
            class_token=False,
            pool="mean",
        )
        if isinstance(part, Rotary):
            for block in encoder.blocks:
                block.attn.q_norm = block.attn.k_norm = part
        return Classifier(encoder, classes, preprocess)

    torch.manual_seed(seed)
    model = build(SCHEMES[scheme](shape))
    # Biases draw initial values of their own, and with them move what is drawn after.
    _, unexpected = model.load_state_dict(build(NoBias()).state_dict(), strict=False)
    assert not unexpected
    return model


def on_grid(model: Classifier, shape: Shape, grid: tuple[int, int], rule: Rule) -> tuple[Classifier, tuple[float, float]]:
    """A copy of the model for another grid, and the distance between neighbouring pixels that it is to be told.

    What has a unit is told the distance, of which one is the distance in training. Rotary and sin-cos positions count tokens as
    they are, or stretched to as many as in training. A table is resized by timm's two functions: that of BEiT keeps the logits
    of the nearest tokens and stretches the farther ones more and more, the simple one stretches all alike, bicubically.
    """
    model = deepcopy(model)
    stretched = rule == "per image"
    if isinstance(model.encoder.position, SinCosPosition):
        model.encoder.position.shape = shape.grid if stretched else None
    for block in model.encoder.blocks:
        attention = block.attn
        if isinstance(attention.q_norm, Rotary):
            attention.q_norm = attention.k_norm = Rotary(shape, grid, shape.grid if stretched else None)
        if isinstance(attention.bias, TableBias):
            table, attention.bias = attention.bias.logits.detach(), TableBias(shape.heads, grid)
            resize = resize_rel_pos_bias_table_simple if stretched else resize_rel_pos_bias_table
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # timm indexes by lists, of which torch warns
                attention.bias.logits.data = resize(table, grid, tuple(attention.bias.logits.shape))
    down, across = (before / now if stretched else 1.0 for before, now in zip(shape.grid, grid, strict=True))
    return model, (down, across)
