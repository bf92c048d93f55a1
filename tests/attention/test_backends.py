"""Every backend × scorer × bias × pattern × removal against attention as it is defined, in value and in every gradient."""

import pytest
import torch
from torch import nn

from vitkit.attention import (
    Additive,
    Bilinear,
    Cosine,
    Full,
    Global,
    Neighbourhood,
    Pattern,
    ScaledDotProduct,
    Union,
    Window,
    attend,
)
from vitkit.attention.backends import BACKENDS, chunked
from vitkit.bias import Bias, KeyBias, NoBias, PrefixBias, SpectralBias, TableBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Exponential, Gaussian

GRID = Grid((3, 5))
HEADS, WIDTH, BATCH = 2, 4, 2


class Row(Pattern):
    """A query sees the keys of its own row."""

    def allowed(self, grid):
        row = torch.arange(len(grid)) // grid.shape[1]
        return row[:, None] == row[None]


class Blind(Row):
    """As a row, but the first token sees nothing."""

    def allowed(self, grid):
        return super().allowed(grid) & (torch.arange(len(grid)) > 0)[:, None]


SCORERS = {
    "dot product": ScaledDotProduct,
    "dot product, temperature": lambda: ScaledDotProduct(temperature=2.0, learned=True, num_heads=HEADS),
    "cosine": lambda: Cosine(HEADS),
    "cosine, fixed": lambda: Cosine(temperature=0.5, learned=False),
    "bilinear": lambda: Bilinear(HEADS, WIDTH, temperature=0.7, learned=True),
    "additive": lambda: Additive(HEADS, WIDTH, hidden_dim=6, temperature=0.5),
    "additive, norm": lambda: Additive(HEADS, WIDTH, hidden_dim=6, norm=True, learned=True),
}
BIASES = {
    "none": NoBias,
    "table": lambda: TableBias(HEADS, GRID.shape, std=1.0),
    "spectral and prefix": lambda: SpectralBias(Exponential(HEADS, 2, outputscale=3.0)) + PrefixBias(HEADS),
    "key": lambda: KeyBias(HEADS, GRID.shape, std=1.0),
    "square of the distance": lambda: (
        SpectralBias(Gaussian(HEADS, 2, lengthscale=2.0), form="log", offset=True) + PrefixBias(HEADS)
    ),
}


