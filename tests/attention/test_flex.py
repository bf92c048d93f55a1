"""FlexAttention: what it computes, on the CPU and where there is CUDA in its kernels; what it refuses, and when it is chosen."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import flex_attention as torch_flex
from torch.nn.functional import pad

from tests.attention.test_backends import Row, definition
from vitkit.attention import (
    Additive,
    Attention,
    Bilinear,
    Cosine,
    Dilated,
    Full,
    Global,
    Neighbourhood,
    ScaledDotProduct,
    SparsePattern,
    Union,
    Window,
    attend,
    explain,
)
from vitkit.attention.backends import BACKENDS, choose, flex
from vitkit.attention.case import Case
from vitkit.attention.flex import TILE, block_mask, flex_attention
from vitkit.attention.patterns import Blocks
from vitkit.bias import KeyBias, NoBias, PrefixBias, SpectralBias, TableBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Exponential

pytestmark = [
    pytest.mark.usefixtures("unchecked"),  # torch traces score and mask, but not the checker around them
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),  # torch's own, as it traces
]
HEADS, WIDTH, BATCH = 2, 16, 2
GRID = Grid((13, 11))
LARGE = Grid((32, 32))


class Late(SparsePattern):
    """Who stands in the first tile sees nothing, and the others what stands before them."""

    def sees(self, grid, query, key):
        return (query >= TILE) & (key < query)

    def blocks(self, grid):
        tokens = torch.arange(len(grid))
        queries = tokens[TILE:]
        return [Blocks(queries[None], tokens[None], (tokens < queries[:, None])[None])]


PATTERNS = {
    "full": Full(),
    "window": Window((4, 3), shift=(2, 1), overlap=1),
    "dilated": Dilated(2),
    "neighbourhood": Neighbourhood(1),
    "union": Union([Window(3), Neighbourhood(2, dilation=2), Global([[0] * 2]), Global(stride=5)]),
}
BIASES = {
    "none": lambda shape: NoBias(),
    "table": lambda shape: TableBias(HEADS, shape, std=1.0),
    "spectral and prefix": lambda shape: SpectralBias(Exponential(HEADS, len(shape), outputscale=3.0)) + PrefixBias(HEADS),
    "prefix": lambda shape: PrefixBias(HEADS),
    "key": lambda shape: KeyBias(HEADS, shape, std=1.0),
}


def made(name, shape):
    """A bias with logits that are no zeros."""
    bias = BIASES[name](shape).double()
    with torch.no_grad():
        for parameter in bias.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return bias


def inputs_of(tokens, dtype=torch.float64, kv_heads=HEADS):
    """Numbers of the lower precision, if one is asked for."""
    return [torch.randn(BATCH, heads, tokens, WIDTH).to(dtype) for heads in (HEADS, kv_heads, kv_heads)]


@torch.no_grad()
def run(grid, pattern=Full(), bias=NoBias(), prefix=0, scorer=ScaledDotProduct(), dtype=torch.float64, kv_heads=HEADS):
    """What it makes of it, and what is defined."""
    q, k, v = inputs_of(prefix + len(grid), dtype, kv_heads)
    found = attend(q, k, v, grid, bias=bias, pattern=pattern, scorer=scorer, prefix=prefix, backend="flex")
    assert found.dtype == dtype
    q, k, v = (x.double().repeat_interleave(HEADS // x.shape[1], dim=1) for x in (q, k, v))
    return found.double(), definition(q, k, v, scorer, bias, pattern, prefix, None, grid)


SOME = [("table", 0), ("spectral and prefix", 3)]
EVERY = [*SOME, ("none", 2), ("prefix", 1), ("key", 1)]


@pytest.mark.parametrize(
    ("pattern", "bias", "prefix"),
    [(name, *case) for name in PATTERNS for case in (EVERY if name in ("full", "union") else SOME)],
)
def test_agrees_with_the_definition(pattern, bias, prefix):
    found, wanted = run(GRID, PATTERNS[pattern], made(bias, GRID.shape), prefix)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pattern", [Full(), Union([Neighbourhood(2), Dilated(3)])], ids=["full", "union"])
@pytest.mark.parametrize("shape", [(1,), (150,), (3, 7, 8)])
def test_on_lines_and_in_volumes(shape, pattern):
    found, wanted = run(Grid(shape), pattern, made("spectral and prefix", shape), prefix=1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scorer", [lambda: Cosine(HEADS), lambda: Bilinear(HEADS, WIDTH, temperature=0.7, learned=True)])
def test_any_dot_product_and_shared_keys(scorer):
    found, wanted = run(GRID, Window(4), made("table", GRID.shape), scorer=scorer().double(), kv_heads=1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prefix", [0, 1])
def test_queries_that_see_nothing_get_zeros(prefix):
    found, wanted = run(Grid((2 * TILE + 5,)), Late(), made("table", (2 * TILE + 5,)), prefix)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert found[:, :, TILE + prefix :].any(-1).all()
    assert found[:, :, prefix : TILE + prefix].any() == (prefix > 0)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 16 * 2**-9), (torch.float16, 16 * 2**-12)])
def test_lower_precision_stays_within_its_rounding(dtype, bound):
    found, wanted = run(GRID, Window(4), made("spectral and prefix", GRID.shape), 2, dtype=dtype)
    assert (found - wanted).abs().max() <= bound * wanted.abs().max()


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's own, of its reference
@pytest.mark.parametrize(("pattern", "name"), [("union", "spectral and prefix"), ("full", "key")])
def test_its_definition_has_the_gradients_of_attention(pattern, name, monkeypatch):
    """Torch's reference has a backward pass on the CPU, and only its front door is shut."""
    if not hasattr(torch_flex, "_validate_device"):
        pytest.skip("another front door")
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)
    bias = made(name, GRID.shape)
    inputs = [x.requires_grad_() for x in inputs_of(2 + len(GRID))]
    found = flex_attention(*inputs, GRID, PATTERNS[pattern], bias, 2)
    wanted = definition(*inputs, ScaledDotProduct(), bias, PATTERNS[pattern], 2, None, GRID)
    within(found, wanted, [*inputs, *bias.parameters()], [*inputs, *bias.parameters()], 1e-10)


