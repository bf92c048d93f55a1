import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from vitkit.errors import UsageError
from vitkit.metrics import Bootstrap, bootstrap, bootstrap_means, percentile_interval


def half_width(columns, **options):
    low, high = percentile_interval(bootstrap_means(columns, **options))
    return (high - low) / 2


@pytest.mark.parametrize(("n", "accuracy"), [(400, 0.5), (1000, 0.9)])
def test_the_interval_of_an_accuracy_is_the_binomials(n, accuracy):
    """1.96 sqrt(p(1-p)/n). With 1000 resamples a quantile at 2.5 % has a relative error of about 4 % of the half-width."""
    correct = (np.arange(n) < accuracy * n).astype(float)[:, None]
    expected = 1.96 * (accuracy * (1 - accuracy) / n) ** 0.5
    assert half_width(correct)[0] == pytest.approx(expected, rel=0.15)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """200 data sets of 100 normal values: 95 % coverage within 4 standard deviations of a binomial (1.5 points each)."""
    data = np.random.default_rng(0).normal(size=(100, 200))
    low, high = percentile_interval(bootstrap_means(data, resamples=1000))
    covered = ((low <= 0) & (high >= 0)).mean()
    assert 0.95 - 4 * 0.0155 < covered <= 1.0
    assert covered < 0.995, "intervals that are far too wide"


def test_columns_are_paired():
    columns = np.random.default_rng(0).normal(size=(50, 1)) + np.array([[0.0, 3.0]])
    means = bootstrap_means(columns)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 3.0, rtol=1e-12)
    np.testing.assert_array_equal(bootstrap_means(columns[:, :1])[:, 0], bootstrap_means(columns[:, :1])[:, 0])
    np.testing.assert_allclose(bootstrap_means(columns[:, 1:])[:, 0], means[:, 1], rtol=1e-12)
    assert not np.allclose(bootstrap_means(columns, seed=1), means)


@given(st.integers(1, 40), st.integers(0, 100))
def test_every_resample_is_a_mean_of_the_data(n, seed):
    columns = np.random.default_rng(seed).normal(size=(n, 2))
    means = bootstrap_means(columns, resamples=20, seed=seed)
    slack = 1e-12 * np.abs(columns).max()
    assert (means >= columns.min(0) - slack).all()
    assert (means <= columns.max(0) + slack).all()


def test_chunks_change_nothing(monkeypatch):
    columns = np.random.default_rng(0).integers(2, size=(30, 3)).astype(float)
    whole = bootstrap_means(columns, resamples=50)
    monkeypatch.setattr(bootstrap, "_ELEMENTS", 100)
    np.testing.assert_array_equal(bootstrap_means(columns, resamples=50), whole)


@pytest.mark.parametrize("groups", [None, np.arange(300) // 7])
def test_counts_in_a_file_and_rows_on_demand_change_nothing(groups, tmp_path, monkeypatch):
    columns = np.random.default_rng(0).integers(2, size=(300, 3)).astype(float)
    whole = bootstrap_means(columns, groups=groups, resamples=50)
    monkeypatch.setattr(bootstrap, "_IN_MEMORY", 100)
    monkeypatch.setattr(bootstrap, "_ELEMENTS", 1000)
    asked = []
    stored = Bootstrap(300, groups=groups, resamples=50, folder=tmp_path)
    for _ in range(2):
        np.testing.assert_array_equal(stored.means(lambda some: asked.append(some) or columns[some]), whole)
    assert max(some.stop - some.start for some in asked) == 20, "no more rows at once than are worked with"
    assert list(tmp_path.iterdir()) == [], "the file has a name"
    if sys.platform == "linux":
        file = Path(f"/proc/self/fd/{stored._counts._file.fileno()}")
        assert file.readlink().as_posix().startswith(tmp_path.as_posix())


def test_the_counts_are_those_of_drawing_with_replacement(monkeypatch):
    """The columns of the identity are how often each unit was drawn, out of as many: exactly a resample's."""
    monkeypatch.setattr(bootstrap, "_ELEMENTS", 60)
    counts = bootstrap_means(np.eye(12), resamples=4000, seed=1) * 12
    np.testing.assert_array_equal(counts, counts.round())
    np.testing.assert_array_equal(counts.sum(1), 12)
    share = np.bincount(counts.astype(int).ravel(), minlength=13) / counts.size
    expected = binom.pmf(np.arange(13), 12, 1 / 12)
    np.testing.assert_allclose(share, expected, atol=4 * (0.25 / 4000) ** 0.5 / 12**0.5)


def test_samples_of_a_group_are_drawn_together():
    """Ten equal samples a patient say no more than one."""
    values = np.random.default_rng(0).normal(size=(40, 1))
    repeated, patients = np.repeat(values, 10, axis=0), np.repeat(np.arange(40), 10)
    np.testing.assert_allclose(bootstrap_means(repeated, groups=patients), bootstrap_means(values), rtol=1e-9, atol=1e-12)
    assert half_width(repeated)[0] < half_width(values)[0] / 2


def test_groups_of_other_sizes_weigh_by_their_samples():
    means = bootstrap_means(np.array([[1.0], [1.0], [1.0], [0.0]]), groups=np.array([0, 0, 0, 1]), resamples=200)
    assert set(means[:, 0].tolist()) == {0.0, 0.75, 1.0}


def test_an_infinite_replicate_makes_an_infinite_bound_and_no_nan():
    low, high = percentile_interval(np.append(np.arange(90.0), np.full(10, np.inf)))
    assert (low, high) == (2.0, np.inf)


def test_no_samples_are_refused():
    with pytest.raises(UsageError, match="no samples"):
        bootstrap_means(np.empty((0, 1)))
