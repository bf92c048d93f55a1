"""Corruptions that change intensities where they are."""

import math

import pytest
import torch
from scipy import stats

from vitkit.corruptions import volume
from vitkit.corruptions.volume.bias_field import polynomial

EPS = torch.finfo(torch.float32).eps


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(12, 9, 7), (1, 6, 6)])
def test_a_bias_field_reaches_its_factor_on_both_sides(seed, size):
    ratio = volume.bias_field(torch.full((1, 2, *size), 0.5), 4, [seed]) / 0.5
    assert float(ratio.max()) == pytest.approx(math.exp(1.2), rel=8 * EPS)
    assert float(ratio.min()) == pytest.approx(math.exp(-1.2), rel=8 * EPS)
    assert torch.equal(ratio[:, 0], ratio[:, 1])


def test_a_bias_field_is_a_polynomial_of_the_third_degree():
    field = polynomial([7], (9, 10, 11), "cpu").double()
    for axis in (1, 2, 3):
        # The fourth difference of a cubic is 0; each halves at most the digits of eps, and sums 16 of them.
        assert field.diff(n=4, dim=axis).abs().max() < 32 * EPS
        assert field.diff(n=3, dim=axis).abs().max() > 1e-3


def test_noise_of_a_flat_image_is_rician():
    """Two halves of 0.3 and 0.7 have a deviation of 0.2, so severity 5 adds noise of σ = 0.16 to each quadrature."""
    images = torch.full((1, 1, 40, 40, 40), 0.3)
    images[..., 20:] = 0.7
    noisy = volume.rician_noise(images, 5, [11])
    for part, value in ((noisy[..., :20], 0.3), (noisy[..., 20:], 0.7)):
        found = stats.kstest(part.flatten().numpy(), stats.rice(value / 0.16, scale=0.16).cdf)
        assert found.pvalue > 1e-3


def test_noise_of_air_is_rayleigh_and_of_each_channel_its_own():
    images = torch.zeros(1, 2, 30, 30, 30)
    images[:, :, 15:] = torch.tensor([1.0, 0.5])[:, None, None, None]
    noisy = volume.rician_noise(images, 3, [2])
    for channel, deviation in ((0, 0.5), (1, 0.25)):
        air = noisy[0, channel, :15].flatten().numpy()
        assert stats.kstest(air, stats.rayleigh(scale=0.48 * deviation).cdf).pvalue > 1e-3
    correlation = torch.corrcoef(noisy[0, :, :15].flatten(1))[0, 1]
    assert abs(correlation) < 5 / math.sqrt(15 * 30 * 30)  # five deviations of what independent draws give


def test_a_flat_image_has_no_deviation_and_so_no_noise():
    images = torch.full((1, 1, 5, 5, 5), 0.25)
    assert torch.equal(volume.rician_noise(images, 5, [0]), images)


def test_gamma_and_scaling_are_their_formulas():
    images = torch.rand(1, 1, 6, 6, 6)
    assert torch.equal(volume.gamma(images, 5, [0]), images**3.0)
    torch.testing.assert_close(volume.gamma(images, 5, [0], direction="brighter"), images**0.3, rtol=4 * EPS, atol=0)
    assert torch.equal(volume.intensity_scaling(images, 5, [0]), images * 0.5)
    assert torch.equal(volume.intensity_scaling(images, 5, [0], direction="brighter"), images * 2.0)


def test_a_window_is_moved_by_hounsfield_units():
    """A window from -160 to 240 HU, moved up by 60: what was mapped from HU there is what the function makes of the first."""
    hu = torch.linspace(-90, 170, 27).view(1, 1, 3, 3, 3)
    before, after = (hu + 160) / 400, (hu + 160 - 60) / 400
    torch.testing.assert_close(volume.window_shift(before, 3, [0], width=400.0), after, rtol=0, atol=4 * EPS)
    lower = volume.window_shift(before, 3, [0], width=400.0, direction="brighter")
    torch.testing.assert_close(lower, (hu + 160 + 60) / 400, rtol=0, atol=4 * EPS)


def test_a_spike_is_one_wave_of_the_stated_height():
    images = torch.rand(2, 2, 16, 20, 18, dtype=torch.float64)
    added = volume.spikes(images, 4, [3, 4]) - images
    for image, wave in zip(images, added, strict=True):
        for channel, mine in zip(image, wave, strict=True):
            spectrum = torch.fft.fftn(mine).abs().flatten()
            highest = spectrum.topk(3).values
            # A cosine of height h is two points of h · N / 2; the largest value of the image's own is its sum.
            assert highest[:2].tolist() == pytest.approx([0.8 * float(channel.sum()) / 2] * 2, rel=1e-9)
            assert highest[2] < 1e-9 * highest[0]


def test_the_stripes_of_a_spike_run_obliquely():
    images = torch.full((1, 1, 32, 48, 64), 0.5, dtype=torch.float64)
    for seed in range(20):
        place = int(torch.fft.fftn(volume.spikes(images, 1, [seed])[0, 0] - images[0, 0]).abs().argmax())
        for length in (64, 48, 32):
            place, index = divmod(place, length)
            assert length / 16 <= min(index, length - index) <= length / 4
