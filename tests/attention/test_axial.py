"""Axial attention against the sum of masked full attentions, in value and in every gradient, and what only it promises."""

from dataclasses import replace

import pytest
import torch

from vitkit.attention import Additive, Attention, Axial, Bilinear, Cosine, ScaledDotProduct, attend, axial, compiled, tiles
from vitkit.attention.backends import BACKENDS, choose
from vitkit.attention.case import Case
from vitkit.attention.lines import Lines
from vitkit.bias import KeyBias, NoBias, PrefixBias, SpectralBias, TableBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.planning import Ledger
from vitkit.spectral import Exponential

HEADS, WIDTH, BATCH = 2, 4, 2
SHAPES = [(7,), (1, 1), (5, 6), (4, 6, 8), (5, 1, 7)]
BIASES = {
    "none": lambda shape: NoBias(),
    "table": lambda shape: TableBias(HEADS, shape, std=1.0),
    "spectral": lambda shape: SpectralBias(Exponential(HEADS, len(shape), lengthscale=2.0, outputscale=3.0)),
}


def tokens(count, dtype=torch.float64, scale=1.0):
    return [(scale * torch.randn(BATCH, HEADS, count, WIDTH, dtype=torch.float64)).to(dtype).requires_grad_() for _ in range(3)]


def definition(q, k, v, grid, pattern, bias, gates=None, real=None):
    """Axis by axis: softmax over all pairs, of which those off the line are left out."""
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
    logits = bias(grid)
    if logits is not None:
        scores = scores + logits
    out = torch.zeros_like(v)
    for index, term in enumerate(pattern.terms(grid)):
        allowed = term.allowed(grid)[None, None]
        if real is not None:
            allowed = allowed & real[:, None, None]
        weights = torch.where(allowed, scores, 0).exp() * allowed
        total = weights.sum(-1, keepdim=True)
        mean = weights / torch.where(total > 0, total, 1) @ v
        out = out + (mean if gates is None else mean * gates[index, :, None, None])
    return out


def gradients(out, variables, cotangent):
    return torch.autograd.grad(out, variables, cotangent.to(out.dtype), allow_unused=True, materialize_grads=True)


def assert_equal(found, wanted, tolerance=1e-10):
    assert torch.isfinite(found).all()
    assert (found.double() - wanted).abs().max() <= tolerance * max(float(wanted.detach().abs().max()), 1.0)


@pytest.mark.parametrize("backend", ["axial", "summed"])
@pytest.mark.parametrize("window", [None, 2, 100])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("gated", [False, True], ids=["", "gated"])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_sum_of_masked_full_attentions(shape, bias, gated, masked, window, backend):
    grid, logits, pattern = Grid(shape), BIASES[bias](shape).double(), Axial(window)
    inputs = tokens(len(grid))
    gates = torch.randn(len(shape), HEADS, dtype=torch.float64, requires_grad=True) if gated else None
    real = torch.rand(BATCH, len(grid)) > 0.4 if masked else None
    options = {"bias": logits, "pattern": pattern, "gates": gates, "real": real, "backend": backend}
    if backend == "axial" and window == 2 and any(length % 2 and length > 1 for length in shape):
        with pytest.raises(UsageError, match="a window that does not divide its axis"):
            attend(*inputs, grid, **options)
        return
    variables = [*inputs, *logits.parameters(), *([] if gates is None else [gates])]
    found, wanted = attend(*inputs, grid, **options), definition(*inputs, grid, pattern, logits, gates, real)
    cotangent = torch.randn_like(wanted)
    assert_equal(found, wanted)
    for mine, theirs in zip(gradients(found, variables, cotangent), gradients(wanted, variables, cotangent), strict=True):
        assert_equal(mine, theirs)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 20 * 2**-9), (torch.float16, 20 * 2**-12)])
def test_lower_precision_stays_within_its_rounding(dtype, bound):
    """Rounding enters at the weights, at each axis's output and at each gradient, of numbers below the bound's largest."""
    grid, bias = Grid((4, 6, 8)), BIASES["spectral"]((4, 6, 8))
    inputs = tokens(len(grid), dtype)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    found = attend(*inputs, grid, bias=bias, pattern=Axial(), backend="axial")
    wanted = definition(*exact, grid, Axial(), bias.double())
    assert found.dtype == dtype
    assert_equal(found, wanted, bound)
    cotangent = torch.randn_like(wanted).to(dtype)
    for mine, theirs in zip(gradients(found, inputs, cotangent), gradients(wanted, exact, cotangent.double()), strict=True):
        assert_equal(mine, theirs, bound)


