"""A projection of many tokens, as a convolution, is that of few, as a matrix product."""

import pytest
import torch
from torch.nn.functional import linear

from vitkit.attention import projection
from vitkit.attention.projection import Projection, project


@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("shape", [(1, 4096), (3, 2000), (64, 65)])
def test_a_convolution_is_the_product(shape, offset):
    torch.manual_seed(0)
    layer = Projection(24, 10, bias=offset)
    x = torch.randn(*shape, 24, requires_grad=True)
    found = layer(x)
    assert found.is_contiguous()
    assert "_Project" in found_by(found)
    wanted = linear(x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    cotangent = torch.randn_like(found)
    inputs = [x, *layer.parameters()]
    for mine, exact in zip(
        torch.autograd.grad(found, inputs, cotangent), torch.autograd.grad(wanted, inputs, cotangent.double()), strict=True
    ):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-3)


def found_by(x):
    """Names of what computed a tensor."""
    names, todo = [], [x.grad_fn]
    while todo:
        node = todo.pop()
        names.append(type(node).__name__)
        todo += [other for other, _ in node.next_functions if other is not None]
    return " ".join(names)


@pytest.mark.parametrize(("dtype", "tokens"), [(torch.float64, 5000), (torch.bfloat16, 5000), (torch.float32, 5)])
def test_elsewhere_it_is_linear(dtype, tokens):
    x, weight = torch.randn(1, tokens, 8, dtype=dtype, requires_grad=True), torch.randn(4, 8, dtype=dtype)
    (found,) = project(x, [weight], [None])
    assert "_Project" not in found_by(found)
    assert torch.equal(found, linear(x, weight))


def test_several_of_the_same_tokens_add_up_their_gradients(monkeypatch):
    """Also where some are not used, some weights do not learn, and a gradient is to be differentiated again."""
    monkeypatch.setattr(projection, "MANY", 1)
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, requires_grad=True)
    weights = [torch.randn(width, 6, requires_grad=width != 4) for width in (3, 4, 5)]
    biases = [torch.randn(3, requires_grad=True), None, torch.randn(5, requires_grad=True)]
    learned = [x, weights[0], biases[0]]

    def loss(maps):
        return (maps[0] * maps[1][..., :3].sin()).square().sum()

    mine = torch.autograd.grad(loss(project(x, weights, biases)), learned, create_graph=True)
    plain = [linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True)]
    exact = torch.autograd.grad(loss(plain), learned, create_graph=True)
    for once, wanted in zip(mine, exact, strict=True):
        torch.testing.assert_close(once, wanted, rtol=1e-4, atol=1e-4)
    (twice,) = torch.autograd.grad(sum(each.square().sum() for each in mine), [x])
    (wanted,) = torch.autograd.grad(sum(each.square().sum() for each in exact), [x])
    torch.testing.assert_close(twice, wanted, rtol=1e-3, atol=1e-2)


def test_what_comes_out_may_be_written_to(monkeypatch):
    """As what comes out of a linear layer may."""
    monkeypatch.setattr(projection, "MANY", 1)
    x, layer = torch.randn(2, 3, 8, requires_grad=True), Projection(8, 4)
    layer(x).relu_().sum().backward()
    one, other = project(x, [layer.weight, layer.weight], [None, layer.bias])
    one.mul_(2)
    (one.sum() + other.sum()).backward()
    assert x.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore:`torch.jit.script` is deprecated")
def test_gradients_of_each_sample(monkeypatch):
    monkeypatch.setattr(projection, "MANY", 1)
    x, weights = torch.randn(5, 3, 8), [torch.randn(4, 8) for _ in range(2)]

    def of_each(maps):
        return torch.func.vmap(torch.func.grad(lambda w, x: sum(y.square().sum() for y in maps(x, w)), argnums=(0, 1)), (None, 0))

    mine, mine_x = of_each(lambda x, w: project(x, w, [None] * 2))(weights, x)
    theirs, theirs_x = of_each(lambda x, w: [linear(x, each) for each in w])(weights, x)
    for one, other in zip((*mine, mine_x), (*theirs, theirs_x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_gradients_within_autocast(monkeypatch):
    monkeypatch.setattr(projection, "MANY", 1)
    x, weights = torch.randn(2, 3, 8, requires_grad=True), [torch.randn(4, 8, requires_grad=True) for _ in range(3)]
    loss = sum(each.sum() for each in project(x, weights, [None] * 3))
    with torch.autocast("cpu", torch.bfloat16):
        loss.backward()
    torch.testing.assert_close(x.grad, sum(weight.sum(0) for weight in weights).expand_as(x).detach())


@pytest.mark.parametrize("change", [torch.no_grad, torch.inference_mode])
def test_without_gradients(change, monkeypatch):
    monkeypatch.setattr(projection, "MANY", 1)
    layer, x = Projection(8, 4), torch.randn(2, 3, 8).transpose(0, 1)
    with change():
        torch.testing.assert_close(layer(x), linear(x, layer.weight, layer.bias))


def test_what_autocasts_is_torchs_own(monkeypatch):
    monkeypatch.setattr(projection, "MANY", 1)
    layer, x = Projection(8, 4), torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_a_layer_is_stored_as_linear(monkeypatch):
    monkeypatch.setattr(projection, "MANY", 1)
    layer, plain = Projection(8, 4), torch.nn.Linear(8, 4)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(layer(x), plain(x))
