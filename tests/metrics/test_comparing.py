import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vitkit.errors import UsageError
from vitkit.metrics import bootstrap_means, holm, percentile_interval, sign_flip_test, simultaneous_interval


@pytest.mark.parametrize(("better", "worse"), [(9, 2), (30, 18), (7, 7), (40, 10)])
def test_for_right_and_wrong_it_is_mcnemars_exact_test(better, worse):
    """A p-value from B draws has a standard error of sqrt(p (1 - p) / B); four of them, and the one that is added."""
    differences = np.repeat([1.0, -1.0, 0.0], [better, worse, 50])[:, None]
    exact = stats.binomtest(better, better + worse).pvalue
    found = sign_flip_test(differences)[0]
    assert found == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 9999) ** 0.5 + 1e-4)


def test_it_agrees_with_scipy():
    values = np.random.default_rng(0).normal(0.25, 1, 60)
    drawn = {"rng" if "rng" in inspect.signature(stats.permutation_test).parameters else "random_state": 1}  # scipy before 1.15
    expected = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=9999, **drawn).pvalue
    assert sign_flip_test(values[:, None])[0] == pytest.approx(expected, abs=8 * (expected / 9999) ** 0.5)


def test_where_nothing_differs_p_is_one():
    assert sign_flip_test(np.zeros((5, 2))).tolist() == [1, 1]
    assert sign_flip_test(np.ones((200, 1)), flips=99)[0] == 0.01, "the least there can be"


def test_a_group_is_flipped_together():
    values = np.random.default_rng(0).normal(0.3, 1, (20, 2))
    np.testing.assert_array_equal(
        sign_flip_test(np.repeat(values, 5, axis=0), groups=np.repeat(np.arange(20), 5)), sign_flip_test(values)
    )
    assert sign_flip_test(np.repeat(values, 5, axis=0))[0] < sign_flip_test(values)[0]


def test_no_difference_is_found_as_often_as_it_says():
    """400 pairs of equal models: 5 % below .05, to four standard deviations of a binomial."""
    differences = np.random.default_rng(0).integers(-1, 2, (80, 400)).astype(float)
    share = (sign_flip_test(differences, flips=999) < 0.05).mean()
    assert share == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 400) ** 0.5)


def by_closed_testing(p_values):
    """Holm's method as the closure of Bonferroni's: the largest p over all sets of hypotheses that a test is in."""
    m = len(p_values)
    sets = [[j for j in range(m) if mask >> j & 1] for mask in range(1, 2**m)]
    return [max(min(1, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in range(m)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values):
    np.testing.assert_allclose(holm(np.array(p_values)), by_closed_testing(p_values))


def test_a_test_that_was_not_made_counts_for_nothing():
    found = holm(np.array([0.01, np.nan, 0.02]))
    assert np.isnan(found[1])
    assert found[[0, 2]].tolist() == [0.02, 0.02]
    assert holm(np.empty(0)).size == 0


def test_simultaneous_intervals_hold_all_at_once():
    """200 data sets with ten columns each: the truth is in all ten intervals in 95 %, to four standard deviations."""
    together = alone = 0
    generator = np.random.default_rng(0)
    for seed in range(200):
        data = generator.normal(size=(60, 10))
        replicates = bootstrap_means(data, resamples=200, seed=seed)
        low, high = simultaneous_interval(data.mean(0), replicates)
        together += bool(((low <= 0) & (high >= 0)).all())
        low, high = percentile_interval(replicates)
        alone += bool(((low <= 0) & (high >= 0)).all())
    assert together / 200 > 0.95 - 4 * 0.0155
    assert alone / 200 < 0.8, "intervals for one at a time do not"


def test_what_no_resample_moves_is_its_own_bound():
    low, high = simultaneous_interval(np.array([1.0, 0.0]), np.column_stack([np.ones(100), np.linspace(-1, 1, 100)]))
    assert low[0] == high[0] == 1
    assert low[1] < 0 < high[1]


def test_no_samples_are_refused():
    with pytest.raises(UsageError, match="no samples"):
        sign_flip_test(np.empty((0, 1)))