def within(found, wanted, ours, theirs, bound):
    """Value and gradients, to a share of the largest number of each, or of a thousandth of the largest of all gradients."""
    cotangent = torch.randn_like(wanted).to(found.dtype)
    mine = torch.autograd.grad(found, ours, cotangent.to(found.device))
    others = torch.autograd.grad(wanted, theirs, cotangent.double())
    least = 1e-3 * max(float(other.abs().max()) for other in others)
    for x, y in zip((found, *mine), (wanted, *others), strict=True):
        assert (x.detach().cpu().double() - y).abs().max() <= bound * max(float(y.detach().abs().max()), least)


@pytest.mark.parametrize("prefix", [0, 1, TILE + 1])
@pytest.mark.parametrize("pattern", [PATTERNS["window"], PATTERNS["dilated"], PATTERNS["union"], Late()])
def test_its_tiles_hold_what_torch_finds_in_the_mask_of_every_pair(pattern, prefix):
    grid = Grid((20, 15))
    mask = block_mask(pattern, grid.shape, prefix, torch.device("cpu"))
    tokens = torch.arange(prefix + len(grid))
    allowed = mask.mask_mod(torch.tensor(0), torch.tensor(0), tokens[:, None], tokens)
    assert torch.equal(allowed, pad(pattern.allowed(grid), (prefix, 0, prefix, 0), value=True))

    def rule(batch, head, query, key):  # by its signature torch knows a mask
        return mask.mask_mod(batch, head, query, key)

    wanted = torch_flex.create_block_mask(rule, None, None, len(tokens), len(tokens), device="cpu")
    assert mask.shape == wanted.shape
    assert torch.equal(mask.to_dense(), wanted.to_dense())


def test_tiles_of_a_neighbourhood_are_few():
    # A tile is two rows of the grid, whose neighbours stand in it and in those before and after.
    assert block_mask(Neighbourhood(1), (64, 64), 0, torch.device("cpu")).kv_num_blocks.max() == 3


def test_a_mask_is_made_once_and_serves_with_gradients_later():
    pattern, device = Window(3), torch.device("cpu")
    with torch.inference_mode():
        mask = block_mask(pattern, GRID.shape, 1, device)
    assert mask is block_mask(pattern, GRID.shape, 1, device)
    assert not mask.kv_indices.is_inference()


def test_every_grid_is_compiled():
    # Beyond torch's own limit of eight it would run uncompiled, with a warning.
    for length in range(2, 11):
        found, wanted = run(Grid((length,)))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@torch.no_grad()
def test_it_stands_within_what_is_compiled():
    bias, (q, k, v) = made("spectral and prefix", GRID.shape), inputs_of(1 + len(GRID))

    def function(q, k, v):
        return attend(2 * q, k, v, GRID, bias=bias, pattern=PATTERNS["union"], prefix=1, backend="flex").square()

    torch.testing.assert_close(torch.compile(function, backend="aot_eager")(q, k, v), function(q, k, v), rtol=0, atol=1e-12)


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    """The same answers about CUDA on a machine without it."""
    monkeypatch.setattr(flex, "TRITON", True)


def spectral():
    return SpectralBias(Exponential(HEADS, 2))


