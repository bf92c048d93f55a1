"""A pattern's blocks on one grid, with the prefix around them: what to gather, in O(N) indices."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitkit.attention.patterns import Blocks, Pattern
from vitkit.attention.patterns.axes import along
from vitkit.grid import Grid


@dataclass(frozen=True, eq=False)
class Piece:
    """Blocks of one shape, whose indices count the prefix.

    Args:
        queries: Indices of tokens.
        keys: Likewise; in the blocks that hold a query for the first time, those of the prefix come first.
        allowed: True where the query may see the key; None if it always may.
        first: Whether the queries stand in no earlier piece.
        translates: Whether the same entry of all blocks has the same index of logits.
        of_prefix: Whether the queries are the prefix.
    """

    queries: Int[Tensor, "blocks queries"]
    keys: Int[Tensor, "blocks keys"]
    allowed: Bool[Tensor, "#blocks queries keys"] | None
    first: bool
    translates: bool
    of_prefix: bool = False

    @property
    def alike(self) -> bool:
        """Whether bias and mask are the same for all blocks."""
        return self.translates and (self.allowed is None or len(self.allowed) == 1)

    def mask(self, block: slice, rows: slice) -> Bool[Tensor, "#blocks rows keys"] | None:
        """What is allowed in some rows of some blocks."""
        if self.allowed is None:
            return None
        return self.allowed[block if len(self.allowed) > 1 else slice(None), rows]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is to be gathered.

    Args:
        pieces: Blocks, those of the prefix's queries last.
        prefix: Tokens before the grid's.
        row: What a query adds to the index of a pair's logits.
        column: What a key subtracts from it.
    """

    pieces: list[Piece]
    prefix: int
    row: Int[Tensor, " tokens"]
    column: Int[Tensor, " tokens"]

    @property
    def entries(self) -> int:
        """Pairs of a query and a key that are computed."""
        return sum(piece.queries.numel() * piece.keys.shape[1] for piece in self.pieces)

    def index(self, piece: Piece, block: slice, rows: slice) -> Int[Tensor, "#blocks rows keys"]:
        """Where the logits between a piece's grid tokens stand in the flat table; of one block, if all are translates."""
        if piece.translates:
            block = slice(0, 1)
        queries = piece.queries[block, rows] - self.prefix
        keys = piece.keys[block, self.prefix if piece.first else 0 :] - self.prefix
        return self.row[queries][:, :, None] - self.column[keys][:, None]


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def plan(pattern: Pattern, shape: tuple[int, ...], prefix: int, stationary: bool, device: torch.device) -> Plan:
    """The plan of a pattern on a grid.

    Args:
        pattern: Who may see whom.
        shape: Tokens along each axis of the grid.
        prefix: Tokens before the grid's.
        stationary: Whether logits are indexed by displacement, rather than by pair.
        device: Where the indices are needed.
    """
    grid = Grid(shape)
    before = torch.arange(prefix)[None]
    seen = torch.zeros(len(grid), dtype=torch.bool)
    pieces = []
    for blocks in pattern.blocks(grid):
        first = not bool(seen[blocks.queries].any())
        seen[blocks.queries] = True
        pieces.append(_piece(blocks, before if first else before[:, :0], prefix, first, stationary, device))
    if prefix:
        everything = torch.arange(prefix + len(grid))[None]
        pieces.append(Piece(before.to(device), everything.to(device), None, first=True, translates=True, of_prefix=True))
    row, column = offsets(grid, stationary)
    return Plan(pieces, prefix, row.to(device), column.to(device))


def _piece(blocks: Blocks, before: Tensor, prefix: int, first: bool, stationary: bool, device: torch.device) -> Piece:
    keys = torch.cat([before.expand(len(blocks.keys), -1), blocks.keys + prefix], dim=1)
    allowed = blocks.allowed
    if allowed is not None:
        allowed = torch.nn.functional.pad(allowed, (before.shape[1], 0), value=True).to(device)
    # Of a block alone, translates or not makes no difference.
    translates = (blocks.alike and stationary) or len(keys) == 1
    return Piece((blocks.queries + prefix).to(device), keys.to(device), allowed, first, translates)


def offsets(grid: Grid, stationary: bool) -> tuple[Tensor, Tensor]:
    """Index of a pair's logits: of their displacement in a table of (2L₁-1, ..., 2Lₙ-1), or of the pair in one of (N, N)."""
    tokens = torch.arange(len(grid))
    if not stationary:
        return tokens * len(grid), -tokens
    position, zero = torch.zeros_like(tokens), 0
    for index, length in zip(along(tokens, grid), grid.shape, strict=True):
        position = position * (2 * length - 1) + index
        zero = zero * (2 * length - 1) + length - 1
    return position + zero, position
