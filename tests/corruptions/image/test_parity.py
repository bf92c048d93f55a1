"""What imagecorruptions makes of the same photograph: the same to a hundredth of a level, or by distribution.

The package is called with its draws fixed where it has few of them; noise is compared by mean, spread, quantiles and spectrum.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_images

from vitkit.corruptions import image
from vitkit.corruptions.image import filters, weather

pytestmark = pytest.mark.skipif(find_spec("imagecorruptions") is None, reason="needs imagecorruptions")
SEVERITIES = [1, 2, 3, 4, 5]
# A true pair of samples differs by more once in a hundred thousand times; the seeds are fixed.
LEVEL = 1e-5


@pytest.fixture(scope="module")
def package():
    sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
    try:
        from peer_imagecorruptions import load

        return load()
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def photograph():
    """64 x 64 pixels with edges and sky."""
    return load_sample_images().images[0][140:204, 330:394].copy()


def theirs(function, picture, severity):
    """An array (channels, height, width) from 0 to 255, not rounded."""
    made = np.asarray(function(Image.fromarray(picture), severity), dtype=np.float64)
    return np.clip(made, 0, 255).transpose(2, 0, 1)


def ours(function, picture, severity, seeds=(0,), **options):
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].expand(len(seeds), -1, -1, -1) / 255
    return function(x, severity, list(seeds), **options).double().numpy() * 255


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("defocus_blur", 0.01),
        ("gaussian_blur", 0.01),
        ("zoom_blur", 0.01),
        ("brightness", 0.01),
        ("contrast", 0.01),
        ("saturate", 0.01),
        ("jpeg_compression", 0.01),
        ("pixelate", 1.01),  # the package rounds to whole levels along each axis
    ],
)
def test_what_is_not_random_is_the_same(name, tolerance, severity, package, photograph):
    expected = theirs(getattr(package, name), photograph, severity)
    assert np.abs(ours(getattr(image, name), photograph, severity)[0] - expected).max() < tolerance


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_noise_has_the_same_distribution(name, severity, package):
    """On three flat colours, where every value has the same distribution: quantiles, moments, and no more structure."""
    flat = np.broadcast_to(np.array([40, 130, 220], np.uint8), (96, 96, 3)).copy()
    np.random.seed(severity)  # noqa: NPY002  the package draws from it
    expected = np.concatenate([theirs(getattr(package, name), flat, severity) for _ in range(3)], 1)
    found = np.concatenate(list(ours(getattr(image, name), flat, severity, (1, 2, 3))), 1)
    for mine, other in zip(found.reshape(3, -1).round(6), expected.reshape(3, -1).round(6), strict=True):
        size = mine.size
        assert abs(mine.mean() - other.mean()) < 4.5 * other.std() * (2 / size) ** 0.5 + 1e-9
        kurtosis = stats.kurtosis(other, fisher=False)
        assert abs(mine.var() - other.var()) < 4.5 * other.var() * ((kurtosis - 1) * 2 / size) ** 0.5 + 1e-9
        # Of values with many ties the test is conservative.
        assert stats.ks_2samp(np.round(mine, 3), np.round(other, 3)).pvalue > LEVEL
    channels = np.corrcoef(found.reshape(3, -1))
    assert np.abs(channels - np.eye(3)).max() < 4.5 / found[0].size ** 0.5
    # White: the mean power of every eighth of the frequencies is the variance, as far as chance lets it be.
    centred = found[0].reshape(-1) - found[0].mean()
    power = np.abs(np.fft.rfft(centred))[1:] ** 2 / centred.size / centred.var()
    bands = power[: len(power) // 8 * 8].reshape(8, -1).mean(1)
    assert np.abs(bands - 1).max() < 4.5 / (len(power) // 8) ** 0.5


@pytest.mark.parametrize("severity", SEVERITIES)
def test_motion_at_an_angle_is_the_same(severity, package, photograph, monkeypatch):
    radius, sigma = [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)][severity - 1]
    x = torch.from_numpy(photograph).permute(2, 0, 1)[None] / 255
    for angle in (-44.0, 0.0, 13.7, -101.0):
        made = filters.motion(x, radius, sigma, [angle])[0].numpy() * 255
        expected = package._motion_blur(photograph, radius, sigma, angle).transpose(2, 0, 1)
        assert np.abs(made - expected).max() < 0.01
    angles = []
    monkeypatch.setattr(image.blur, "motion", lambda x, radius, sigma, given: angles.extend([radius, sigma, *given]) or x)
    image.motion_blur(x.expand(400, -1, -1, -1)[:, :1, :2, :2], severity, list(range(400)))
    assert angles[:2] == [radius, sigma]
    assert stats.kstest(angles[2:], stats.uniform(-45, 90).cdf).pvalue > LEVEL


def moments(pictures):
    """Of each picture: mean, spread, difference of neighbours along both axes, and at four pixels."""
    pictures = np.asarray(pictures)
    return np.stack(
        [
            pictures.mean((1, 2, 3)),
            pictures.std((1, 2, 3)),
            np.abs(np.diff(pictures, axis=2)).mean((1, 2, 3)),
            np.abs(np.diff(pictures, axis=3)).mean((1, 2, 3)),
            np.abs(pictures[:, :, 4:] - pictures[:, :, :-4]).mean((1, 2, 3)),
            np.quantile(pictures, 0.1, axis=(1, 2, 3)),
            np.quantile(pictures, 0.9, axis=(1, 2, 3)),
        ]
    )


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(
    ("name", "count"), [("glass_blur", 6), ("snow", 40), ("fog", 40), ("elastic_transform", 12), ("spatter", 25)]
)
def test_random_pictures_have_the_same_moments(name, count, severity, package, photograph):
    """Means over many draws, by Welch's test, for seven statistics of a picture."""
    np.random.seed(severity)  # noqa: NPY002
    options = {"constants": "imagecorruptions"} if name == "elastic_transform" else {}
    expected = moments([theirs(getattr(package, name), photograph, severity) for _ in range(count)])
    found = moments(ours(getattr(image, name), photograph, severity, range(4 * count), **options))
    for mine, other in zip(found, expected, strict=True):
        # What hardly varies, such as the mean after a blur, may differ by the rounding down of levels.
        near = abs(mine.mean() - other.mean()) < 0.5
        assert near or stats.ttest_ind(mine, other, equal_var=False).pvalue > LEVEL
        assert mine.std() < 3 * other.std() + 0.5
        assert other.std() < 3 * mine.std() + 0.5


