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
    assert "Convolution" in found_by(found)
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
    found = project(x, weight, None)
    assert "Convolution" not in found_by(found)
    assert torch.equal(found, linear(x, weight))


def test_a_layer_is_stored_as_linear(monkeypatch):
    monkeypatch.setattr(projection, "MANY", 1)
    layer, plain = Projection(8, 4), torch.nn.Linear(8, 4)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(layer(x), plain(x))
