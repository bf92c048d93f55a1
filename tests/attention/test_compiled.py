"""Axial attention compiled for this CPU, against its definition in float64; and what becomes of it without a compiler."""

from math import prod

import pytest
import torch

from tests.attention.test_axial import BIASES, assert_equal, definition, gradients
from vitkit.attention import Attention, Axial, ScaledDotProduct, attend, compiled, tiles
from vitkit.attention.backends import BACKENDS
from vitkit.attention.case import Case
from vitkit.attention.lines import Lines, Terms
from vitkit.bias import NoBias
from vitkit.grid import Grid
from vitkit.planning import Ledger

HEADS, BATCH = 2, 2
needs_compiler = pytest.mark.skipif(not compiled.serves("cpu", torch.float32, Lines((1,), (1,))), reason="needs a C++ compiler")


@pytest.fixture(autouse=True)
def _seeded():
    """Sums over many lines cancel to more or less, and a bound is for these numbers."""
    torch.manual_seed(0)


def tokens(count, width, scale=1.0):
    return [(scale * torch.randn(BATCH, HEADS, count, width)).requires_grad_() for _ in range(3)]


@needs_compiler
@pytest.mark.parametrize("width", [1, 16, 19, 48])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize(
    ("shape", "window"), [((7,), None), ((1, 1), None), ((4, 6, 8), 2), ((5, 1, 33), None), ((128, 3), None)]
)
def test_is_its_definition(shape, window, bias, masked, width):
    """In value and every gradient, for lines and heads of whole vectors and of parts of them, and queries that see nothing."""
    grid, logits, pattern = Grid(shape), BIASES[bias](shape), Axial(window)
    inputs, gates = tokens(len(grid), width), torch.randn(len(shape), HEADS, requires_grad=True)
    real = torch.rand(BATCH, len(grid)) > 0.6 if masked else None
    assert compiled.serves("cpu", torch.float32, Lines(shape, pattern.lengths(grid)))
    found = attend(*inputs, grid, bias=logits, pattern=pattern, gates=gates, real=real, backend="axial")
    cotangent = torch.randn(found.shape)
    mine = gradients(found, [*inputs, gates, *logits.parameters()], cotangent)
    exact, logits = [x.detach().double().requires_grad_() for x in (*inputs, gates)], logits.double()
    wanted = definition(*exact[:3], grid, pattern, logits, exact[3], real)
    assert_equal(found, wanted, 1e-5)
    theirs = gradients(wanted, [*exact, *logits.parameters()], cotangent.double())
    for one, other in zip(mine, theirs, strict=True):
        assert_equal(one, other, 1e-5)


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "lengths"),
    [((7, 30, 32), None), ((8, 28, 32), (4, 28, 8)), ((3, 40, 36), None), ((33, 32, 32), None), ((3, 9, 20, 30), None)],
    ids=["two axes at once, one alone", "windows", "each axis alone", "written past the caches", "four axes"],
)
def test_grids_too_large_for_the_cache(shape, lengths):
    """As plain torch has it in float64."""
    lines = Lines(shape, lengths or shape)
    q, k, v, cotangent = (torch.randn(1, prod(shape), HEADS, 32) for _ in range(4))
    biases = [torch.randn(HEADS, length, length) for length in lines.lengths]
    terms = Terms(0.2, biases, torch.randn(len(shape), HEADS), torch.rand(1, prod(shape)) > 0.3)
    exact = Terms(0.2, [bias.double() for bias in biases], terms.gates.double(), terms.real)
    assert_equal(compiled.forward(q, k, v, lines, terms), tiles.forward(q.double(), k.double(), v.double(), lines, exact), 1e-5)
    learned = [True] * len(shape)
    found = compiled.backward(cotangent, q, k, v, lines, terms, learned)
    wanted = tiles.backward(*(x.double() for x in (cotangent, q, k, v)), lines, exact, learned)
    for mine, theirs in zip((*found[0], found[1], *found[2]), (*wanted[0], wanted[1], *wanted[2]), strict=True):
        assert_equal(mine, theirs, 1e-5)


@needs_compiler
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("width", [16, 19])
def test_nothing_off_the_cross_has_influence(width, window):
    """To the bit, in whole vectors and in parts of them: a lane that is read beyond a line's end would show."""
    grid, pattern = Grid((4, 6, 10)), Axial(window)
    cross = pattern.allowed(grid)
    q, k, v = tokens(len(grid), width)
    assert compiled.serves("cpu", q.dtype, Lines(grid.shape, pattern.lengths(grid)))
    out = attend(q, k, v, grid, pattern=pattern, backend="axial")
    for query in range(0, len(grid), 17):
        of_q, of_k, of_v = torch.autograd.grad(out[0, 0, query].sum(), (q, k, v), retain_graph=True)
        assert torch.equal(of_q[0, 0].any(-1), torch.arange(len(grid)) == query)
        for grad in (of_k, of_v):
            assert torch.equal(grad[0, 0].any(-1), cross[query])
        for grad in (of_q, of_k, of_v):
            assert not grad[1].any()
            assert not grad[0, 1].any()


