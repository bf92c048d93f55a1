import pytest
import torch
from torch import nn

from vitkit.attention import Attention, Axial, Full, Pattern, Window, attend
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


def test_options_of_the_module_that_cannot_be():
    with pytest.raises(UsageError, match=r"dropout=2.0 in Attention; expected a probability"):
        Attention(32, 4, dropout=2.0)
    with pytest.raises(UsageError, match=r"backend='flash'; expected \"auto\" or one of axial"):
        Attention(32, 4, backend="flash")


@pytest.mark.parametrize("bias", BIASES)
def test_no_sample_at_all(bias):
    attention = Attention(16, 2, bias=BIASES[bias]())
    out = attention(torch.empty(0, 12, 16), GRID)
    assert out.shape == (0, 12, 16)
    out.sum().backward()
    assert not attention.qkv.weight.grad.any()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": Grid((3, 5))}, r"15 of a grid of \(3, 5\); expected \(batch, heads, 15, head_dim\)"),
        ({"prefix": 1}, "for 1 prefix tokens and 12 of a grid"),
        ({"prefix": -1}, "for -1 prefix tokens"),
        ({"keep": torch.zeros(2, 3, dtype=torch.long)}, "for 0 prefix tokens and 3 of a grid"),
        ({"keep": torch.zeros(3, 12, dtype=torch.long)}, r"keep of shape \(3, 12\).* for a batch of 2"),
        ({"keep": torch.zeros(2, 12)}, "type torch.float32"),
        ({"keep": torch.zeros(2, 12, dtype=torch.long, device="meta")}, "keep on meta; expected one device"),
        ({"real": torch.ones(2, 12, dtype=torch.bool, device="meta")}, "real on meta; expected one device"),
        ({"pattern": Axial(), "gates": torch.ones(2, 2, device="meta")}, "gates on meta; expected one device"),
        ({"k": torch.zeros(2, 2, 5, 8)}, r"\(2, 2, 5, 8\)"),
        ({"v": torch.zeros(2, 2, 12, 5)}, r"\(2, 2, 12, 5\)"),
        ({"k": torch.zeros(1, 2, 12, 8), "v": torch.zeros(1, 2, 12, 8)}, r"\(1, 2, 12, 8\)"),
        ({name: torch.zeros(2, 2, 12, 8, dtype=torch.long) for name in "qkv"}, "of floating point"),
    ],
)
def test_tokens_that_are_not_the_grids(options, message):
    arguments = {name: torch.zeros(2, 2, 12, 8) for name in "qkv"} | {"grid": GRID}
    with pytest.raises(UsageError, match=message):
        attend(**(arguments | options))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mask", [torch.ones(3, 3, dtype=torch.bool), torch.ones(12, 12)])
def test_a_mask_that_is_none(mask):
    class Wrong(Pattern):
        def allowed(self, grid):
            return mask

    with pytest.raises(UsageError, match=r"by Wrong on a grid of \(3, 4\); expected booleans of shape \(12, 12\)"):
        attend(*torch.zeros(3, 2, 2, 12, 8), GRID, pattern=Wrong())


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("pattern", [Full(), Row(), Window(2)], ids=["full", "row", "window"])
def test_with_every_token_removed_the_prefix_is_left(pattern, bias, prefix):
    q, k, v = torch.randn(3, 2, 2, prefix, 8)
    found = attend(q, k, v, GRID, pattern=pattern, bias=BIASES[bias](), prefix=prefix, keep=torch.empty(2, 0, dtype=torch.long))
    torch.testing.assert_close(found, v)


def test_a_bias_for_other_heads():
    with pytest.raises(UsageError, match="TableBias for 2 heads in an attention of 4 heads"):
        Attention(32, 4, bias=TableBias(2, (3, 4)))
