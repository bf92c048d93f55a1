"""Draws are those of the distributions, and each image's are its own."""

import numpy as np
import pytest
import torch
from scipy import stats

from vitkit.corruptions import random
from vitkit.corruptions.random import bits, normal, uniform
from vitkit.errors import UsageError

FROZEN = [[207540193, -1627660169, 225638002], [-518514482, -1091370491, -277552532]]
SEEDS = [2**64 - 1, 0, 3, 2**63]
# A true draw falls below this once in ten thousand times; the seeds are fixed, so what passes once passes always.
LEVEL = 1e-4


def test_draws_are_the_same_on_every_machine():
    """Frozen values: a change of theirs changes every published result."""
    assert bits([0, 2**64 - 1], [3]).tolist() == FROZEN


def test_the_hash_is_what_its_formula_says():
    """Against the same in Python's whole numbers, also across the border of a piece."""

    def mix(x):
        x = (x ^ x >> 16) * 0x7FEB352D % 2**32
        x = (x ^ x >> 15) * 0x846CA68B % 2**32
        return x ^ x >> 16

    count = random._PIECE + 10
    drawn = bits([5], [count], stream=2)[0]
    first, second = random._keys(5, 2)
    for place in (0, 1, random._PIECE - 1, random._PIECE, count - 1):
        expected = mix((mix((place * 0x9E3779B9 + first) % 2**32) + second) % 2**32)
        assert int(drawn[place]) % 2**32 == expected


@pytest.mark.parametrize("draw", [bits, uniform, normal])
def test_an_image_keeps_its_draws_in_any_batch(draw, monkeypatch):
    together = draw(SEEDS, (3, 7, 5))
    for index, seed in enumerate(SEEDS):
        assert torch.equal(draw([seed], (3, 7, 5))[0], together[index])
    assert not torch.equal(together, draw(SEEDS, (3, 7, 5), stream=1))
    monkeypatch.setattr(random, "_PIECE", 40)
    assert torch.equal(draw(SEEDS, (3, 7, 5)), together)
    assert draw([], (3,)).shape == (0, 3)


def test_uniform_draws_are_uniform():
    drawn = uniform(SEEDS, (250_000,)).numpy()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for each in drawn:
        assert stats.kstest(each[:100_000], "uniform").pvalue > LEVEL
    # Neighbours in place, in pairs: a hash of too little mixing would leave lines in the square.
    for lag in (1, 2, 64, 4096):
        cells = np.histogram2d(drawn[0, :-lag], drawn[0, lag:], bins=32, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(cells.ravel()).pvalue > LEVEL
    # Each bit is one in half of the draws.
    raw = bits([1], (200_000,))[0]
    ones = torch.stack([(raw >> place) & 1 for place in range(32)]).double().sum(1)
    assert ((ones - 100_000).abs() < 4.5 * 200_000**0.5 / 2).all()


def test_normal_draws_are_normal():
    drawn = normal(SEEDS, (250_001,)).double().numpy()
    assert drawn.shape == (4, 250_001)
    every = drawn.ravel()
    assert stats.kstest(every, "norm").pvalue > LEVEL
    assert abs(every.mean()) < 4 / 1000
    for power, expected, spread in ((2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((every**power).mean() - expected) < 4 * (spread / every.size) ** 0.5
    assert abs((abs(every) > 4).sum() - every.size * 2 * stats.norm.sf(4)) < 4 * (every.size * 2 * stats.norm.sf(4)) ** 0.5
    # Cosine and sine of one angle are uncorrelated, and so are their squares.
    pairs = drawn[0, :250_000].reshape(2, -1)
    assert abs(np.corrcoef(pairs)[0, 1]) < 4 / pairs.shape[1] ** 0.5
    assert abs(np.corrcoef(pairs**2)[0, 1]) < 4 / pairs.shape[1] ** 0.5


def test_normal_draws_are_those_of_box_and_muller():
    """Of the series for logarithm, sine and cosine, against float64."""
    raw = bits([9], (2, 50_000))[0].double()
    u = (torch.floor(raw[0] / 256) % 2**24 + 1) / 2**24
    found = normal([9], (2, 50_000))[0].double()
    radius = (-2 * u.log()).sqrt()
    assert torch.allclose(found.square().sum(0).sqrt(), radius, rtol=1e-6, atol=1e-6)
    signed = torch.floor(raw[1] / 256) / 2**24 * torch.pi / 2
    whole = raw[1].long()
    cosine, sine = signed.cos() * (1 - (whole & 2)), signed.sin()
    odd = (whole & 1).bool()
    assert torch.allclose(found[0], radius * torch.where(odd, sine, cosine), atol=2e-6)
    assert torch.allclose(found[1], radius * torch.where(odd, cosine, sine), atol=2e-6)


def test_roots_are_rounded_as_everywhere():
    x = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 40
    assert np.array_equal(random._root(x).numpy(), np.sqrt(x.numpy()))


@pytest.mark.parametrize("pair", [([1], 0, [2], 0), ([1], 0, [1], 1), ([0], 0, [2**32], 0)])
def test_seeds_and_streams_are_independent(pair):
    one, first, other, second = pair
    a, b = normal(one, (100_000,), stream=first)[0].numpy(), normal(other, (100_000,), stream=second)[0].numpy()
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / a.size**0.5
    # No shifted copy either, whatever the shift.
    spectrum = np.fft.rfft(a) * np.conj(np.fft.rfft(b))
    assert abs(np.fft.irfft(spectrum)).max() / a.size < 6 / a.size**0.5


def test_too_many_numbers_are_refused():
    with pytest.raises(UsageError, match="streams"):
        bits([1], (2**16, 2**16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("draw", [bits, uniform, normal])
def test_a_gpu_draws_the_same(draw):
    assert torch.equal(draw(SEEDS, (3, 100, 77), "cuda").cpu(), draw(SEEDS, (3, 100, 77)))


@pytest.mark.parametrize("rate", [0.0, 0.3, 2.0, 3.99, 4.0, 6.5, 12.0, 60.0, 500.0])
def test_counts_are_of_poisson(rate):
    """Distribution function, mean and variance, as far as chance lets them be."""
    drawn = random.poisson(SEEDS, torch.full((4, 50_000), rate)).double().numpy().ravel()
    assert (drawn == drawn.round()).all()
    assert drawn.min() >= 0
    counts = np.arange(int(rate + 10 * rate**0.5 + 20))
    expected = stats.poisson.pmf(counts, rate) * drawn.size
    found = np.bincount(drawn.astype(int), minlength=len(counts))[: len(counts)]
    # At its widest, the spread of an empirical distribution function is half the root of the draws.
    assert abs((found - expected).cumsum()).max() < 4.5 * drawn.size**0.5 / 2 + 1
    assert abs(drawn.mean() - rate) < 4.5 * (rate / drawn.size) ** 0.5 + 1e-3
    assert abs(drawn.var() - rate) < 4.5 * (rate * (1 + 2 * rate) / drawn.size) ** 0.5 + 1e-3
    alone = random.poisson(SEEDS[1:2], torch.full((1, 50_000), rate))
    assert np.array_equal(alone.numpy().ravel(), drawn.reshape(4, -1)[1])