@needs_compiler
@pytest.mark.parametrize("scale", [1e-4, 1.0, 10.0, 1e3])
def test_scores_of_any_size(scale):
    """From a plain mean to a softmax of one key, whose scores go up to millions."""
    grid, inputs = Grid((9, 20)), tokens(180, 8, scale)
    found = attend(*inputs, grid, pattern=Axial(), backend="axial").unflatten(2, grid.shape)
    q, k, v = (x.detach().double().unflatten(2, grid.shape) for x in inputs)
    along = [
        torch.softmax(own @ other.mT / 8**0.5, -1) @ mean
        for own, other, mean in ((q, k, v), (x.transpose(2, 3) for x in (q, k, v)))
    ]
    wanted = along[0] + along[1].transpose(2, 3)
    assert (found.double() - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@needs_compiler
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_hidden(number):
    inputs = [x.detach() for x in tokens(12, 8)]
    inputs[0][0, 0, 5] = number
    out = attend(*inputs, Grid((3, 4)), pattern=Axial(), backend="axial")
    assert out[0, 0, 5].isnan().all()
    assert out[1].isfinite().all()
    assert out[0, 1].isfinite().all()


@needs_compiler
def test_threads_and_company_change_nothing():
    """A batch with others gives the same bits, on any number of threads."""
    attention, x = Attention(12, 2, pattern=Axial()), torch.randn(3, 6, 5, 7, 12)
    wanted, threads = attention(x), torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(attention(x), wanted)
    finally:
        torch.set_num_threads(threads)
    q, k, v = (torch.randn(3, 2, 24, 6) for _ in range(3))
    together = attend(q, k, v, Grid((4, 6)), pattern=Axial(), backend="axial")
    for one in range(3):
        assert torch.equal(attend(*(x[one : one + 1] for x in (q, k, v)), Grid((4, 6)), pattern=Axial())[0], together[one])


@needs_compiler
def test_threads_and_company_change_no_gradient():
    """On a grid whose axes do not all fit into one buffer."""
    lines, threads = Lines((6, 30, 32), (3, 30, 32)), torch.get_num_threads()
    q, k, v, cotangent = (torch.randn(2, 6 * 30 * 32, HEADS, 32) for _ in range(4))
    terms, none = Terms(0.2, [None] * 3), [False] * 3
    wanted = compiled.backward(cotangent, q, k, v, lines, terms, none)[0]
    try:
        torch.set_num_threads(3)
        found = compiled.backward(*(x[1:] for x in (cotangent, q, k, v)), lines, terms, none)[0]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other[1:]) for one, other in zip(found, wanted, strict=True))


@needs_compiler
@pytest.mark.parametrize("gradients", [False, True])
def test_it_holds_nothing_but_the_gradients(gradients):
    grid = Grid((8, 9, 10))
    q, k, v = (torch.randn(1, len(grid), 3, 16).transpose(1, 2).requires_grad_(gradients) for _ in range(3))
    case = Case(grid, ScaledDotProduct(), NoBias(), Axial(), 1, 3, 16, gradients=gradients)
    with Ledger() as ledger, torch.set_grad_enabled(gradients):
        out = attend(q, k, v, grid, pattern=Axial(), backend="axial")
        if gradients:
            out.backward(torch.ones_like(out))
    assert ledger.peak == out.nbytes * (5 if gradients else 1)  # the output, its gradient, and three gradients
    assert BACKENDS["axial"].cost(case).memory == 0


def test_without_it_torch_does_the_same(monkeypatch):
    inputs, grid = tokens(30, 8), Grid((5, 6))
    wanted = attend(*inputs, grid, pattern=Axial(), backend="axial")
    monkeypatch.setattr(compiled.axial, "library", lambda *_: None)
    assert not compiled.serves("cpu", torch.float32, Lines((5, 6), (5, 6)))
    torch.testing.assert_close(attend(*inputs, grid, pattern=Axial(), backend="axial"), wanted)


def test_other_types_and_long_lines_are_left_to_torch():
    assert not compiled.serves("cpu", torch.float64, Lines((5,), (5,)))
    assert not compiled.serves("cpu", torch.bfloat16, Lines((5,), (5,)))
    assert not compiled.serves("cuda", torch.float32, Lines((5,), (5,)))
    assert not compiled.serves("cpu", torch.float32, Lines((compiled.LONGEST + 1,), (compiled.LONGEST + 1,)))
