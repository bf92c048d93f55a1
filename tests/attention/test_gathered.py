"""Gathered attention against its definition where a pattern's contract does not go: prefixes, chunks, precision, memory."""

import pytest
import torch

from tests.attention.contract import BIASES, HEADS, assert_exact, definition
from vitkit.attention import AlongAxis, Dilated, Full, Global, Neighbourhood, Pattern, Union, Window, attend, gathered
from vitkit.attention.gathered import gathered_attention
from vitkit.attention.plan import plan
from vitkit.bias import KeyBias, NoBias, PrefixBias, SpectralBias, TableBias
from vitkit.grid import Grid
from vitkit.spectral import Exponential

SHAPE = (9, 7)
GRID = Grid(SHAPE)
PATTERNS = {
    "window": Window(3),
    "shifted": Window((4, 3), shift=(2, 1), overlap=1),
    "dilated": Dilated((2, 3)),
    "neighbourhood": Neighbourhood(1),
    "far neighbourhood": Neighbourhood(2, dilation=2),
    "global": Global([[0, 0], [4, 4]]),
    "union": Union([Window(3), Neighbourhood(1), Global(stride=4)]),
    "full": Full(),
}
EVERY = pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)


@EVERY
@pytest.mark.parametrize("name", BIASES)
@pytest.mark.parametrize("prefix", [1, 3])
def test_the_prefix_sees_all_and_all_see_it(pattern, name, prefix):
    assert_exact(GRID, pattern, BIASES[name](SHAPE), prefix)


@EVERY
@pytest.mark.parametrize(
    "bias",
    [
        lambda: PrefixBias(HEADS),
        lambda: TableBias(HEADS, SHAPE, std=1.0) + PrefixBias(HEADS),
        lambda: KeyBias(HEADS, SHAPE, std=1.0),
        lambda: TableBias(HEADS, SHAPE, std=1.0) + KeyBias(HEADS, SHAPE, std=1.0) + PrefixBias(HEADS),
    ],
)
@pytest.mark.parametrize("prefix", [0, 2])
def test_any_bias(pattern, bias, prefix):
    made = bias()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    assert_exact(GRID, pattern, made, prefix)


@EVERY
@pytest.mark.parametrize("elements", [1, 50, 600])
def test_how_much_is_computed_at_once_changes_nothing(pattern, elements, monkeypatch):
    monkeypatch.setattr(gathered, "CPU_ELEMENTS", elements)
    assert_exact(GRID, pattern, TableBias(HEADS, SHAPE, std=1.0), prefix=1)
    assert_exact(GRID, pattern, KeyBias(HEADS, SHAPE, std=1.0))


@EVERY
@pytest.mark.parametrize("name", BIASES)
def test_single_precision(pattern, name):
    bias = BIASES[name](SHAPE)
    inputs = [torch.randn(2, HEADS, 2 + len(GRID), 8, requires_grad=True) for _ in range(3)]
    variables = [*inputs, *bias.parameters()]
    found = gathered_attention(*inputs, GRID, pattern, bias, 2)
    cotangent = torch.randn_like(found)
    mine = torch.autograd.grad(found, variables, cotangent, allow_unused=True, materialize_grads=True)
    bias.double()
    inputs = [x.detach().double().requires_grad_() for x in inputs]
    variables = [*inputs, *bias.parameters()]
    wanted = definition(*inputs, GRID, pattern, bias, 2)
    theirs = torch.autograd.grad(wanted, variables, cotangent.double(), allow_unused=True, materialize_grads=True)
    for ours, reference in zip((found, *mine), (wanted, *theirs), strict=True):
        torch.testing.assert_close(ours.double(), reference, rtol=0, atol=1e-5 * max(float(reference.detach().abs().max()), 1.0))


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(pattern, dtype):
    bias = BIASES["spectral"](SHAPE)
    half = [torch.randn(2, HEADS, 1 + len(GRID), 8).to(dtype).requires_grad_() for _ in range(3)]
    single = [x.detach().float().requires_grad_() for x in half]
    found, wanted = (gathered_attention(*inputs, GRID, pattern, bias, 1) for inputs in (half, single))
    assert found.dtype == dtype
    assert torch.equal(found, wanted.to(dtype))
    cotangent = torch.randn_like(found)
    for mine, other in zip(
        torch.autograd.grad(found, half, cotangent), torch.autograd.grad(wanted, single, cotangent.float()), strict=True
    ):
        assert torch.equal(mine, other.to(dtype))


