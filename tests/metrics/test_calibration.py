import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from vitkit.errors import UsageError
from vitkit.metrics import adaptive_gaps, calibration_error, calibration_gaps


@given(st.integers(2, 200), st.integers(0, 10**6))
def test_agrees_with_torchmetrics(n, seed):
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.ones(4), size=n)
    labels = generator.integers(4, size=n)
    ours = calibration_error(calibration_gaps(p.max(1), p.argmax(1) == labels).mean(0)).item()
    # Its boundaries are float32, ours are exact; confidences at random do not fall between them.
    theirs = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(labels), num_classes=4, n_bins=15).item()
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert 0 <= ours <= 1


def test_a_certain_and_right_model_is_calibrated_and_a_certain_and_wrong_one_is_not():
    certain = np.ones(5)
    assert calibration_error(calibration_gaps(certain, np.ones(5, bool)).mean(0)) == 0
    assert calibration_error(calibration_gaps(certain, np.zeros(5, bool)).mean(0)) == 1


def test_bins_of_equal_mass_hold_as_many_samples():
    confidence = np.random.default_rng(0).random(90) ** 4
    filled = (adaptive_gaps(confidence, np.zeros(90, dtype=bool)) != 0).sum(0)
    assert filled.tolist() == [6] * 15
    order = np.argsort(confidence).reshape(15, 6)
    correct = np.random.default_rng(1).random(90) < 0.5
    expected = np.mean([abs(confidence[group].mean() - correct[group].mean()) for group in order])
    assert calibration_error(adaptive_gaps(confidence, correct).mean(0)) == pytest.approx(expected)


def test_equal_confidences_share_a_bin_whatever_their_order():
    confidence, correct = np.array([0.5] * 6 + [0.9] * 2), np.array([True, False] * 4)
    found = calibration_error(adaptive_gaps(confidence, correct, bins=4).mean(0))
    shuffled = np.random.default_rng(0).permutation(8)
    assert calibration_error(adaptive_gaps(confidence[shuffled], correct[shuffled], bins=4).mean(0)) == pytest.approx(found)
    assert found == pytest.approx(0.75 * 0 + 0.25 * 0.4)
    with pytest.raises(UsageError, match="0 bins"):
        adaptive_gaps(confidence, correct, bins=0)
