"""The bootstrap by sample, paired over everything that is measured on the same samples."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from vitkit.errors import UsageError

RESAMPLES = 1000
LEVEL = 0.95

_ELEMENTS = 2**20  # counts held at once: 8 MiB however many samples there are


def bootstrap_means(
    columns: Float[np.ndarray, "samples columns"],
    *,
    groups: Int[np.ndarray, " samples"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float[np.ndarray, "resamples columns"]:
    r"""Mean of every column in each resample, :math:`\bar x^*_{bj} = \sum_i w_{bi} x_{ij} / \sum_i w_{bi}`.

    The counts :math:`w_b` are those of drawing as many samples with replacement as there are. All columns share them, and so does
    every call with the same number of samples and seed: differences between columns are paired, also over calls.

    Args:
        columns: One row a sample.
        groups: Group of each sample, e.g. its patient, from 0; whole groups are drawn. Each sample is its own if not given.
        resamples: How many.
        seed: Of the counts.

    Raises:
        UsageError: No sample.

    >>> bootstrap_means(np.ones((5, 1)), resamples=2).tolist()
    [[1.0], [1.0]]
    """
    if not len(columns):
        raise UsageError("no samples to resample", "at least one", "Give a split that is not empty.")
    sums, sizes = group_sums(columns, groups)
    means = np.empty((resamples, columns.shape[1]))
    done = 0
    for counts in _counts(len(sizes), resamples, seed):
        held = counts.astype(float)
        means[done : done + len(held)] = (held @ sums) / (held @ sizes)[:, None]
        done += len(held)
    return means


def _counts(units: int, resamples: int, seed: int) -> Iterator[Int[np.ndarray, "some units"]]:
    """How often each unit is drawn in each resample, some resamples at a time, in the same order every time."""
    generator = np.random.default_rng(seed)
    for chunk in np.array_split(np.arange(resamples), -(-resamples * units // _ELEMENTS)):
        yield np.stack([np.bincount(generator.integers(units, size=units), minlength=units) for _ in chunk])


def group_sums(
    columns: Float[np.ndarray, "samples columns"], groups: Int[np.ndarray, " samples"] | None
) -> tuple[Float[np.ndarray, "groups columns"], Float[np.ndarray, " groups"]]:
    """Sum of every column in each group, and the groups' sizes; each sample is its own group if none are given.

    >>> sums, sizes = group_sums(np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 0]))
    >>> sums.tolist(), sizes.tolist()
    ([[5.0], [2.0]], [2.0, 1.0])
    """
    if groups is None:
        return columns, np.ones(len(columns))
    sizes = np.bincount(groups).astype(float)
    sums = np.zeros((len(sizes), columns.shape[1]))
    np.add.at(sums, groups, columns)
    return sums, sizes


def percentile_interval(
    replicates: Float[np.ndarray, "resamples *shape"], level: float = LEVEL
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """The bounds between which the middle ``level`` of the replicates lie; a bound is infinite if its replicates are."""
    # Of the two replicates a quantile falls between, the outer one: interpolating would turn an infinite one into NaN.
    low = np.quantile(replicates, (1 - level) / 2, axis=0, method="lower")
    high = np.quantile(replicates, (1 + level) / 2, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)
