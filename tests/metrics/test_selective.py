import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitkit.errors import UsageError
from vitkit.metrics import bootstrap_means, kept, risk_coverage_area, selective_accuracy


def drawn(n, seed=0, ties=False):
    generator = np.random.default_rng(seed)
    confidence = generator.integers(3, 8, n) / 8 if ties else generator.random(n)
    return confidence, generator.random(n) < confidence


def by_definition(confidence, correct):
    """Risk of the k most confident for every k, no two of which are equally confident."""
    order = np.argsort(-confidence)
    risks = [1 - correct[order[:k]].mean() for k in range(1, len(order) + 1)]
    return float(np.mean(risks))


@given(st.integers(1, 60), st.integers(0, 100))
def test_the_area_is_the_mean_risk(n, seed):
    confidence, correct = drawn(n, seed)
    assert risk_coverage_area(confidence, correct)[0] == pytest.approx(by_definition(confidence, correct), abs=1e-12)


def test_equal_confidences_are_taken_in_every_order():
    """The mean over 2000 random orders, to four of its standard errors."""
    confidence, correct = drawn(30, ties=True)
    generator = np.random.default_rng(1)
    found = [by_definition(confidence + 1e-6 * generator.random(30), correct) for _ in range(2000)]
    error = np.std(found) / len(found) ** 0.5
    assert risk_coverage_area(confidence, correct)[0] == pytest.approx(np.mean(found), abs=4 * error)


@pytest.mark.parametrize("ties", [False, True])
def test_the_influence_makes_the_bootstrap_of_the_area(ties):
    """Against 2000 resamples ranked anew; a standard deviation of that many is known to 1.6 %, thrice that is allowed."""
    confidence, correct = drawn(400, ties=ties)
    area, influence = risk_coverage_area(confidence, correct)
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    generator = np.random.default_rng(0)
    picks = [generator.integers(400, size=400) for _ in range(2000)]
    anew = [risk_coverage_area(confidence[pick], correct[pick])[0] for pick in picks]
    first_order = bootstrap_means(influence[:, None], resamples=2000)[:, 0]
    assert first_order.std() == pytest.approx(np.std(anew), rel=0.05)
    paired = [influence[pick].mean() + area for pick in picks]
    assert np.corrcoef(anew, paired)[0, 1] > 0.99


@given(st.integers(1, 40), st.integers(0, 50), st.floats(0.01, 1), st.booleans())
def test_as_much_is_answered_as_was_asked_for(n, seed, coverage, ties):
    confidence, _ = drawn(n, seed, ties)
    weights = kept(confidence, coverage)
    assert weights.sum() == pytest.approx(coverage * n)
    assert ((weights >= 0) & (weights <= 1)).all()
    order = np.argsort(-confidence, kind="stable")
    assert (np.diff(weights[order]) <= 1e-12).all(), "the more confident are answered first"


def test_accuracy_at_a_coverage():
    confidence, correct = np.array([0.9, 0.8, 0.7, 0.7]), np.array([True, False, True, False])
    found = [selective_accuracy(confidence, correct, share) for share in (0.25, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([1, 1 / 2, 1.5 / 3, 2 / 4])


@pytest.mark.parametrize("coverage", [0.0, -1.0, 1.5, float("nan")])
def test_a_coverage_that_is_none_is_refused(coverage):
    with pytest.raises(UsageError, match="coverage"):
        kept(np.array([0.5]), coverage)
    with pytest.raises(UsageError, match="no samples"):
        risk_coverage_area(np.empty(0), np.empty(0, dtype=bool))
