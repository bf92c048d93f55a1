"""Differences between models on the same samples: p-values, many of them at once, and intervals that hold together."""

import numpy as np
from jaxtyping import Float, Int

from vitkit.errors import UsageError
from vitkit.metrics.bootstrap import LEVEL, group_sums

FLIPS = 9999

_ELEMENTS = 2**21  # signs held at once


def sign_flip_test(
    differences: Float[np.ndarray, "samples columns"],
    *,
    groups: Int[np.ndarray, " samples"] | None = None,
    flips: int = FLIPS,
    seed: int = 0,
) -> Float[np.ndarray, " columns"]:
    r"""Two-sided p-value of each column's mean being zero, by flipping the signs of samples at random.

    If it made no difference which of two models was which, each sample's difference would be as likely with the other sign.

    .. math::
        p = \frac{1 + \#\{b : |\sum_i s_{bi} d_i| \ge |\sum_i d_i|\}}{1 + B}, \qquad s_{bi} = \pm 1

    (Good 2005, ch. 3; Phipson and Smyth 2010 for the ones.) For right against wrong it is McNemar's exact test, up to the draws.

    Args:
        differences: Paired, one row a sample.
        groups: Group of each sample, from 0; a group's samples are flipped together.
        flips: How many; the smallest p-value is 1 / (flips + 1).
        seed: Of the signs, which all columns share.

    Raises:
        UsageError: No sample.

    >>> sign_flip_test(np.array([[0.0, 1.0]] * 4)).round(1).tolist()  # exactly 1 and 2 / 2⁴, up to the draws
    [1.0, 0.1]
    """
    if not len(differences):
        raise UsageError("no samples to compare", "at least one", "Give a split that is not empty.")
    sums, _ = group_sums(differences, groups)
    # What is zero for all stays zero with either sign.
    sums = sums[(sums != 0).any(1)]
    observed = np.abs(sums.sum(0))
    # Sums that are equal but for the order of adding count as equal.
    least = observed - 1e-9 * np.abs(sums).sum(0)
    generator = np.random.default_rng(seed)
    reached = np.zeros(differences.shape[1])
    for chunk in np.array_split(np.arange(flips), max(1, -(-flips * len(sums) // _ELEMENTS))):
        bits = np.frombuffer(generator.bytes(len(chunk) * (width := -(-len(sums) // 8))), np.uint8).reshape(len(chunk), width)
        signs = 2.0 * np.unpackbits(bits, axis=1, count=len(sums)) - 1
        reached += (np.abs(signs @ sums) >= least).sum(0)
    return np.asarray((1 + reached) / (1 + flips))


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    r"""P-values adjusted for their number: if those below a level are called differences, one is wrong at most that often.

    .. math::
        \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)})

    (Holm 1979, step-down.) Nothing is assumed of how the tests depend on one another.
    NaN stands for a test that was not made, and stays.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.full(len(p_values), np.nan)
    made = np.flatnonzero(~np.isnan(p_values))
    order = made[np.argsort(p_values[made], kind="stable")]
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted


def simultaneous_interval(
    values: Float[np.ndarray, " tests"], replicates: Float[np.ndarray, "resamples tests"], level: float = LEVEL
) -> tuple[Float[np.ndarray, " tests"], Float[np.ndarray, " tests"]]:
    r"""Bounds that hold all the values at once in a share ``level`` of resamples.

    :math:`\hat\theta_j \pm q\, s_j` with the standard deviation :math:`s_j` of the replicates and q the quantile of
    :math:`\max_j |\theta^*_j - \hat\theta_j| / s_j` (Romano and Wolf 2005). A value that no resample moves is its own bound.

    Args:
        values: As they were measured.
        replicates: The same in each resample, all values from the same resamples.
        level: Share.

    >>> low, high = simultaneous_interval(np.zeros(1), np.linspace(-1, 1, 1001)[:, None])
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([-0.95], [0.95])
    """
    spread = replicates.std(0)
    moved = np.abs(replicates - values) / np.where(spread > 0, spread, np.inf)
    factor = np.quantile(moved.max(1), level, method="higher") if moved.size else 0.0
    return values - factor * spread, values + factor * spread
