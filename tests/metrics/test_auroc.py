import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from vitkit.metrics import auroc, bootstrap_means, macro_auroc


@given(st.integers(2, 80), st.integers(2, 30), st.integers(0, 10**6))
def test_agrees_with_scikit_learn_also_with_ties(n, levels, seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(levels, size=n).astype(float)
    positive = np.arange(n) < generator.integers(1, n)
    value, influence = auroc(scores, positive)
    assert value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert influence.sum() == pytest.approx(0, abs=1e-9 * n**2)


def test_the_influence_makes_the_bootstrap_that_resampling_makes():
    """First order against the real thing: standard errors agree to the second order, O(1/n), and to Monte Carlo's 1/sqrt(2B)."""
    generator = np.random.default_rng(0)
    n, resamples = 300, 2000
    positive = generator.random(n) < 0.4
    scores = generator.normal(size=n) + positive
    value, influence = auroc(scores, positive)
    linear = value + bootstrap_means(influence[:, None], resamples=resamples)[:, 0]
    drawn = [generator.integers(n, size=n) for _ in range(resamples)]
    real = np.array([roc_auc_score(positive[rows], scores[rows]) for rows in drawn])
    assert linear.std() == pytest.approx(real.std(), rel=0.1)
    assert linear.mean() == pytest.approx(real.mean(), abs=4 * real.std() / resamples**0.5 + 1 / n)


def test_macro_is_the_mean_of_one_against_the_rest():
    generator = np.random.default_rng(1)
    p, labels = generator.dirichlet(np.ones(3), size=60), generator.integers(3, size=60)
    value, influence = macro_auroc(np.log(p), labels)
    assert value == pytest.approx(roc_auc_score(labels, p, multi_class="ovr", average="macro"), abs=1e-12)
    assert influence.shape == (60,)
    value, _ = macro_auroc(np.log(p[:, :2]), labels % 2)
    assert value == pytest.approx(roc_auc_score(labels % 2, p[:, 1] / p[:, :2].sum(1)), abs=1e-12)


def test_absent_classes_are_left_out_and_one_class_has_none():
    p = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3]])
    value, _ = macro_auroc(np.log(p), np.array([0, 1, 1]))
    assert value == 1.0
    assert macro_auroc(np.log(p), np.array([1, 1, 1])) is None
