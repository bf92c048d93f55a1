"""What every pattern has to satisfy; a pattern's test inherits this and gets all of it."""

from itertools import product
from math import prod

import pytest
import torch
from torch.nn.functional import pad

from vitkit.attention import Pattern
from vitkit.attention.gathered import gathered_attention
from vitkit.bias import Bias, NoBias, SpectralBias, TableBias
from vitkit.grid import Grid
from vitkit.recipe import build, recipe
from vitkit.spectral import Exponential

HEADS = 2
SHAPES = [(1,), (7,), (23,), (1, 1), (5, 6), (13, 9), (2, 3, 4), (5, 3, 7)]
BIASES = {
    "none": lambda shape: NoBias(),
    "table": lambda shape: TableBias(HEADS, shape, std=1.0),
    "spectral": lambda shape: SpectralBias(Exponential(HEADS, len(shape), lengthscale=2.0, outputscale=3.0)),
}


def pairs_of(pattern: Pattern, grid: Grid) -> torch.Tensor:
    """How often the blocks hold each pair of tokens."""
    count = torch.zeros(len(grid), len(grid), dtype=torch.long)
    for blocks in pattern.blocks(grid):
        held = torch.ones(len(blocks.queries), blocks.queries.shape[1], blocks.keys.shape[1], dtype=torch.bool)
        if blocks.allowed is not None:
            held &= blocks.allowed
        query, key = (x.expand_as(held)[held] for x in (blocks.queries[:, :, None], blocks.keys[:, None]))
        count.index_put_((query, key), torch.ones_like(query), accumulate=True)
    return count


def definition(q, k, v, grid: Grid, pattern: Pattern, bias: Bias, prefix: int = 0):
    """Attention as it is written down, with a mask of every pair."""
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
    logits, allowed = bias(grid, prefix), pattern.allowed(grid)
    if logits is not None:
        scores = scores + logits
    if allowed is not None:
        scores = scores.masked_fill(~pad(allowed, (prefix, 0, prefix, 0), value=True), float("-inf"))
    return scores.softmax(-1) @ v


def assert_exact(grid: Grid, pattern: Pattern, bias: Bias, prefix: int = 0, batch: int = 2) -> None:
    """Value and every gradient, to 1e-10 of the largest number of each."""
    bias = bias.double()
    inputs = [torch.randn(batch, HEADS, prefix + len(grid), 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    variables = [*inputs, *bias.parameters()]
    found, wanted = (function(*inputs, grid, pattern, bias, prefix) for function in (gathered_attention, definition))
    cotangent = torch.randn_like(wanted)
    mine, theirs = (
        torch.autograd.grad(out, variables, cotangent, allow_unused=True, materialize_grads=True) for out in (found, wanted)
    )
    for ours, reference in zip((found, *mine), (wanted, *theirs), strict=True):
        # The gradient of a single softmax weight's logit is zero: what is left of it is rounding.
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-10 * max(float(reference.detach().abs().max()), 1.0))


class PatternContract:
    """Property tests of a pattern in one to three dimensions."""

    sparse = True
    """Whether its blocks grow linearly with the grid."""

    def make(self, shape: tuple[int, ...]) -> Pattern:
        """The pattern for a grid."""
        raise NotImplementedError

    def rule(self, query: tuple[int, ...], key: tuple[int, ...], shape: tuple[int, ...]) -> bool:
        """Whether the query sees the key, in plain words of Python."""
        raise NotImplementedError

    @pytest.mark.parametrize("shape", SHAPES)
    def test_allows_what_its_rule_says(self, shape):
        places = list(product(*map(range, shape)))
        wanted = torch.tensor([[self.rule(query, key, shape) for key in places] for query in places])
        assert wanted.any(1).all()
        allowed = self.make(shape).allowed(Grid(shape))
        assert torch.equal(torch.ones_like(wanted) if allowed is None else allowed, wanted)
        tokens = torch.arange(prod(shape))
        assert torch.equal(self.make(shape).sees(Grid(shape), tokens[:, None], tokens), wanted)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_its_blocks_hold_each_pair_once(self, shape):
        pattern, grid = self.make(shape), Grid(shape)
        allowed = pattern.allowed(grid)
        wanted = torch.ones(len(grid), len(grid)) if allowed is None else allowed
        assert torch.equal(pairs_of(pattern, grid), wanted.long())

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("name", BIASES)
    def test_gathered_attention_is_exact(self, shape, name):
        assert_exact(Grid(shape), self.make(shape), BIASES[name](shape))

    @pytest.mark.parametrize("shape", [(7,), (5, 6), (2, 3, 4)])
    def test_what_is_not_seen_has_no_influence(self, shape):
        pattern, grid = self.make(shape), Grid(shape)
        allowed = pattern.allowed(grid)
        allowed = torch.ones(len(grid), len(grid), dtype=torch.bool) if allowed is None else allowed
        q, k, v = torch.randn(3, 1, 1, len(grid), 4, dtype=torch.float64)
        k.requires_grad_()
        v.requires_grad_()
        out = gathered_attention(q, k, v, grid, pattern, NoBias())
        for query in range(len(grid)):
            grads = torch.autograd.grad(out[0, 0, query].sum(), (k, v), retain_graph=True)
            assert not grads[0][0, 0, ~allowed[query]].any()
            assert torch.equal(grads[1][0, 0].any(-1), allowed[query])

    def test_its_blocks_grow_linearly(self):
        if not self.sparse:
            return
        for others in ((), (24,), (12, 6)):
            # Multiples of every tile, window and stride here, so that what is added to an axis is the same each time.
            shapes = [(length, *others) for length in (384, 768, 1152)]
            counts = [sum(blocks.entries for blocks in self.make(shape).blocks(Grid(shape))) for shape in shapes]
            assert counts[2] - counts[1] == counts[1] - counts[0] < prod(shapes[0]) * 3000

    def test_it_can_be_made_again(self):
        pattern = self.make((6, 7))
        tree = recipe(pattern)
        assert tree["class_path"].rpartition(".")[0] == "vitkit.attention"
        made = build(tree).allowed(Grid((6, 7)))
        wanted = pattern.allowed(Grid((6, 7)))
        assert made is wanted is None or torch.equal(made, wanted)
