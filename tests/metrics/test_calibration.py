import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from vitkit.metrics import calibration_error, calibration_gaps


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
