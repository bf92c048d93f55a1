"""Tokens that may not be seen, as where inputs of several sizes were padded to one: exact, and no mask of every pair."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn.functional import pad
from torch.profiler import ProfilerActivity, profile

from vitkit.attention import Additive, Attention, Full, Pattern, ScaledDotProduct, Window, attend, explain
from vitkit.attention.backends import BACKENDS, chunked
from vitkit.attention.case import Case
from vitkit.attention.mask import allowed_of
from vitkit.bias import DistanceBias, NoBias, PrefixBias, TableBias
from vitkit.grid import Grid
from vitkit.planning import Ledger

GRID, BATCH, HEADS, WIDTH = Grid((3, 5)), 3, 2, 4
KERNEL = "aten::_scaled_dot_product_flash_attention_for_cpu"


class Halves(Pattern):
    """A query sees its own half of the sequence, and no pattern that has blocks."""

    def allowed(self, grid):
        half = torch.arange(len(grid)) * 2 // len(grid)
        return half[:, None] == half


def padded(batch=BATCH, grid=GRID):
    """Some of the grid's tokens are real: in the first sample all, in the last none."""
    real = torch.rand(batch, len(grid), generator=torch.Generator().manual_seed(1)) > 0.4
    real[0], real[-1] = True, False
    return real


def tokens(count, dtype=torch.float64, batch=BATCH, heads=HEADS, width=WIDTH):
    return [torch.randn(batch, count, heads, width, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(3)]


def definition(q, k, v, scorer, bias, pattern, prefix, keep, real):
    """Sample by sample, from the keys that are real; zeros for a query that sees none."""
    logits, allowed, out = bias(GRID, prefix), pattern.allowed(GRID), torch.zeros_like(v)
    allowed = torch.ones(len(GRID), len(GRID), dtype=torch.bool) if allowed is None else allowed
    for sample, scores in enumerate(scorer(q, k)):
        rows = torch.arange(len(GRID)) if keep is None else keep[sample]
        seen = pad(allowed[rows][:, rows] & real[sample, rows], (prefix, 0, prefix, 0), value=True)
        seen[:prefix, prefix:] &= real[sample, rows]
        if logits is not None:
            places = torch.cat([torch.arange(prefix), rows + prefix])
            scores = scores + logits[:, places][:, :, places]
        for query, keys in enumerate(seen):
            if keys.any():
                weights = scores[:, query, keys].softmax(-1)
                out[sample, :, query] = (weights[:, None] @ v[sample][:, keys])[:, 0]
    return out


@pytest.mark.parametrize("removed", [False, True], ids=["", "removed"])
@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("pattern", [Full(), Halves()], ids=["full", "halves"])
@pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])
@pytest.mark.parametrize("scorer", ["dot product", "additive"])
@pytest.mark.parametrize("backend", ["eager", "chunked", "fused", "streamed"])
def test_is_the_definition_without_the_padding(backend, scorer, biased, pattern, prefix, removed, monkeypatch):
    """In value and every gradient, also of samples that are padding alone, whose queries get zeros."""
    if backend in ("fused", "streamed") and scorer == "additive":
        pytest.skip("cannot serve")
    if backend == "streamed" and (removed or not biased or isinstance(pattern, Halves)):
        pytest.skip("cannot serve")
    monkeypatch.setattr(chunked.Chunked, "rows", staticmethod(lambda _: 4))
    scorer = ScaledDotProduct() if scorer == "dot product" else Additive(HEADS, WIDTH, hidden_dim=6).double()
    bias = (TableBias(HEADS, GRID.shape, std=1.0) + PrefixBias(HEADS)).double() if biased else NoBias()
    bias.requires_grad_(backend != "fused")
    keep = torch.stack([torch.randperm(len(GRID))[:7].sort().values for _ in range(BATCH)]) if removed else None
    inputs, real = tokens(prefix + (7 if removed else len(GRID))), padded()
    options = {"bias": bias, "scorer": scorer, "pattern": pattern, "prefix": prefix, "keep": keep, "real": real}
    found = attend(*inputs, GRID, backend=backend, **options)
    wanted = definition(*inputs, scorer, bias, pattern, prefix, keep, real)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert prefix or not found[-1].any()
    variables = [*inputs, *(x for x in (*bias.parameters(), *scorer.parameters()) if x.requires_grad)]
    cotangent = torch.randn_like(wanted)
    mine, theirs = (torch.autograd.grad(out, variables, cotangent, allow_unused=True) for out in (found, wanted))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(
            torch.zeros(1) if one is None else one, torch.zeros(1) if other is None else other, rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("kept", [None, 7])
def test_a_row_of_keys_serves_every_query(kept, prefix):
    """Nothing of N² is made where the pattern refuses nothing."""
    keep = None if kept is None else torch.arange(kept).expand(BATCH, -1)
    case = Case(GRID, ScaledDotProduct(), NoBias(), Full(), BATCH, HEADS, WIDTH, prefix=prefix, kept=kept, real=padded())
    allowed = allowed_of(case, keep, torch.device("cpu"))
    assert allowed.shape == (BATCH, 1, 1, prefix + (kept or len(GRID)))
    assert case.mask == allowed.numel()
    assert allowed[..., :prefix].all()
    assert torch.equal(allowed[:, 0, 0, prefix:], case.real if kept is None else case.real[:, :kept])


def kept_of(backend, case, inputs):
    """Bytes that the forward pass keeps beside inputs and output, and most that it holds beside the output."""
    known = {x.untyped_storage().data_ptr() for x in inputs}
    sizes, ledger = {}, Ledger()

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with ledger, torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = attend(
            *inputs, case.grid, bias=case.bias, pattern=case.pattern, prefix=case.prefix, real=case.real, backend=backend
        )
    sizes.pop(out.untyped_storage().data_ptr(), 0)
    return sum(sizes.values()), ledger.peak - out.nbytes


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("is_padded", [False, True], ids=["", "padded"])
@pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])
@pytest.mark.parametrize("pattern", [Full(), Halves()], ids=["full", "halves"])
def test_the_fused_kernels_cost_is_what_it_keeps(pattern, biased, is_padded, prefix):
    """But for booleans of which queries see nothing; a mask of every pair is kept only where pattern or bias tell them apart."""
    grid = Grid((12, 12))
    bias = DistanceBias(HEADS).requires_grad_(False) if biased else NoBias()
    real = padded(4, grid) if is_padded else None
    case = Case(grid, ScaledDotProduct(), bias, pattern, 4, HEADS, 16, prefix=prefix, gradients=True, real=real)
    inputs = tokens(case.tokens, torch.float32, 4, width=16)
    found, held = kept_of("fused", case, inputs)
    cost = BACKENDS["fused"].cost(case)
    assert 0 <= found - cost.kept - cost.copies <= case.mask // len(grid)
    assert held <= 1.15 * (cost.memory + cost.copies) + 6 * inputs[0].nbytes  # a mask aside, some tensors of tokens
    if isinstance(pattern, Full) and not biased:
        assert found < 3 * inputs[0].nbytes < 4 * case.batch * case.tokens**2


