import pytest
import torch

from vitkit.attention import streamed
from vitkit.attention.streamed import streamed_attention
from vitkit.bias import expand

SHAPES = [(1,), (7,), (5, 6), (1, 4), (4, 1), (2, 3, 4), (3, 1, 2)]


def eager(q, k, v, table, shape, prefix, around=None):
    """By definition, in the precision of its arguments."""
    logits = torch.nn.functional.pad(expand(table, shape), (prefix, 0, prefix, 0))
    if around is not None:
        is_prefix = (torch.arange(q.shape[2]) < prefix).to(q.dtype)
        query, key = is_prefix[:, None], is_prefix[None]
        masks = torch.stack([(1 - query) * key, query * (1 - key), query * key])
        logits = logits + torch.einsum("hm,mqk->hqk", around, masks)
    return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + logits).softmax(-1) @ v


def make(shape, prefix, dtype, batch=2, heads=3, head_dim=8, scale=1.0):
    generator = torch.Generator().manual_seed(len(shape) + prefix)
    tokens = prefix + torch.Size(shape).numel()
    sizes = [(batch, heads, tokens, head_dim)] * 3 + [(heads, *(2 * n - 1 for n in shape))]
    return [(scale * torch.randn(size, generator=generator)).to(dtype).requires_grad_() for size in sizes]


@pytest.fixture(params=[1, 3, 10**6], ids=["tiles of one", "small tiles", "one tile"])
def most(request, monkeypatch):
    """Tiles of all sizes: of single tokens, of a number that divides nothing, and of everything."""
    tiles = streamed._tiles
    monkeypatch.setattr(streamed, "_tiles", lambda shape, prefix, _: tiles(shape, prefix, request.param))


@pytest.mark.usefixtures("most")
@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_its_definition_in_value_and_every_gradient(shape, prefix):
    inputs = make(shape, prefix, torch.float64)
    found, wanted = streamed_attention(*inputs, shape, prefix), eager(*inputs, shape, prefix)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-13)
    cotangent = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad(output, inputs, cotangent) for output in (found, wanted))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("most")
@pytest.mark.parametrize("shape", SHAPES)
def test_prefix_logits_agree_in_value_and_every_gradient(shape):
    inputs = [*make(shape, 2, torch.float64), torch.randn(3, 3, dtype=torch.float64, requires_grad=True)]
    q, k, v, table, around = inputs
    found, wanted = streamed_attention(q, k, v, table, shape, 2, around), eager(q, k, v, table, shape, 2, around)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-13)
    cotangent = torch.randn_like(wanted)
    ours, theirs = (torch.autograd.grad(output, inputs, cotangent) for output in (found, wanted))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 2, 2)])
def test_gradcheck(shape):
    inputs = make(shape, 1, torch.float64, heads=1, head_dim=2)
    inputs.append(torch.randn(1, 3, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(
        lambda *tensors: streamed_attention(*tensors[:4], shape, 1, tensors[4], 0.6), inputs, fast_mode=True
    )


@pytest.mark.parametrize(("dtype", "unit"), [(torch.float32, 2**-24), (torch.bfloat16, 2**-9), (torch.float16, 2**-12)])
def test_lower_precision_stays_within_its_rounding(dtype, unit):
    """Values are means of numbers of order one; a gradient sums over the tokens, and over the batch for the table."""
    shape, prefix = (9, 8), 1
    exact = make(shape, prefix, torch.float64)
    inputs = [x.detach().to(dtype if index < 3 else torch.float32).requires_grad_() for index, x in enumerate(exact)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    found, wanted = streamed_attention(*inputs, shape, prefix), eager(*exact, shape, prefix)
    assert found.dtype == dtype
    cotangent = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    ours, theirs = torch.autograd.grad(found, inputs, cotangent), torch.autograd.grad(wanted, exact, cotangent.double())
    pairs = [(found, wanted), *zip(ours, theirs, strict=True)]
    for mine, other in pairs:
        # A sum of n roundings with random signs grows with the root of n, the tokens; four such sums follow one another (scores,
        # normaliser, output, gradient).
        assert (mine.double() - other).abs().max() <= 4 * found.shape[2] ** 0.5 * unit * other.abs().max()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0])
def test_very_small_and_very_large_logits(scale):
    shape = (5, 6)
    inputs = make(shape, 0, torch.float64, scale=scale)
    found, wanted = streamed_attention(*inputs, shape), eager(*inputs, shape, 0)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-13 * scale)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(found.sum(), inputs))


def test_only_what_is_needed_is_saved():
    """Memory grows with N and not with its square: what is kept for the backward pass is a handful of token tensors."""
    shape = (24, 24)
    inputs = make(shape, 0, torch.float32, batch=1)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        streamed_attention(*inputs, shape)
    assert sum(kept) <= 6 * inputs[0].numel() + inputs[3].numel()