def score(scorer, q, k):
    """Each scorer by its formula, from its parameters alone."""
    tau = scorer.temperature if scorer.log_temperature is None else scorer.log_temperature.exp()[:, None, None]
    match scorer:
        case ScaledDotProduct():
            found = torch.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
        case Cosine():
            found = torch.einsum("bhid,bhjd->bhij", q, k) / torch.einsum("bhi,bhj->bhij", q.norm(dim=-1), k.norm(dim=-1))
        case Bilinear():
            found = torch.einsum("bhid,hde,bhje->bhij", q, scorer.weight, k) / q.shape[-1] ** 0.5
        case Additive():
            queries = torch.einsum("bhid,hde->bhie", q, scorer.weight_q)[:, :, :, None]
            keys = torch.einsum("bhjd,hde->bhje", k, scorer.weight_k)[:, :, None]
            hidden = queries + keys + scorer.offset[:, None, None]
            if scorer.norm:
                hidden = (hidden - hidden.mean(-1, True)) / (hidden.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
            found = torch.einsum("bhije,he->bhij", hidden.tanh(), scorer.vector)
    return found / tau


def definition(q, k, v, scorer, bias, pattern, prefix, keep, grid=GRID):
    """Sample by sample: softmax of the scores plus the bias of the whole grid, from which removed tokens are left out."""
    scores = score(scorer, q, k)
    logits, allowed = bias(grid, prefix), pattern.allowed(grid)
    out = []
    for sample in range(len(q)):
        present = torch.arange(len(grid)) if keep is None else keep[sample]
        rows = torch.cat([torch.arange(prefix), prefix + present])
        mine = scores[sample]
        if logits is not None:
            mine = mine + logits[:, rows][:, :, rows]
        if allowed is not None:
            seen = nn.functional.pad(allowed, (prefix, 0, prefix, 0), value=True)[rows][:, rows]
            weights = torch.where(seen, (mine - mine.amax(-1, keepdim=True)).exp(), 0)
            total = weights.sum(-1, keepdim=True)
            out.append((weights / torch.where(total > 0, total, 1)) @ v[sample])
        else:
            out.append(mine.softmax(-1) @ v[sample])
    return torch.stack(out)


def inputs_of(tokens, dtype=torch.float64, scale=1.0, heads=HEADS):
    generator = torch.Generator().manual_seed(tokens)
    tensors = (scale * torch.randn(BATCH, heads, tokens, WIDTH, dtype=torch.float64, generator=generator) for _ in range(3))
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def agree(found, wanted, variables, others=None, *, rtol, atol):
    """Values, and gradients of both with the same cotangent."""
    assert (found.double() - wanted).abs().max() <= rtol * wanted.abs().max() + atol if wanted.numel() else True
    cotangent = torch.randn(wanted.shape, dtype=torch.float64)
    ours = torch.autograd.grad(found, variables, cotangent.to(found.dtype), allow_unused=True, materialize_grads=True)
    theirs = torch.autograd.grad(
        wanted, others or variables, cotangent.to(found.dtype).double(), allow_unused=True, materialize_grads=True
    )
    largest = max(x.abs().max() for x in theirs if x.numel())
    for mine, other in zip(ours, theirs, strict=True):
        if other.numel():
            assert (mine.double() - other).abs().max() <= rtol * max(other.abs().max(), 1e-3 * largest) + atol


def able(backend, scorer, bias, pattern, removed):
    """Whether this backend can serve, said once more and independently of it."""
    plain = isinstance(pattern, Full)
    learned = not isinstance(bias, NoBias)
    return {
        "eager": True,
        "chunked": True,
        "fused": not isinstance(scorer, Additive) and not learned,
        "flex": False,  # gradients are asked for here, and on the CPU it has none; test_flex.py asks for none
        "axial": False,  # no pattern here has several terms; test_axial.py has those
        "summed": False,
        "gathered": False,  # none of the patterns here is sparse; test_gathered.py has those
        "features": not isinstance(scorer, Additive) and plain and learned and bias.rank is not None,
        "streamed": not isinstance(scorer, Additive) and learned and plain and not removed and not isinstance(bias, KeyBias),
    }[backend]


def run(backend, scorer, bias, pattern, prefix, removed, dtype=torch.float64):
    """What a backend makes of it, what is defined, and the variables of both."""
    torch.default_generator.manual_seed(0)  # which takes a twentieth of the time of the seed of every device
    keep = torch.stack([torch.randperm(len(GRID))[:7].sort().values for _ in range(BATCH)]) if removed else None
    exact = inputs_of(prefix + (7 if removed else len(GRID)), dtype)
    inputs = [x.detach().clone().requires_grad_() for x in exact]
    exact = [x.detach().double().requires_grad_() for x in exact]
    options = {"pattern": pattern, "prefix": prefix, "keep": keep}
    double_scorer, double_bias = SCORERS[scorer]().double(), BIASES[bias]().double()
    single_scorer, single_bias = SCORERS[scorer](), BIASES[bias]()
    for module in (double_scorer, double_bias):
        for parameter in module.parameters():
            parameter.data = (parameter.data + 0.3 * torch.randn_like(parameter)).to(torch.float32).double()
    parameters = torch.float64 if dtype == torch.float64 else torch.float32
    for module, other in ((single_scorer, double_scorer), (single_bias, double_bias)):
        module.to(parameters).load_state_dict(other.state_dict())
    found = attend(*inputs, GRID, bias=single_bias, scorer=single_scorer, backend=backend, **options)
    wanted = definition(*exact, double_scorer, double_bias, pattern, prefix, keep)
    ours = [*inputs, *single_scorer.parameters(), *single_bias.parameters()]
    return found, wanted, ours, [*exact, *double_scorer.parameters(), *double_bias.parameters()]


@pytest.mark.parametrize("removed", [False, True], ids=["", "removed"])
@pytest.mark.parametrize("pattern", [Full(), Row(), Blind()], ids=["full", "row", "blind"])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_with_the_definition_or_refuses(backend, scorer, bias, pattern, removed, monkeypatch):
    monkeypatch.setattr(chunked.Chunked, "rows", staticmethod(lambda _: 4))
    prefix = 0 if isinstance(pattern, Blind) else 2
    case = backend, scorer, bias, pattern, prefix, removed
    if not able(backend, SCORERS[scorer](), BIASES[bias](), pattern, removed):
        with pytest.raises(UsageError, match=f"backend='{backend}', but .*expected one that serves: .*eager"):
            run(*case)
        return
    found, wanted, ours, theirs = run(*case)
    agree(found, wanted, ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float32, 1e-5), (torch.bfloat16, 20 * 2**-9), (torch.float16, 20 * 2**-12)],
    ids=["float32", "bfloat16", "float16"],
)
@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("backend", ["fused", "streamed", "features", "chunked", "eager"])
def test_lower_precision_stays_within_its_rounding(backend, scorer, dtype, bound):
    """Inputs are exact in the lower precision; rounding enters at the folded query, the weights, the output and each gradient.

    The bound is twenty units of the largest number, since sums are kept in float32. An error of the folded query reaches the
    exponent times the sharpness, which is that of the cosine's temperature of 0.1.
    """
    bias = next(
        (name for name in ("table", "key", "none") if able(backend, SCORERS[scorer](), BIASES[name](), Full(), False)), None
    )
    if bias is None or (backend == "features" and dtype != torch.float32):
        pytest.skip("cannot serve")
    found, wanted, ours, theirs = run(backend, scorer, bias, Full(), 1, False, dtype)
    assert found.dtype == dtype
    sharpness = 10 if scorer == "cosine" and dtype != torch.float32 else 1
    agree(found, wanted, ours, theirs, rtol=bound * sharpness, atol=0)