@pytest.mark.parametrize("pattern", [Full(), Halves()], ids=["full", "halves"])
@pytest.mark.parametrize("backend", ["eager", "chunked"])
def test_what_padding_adds_to_the_cost_is_what_it_adds(pattern, backend):
    """Of plain products, whose other costs other tests hold to account."""
    grid = Grid((12, 12))
    cases = [
        Case(grid, ScaledDotProduct(), NoBias(), pattern, 4, HEADS, 16, gradients=True, real=real)
        for real in (None, padded(4, grid))
    ]
    inputs = tokens(len(grid), torch.float32, 4, width=16)
    plain, masked = (kept_of(backend, case, inputs)[0] for case in cases)
    costs = [BACKENDS[backend].cost(case).kept for case in cases]
    assert abs((masked - plain) - (costs[1] - costs[0])) <= 4 * 2 * len(grid)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gradients", [False, True])
def test_the_fused_kernel_takes_a_row(gradients, dtype):
    """And does not fall back to plain products, which make every pair after all."""
    inputs = tokens(len(GRID), dtype)
    with profile(activities=[ProfilerActivity.CPU]) as trace, nullcontext() if gradients else torch.no_grad():
        attend(*inputs, GRID, real=padded())
    names = [event.name for event in trace.events()]
    assert KERNEL in names
    assert "aten::_scaled_dot_product_attention_math" not in names


@pytest.mark.parametrize("pattern", [Full(), Window(3)], ids=["full", "window"])
def test_weights_on_padding_are_zero(pattern):
    attention, real = Attention(HEADS * WIDTH, HEADS, pattern=pattern).eval(), padded()
    weights = attention.weights(torch.randn(BATCH, *GRID.shape, HEADS * WIDTH), real=real)
    assert not weights.transpose(1, 3)[~real].any()
    sums = weights.sum(-1)
    torch.testing.assert_close(sums, sums.round())  # 0 where a query sees nothing
    assert (sums[0] > 0).all()
    assert not sums[-1].any()


def test_it_can_be_explained():
    attention = Attention(HEADS * WIDTH, HEADS, pattern=Full(), bias=DistanceBias(HEADS))
    plain, masked = (explain(attention, Grid((16, 16)), padded=which) for which in (False, True))
    assert (plain.backend, masked.backend) == ("streamed", "streamed")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 20 * 2**-9), (torch.float16, 20 * 2**-12)])
@pytest.mark.parametrize("count", [63, 64, 150, 600])  # lengths that the kernels align, or that are long
def test_on_cuda(count, dtype, bound):
    grid, real = Grid((count,)), padded(grid=Grid((count,)))
    inputs = [x.detach().cuda().requires_grad_() for x in tokens(count + 1, dtype, width=16)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    found = attend(*inputs, grid, prefix=1, real=real.cuda(), backend="fused")
    wanted = attend(*exact, grid, prefix=1, real=real.cuda(), backend="eager")
    cotangent = torch.randn_like(found)
    mine, theirs = (torch.autograd.grad(out, x, cotangent.to(out.dtype)) for out, x in ((found, inputs), (wanted, exact)))
    for one, other in zip((found, *mine), (wanted, *theirs), strict=True):
        assert (one.double() - other).abs().max() <= bound * max(float(other.detach().abs().max()), 1.0)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_what_streaming_hides_has_no_weight_in_any_precision(dtype, bound):
    """Whatever stands there: the output is to the bit what it is with other values, and near that of float64."""
    grid, real = Grid((5, 6)), padded(grid=Grid((5, 6)))
    bias = TableBias(HEADS, grid.shape, std=1.0)
    q, k, v = (x.detach() for x in tokens(len(grid), dtype, width=16))
    found = attend(q, k, v, grid, bias=bias, real=real, backend="streamed")
    hidden = ~real[:, None, :, None]
    other = attend(q, k.masked_fill(hidden, 9.0), v.masked_fill(hidden, -7.0), grid, bias=bias, real=real, backend="streamed")
    assert torch.equal(found, other)
    exact = attend(q.double(), k.double(), v.double(), grid, bias=bias.double(), real=real, backend="eager")
    assert (found.double() - exact).abs().max() < bound * exact.abs().max()
