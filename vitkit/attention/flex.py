"""Torch's FlexAttention, told of a bias and a sparse pattern.

The bias is read from its displacement table as scores are made, and the mask is a rule that is evaluated pair by pair in the
tiles that hold any pair of the pattern, so neither is ever laid out over all pairs. Torch compiles a kernel for each pattern,
grid and type (Dong et al. 2024). On the CPU, where it has no backward pass, the same definition runs in plain products.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import flex_attention as flex
from torch.nn.functional import pad

from vitkit.attention.patterns import Full, Pattern
from vitkit.attention.plan import offsets
from vitkit.bias import Bias
from vitkit.grid import Grid

TILE = 128
"""Tokens along each side of the tiles that are computed or skipped."""
VARIANTS = 64
"""Kernels that are compiled before torch gives up, rather than its own eight: each grid has its own."""


def flex_attention(
    q: Float[Tensor, "batch heads tokens head_dim"],
    k: Float[Tensor, "batch heads tokens head_dim"],
    v: Float[Tensor, "batch heads tokens head_dim"],
    grid: Grid,
    pattern: Pattern,
    bias: Bias,
    prefix: int = 0,
    scale: float | None = None,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Softmax of the scaled dot product plus the bias over the keys that the pattern allows, applied to the values.

    A stationary bias is read from its displacement table. Any other has to be laid out for every pair of tokens first.

    Args:
        q: Queries: prefix tokens, then all of the grid's in row-major order.
        k: Keys, likewise.
        v: Values, likewise.
        grid: Where the tokens stand.
        pattern: Who may see whom, in elementwise operations; prefix tokens see and are seen by all. A query that sees nothing
            gets zeros.
        bias: Relative position bias, in logits.
        prefix: Tokens before the grid's.
        scale: What the dot products are multiplied by; one over the root of ``head_dim`` if not given.
    """
    table = bias.table(grid) if bias.stationary else bias.grid_logits(grid)
    around = bias.prefix_logits() if prefix else None
    stationary = bias.stationary or table is None
    if table is None and around is not None:
        table = around.new_zeros(len(around), prod(2 * length - 1 for length in grid.shape))
    if table is not None:
        # One tensor of all logits, read once: torch gives a gradient to no more than one reading.
        table = table.flatten(1).to(torch.promote_types(q.dtype, torch.float32))
        if prefix:
            table = torch.cat([table, table.new_zeros(len(table), 3) if around is None else around.to(table.dtype)], dim=1)
    return _run(q, k, v, table, pattern, grid.shape, prefix, stationary, scale)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it is compiled by itself, and the mask is made only once
def _run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    logits: Tensor | None,
    pattern: Pattern,
    shape: tuple[int, ...],
    prefix: int,
    stationary: bool,
    scale: float | None,
) -> Tensor:
    score = None if logits is None else _adding(logits, *places(shape, prefix, stationary, q.device), prefix)
    mask = None if isinstance(pattern, Full) else block_mask(pattern, shape, prefix, q.device)
    with torch._dynamo.config.patch(cache_size_limit=VARIANTS), torch.autocast(q.device.type, enabled=False):
        out: Tensor = _compiled(q.device.type)(q, k, v, score_mod=score, block_mask=mask, scale=scale)
    return out


@cache
def _compiled(device: str) -> Callable[..., Any]:
    if device == "cpu":
        return torch.compile(flex.flex_attention, dynamic=False, backend="eager")
    # Torch 2.6 finds no kernel of the backward pass without a search (pytorch/pytorch#146260).
    mode = "max-autotune-no-cudagraphs" if torch.__version__ < "2.7" else None
    return torch.compile(flex.flex_attention, dynamic=False, mode=mode)


def _adding(logits: Tensor, row: Tensor, column: Tensor, prefix: int) -> Callable[..., Tensor]:
    """What adds to a score the logit of its pair; with a prefix, the last three logits are of its tokens."""
    to_prefix = logits.shape[1] - 3

    def add(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        index = row[query] - column[key]
        if prefix:
            of_prefix = torch.where(key < prefix, to_prefix + 2, to_prefix + 1)
            index = torch.where(query < prefix, of_prefix, torch.where(key < prefix, to_prefix, index))
        return score + logits[head, index]

    return add


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def places(shape: tuple[int, ...], prefix: int, stationary: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """What each query adds to the index of a pair's logits, and each key subtracts from it; anything for the prefix."""
    row, column = (pad(x, (prefix, 0)).to(device) for x in offsets(Grid(shape), stationary))
    return row, column


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def block_mask(pattern: Pattern, shape: tuple[int, ...], prefix: int, device: torch.device) -> flex.BlockMask:
    """The tiles that hold a pair of the pattern, and the rule within them.

    They are found from the pattern's blocks, and not, as by torch's ``create_block_mask``, from a mask of every pair. None counts
    as allowed entirely: few patterns on a grid show 128 neighbours in the sequence all of 128 others.
    """
    grid = Grid(shape)
    tokens = prefix + len(grid)
    held = torch.zeros(-(-tokens // TILE), -(-tokens // TILE), dtype=torch.int32)
    for blocks in pattern.blocks(grid):
        row, column = ((index + prefix) // TILE for index in (blocks.queries, blocks.keys))
        tile = row[:, :, None] * len(held) + column[:, None]
        held.view(-1)[tile if blocks.allowed is None else tile[blocks.allowed.expand_as(tile)]] = 1
    of_prefix = slice(-(-prefix // TILE))
    held[of_prefix], held[:, of_prefix] = 1, 1

    def allowed(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = pattern.sees(grid, (query - prefix).clamp(min=0), (key - prefix).clamp(min=0))
        return seen | (query < prefix) | (key < prefix)

    return flex.BlockMask.from_kv_blocks(
        held.sum(-1, dtype=torch.int32)[None, None].to(device),
        held.argsort(dim=-1, descending=True, stable=True).int()[None, None].to(device),
        BLOCK_SIZE=TILE,
        mask_mod=allowed,
        seq_lengths=(tokens, tokens),
    )
