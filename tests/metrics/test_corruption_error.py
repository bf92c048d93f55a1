import numpy as np
import pytest

from vitkit.errors import UsageError
from vitkit.metrics import ALEXNET, ALEXNET_CLEAN, corruption_error, mean_corruption_error


def errors(factor=1.0, offset=0.0):
    shape = np.array([0.8, 0.9, 1.0, 1.1, 1.2])
    return {name: offset + factor * error * shape for name, error in ALEXNET.items()}


def test_alexnet_is_one():
    assert mean_corruption_error(errors()) == pytest.approx(1)
    assert mean_corruption_error(errors(), np.array(ALEXNET_CLEAN)) == pytest.approx(1)


def test_a_published_network():
    """ResNet-50 in the paper's table 1: clean error 23.9, mCE 76.7, and the corruption errors of each kind, in percent."""
    published = {
        "gaussian_noise": 80, "shot_noise": 82, "impulse_noise": 83, "defocus_blur": 75, "glass_blur": 89, "motion_blur": 78,
        "zoom_blur": 80, "snow": 78, "frost": 75, "fog": 66, "brightness": 57, "contrast": 71, "elastic_transform": 85,
        "pixelate": 77, "jpeg_compression": 77,
    }  # fmt: skip
    found = mean_corruption_error({name: np.full(5, ALEXNET[name] * ce / 100) for name, ce in published.items()})
    assert found == pytest.approx(0.767, abs=0.005)
    relative = mean_corruption_error(
        {name: np.full(5, ALEXNET[name] * ce / 100) for name, ce in published.items()}, np.array(0.239)
    )
    assert relative == pytest.approx(1.05, abs=0.02)  # 105.0 there; each rounded corruption error moves its ratio


def test_rows_are_models_or_resamples():
    stacked = {name: np.stack([error, error / 2]) for name, error in errors().items()}
    np.testing.assert_allclose(mean_corruption_error(stacked), [1, 0.5])
    clean = np.array([ALEXNET_CLEAN, 0.0])
    assert mean_corruption_error(stacked, clean)[0] == pytest.approx(1)


def test_a_baseline_that_is_not_harmed_is_refused():
    with pytest.raises(UsageError, match="nothing there"):
        corruption_error(np.array([0.3]), 0.4, clean=np.array(0.1), baseline_clean=0.4)
    with pytest.raises(UsageError, match="the error 0;"):
        corruption_error(np.array([0.3]), 0.0)
    with pytest.raises(UsageError, match=r"0\.9 on clean images"):
        mean_corruption_error(errors(), np.array(0.1), baseline_clean=0.9)


def test_other_corruptions_or_severities_are_refused():
    fewer = errors()
    del fewer["fog"]
    with pytest.raises(UsageError, match="fog"):
        mean_corruption_error(fewer)
    with pytest.raises(UsageError, match="speckle"):
        mean_corruption_error(errors() | {"speckle": np.zeros(5)})
    with pytest.raises(UsageError, match="4 severities"):
        mean_corruption_error({name: error[:4] for name, error in errors().items()})