CUDA = Case(LARGE, ScaledDotProduct(), spectral(), Full(), BATCH, HEADS, WIDTH, gradients=True, device="cuda")
CPU = replace(CUDA, gradients=False, device="cpu")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (replace(CPU, gradients=True), "on the CPU torch's FlexAttention has no backward pass"),
        (replace(CPU, scorer=Additive(HEADS, WIDTH)), "Additive scores are no dot product"),
        (replace(CPU, pattern=Row()), "Row is no sparse pattern"),
        (replace(CPU, pattern=Union([Window(2), Row()])), "Union is no sparse pattern"),
        (replace(CPU, kept=9), "tokens were removed"),
        (replace(CPU, dropout=0.1), "it has no dropout"),
        (replace(CPU, head_dim=48), "heads whose width is a power of two, not 48"),
        (replace(CUDA, device="mps"), "it is made for CUDA"),
        (replace(CUDA, dtype=torch.float64), "on CUDA it sums in single precision"),
        (replace(CUDA, head_dim=8), "heads of at least 16 and 128 tokens, not 8 and 1024"),
        (replace(CUDA, grid=Grid((8, 8))), "heads of at least 16 and 128 tokens, not 16 and 64"),
    ],
)
def test_refuses_with_the_reason(case, reason):
    with pytest.raises(UsageError, match=f"backend='flex', but .*{reason}.*; expected one that serves: .*eager"):
        choose(case, "flex")
    assert choose(case)[0] != "flex"


def test_refuses_without_triton_and_what_has_no_fixed_order(monkeypatch):
    torch.use_deterministic_algorithms(True)
    try:
        assert "no fixed order" in BACKENDS["flex"].serves(CUDA)
        assert BACKENDS["flex"].serves(replace(CUDA, bias=NoBias())) is None
    finally:
        torch.use_deterministic_algorithms(False)
    monkeypatch.setattr(flex, "TRITON", False)
    assert "triton, which is not installed" in BACKENDS["flex"].serves(CUDA)


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        (CUDA, True),
        (replace(CUDA, dtype=torch.bfloat16, prefix=1, bias=TableBias(HEADS, LARGE.shape) + PrefixBias(HEADS)), True),
        (replace(CUDA, pattern=Neighbourhood(2)), True),
        (replace(CUDA, pattern=Window(4), bias=NoBias(), gradients=False), True),
        (replace(CUDA, pattern=Union([Window(4), Global([[0, 0]])]), bias=KeyBias(HEADS, LARGE.shape)), True),
        (replace(CUDA, grid=GRID), False),  # few tokens
        (replace(CUDA, gradients=False), False),
        (replace(CUDA, bias=spectral().requires_grad_(False)), False),
        (replace(CUDA, bias=KeyBias(HEADS, LARGE.shape)), False),
        (replace(CUDA, bias=NoBias()), False),
        (CPU, False),
        (replace(CPU, pattern=Window(4)), False),
    ],
)
def test_is_chosen_on_cuda_for_many_tokens(case, wanted):
    name, why = choose(case)
    assert (name == "flex") == wanted
    assert not wanted or why.startswith("1024 tokens are many" if not case.prefix else "1025 tokens are many")
    assert choose(case, "flex")[0] == "flex"


def test_is_explained():
    attention = Attention(HEADS * WIDTH, HEADS, bias=spectral())
    text = str(explain(attention, LARGE, device="cuda"))
    assert text.startswith(
        "flex: torch's FlexAttention, a kernel compiled for this bias and pattern\n  because 1024 tokens are many"
    )
    assert "on the CPU torch's FlexAttention has no backward pass" in str(explain(attention, LARGE))


def test_its_cost_is_that_of_its_tiles():
    cost = BACKENDS["flex"].cost
    assert cost(CUDA).flops == BACKENDS["fused"].cost(CUDA).flops
    tiles = block_mask(Neighbourhood(1), LARGE.shape, 0, torch.device("cpu")).kv_num_blocks.sum()
    assert cost(replace(CUDA, pattern=Neighbourhood(1))).flops * (len(LARGE) // TILE) ** 2 == cost(CUDA).flops * tiles
    assert cost(CUDA).memory < 2**20 < HEADS * len(LARGE) ** 2 * 4 < cost(replace(CUDA, bias=KeyBias(HEADS, LARGE.shape))).memory


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float32, 600 * 2**-23), (torch.bfloat16, 16 * 2**-9), (torch.float16, 16 * 2**-12)],
    ids=["float32", "bfloat16", "float16"],
)
@pytest.mark.parametrize(("bias", "prefix"), [("none", 2), ("table", 0), ("spectral and prefix", 3), ("key", 1)])
@pytest.mark.parametrize("pattern", [*PATTERNS, "late"])
def test_its_kernels_agree_with_the_definition(pattern, bias, prefix, dtype, bound):
    """In float32, all roundings of sums of some 600 terms may add; below it, sixteen roundings of what is of the largest size."""
    grid, pattern = Grid((24, 24)), PATTERNS.get(pattern, Late())
    exact = made(bias, grid.shape).float().double()
    single = BIASES[bias](grid.shape)
    single.load_state_dict(exact.state_dict())
    single.cuda()
    lower = [x.cuda().requires_grad_() for x in inputs_of(prefix + len(grid), dtype)]
    double = [x.detach().cpu().double().requires_grad_() for x in lower]
    found = attend(*lower, grid, bias=single, pattern=pattern, prefix=prefix, backend="flex")
    assert found.dtype == dtype
    wanted = definition(*double, ScaledDotProduct(), exact, pattern, prefix, None, grid)
    within(found, wanted, [*lower, *single.parameters()], [*double, *exact.parameters()], bound)