def test_gradcheck():
    bias = SpectralBias(Exponential(1, 2)).double()
    inputs = [torch.randn(1, 1, 7, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    pattern = Union([Window(2), Neighbourhood(1)])

    def function(q, k, v, *parameters):
        return gathered_attention(q, k, v, Grid((2, 3)), pattern, bias, prefix=1)

    assert torch.autograd.gradcheck(function, (*inputs, *bias.parameters()), fast_mode=True)


@pytest.mark.parametrize("size", [1e-6, 1e3, 1e6])
def test_scores_of_any_size(size):
    for pattern in PATTERNS.values():
        q, k, v = (torch.randn(1, HEADS, len(GRID), 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
        found, wanted = (f(q * size, k, v, GRID, pattern, NoBias()) for f in (gathered_attention, definition))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(found.sum(), (q, k, v)))


def test_its_scale_can_be_given():
    q, k, v = torch.randn(3, 1, HEADS, len(GRID), 4, dtype=torch.float64)
    found = gathered_attention(q, k, v, GRID, Window(3), NoBias(), scale=2.0)
    torch.testing.assert_close(found, definition(4 * q, k, v, GRID, Window(3), NoBias()), rtol=0, atol=1e-12)


def test_queries_that_see_nothing_get_zeros():
    class Blind(Pattern):
        def allowed(self, grid):
            return (torch.arange(len(grid)) % 2 > 0)[:, None].expand(-1, len(grid))

    inputs = [torch.randn(1, HEADS, len(GRID), 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    for pattern in (Blind(), Union([Blind(), Blind()])):
        out = gathered_attention(*inputs, GRID, pattern, TableBias(HEADS, SHAPE))
        assert not out[:, :, ::2].any()
        assert out[:, :, 1::2].all()
        grads = torch.autograd.grad(out.sum(), inputs)
        assert all(grad.isfinite().all() for grad in grads)
        assert not grads[0][:, :, ::2].any()
    joined = Union([Blind(), Window(3)])
    torch.testing.assert_close(
        gathered_attention(*inputs, GRID, joined, NoBias()), definition(*inputs, GRID, joined, NoBias()), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("pattern", "steps"), [(Window((3, 2)), (3, 2)), (Dilated((2, 4)), (1, 1)), (Dilated((2, 4)), (3, 5))])
def test_moving_the_content_moves_what_comes_out(pattern, steps):
    grid = Grid((6, 8))
    q, k, v = torch.randn(3, 1, HEADS, 6, 8, 4, dtype=torch.float64)

    def run(*inputs):
        return gathered_attention(*(x.flatten(2, 3) for x in inputs), grid, pattern, NoBias()).unflatten(2, (6, 8))

    moved = run(*(x.roll(steps, (2, 3)) for x in (q, k, v)))
    torch.testing.assert_close(moved, run(q, k, v).roll(steps, (2, 3)), rtol=0, atol=1e-13)


def test_a_neighbourhood_with_a_stationary_bias_is_translation_equivariant():
    bias = SpectralBias(Exponential(HEADS, 2)).double()
    q, k, v = torch.randn(3, 1, HEADS, 10, 9, 4, dtype=torch.float64)

    def run(*inputs):
        return gathered_attention(*(x.flatten(2, 3) for x in inputs), Grid((10, 9)), Neighbourhood(2), bias).unflatten(2, (10, 9))

    moved = run(*(x.roll((1, 1), (2, 3)) for x in (q, k, v)))
    # What has all its neighbours within the grid, before and after.
    torch.testing.assert_close(moved[:, :, 3:-2, 3:-2], run(q, k, v)[:, :, 2:-3, 2:-3], rtol=0, atol=1e-13)


def test_within_a_group_order_does_not_matter():
    q, k, v = torch.randn(3, 1, HEADS, 12, 4, dtype=torch.float64)
    order = torch.arange(12).view(4, 3)[torch.randperm(4)].flatten()  # within residues modulo 3
    moved = gathered_attention(q[:, :, order], k[:, :, order], v[:, :, order], Grid((12,)), Dilated(3), NoBias())
    out = gathered_attention(q, k, v, Grid((12,)), Dilated(3), NoBias())
    torch.testing.assert_close(moved, out[:, :, order], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["window", "neighbourhood", "union"])
def test_what_is_kept_for_the_backward_pass_grows_with_tokens_alone(name):
    pattern = Union([Window(4), Neighbourhood(1), Global([[0, 0]])]) if name == "union" else PATTERNS[name]

    def kept(side):
        numbers = []
        inputs = [torch.randn(1, HEADS, side**2, 4, requires_grad=True) for _ in range(3)]
        bias = SpectralBias(Exponential(HEADS, 2))
        with torch.autograd.graph.saved_tensors_hooks(lambda x: numbers.append(x.numel()) or x, lambda x: x):
            gathered_attention(*inputs, Grid((side, side)), pattern, bias)
        return sum(numbers)

    assert kept(48) <= kept(24) * 4


def test_a_plan_is_made_once():
    pattern = Window(3)
    device = torch.device("cpu")
    assert plan(pattern, SHAPE, 1, True, device) is plan(pattern, SHAPE, 1, True, device)
    assert plan(pattern, SHAPE, 1, True, device) is not plan(Window(3), SHAPE, 1, True, device)
    # Nine tokens a window, or as many as fit at the border, with one prefix token each; the prefix sees all.
    assert plan(pattern, SHAPE, 1, True, device).entries == sum(a * b * (a * b + 1) for a in (3, 3, 3) for b in (3, 3, 1)) + 64


def test_a_plan_made_without_gradients_serves_with_them():
    pattern = Neighbourhood(2)
    with torch.inference_mode():
        gathered_attention(*torch.randn(3, 1, HEADS, len(GRID), 4), GRID, pattern, NoBias())
    assert_exact(GRID, pattern, TableBias(HEADS, SHAPE, std=1.0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, as it traces
def test_it_stands_within_what_is_compiled():
    bias = SpectralBias(Exponential(HEADS, 2)).double()
    inputs = [torch.randn(1, HEADS, 1 + len(GRID), 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def function(q, k, v):
        return gathered_attention(2 * q, k, v, GRID, PATTERNS["union"], bias, prefix=1).square()

    variables = [*inputs, *bias.parameters()]
    found, wanted = torch.compile(function, backend="aot_eager")(*inputs), function(*inputs)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    for mine, other in zip(*(torch.autograd.grad(out.sum(), variables) for out in (found, wanted)), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("pattern", [Window(2), Neighbourhood(1), Union([Window(2), Global(tokens=[[0, 1]])]), AlongAxis(1)])
def test_tokens_that_may_not_be_seen(pattern, prefix):
    """A query that sees nothing gets zeros, and no gradient comes from it."""
    torch.manual_seed(0)
    grid, bias = Grid((4, 6)), (TableBias(HEADS, (4, 6), std=1.0) + PrefixBias(HEADS)).double()
    inputs = [torch.randn(2, HEADS, prefix + 24, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    real = torch.rand(2, 24) > 0.6
    results = []
    for backend in ("gathered", "eager"):
        out = attend(*inputs, grid, bias=bias, pattern=pattern, prefix=prefix, real=real, backend=backend)
        variables = [*inputs, *bias.parameters()]
        results.append(
            [out, *torch.autograd.grad(out, variables, torch.ones_like(out), allow_unused=True, materialize_grads=True)]
        )
    for found, wanted in zip(*results, strict=True):
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, wanted)
