import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from vitkit.errors import UsageError
from vitkit.metrics import calibration_error, equal_mass_bins, equal_width_bins, in_bins


def error(confidence, correct, index, bins=15):
    return calibration_error(in_bins(confidence - correct, index, bins).mean(0))


@given(st.integers(2, 200), st.integers(0, 10**6))
def test_agrees_with_torchmetrics(n, seed):
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.ones(4), size=n)
    labels = generator.integers(4, size=n)
    ours = error(p.max(1), p.argmax(1) == labels, equal_width_bins(p.max(1))).item()
    # Its boundaries are float32, ours are exact; confidences at random do not fall between them.
    theirs = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(labels), num_classes=4, n_bins=15).item()
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert 0 <= ours <= 1


def test_a_certain_and_right_model_is_calibrated_and_a_certain_and_wrong_one_is_not():
    certain = np.ones(5)
    assert error(certain, np.ones(5), equal_width_bins(certain)) == 0
    assert error(certain, np.zeros(5), equal_width_bins(certain)) == 1


def test_bins_of_equal_mass_hold_as_many_samples():
    confidence = np.random.default_rng(0).random(90) ** 4
    index = equal_mass_bins(confidence)
    assert np.bincount(index).tolist() == [6] * 15
    order = np.argsort(confidence).reshape(15, 6)
    correct = np.random.default_rng(1).random(90) < 0.5
    expected = np.mean([abs(confidence[group].mean() - correct[group].mean()) for group in order])
    assert error(confidence, correct, index) == pytest.approx(expected)


def test_equal_confidences_share_a_bin_whatever_their_order():
    confidence, correct = np.array([0.5] * 6 + [0.9] * 2), np.array([True, False] * 4)
    found = error(confidence, correct, equal_mass_bins(confidence, bins=4), bins=4)
    shuffled = np.random.default_rng(0).permutation(8)
    confidence, correct = confidence[shuffled], correct[shuffled]
    assert error(confidence, correct, equal_mass_bins(confidence, bins=4), bins=4) == pytest.approx(found)
    assert found == pytest.approx(0.75 * 0 + 0.25 * 0.4)
    with pytest.raises(UsageError, match="0 bins"):
        equal_mass_bins(confidence, bins=0)