def test_gradcheck():
    grid, bias = Grid((3, 2, 2)), SpectralBias(Exponential(HEADS, 3)).double()
    gates = torch.randn(3, HEADS, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in bias.named_parameters()]

    def function(q, k, v, gates, *parameters):
        own = dict(zip(names, parameters, strict=True))
        logits = torch.func.functional_call(bias, own, (grid,))
        biases = [logits.view(HEADS, *grid.shape, *grid.shape) for _ in range(3)]
        biases = [biases[0][:, :, 0, 0, :, 0, 0], biases[1][:, 0, :, 0, 0, :, 0], biases[2][:, 0, 0, :, 0, 0, :]]
        lines = (x.transpose(1, 2) for x in (q, k, v))
        return axial.axial_attention(*lines, grid.shape, grid.shape, biases, gates)

    assert torch.autograd.gradcheck(function, (*tokens(len(grid)), gates, *bias.parameters()), fast_mode=True)


@pytest.mark.parametrize("backend", ["axial", "summed"])
def test_nothing_off_the_cross_has_influence(backend):
    grid = Grid((3, 4, 5))
    cross = Axial().allowed(grid)
    q, k, v = tokens(len(grid))
    out = attend(q, k, v, grid, pattern=Axial(), backend=backend)
    for query in range(0, len(grid), 7):
        for x in (k, v):
            [grad] = torch.autograd.grad(out[0, 0, query].sum(), x, retain_graph=True)
            assert torch.equal(grad[0, 0].any(-1), cross[query])
            assert not grad[1].any()
            assert not grad[0, 1].any()


@pytest.mark.parametrize("bias", BIASES)
def test_on_one_axis_it_is_full_attention(bias):
    grid, logits = Grid((9,)), BIASES[bias]((9,)).double()
    inputs = tokens(9)
    torch.testing.assert_close(attend(*inputs, grid, bias=logits, pattern=Axial()), attend(*inputs, grid, bias=logits))


def test_order_along_an_axis_does_not_matter_without_positions():
    grid, axis = Grid((3, 4, 5)), torch.randperm(4)
    inputs = [x.detach() for x in tokens(len(grid))]

    def moved(x):
        return x.unflatten(2, grid.shape)[:, :, :, axis].flatten(2, 4)

    torch.testing.assert_close(attend(*map(moved, inputs), grid, pattern=Axial()), moved(attend(*inputs, grid, pattern=Axial())))