def squares(lengthscale):
    return SpectralBias(Gaussian(HEADS, 2, lengthscale=lengthscale), form="log")


@pytest.mark.parametrize("lengthscale", [1.2, 3.0, 10.0])
def test_features_stay_within_their_bound(lengthscale):
    """The square of the distance is a difference of larger squares: the fewer length scales a grid is wide, the better."""
    inputs = [torch.randn(1, HEADS, 64, WIDTH) for _ in range(3)]
    found = attend(*inputs, Grid((8, 8)), bias=squares(lengthscale), backend="features")
    wanted = attend(*(x.double() for x in inputs), Grid((8, 8)), bias=squares(lengthscale).double(), backend="eager")
    assert (found.double() - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("lengthscale", [0.01, 0.1, 0.4])
def test_features_beyond_their_bound_are_refused(lengthscale):
    inputs = [torch.randn(1, HEADS, 64, WIDTH) for _ in range(3)]
    with pytest.raises(UsageError, match="logits that are products of features would be off by"):
        attend(*inputs, Grid((8, 8)), bias=squares(lengthscale), backend="features")


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("backend", ["eager", "chunked", "streamed"])
def test_gradcheck(backend, scorer):
    grid = Grid((2, 2))
    scorer, bias = SCORERS[scorer]().double(), TableBias(HEADS, grid.shape, std=1.0).double()
    if not able(backend, scorer, bias, Full(), False):
        with pytest.raises(UsageError, match="no dot product"):
            attend(*inputs_of(4), grid, bias=bias, scorer=scorer, backend=backend)
        return
    inputs = inputs_of(4)
    names = [name for name, _ in scorer.named_parameters()]

    def function(q, k, v, table, *parameters):
        module = nn.ModuleDict({"scorer": scorer, "bias": bias})
        values = {f"scorer.{name}": value for name, value in zip(names, parameters, strict=True)} | {"bias.logits": table}
        with nn.utils.stateless._reparametrize_module(module, values):
            return attend(q, k, v, grid, bias=bias, scorer=scorer, backend=backend)

    assert torch.autograd.gradcheck(function, (*inputs, bias.logits, *scorer.parameters()), fast_mode=True)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (7,), (2, 3, 2)])
