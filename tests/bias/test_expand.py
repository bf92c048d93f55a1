import itertools

import pytest
import torch

from vitkit.bias import expand, gather

SHAPES = [(1,), (5,), (3, 4), (1, 6), (2, 3, 4), (4, 1, 1)]


def by_definition(table, shape):
    """Entry (q, k) is the table at q - k, one pair at a time."""
    tokens = list(itertools.product(*map(range, shape)))
    pairs = [[tuple(a - b + n - 1 for a, b, n in zip(q, k, shape, strict=True)) for k in tokens] for q in tokens]
    return torch.stack([torch.stack([table[(slice(None), *index)] for index in row], dim=-1) for row in pairs], dim=-2)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_its_definition_bit_for_bit(shape):
    table = torch.randn(3, *(2 * n - 1 for n in shape))
    assert torch.equal(expand(table, shape), by_definition(table, shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_counts_the_pairs(shape):
    table = torch.randn(1, *(2 * n - 1 for n in shape), requires_grad=True)
    expand(table, shape).sum().backward()
    again = table.detach().clone().requires_grad_()
    by_definition(again, shape).sum().backward()
    assert torch.equal(table.grad, again.grad)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_can_be_differentiated_twice(shape):
    table = torch.randn(2, *(2 * n - 1 for n in shape), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: expand(t, shape), table, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda t: expand(t, shape).square(), table, fast_mode=True)


def test_gradient_in_half_precision_does_not_stop_growing():
    table = torch.zeros(1, 2 * 600 - 1, dtype=torch.bfloat16, requires_grad=True)
    expand(table, (600,)).sum().backward()
    assert torch.equal(table.grad[0, 599], torch.tensor(600.0).bfloat16())


@pytest.mark.parametrize("shape", SHAPES)
def test_gather_is_the_expanded_table_at_the_kept_tokens(shape):
    table = torch.randn(2, *(2 * n - 1 for n in shape))
    count = torch.Size(shape).numel()
    keep = torch.stack([torch.randperm(count)[: max(count // 2, 1)] for _ in range(3)])
    whole = expand(table, shape)
    wanted = torch.stack([whole[:, row][:, :, row] for row in keep])
    assert torch.equal(gather(table, shape, keep), wanted)


def test_no_buffer_of_pairs():
    from vitkit.bias import SpectralBias, TableBias
    from vitkit.spectral import Exponential

    for bias in (TableBias(2, (14, 14)), SpectralBias(Exponential(2, 2))):
        assert not list(bias.buffers())
        assert sum(p.numel() for p in bias.parameters()) < 196 * 196