@pytest.mark.parametrize("elements", [1, 100, 1000])
@pytest.mark.parametrize("masked", [False, True])
def test_how_much_is_computed_at_once_changes_nothing(elements, masked, monkeypatch):
    grid, bias = Grid((4, 3, 5)), BIASES["spectral"]((4, 3, 5)).double()
    inputs, real = tokens(len(grid)), torch.rand(BATCH, len(grid)) > 0.5 if masked else None
    gates = torch.randn(3, HEADS, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(inputs[0].shape, dtype=torch.float64)

    def results():
        out = attend(*inputs, grid, bias=bias, pattern=Axial(), real=real, gates=gates, backend="axial")
        return [out, *gradients(out, [*inputs, gates, *bias.parameters()], cotangent)]

    wanted = results()
    monkeypatch.setattr(tiles, "CPU_ELEMENTS", elements)
    for found, other in zip(results(), wanted, strict=True):
        torch.testing.assert_close(found, other)


@pytest.mark.parametrize("most", [2, 7, 2**16])
@pytest.mark.parametrize("bias", BIASES)
def test_torchs_kernels_in_chunks_are_the_same(bias, most, monkeypatch):
    """What runs on CUDA without a bias that learns; the kernels and their limits are torch's, so the CPU can tell."""
    monkeypatch.setattr(axial, "MOST_PROBLEMS", most)
    grid, logits = Grid((4, 3, 5)), BIASES[bias]((4, 3, 5)).double()
    inputs, gates = tokens(len(grid)), torch.randn(3, HEADS, dtype=torch.float64)
    biases = [None if bias == "none" else logits.axis(grid, index) for index in range(3)]
    found = axial._fused(
        *(x.transpose(1, 2) for x in inputs), Lines(grid.shape, grid.shape), biases, gates, WIDTH**-0.5
    ).transpose(1, 2)
    wanted = definition(*inputs, grid, Axial(), logits, gates)
    assert_equal(found, wanted)
    cotangent = torch.randn_like(wanted)
    for mine, theirs in zip(gradients(found, inputs, cotangent), gradients(wanted, inputs, cotangent), strict=True):
        assert_equal(mine, theirs)


def test_lines_are_views():
    x = torch.randn(2, 60, 3, 4)
    for index in range(3):
        view = axial._problems(Lines((3, 4, 5), (3, 4, 5)).along(index, x))
        assert view.data_ptr() == x.data_ptr()
        assert view.shape[2] == (3, 4, 5)[index]


def test_the_module_copies_nothing_to_get_lines():
    seen = []
    attention = Attention(16, HEADS, pattern=Axial())
    attention.proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    x = torch.randn(1, 4, 3, 5, 16)
    q, k, v = attention._project(x.flatten(1, 3))
    for part in (q, k, v):
        assert part.transpose(1, 2).is_contiguous()
    attention(x)
    assert seen == [(1, 60, 16)]


def test_weights_mean_the_same_as_in_full_attention():
    """On one axis both see the same, whatever the layout of the projection."""
    whole, lines = Attention(16, HEADS, kv_heads=1, qk_norm=True), Attention(16, HEADS, kv_heads=1, qk_norm=True, pattern=Axial())
    lines.load_state_dict(whole.state_dict())
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(lines(x), whole(x))


def test_what_is_kept_for_the_backward_pass_grows_with_tokens_alone():
    def kept(side):
        total, seen = 0, set()

        def pack(x):
            nonlocal total
            if x.untyped_storage().data_ptr() not in seen:
                seen.add(x.untyped_storage().data_ptr())
                total += x.untyped_storage().nbytes()
            return x

        inputs = [torch.randn(1, HEADS, side**3, WIDTH, requires_grad=True) for _ in range(3)]
        bias = SpectralBias(Exponential(HEADS, 3))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            attend(*inputs, Grid((side,) * 3), bias=bias, pattern=Axial())
        return total

    assert kept(16) <= 8.5 * kept(8)


@pytest.mark.parametrize("prefix", [1, 3])
def test_prefix_tokens_are_seen_along_every_axis(prefix):
    grid, bias = Grid((3, 4)), (BIASES["table"]((3, 4)) + PrefixBias(HEADS)).double()
    inputs = tokens(prefix + 12)
    found = attend(*inputs, grid, bias=bias, pattern=Axial(), prefix=prefix)
    wanted = sum(attend(*inputs, grid, bias=bias, pattern=term, prefix=prefix, backend="eager") for term in Axial().terms(grid))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("scorer", [Cosine(HEADS), Bilinear(HEADS, WIDTH, learned=True), Additive(HEADS, WIDTH, hidden_dim=6)])
@pytest.mark.parametrize("bias", BIASES)
def test_any_scorer(scorer, bias):
    """In value and every gradient; what is no dot product goes term by term."""
    grid, scorer, logits = Grid((3, 4)), scorer.double(), BIASES[bias]((3, 4)).double()
    inputs = tokens(12)
    variables = [*inputs, *scorer.parameters(), *logits.parameters()]
    found = attend(*inputs, grid, bias=logits, pattern=Axial(), scorer=scorer)
    wanted = sum(attend(*inputs, grid, bias=logits, pattern=term, scorer=scorer, backend="eager") for term in Axial().terms(grid))
    cotangent = torch.randn_like(wanted)
    assert_equal(found, wanted)
    for mine, theirs in zip(gradients(found, variables, cotangent), gradients(wanted, variables, cotangent), strict=True):
        assert_equal(mine, theirs)


@pytest.mark.parametrize("removed", [False, True])
def test_what_views_cannot_serve_is_summed(removed):
    """A bias that is not stationary, or tokens that are gone."""
    grid, inputs = Grid((3, 4)), tokens(7 if removed else 12)
    keep = torch.stack([torch.randperm(12)[:7].sort().values for _ in range(BATCH)]) if removed else None
    bias = NoBias() if removed else KeyBias(HEADS, (3, 4), std=1.0).double()
    found = attend(*inputs, grid, pattern=Axial(), bias=bias, keep=keep)
    wanted = sum(attend(*inputs, grid, pattern=term, bias=bias, keep=keep, backend="eager") for term in Axial().terms(grid))
    torch.testing.assert_close(found, wanted)


def test_gates_begin_open_and_learn():
    torch.manual_seed(0)
    gated, plain = Attention(16, HEADS, pattern=Axial(gates=2)), Attention(16, HEADS, pattern=Axial())
    plain.load_state_dict({name: value for name, value in gated.state_dict().items() if name != "gates"})
    x = torch.randn(2, 3, 4, 16)
    torch.testing.assert_close(gated(x), plain(x))
    gated(x).sum().backward()
    assert gated.gates.shape == (2, HEADS)
    assert gated.gates.grad.abs().min() > 0


def test_no_sample_at_all():
    inputs = [torch.empty(0, HEADS, 12, WIDTH) for _ in range(3)]
    assert attend(*inputs, Grid((3, 4)), pattern=Axial()).shape == (0, HEADS, 12, WIDTH)


@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_scores_of_any_size(scale):
    grid, inputs = Grid((3, 4)), tokens(12, scale=scale)
    found = attend(*inputs, grid, pattern=Axial(), backend="axial")
    wanted = sum(attend(*inputs, grid, pattern=term, backend="eager") for term in Axial().terms(grid))
    assert_equal(found / scale, wanted / scale)


@pytest.mark.usefixtures("unchecked")
def test_masks_and_gates_of_another_shape():
    inputs, grid = tokens(12), Grid((3, 4))
    with pytest.raises(UsageError, match=r"real of shape \(2, 11\) .* expected booleans of shape \(2, 12\)"):
        attend(*inputs, grid, pattern=Axial(), real=torch.ones(2, 11, dtype=torch.bool))
    with pytest.raises(UsageError, match=r"gates of shape \(3, 2\) for Axial with 2 heads; expected \(2, 2\)"):
        attend(*inputs, grid, pattern=Axial(), gates=torch.ones(3, 2))
    with pytest.raises(UsageError, match="each term of Axial has a softmax of its own; expected one that serves: axial, summed"):
        attend(*inputs, grid, pattern=Axial(), backend="fused")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("masked", [False, True])
def test_on_cuda(bias, masked):
    grid, logits = Grid((4, 6, 8)), BIASES[bias]((4, 6, 8))
    inputs = tokens(len(grid), torch.float32)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    real = torch.rand(BATCH, len(grid)) > 0.4 if masked else None
    wanted = definition(*exact, grid, Axial(), logits.double(), real=real)
    there = [x.detach().cuda().requires_grad_() for x in inputs]
    found = attend(*there, grid, bias=logits.float().cuda(), pattern=Axial(), real=None if real is None else real.cuda())
    cotangent = torch.randn_like(wanted)
    assert_equal(found.cpu(), wanted, 1e-5)
    for mine, theirs in zip(gradients(found, there, cotangent.cuda()), gradients(wanted, exact, cotangent), strict=True):
        assert_equal(mine.cpu(), theirs, 1e-5)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("shape", [(512, 2), (600,), (32, 48), (8, 9, 10), (5, 6)])
def test_its_cost_is_what_it_holds(shape, gradients, monkeypatch):
    """Beside inputs, output and their gradients; also of lines so long that a tile is a single head's."""
    monkeypatch.setattr(compiled, "serves", lambda *_: False)
    grid, heads = Grid(shape), 3
    q, k, v = (torch.randn(1, len(grid), heads, 16).transpose(1, 2).requires_grad_(gradients) for _ in range(3))
    case = Case(grid, ScaledDotProduct(), NoBias(), Axial(), 1, heads, 16, gradients=gradients)
    with Ledger() as ledger, torch.set_grad_enabled(gradients):
        out = attend(q, k, v, grid, pattern=Axial(), backend="axial")
        if gradients:
            out.backward(torch.ones_like(out))
    apart = out.nbytes * (5 if gradients else 1)  # the output, its gradient, and three gradients
    assert (ledger.peak - apart) / BACKENDS["axial"].cost(case).memory == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("gated", [False, True], ids=["", "gated"])
@pytest.mark.parametrize("biased", [False, True], ids=["", "frozen bias"])
@pytest.mark.parametrize(
    ("shape", "window"),
    [((16, 16, 16), None), ((16, 16, 16), 8), ((40, 30), None), ((400,), None), ((6, 6, 6, 6), None)],
    ids=["volume", "windows", "image", "one axis", "four axes"],
)
def test_the_cost_of_torchs_kernels_is_what_they_hold(shape, window, biased, gated):
    """What runs on CUDA without a bias that learns: on the CPU, kernels keep the same tensors."""
    grid, heads, pattern = Grid(shape), 6, Axial(window)
    bias = TableBias(heads, shape, std=1.0).requires_grad_(False) if biased else NoBias()
    gates = torch.randn(len(shape), heads, requires_grad=True) if gated else None
    case = Case(grid, ScaledDotProduct(), bias, pattern, 1, heads, 32, gradients=True, device="cuda", gates=gates)
    inputs = [torch.randn(1, len(grid), heads, 32).requires_grad_() for _ in range(3)]
    known, sizes = {x.untyped_storage().data_ptr() for x in (*inputs, *([] if gates is None else [gates]))}, {}

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return x

    lines = Lines(shape, pattern.lengths(grid))
    biases = [bias.axis(grid, axis)[:, :length, :length] if biased else None for axis, length in enumerate(lines.lengths)]
    with Ledger() as ledger:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            out = axial._fused(*inputs, lines, biases, gates, 32**-0.5)
        sizes.pop(out.untyped_storage().data_ptr(), None)
        out.backward(torch.ones_like(out))
    cost = BACKENDS["axial"].cost(case)
    of_gates = 4 * heads * len(shape) if gated else 0  # of which each axis keeps its own
    assert sum(sizes.values()) - cost.kept - cost.copies in (0, of_gates)
    laid_out = sum(0 if each is None else each.nbytes for each in biases)  # before, and not in this ledger
    held = ledger.peak - 5 * out.nbytes  # the output, its gradient, and three gradients
    assert held == pytest.approx(cost.memory - laid_out + cost.copies, rel=0.05)
    without = BACKENDS["axial"].cost(replace(case, gradients=False))
    assert (without.kept, without.copies) == (0, 0)
    with Ledger() as ledger, torch.no_grad():
        axial._fused(*inputs, lines, biases, gates, 32**-0.5)
    assert ledger.peak - out.nbytes <= without.memory - laid_out + 4 * case.rows


def test_a_learned_bias_and_padding_leave_torchs_kernels():
    """Tiles keep nothing but their inputs, and their cost says so."""
    grid, real = Grid((16, 16, 16)), torch.ones(1, 16**3, dtype=torch.bool)
    learned = SpectralBias(Exponential(HEADS, 3))
    for bias, mask in ((learned, None), (NoBias(), real)):
        case = Case(grid, ScaledDotProduct(), bias, Axial(), 1, HEADS, 32, gradients=True, device="cuda", real=mask)
        assert BACKENDS["axial"].cost(case).kept == 0


@pytest.mark.parametrize("gated", [False, True], ids=["", "gated"])
@pytest.mark.parametrize(("shape", "backend"), [((8, 8), "fused"), ((24, 24), "gathered")])
def test_the_cost_of_a_sum_is_what_its_terms_keep(shape, backend, gated):
    """With a prefix, which stands on no line."""
    grid, heads = Grid(shape), 3
    gates = torch.ones(2, heads, requires_grad=True) if gated else None
    case = Case(grid, ScaledDotProduct(), NoBias(), Axial(), 2, heads, 16, prefix=1, gradients=True, gates=gates)
    assert choose(replace(case, pattern=Axial().terms(grid)[0], gates=None))[0] == backend
    inputs = [torch.randn(2, case.tokens, heads, 16).transpose(1, 2).requires_grad_() for _ in range(3)]
    known, sizes = {x.untyped_storage().data_ptr() for x in inputs}, {}

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        attend(*inputs, grid, pattern=Axial(), prefix=1, gates=gates)
    cost = BACKENDS["summed"].cost(case)
    assert sum(sizes.values()) == pytest.approx(cost.kept + cost.copies, rel=0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("masked", [False, True], ids=["fused", "tiles"])
@pytest.mark.parametrize("shape", [(2**16 + 2, 2), (2, 2**16 + 2)], ids=["before", "after"])
def test_on_cuda_more_lines_than_a_kernel_takes(shape, masked):
    """A dimension of 65,536 is more than torch's kernels take (pytorch/pytorch#142228, #146704)."""
    grid, pattern = Grid(shape), Axial(window=2)
    inputs = [torch.randn(1, len(grid), 1, 16, device="cuda").transpose(1, 2).requires_grad_() for _ in range(3)]
    real = torch.rand(1, len(grid), device="cuda") > 0.2 if masked else None
    found = attend(*inputs, grid, pattern=pattern, real=real)
    cotangent = torch.randn_like(found)
    mine = gradients(found, inputs, cotangent)
    # The CPU's tiles, which have no such limit.
    exact = [x.detach().cpu().double().requires_grad_() for x in inputs]
    wanted = attend(*exact, grid, pattern=pattern, real=None if real is None else real.cpu())
    theirs = gradients(wanted, exact, cotangent.cpu())
    for one, other in zip((found, *mine), (wanted, *theirs), strict=True):
        assert_equal(one.cpu(), other, 1e-5)
