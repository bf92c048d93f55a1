"""What a model gains by answering only where it is confident."""

import numpy as np
from jaxtyping import Bool, Float

from vitkit.errors import UsageError
from vitkit.metrics.ranks import blocks


def risk_coverage_area(
    confidence: Float[np.ndarray, " samples"], correct: Bool[np.ndarray, " samples"]
) -> tuple[float, Float[np.ndarray, " samples"]]:
    r"""Area under the risk-coverage curve, and each sample's influence on it.

    The k most confident answers are given, for each k; their share of errors is the risk, and its mean over k the area:

    .. math::
        \text{AURC} = \frac{1}{n} \sum_{k=1}^{n} \frac{1}{k} \sum_{i \text{ among the first } k} e_i

    (Geifman, Uziel and El-Yaniv 2019, eq. 3.) Equal confidences are taken in every order, and the mean is returned. The influence
    sums to zero; as in :func:`vitkit.metrics.auroc`, a resample's area is its mean of these plus the area, to first order in 1/n:
    with the coverage :math:`G_i`, the share of samples at least as confident as i,

    .. math::
        \psi_i = -e_i \log G_i - \frac{1}{n} \sum_{j: c_j \le c_i} \frac{e_j}{G_j} + \text{const}

    Args:
        confidence: Of each answer.
        correct: Whether it was right.

    Raises:
        UsageError: No sample.

    >>> area, _ = risk_coverage_area(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    >>> round(area, 6)  # (0 + 1/2 + 1/3) / 3
    0.277778
    """
    _check(confidence)
    n = len(confidence)
    order, starts = blocks(-confidence)
    sizes = np.diff(np.append(starts, n))
    wrong = (~correct[order]).astype(float)
    # H_n - H_(r-1): how the r-th answer weighs, by the sums of all k from r on.
    weights = np.cumsum(1 / np.arange(n, 0, -1))[::-1]
    errors = np.add.reduceat(wrong, starts)
    weight = np.add.reduceat(weights, starts) / sizes
    area = float(errors @ weight / n)
    covered = (starts + sizes) / n
    less_confident = np.cumsum((errors / covered)[::-1])[::-1] / n
    influence = np.empty(n)
    influence[order] = wrong * np.repeat(weight, sizes) - np.repeat(less_confident, sizes)
    return area, influence - influence.mean()


def kept(confidence: Float[np.ndarray, " samples"], coverage: float) -> Float[np.ndarray, " samples"]:
    """How much of each sample is answered where a share of them is: 1 for the most confident ones, 0 for the least.

    Of equal confidences at the edge each is answered in the same part, so the sum is coverage · n exactly, and the order of the
    samples changes nothing. The accuracy at this coverage is the mean of the correctness with these weights.

    Args:
        confidence: Of each answer.
        coverage: Share of the samples that are answered, above 0 and up to 1.

    Raises:
        UsageError: No sample, or another coverage.

    >>> kept(np.array([0.9, 0.5, 0.5, 0.1]), 0.5).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    _check(confidence)
    if not 0 < coverage <= 1:
        raise UsageError(f"coverage {coverage}", "a share above 0 and up to 1", "Use e.g. 0.8.")
    n = len(confidence)
    order, starts = blocks(-confidence)
    sizes = np.diff(np.append(starts, n))
    part = np.clip((coverage * n - starts) / sizes, 0, 1)
    found = np.empty(n)
    found[order] = np.repeat(part, sizes)
    return found


def selective_accuracy(
    confidence: Float[np.ndarray, " samples"], correct: Bool[np.ndarray, " samples"], coverage: float
) -> float:
    """Accuracy of the most confident answers, a share of all that is the coverage.

    Raises:
        UsageError: No sample, or a coverage that is none.

    >>> selective_accuracy(np.array([0.9, 0.6, 0.7]), np.array([True, False, True]), 2 / 3)
    1.0
    """
    weights = kept(confidence, coverage)
    return float(weights @ correct / weights.sum())


def _check(confidence: Float[np.ndarray, " samples"]) -> None:
    if not len(confidence):
        raise UsageError("no samples", "at least one", "Give a split that is not empty.")