def test_a_landscape_is_the_package_s(package, monkeypatch):
    """The same map where nothing is drawn but at one scale, and the same spectrum where everything is."""
    np.random.seed(0)  # noqa: NPY002
    count = 60
    theirs = np.stack([package.plasma_fractal(64, 2) for _ in range(count)])
    mine = weather.plasma(list(range(count)), 64, 2, "cpu").double().numpy()

    def log_power(maps):
        power = np.abs(np.fft.fft2(maps)) ** 2
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(64, 1 / 64), np.fft.fftfreq(64, 1 / 64))).round()
        return np.stack([np.log(power[:, radius == each].mean(1)) for each in (1, 2, 4, 8, 16, 31)])

    for a, b in zip(log_power(mine), log_power(theirs), strict=True):
        assert stats.ttest_ind(a, b, equal_var=False).pvalue > LEVEL
    assert mine.min() == 0
    assert mine.max() == 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_frost_is_as_bright_and_as_rough_as_the_photographs(severity, package, photograph):
    """No parity: other frost. But its mean and spread lie within the range of the five photographs' cuts."""
    black = np.zeros_like(photograph)
    np.random.seed(severity)  # noqa: NPY002
    expected = np.stack([theirs(package.frost, black, severity) for _ in range(15)])
    found = ours(image.frost, black, severity, range(40))
    low, high = expected.mean((1, 2, 3)).min(), expected.mean((1, 2, 3)).max()
    assert low - 15 < found.mean((1, 2, 3)).min()
    assert found.mean((1, 2, 3)).max() < high + 15
    assert abs(found.mean() - expected.mean()) < 25
    rough, other = np.abs(np.diff(found)).mean(), np.abs(np.diff(expected)).mean()
    assert other / 2 < rough < 2 * other
