import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from vitkit.errors import UsageError
from vitkit.metrics import error_consistency, flips


def test_error_consistency_is_cohens_kappa_of_being_right():
    generator = np.random.default_rng(0)
    first, second = generator.random((4, 300)) < 0.7, generator.random((4, 300)) < 0.4
    second[0] = first[0]
    expected = [cohen_kappa_score(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(error_consistency(first, second), expected, atol=1e-12)
    assert error_consistency(first, second)[0] == pytest.approx(1.0)


def test_it_is_symmetric_and_minus_one_for_opposites():
    right = np.array([True, False, True, False])
    assert error_consistency(right, ~right) == -1
    other = np.array([True, True, True, False])
    assert error_consistency(right, other) == error_consistency(other, right)


def test_without_errors_there_is_nothing_to_compare():
    always, half = np.ones(4, dtype=bool), np.array([True, True, False, False])
    assert np.isnan(error_consistency(always, always))
    assert np.isnan(error_consistency(~always, ~always))
    assert error_consistency(always, half) == 0, "one that is always right agrees as often as chance would"


def test_flips_are_counted_from_each_severity_to_the_next():
    predictions = np.array([[0, 0, 0], [0, 1, 1], [0, 0, 1]])
    assert flips(predictions).tolist() == [0, 1, 0.5]
    np.testing.assert_array_equal(flips(predictions[::-1]), flips(predictions))
    with pytest.raises(UsageError, match="1 severities"):
        flips(predictions[:1])
