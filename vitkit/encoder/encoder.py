"""The transformer encoder, in any number of dimensions."""

from collections import deque
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitkit.attention import Attention, Full, Pattern, ScaledDotProduct, Scorer
from vitkit.bias import Bias, NoBias
from vitkit.embedding import NoPosition, PatchEmbed, Position
from vitkit.encoder.block import Block
from vitkit.encoder.tokens import Tokens
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.recipe import Recorded


class Encoder(nn.Module, Recorded):
    """A vision transformer without its head: images and volumes alike.

    The architecture is that of Dosovitskiy et al. 2021 with the options that became common since; parameter names are timm's.

    Args:
        embed: From the input to tokens; sets the width and the number of axes.
        depth: Number of blocks.
        num_heads: Attention heads per block.
        position: Absolute positions.
        bias: Relative position bias. Each block gets a copy of its own, with initial values drawn anew.
        pattern: Who may see whom. A list names one per block, and is repeated until all blocks have one; a list inside it gives a
            block several attentions in turn, each with a residual connection, as ``[[AlongAxis(0), AlongAxis(1)], Full()]``.
        mlp_ratio: Hidden width of the MLPs as a multiple of the width.
        qkv_bias: Whether queries, keys and values have an additive offset.
        class_token: Whether a learned class token precedes the patches.
        registers: Number of learned register tokens (Darcet et al. 2024) after it.
        pool: How :meth:`pool` makes one vector: ``"token"`` takes the class token, ``"mean"`` the mean of the patches, ``"sum"``
            their sum over the number of tokens of the grid, which keeps amounts where part of the grid is padding or empty.
        norm_order: ``"pre"`` or ``"post"``, see :class:`~vitkit.encoder.Block`. With ``"pre"`` a last norm follows the blocks.
        layer_scale: Initial value of LayerScale; None for none.
        drop_path: Probability of skipping a branch in the last block; it grows linearly from zero over the blocks.
        dropout: Probability of dropping an activation.
        checkpointing: Whether to keep only each block's input for the backward pass, and compute the rest again.
        eps: Added to the variance by LayerNorm.
        scorer: How a query meets a key. Each block gets a copy of its own.
        kv_heads: Heads of keys and values, which must divide ``num_heads``; as many as of queries if not given.
        qk_norm: Whether queries and keys go through a LayerNorm per head first.

    Raises:
        UsageError: Heads that do not divide the width, a bias or scorer for other heads, or token pooling without a class token.

    >>> encoder = Encoder(PatchEmbed(ndim=2, patch_size=4, in_chans=3, dim=48), depth=2, num_heads=3)
    >>> tokens = encoder(torch.randn(1, 3, 16, 24))
    >>> tokens.grid.shape, tokens.spatial().shape, encoder.pool(tokens).shape
    ((4, 6), torch.Size([1, 48, 4, 6]), torch.Size([1, 48]))
    """

    def __init__(
        self,
        embed: PatchEmbed,
        depth: int,
        num_heads: int,
        position: Position = NoPosition(),
        bias: Bias = NoBias(),
        pattern: Pattern | list[Pattern | list[Pattern]] = Full(),
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        class_token: bool = True,
        registers: int = 0,
        pool: Literal["token", "mean", "sum"] = "token",
        norm_order: Literal["pre", "post"] = "pre",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        checkpointing: bool = False,
        eps: float = 1e-6,
        scorer: Scorer = ScaledDotProduct(),
        kv_heads: int | None = None,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        for name, value, choices in (("pool", pool, ("token", "mean", "sum")), ("norm_order", norm_order, ("pre", "post"))):
            if value not in choices:
                raise UsageError(f"{name}={value!r} in Encoder", f"one of {', '.join(choices)}", f"Correct {name}.")
        if pool == "token" and not class_token:
            raise UsageError('pool="token" without a class token', "a class token to pool", 'Set class_token, or pool="mean".')
        if depth < 1 or registers < 0:
            raise UsageError(
                f"depth={depth} and registers={registers}", "at least one block and no negative number", "Correct them."
            )
        for name, share in (("drop_path", drop_path), ("dropout", dropout)):
            if not 0 <= share < 1:
                raise UsageError(f"{name}={share} in Encoder", "a probability in [0, 1)", f"Correct {name}.")
        dim = embed.dim
        self.dim, self.pooling, self.checkpointing = dim, pool, checkpointing
        self.embed = embed
        self.position = deepcopy(position)  # of the default there is one for all encoders, which would share its mode
        self.prefix = nn.Parameter(torch.empty(1, int(class_token) + registers, dim))
        self.blocks = nn.ModuleList()
        for index, patterns in enumerate(_per_block(pattern, depth)):
            attentions = []
            for one in patterns:
                own, way = deepcopy(bias), deepcopy(scorer)
                own.reset_parameters()
                way.reset_parameters()
                attentions.append(Attention(dim, num_heads, own, one, qkv_bias, dropout, way, kv_heads, qk_norm))
            path = drop_path * index / max(depth - 1, 1)
            self.blocks.append(Block(attentions, dim, mlp_ratio, norm_order, layer_scale, path, dropout, eps))
        self.norm = nn.LayerNorm(dim, eps=eps) if norm_order == "pre" else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        # Xavier, as in the paper's own code. The fixed 0.02 of timm and DeiT is close to it at the width of ViT-B, and far too
        # small for narrow models. The embedding keeps torch's own initial values, which grow as patches shrink.
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.prefix, std=0.02)

    def forward(
        self,
        x: Float[Tensor, "batch channels *size"],
        spacing: Sequence[float] | None = None,
        keep: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> Tokens:
        """Encode.

        Args:
            x: Normalised images (batch, channels, height, width) or volumes (batch, channels, depth, height, width).
            spacing: Distance between pixels or voxels along each axis, in mm; one pixel if not given.
            keep: Row-major indices of the grid tokens to encode, as many for every sample; the others are removed before the
                blocks, as if they had never been there. All tokens if not given.
            real: Which pixels or voxels are real, ``(batch, *size)``, where inputs of several sizes were padded to one; all if
                not given. The others add nothing to a token and count in no patch's statistics. A token without a real one is
                seen by none, and is not in the mean.

        Raises:
            UsageError: An input that the embedding refuses, or indices that are not on the grid.
        """
        # A deque of one: outside training no block's tokens outlive the next block.
        [(last, grid)] = deque(self._states(x, spacing, keep, real), maxlen=1)
        count = self.prefix.shape[1]
        last = self.norm(last)
        present = None if real is None else self.embed.covered(real)
        if present is not None and keep is not None:
            present = present.gather(1, keep)
        return Tokens(last[:, :count], last[:, count:], grid, keep, present)

    def forward_intermediates(
        self,
        x: Float[Tensor, "batch channels *size"],
        spacing: Sequence[float] | None = None,
        keep: Int[Tensor, "batch kept"] | None = None,
        real: Bool[Tensor, "batch *size"] | None = None,
    ) -> list[Float[Tensor, "batch tokens dim"]]:
        """What enters the first block, then what each block returns, prefix tokens first and before the last norm."""
        return [state for state, _ in self._states(x, spacing, keep, real)]

    def _states(
        self, x: Tensor, spacing: Sequence[float] | None, keep: Tensor | None, real: Tensor | None
    ) -> Iterator[tuple[Float[Tensor, "batch tokens dim"], Grid]]:
        tokens, grid = self.embed(x, spacing, real)
        seen = None if real is None else self.embed.covered(real)
        tokens = self.position(tokens, grid)
        if keep is not None:
            self._check_keep(keep, len(tokens), grid)
            tokens = tokens.gather(1, keep[..., None].expand(-1, -1, self.dim))
        count = self.prefix.shape[1]
        tokens = torch.cat([self.prefix.expand(len(tokens), -1, -1), tokens], dim=1)
        yield tokens, grid
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, grid, count, keep, seen, use_reentrant=False)
            else:
                tokens = block(tokens, grid, count, keep, seen)
            yield tokens, grid

    def _check_keep(self, keep: Tensor, batch: int, grid: Grid) -> None:
        if keep.ndim != 2 or len(keep) != batch or keep.is_floating_point():
            raise UsageError(
                f"keep of shape {tuple(keep.shape)} and type {keep.dtype} for a batch of {batch}",
                "indices of shape (batch, kept)",
                "Give every sample as many indices.",
            )
        if keep.numel() and not 0 <= int(keep.min()) <= int(keep.max()) < len(grid):
            raise UsageError(
                f"keep between {int(keep.min())} and {int(keep.max())} on a grid of {len(grid)} tokens",
                f"indices from 0 to {len(grid) - 1}",
                "Count tokens row by row, from 0.",
            )

    def pool(self, tokens: Tokens) -> Float[Tensor, "batch dim"]:
        """One vector per sample: the class token, the mean of the patches, or their sum over the number of tokens of the grid.

        Raises:
            UsageError: The mean of no patches at all.
        """
        if self.pooling == "token":
            return tokens.prefix[:, 0]
        if not tokens.patches.shape[1]:
            raise UsageError("no patch to take the mean of", "at least one", 'Keep one, or use pool="token".')
        weight = None if tokens.real is None else tokens.real[..., None].to(tokens.patches.dtype)
        patches = tokens.patches if weight is None else tokens.patches * weight
        if self.pooling == "sum":
            return patches.sum(dim=1) / len(tokens.grid)
        return patches.mean(dim=1) if weight is None else patches.sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def _per_block(pattern: Pattern | list[Pattern | list[Pattern]], depth: int) -> list[list[Pattern]]:
    """The patterns of each block."""
    given = pattern if isinstance(pattern, list) else [pattern]
    if not given or depth % len(given) or not all(isinstance(one, Pattern) or one for one in given):
        raise UsageError(
            f"{len(given)} patterns for {depth} blocks",
            "a number that divides the blocks, so that the list can be repeated, and none of them empty",
            "Give one pattern, or one for every block.",
        )
    return [one if isinstance(one, list) else [one] for one in given] * (depth // len(given))