@pytest.mark.parametrize("backend", ["fused", "streamed", "chunked", "eager"])
def test_one_token_and_odd_grids_with_one_head(backend, shape):
    grid = Grid(shape)
    bias = NoBias() if backend == "fused" else TableBias(1, shape, std=1.0).double()
    inputs = inputs_of(len(grid), heads=1)
    found = attend(*inputs, grid, bias=bias, backend=backend)
    wanted = definition(*inputs, ScaledDotProduct(), bias, Full(), 0, None, grid)
    agree(found, wanted, [*inputs, *bias.parameters()], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("backend", ["auto", "eager", "fused", "chunked"])
def test_with_every_token_removed_the_prefix_is_left(backend, prefix):
    keep = torch.empty(BATCH, 0, dtype=torch.long)
    inputs = inputs_of(prefix)
    found = attend(*inputs, GRID, prefix=prefix, keep=keep, backend=backend)
    torch.testing.assert_close(found, inputs[2], rtol=1e-12, atol=1e-12)  # one token can only see itself


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
@pytest.mark.parametrize("scorer", [ScaledDotProduct, Additive, Bilinear])
@pytest.mark.parametrize("backend", ["eager", "chunked", "streamed"])
def test_very_low_and_very_high_temperatures(backend, scorer, temperature):
    """Cold, each query takes the value of its best key; hot, the mean. In between stands the definition."""
    torch.manual_seed(0)
    arguments = {} if scorer is ScaledDotProduct else {"num_heads": HEADS, "head_dim": WIDTH}
    scorer = scorer(temperature=temperature, **arguments).double()
    if backend == "streamed" and isinstance(scorer, Additive):
        pytest.skip("cannot serve")
    bias = TableBias(HEADS, GRID.shape).double()
    inputs = inputs_of(len(GRID))
    found = attend(*inputs, GRID, bias=bias, scorer=scorer, backend=backend)
    wanted = definition(*inputs, scorer, bias, Full(), 0, None)
    # The exponent's rounding grows with the scores, and that of the gradients with the sharpness.
    agree(found, wanted, [*inputs, *bias.parameters()], rtol=1e-10 * max(1, 1e-4 / temperature), atol=1e-12 + 1e-15 / temperature)
    if temperature < 1:
        best = score(scorer, *inputs[:2]).argmax(-1)
        assert torch.allclose(found, inputs[2].gather(2, best[..., None].expand_as(found)), atol=1e-6)
    else:
        assert torch.allclose(found, inputs[2].mean(2, keepdim=True).expand_as(found), atol=0.1)


@pytest.mark.parametrize("backend", ["eager", "chunked"])
def test_dropout_keeps_the_mean_and_the_backward_pass_drops_the_same(backend, monkeypatch):
    monkeypatch.setattr(chunked.Chunked, "rows", staticmethod(lambda _: 4))
    q, k, v = inputs_of(len(GRID))
    torch.manual_seed(0)
    found = attend(q, k, v, GRID, dropout=0.5, backend=backend)
    # The output is linear in the values, so their gradient contracted with them is the output contracted with the cotangent.
    cotangent = torch.randn_like(found)
    [grad] = torch.autograd.grad(found, [v], cotangent)
    torch.testing.assert_close((grad * v).sum(), (found * cotangent).sum(), rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        mean = torch.stack([attend(q, k, v, GRID, dropout=0.5, backend=backend) for _ in range(2000)]).mean(0)
    assert (mean - attend(q, k, v, GRID)).abs().max() < 0.2


@pytest.mark.parametrize("backend", ["eager", "chunked", "fused"])
def test_what_all_keys_share_changes_nothing(backend):
    class Shared(Bias):
        """A logit per query."""

        def grid_logits(self, grid, keep=None):
            return 5 * torch.linspace(-1, 1, len(grid), dtype=torch.float64)[None, :, None].expand(HEADS, -1, len(grid))

    inputs = inputs_of(len(GRID))
    plain = attend(*inputs, GRID, backend="eager")
    torch.testing.assert_close(attend(*inputs, GRID, bias=Shared(), backend=backend), plain, rtol=1e-12, atol=1e-12)
    bias = KeyBias(HEADS, GRID.shape, std=1.0).double().requires_grad_(False)
    assert (attend(*inputs, GRID, bias=bias, backend=backend) - plain).abs().max() > 0.01


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("scorer", [name for name in SCORERS if "additive" not in name])
@pytest.mark.parametrize("pattern", [Window(2), Union([Neighbourhood(3), Global(tokens=[[0, 0]])])], ids=["window", "union"])
def test_gathered_blocks_agree_with_the_definition(pattern, scorer, bias, prefix):
    found, wanted, ours, theirs = run("gathered", scorer, bias, pattern, prefix, False)
    agree(found, wanted, ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_frozen_bias_is_a_mask_of_the_fused_kernel():
    bias = TableBias(HEADS, GRID.shape, std=1.0).double().requires_grad_(False)
    inputs = inputs_of(len(GRID))
    found = attend(*inputs, GRID, bias=bias, backend="fused")
    agree(found, definition(*inputs, ScaledDotProduct(), bias, Full(), 0, None), inputs, rtol=1e-10, atol=1e-12)


def test_a_pattern_that_leaves_nothing():
    class Nothing(Pattern):
        def allowed(self, grid):
            return torch.zeros(len(grid), len(grid), dtype=torch.bool)

    with pytest.raises(UsageError, match="a Nothing that leaves nothing to see"):
        attend(*inputs_of(len(GRID)), GRID, pattern=Nothing())


def test_tensors_of_several_types_or_devices():
    q, k, v = inputs_of(len(GRID))
    with pytest.raises(UsageError, match=r"queries, keys and values of torch.float64, torch.float32, torch.float64"):
        attend(q, k.float(), v, GRID)
    with pytest.raises(UsageError, match="queries on cpu, keys on meta"):
        attend(q, k.to("meta"), v, GRID)
    with pytest.raises(UsageError, match="bias on meta"):
        attend(q, k, v, GRID, bias=TableBias(HEADS, GRID.shape).to("meta"))


@pytest.mark.usefixtures("unchecked")
def test_heads_that_do_not_fit():
    q, k, v = inputs_of(len(GRID))
    with pytest.raises(UsageError, match="2 heads of queries, 2 of keys and 1 of values"):
        attend(q, k, v[:, :1], GRID)
    with pytest.raises(UsageError, match="Cosine of num_heads=3 in an attention of num_heads=2"):
        attend(q, k, v, GRID, scorer=Cosine(3))
    with pytest.raises(UsageError, match="Bilinear of head_dim=5 in an attention of head_dim=4"):
        attend(q, k, v, GRID, scorer=Bilinear(2, 5))


def test_a_backend_that_there_is_not():
    with pytest.raises(UsageError, match="backend='flash'; expected \"auto\" or one of axial"):
        attend(*inputs_of(len(GRID)), GRID, backend="flash")
