"""No bias, tables, keys and the prefix."""

import pytest
import torch

from tests.bias.contract import GRID, BiasContract
from vitkit.bias import KeyBias, NoBias, PrefixBias, SpectralBias, TableBias
from vitkit.errors import UsageError
from vitkit.grid import Grid
from vitkit.spectral import Exponential


class TestTableBias(BiasContract):
    def make(self):
        return TableBias(2, GRID.shape, std=1.0)


class TestKeyBias(BiasContract):
    def make(self):
        return KeyBias(2, GRID.shape, std=1.0)

    def test_every_query_sees_the_same(self):
        bias = self.bias()
        assert torch.equal(bias(GRID), bias.values.view(2, 1, 12).expand(2, 12, 12))

    def test_it_changes_attention_and_a_logit_per_query_would_not(self):
        scores = torch.randn(2, 12, 12, dtype=torch.float64)
        logits = self.bias()(GRID)
        assert not torch.allclose((scores + logits).softmax(-1), scores.softmax(-1))
        torch.testing.assert_close((scores + logits.mT).softmax(-1), scores.softmax(-1))


class TestPrefixBias(BiasContract):
    def make(self):
        return SpectralBias(Exponential(2, 2)) + PrefixBias(2)

    def test_alone_it_has_nothing_between_grid_tokens(self):
        bias = PrefixBias(2)
        assert bias.table(GRID) is None
        assert bias(GRID) is None
        with torch.no_grad():
            bias.values.fill_(3.0)
        assert not bias(GRID, prefix=1)[:, 1:, 1:].any()
        assert (bias(GRID, prefix=1)[:, 0] == 3).all()


def test_no_bias_is_nothing():
    assert NoBias()(GRID, prefix=3) is None
    assert NoBias().axis(GRID, 0) is None
    NoBias().require_heads(7)


@pytest.mark.parametrize("kind", [TableBias, KeyBias])
def test_what_belongs_to_a_grid_refuses_another(kind):
    with pytest.raises(UsageError, match=r"shape \(3, 4\) on a grid of \(4, 4\).*Set the bias's shape to \[4, 4\]"):
        kind(2, (3, 4))(Grid((4, 4)))


@pytest.mark.parametrize("kind", [TableBias, KeyBias])
def test_a_new_draw_differs(kind):
    bias = kind(2, (3, 4))
    before = bias(GRID).detach().clone()
    bias.reset_parameters()
    assert not torch.equal(before, bias(GRID))


@pytest.mark.parametrize("make", [lambda: TableBias(0, (3, 4)), lambda: KeyBias(0, (3, 4)), lambda: PrefixBias(0)])
def test_no_heads(make):
    with pytest.raises(UsageError, match="num_heads=0"):
        make()


@pytest.mark.parametrize("kind", [TableBias, KeyBias])
def test_no_tokens(kind):
    with pytest.raises(UsageError, match="at least one token"):
        kind(2, (3, 0))
