import pytest
import torch
from torch import nn

from vitkit.attention import Attention, Full, Pattern, attend
from vitkit.bias import NoBias, SpectralBias, TableBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Exponential

GRID = Grid((3, 4))
PREFIX = 2


class Row(Pattern):
    """A query sees the keys of its own row."""

    def allowed(self, grid):
        row = torch.arange(len(grid)) // grid.shape[1]
        return row[:, None] == row[None]


BIASES = {
    "none": NoBias,
    "table": lambda: TableBias(2, GRID.shape, std=1.0),
    "spectral": lambda: SpectralBias(Exponential(2, 2, lengthscale=2.0, outputscale=3.0)),
}


def eager(q, k, v, logits, allowed):
    """Attention by its definition."""
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if logits is not None:
        scores = scores + logits
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("pattern", [Full(), Row()], ids=["full", "row"])
@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("name", BIASES)
def test_agrees_with_its_definition_in_value_and_gradient(name, removed, pattern):
    bias = BIASES[name]().double()
    keep = torch.stack([torch.randperm(12)[:7] for _ in range(2)]) if removed else None
    tokens = PREFIX + (7 if removed else 12)
    inputs = [torch.randn(2, 2, tokens, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    logits = bias(GRID, PREFIX, keep)
    allowed = pattern.allowed(GRID)
    if allowed is not None:
        rows = [allowed if keep is None else allowed[row][:, row] for row in (keep if removed else [None, None])]
        allowed = torch.stack([nn.functional.pad(row, (PREFIX, 0, PREFIX, 0), value=True) for row in rows])[:, None]
    wanted = eager(*inputs, logits, allowed)
    found = attend(*inputs, GRID, bias=bias, pattern=pattern, prefix=PREFIX, keep=keep)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    cotangent = torch.randn_like(wanted)
    variables = [*inputs, *bias.parameters()]
    ours, theirs = (torch.autograd.grad(output, variables, cotangent) for output in (found, wanted))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


def test_agrees_with_torch():
    attention = Attention(32, 4).eval()
    oracle = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    oracle.in_proj_weight.data = attention.qkv.weight.data
    oracle.in_proj_bias.data = attention.qkv.bias.data.normal_()
    oracle.out_proj.load_state_dict(attention.proj.state_dict())
    x = torch.randn(2, 12, 32)
    torch.testing.assert_close(attention(x, GRID), oracle(x, x, x, need_weights=False)[0], rtol=1e-5, atol=1e-6)


def test_without_positions_it_is_permutation_equivariant():
    attention = Attention(32, 4).double()
    x, order = torch.randn(2, 12, 32, dtype=torch.float64), torch.randperm(12)
    torch.testing.assert_close(attention(x[:, order], GRID), attention(x, GRID)[:, order], rtol=1e-12, atol=1e-12)


def test_with_a_bias_it_is_not():
    attention = Attention(32, 2, bias=BIASES["spectral"]()).double()
    x, order = torch.randn(2, 12, 32, dtype=torch.float64), torch.arange(11, -1, -1).roll(3)
    assert (attention(x[:, order], GRID) - attention(x, GRID)[:, order]).abs().max() > 1e-4


def test_a_grid_of_tokens_is_its_sequence():
    attention = Attention(32, 2, bias=SpectralBias(Exponential(2, 3)))
    x = torch.randn(2, 2, 3, 4, 32)
    assert torch.equal(attention(x).flatten(1, -2), attention(x.flatten(1, -2), Grid((2, 3, 4))))


def test_evaluation_is_deterministic_and_dropout_is_for_training_only():
    attention = Attention(32, 2, dropout=0.5)
    x = torch.randn(2, 12, 32)
    assert not torch.equal(attention(x, GRID), attention(x, GRID))
    attention.eval()
    assert torch.equal(attention(x, GRID), attention(x, GRID))


@pytest.mark.parametrize("name", BIASES)
def test_half_precision_stays_near(name):
    attention = Attention(32, 2, bias=BIASES[name]()).eval()
    x = torch.randn(2, 12, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = attention(x, GRID)
    assert half.dtype == torch.bfloat16
    # Four roundings to 8 bits on the way (qkv, scores, values, projection) of numbers of order one.
    torch.testing.assert_close(half.float(), attention(x, GRID), rtol=0, atol=4 * 2**-8)


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(UsageError, match="num_heads=5 and dim=32"):
        Attention(32, 5)


def test_a_bias_for_other_heads():
    with pytest.raises(UsageError, match="TableBias for 2 heads in an attention of 4 heads"):
        Attention(32, 4, bias=TableBias(2, (3, 4)))
