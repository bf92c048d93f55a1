import pytest
import torch

from tests.bias.contract import GRID, BiasContract
from vitkit.bias import DistanceBias, KeyBias, NoBias, PrefixBias, ProductBias, SpectralBias, SumBias, TableBias
from vitkit.errors import UsageError
from vitkit.spectral import Exponential, Gaussian, SpectralMixture


class TestSum(BiasContract):
    def make(self):
        return SpectralBias(Exponential(2, 2)) + TableBias(2, GRID.shape) + DistanceBias(2)


class TestSumThatIsNotStationary(BiasContract):
    def make(self):
        return SumBias([SpectralBias(Exponential(2, 2)), KeyBias(2, GRID.shape), PrefixBias(2)])


class TestProduct(BiasContract):
    def make(self):
        return SpectralBias(Exponential(2, 2)) * SpectralBias(Gaussian(2, 2))


class TestProductThatIsNotStationary(BiasContract):
    def make(self):
        return ProductBias([SpectralBias(Exponential(2, 2)), KeyBias(2, GRID.shape, std=1.0)])


class TestProductOfPrefixes(BiasContract):
    def make(self):
        return (SpectralBias(Exponential(2, 2)) + PrefixBias(2)) * (TableBias(2, GRID.shape, std=1.0) + PrefixBias(2))


@pytest.mark.parametrize("other", [TableBias(2, GRID.shape), KeyBias(2, GRID.shape)])
def test_they_are_sums_and_products_of_logits(other):
    bias = SpectralBias(Exponential(2, 2))
    torch.testing.assert_close((bias + other)(GRID, 2), bias(GRID, 2) + other(GRID, 2))
    torch.testing.assert_close((bias * other)(GRID, 2), bias(GRID, 2) * other(GRID, 2))


@pytest.mark.parametrize("compose", [lambda a, b: a + b, lambda a, b: a * b])
def test_sums_and_products_of_covariances_are_covariances(compose):
    waves = SpectralBias(SpectralMixture(2, 2, lengthscale=3.0))
    assert (waves(GRID) < 0).any()
    logits = compose(SpectralBias(Exponential(2, 2, lengthscale=3.0)), waves).double()(GRID)
    assert (torch.linalg.eigvalsh(logits) > -1e-12).all()


def test_no_bias_adds_nothing_and_multiplies_to_nothing():
    bias = SpectralBias(Exponential(2, 2))
    assert torch.equal((bias + NoBias())(GRID, 1), bias(GRID, 1))
    assert (bias * NoBias())(GRID, 1) is None
    assert (NoBias() + NoBias())(GRID) is None


def test_a_new_draw_reaches_every_part():
    bias = SumBias([TableBias(2, GRID.shape), KeyBias(2, GRID.shape)])
    before = [parameter.detach().clone() for parameter in bias.parameters()]
    bias.reset_parameters()
    assert not any(torch.equal(old, new) for old, new in zip(before, bias.parameters(), strict=True))


@pytest.mark.parametrize("kind", [SumBias, ProductBias])
def test_bad_input(kind):
    with pytest.raises(UsageError, match="of nothing"):
        kind([])
    with pytest.raises(UsageError, match="biases for 2 and 3 heads"):
        kind([KeyBias(3, GRID.shape), KeyBias(2, GRID.shape)])
