"""The bootstrap by sample or by group, paired over everything that is measured on the same samples."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from vitkit.errors import UsageError

RESAMPLES = 1000
LEVEL = 0.95

_ELEMENTS = 2**20  # counts that are worked with at once: 8 MiB however many samples there are
_KEPT = 2**28  # counts that are kept for the next columns, a byte or two each; more are drawn again


class Bootstrap:
    r"""Resamples that any number of columns share, so that whatever is made of them is paired.

    The mean of a column in a resample is :math:`\bar x^*_{bj} = \sum_i w_{bi} x_{ij} / \sum_i w_{bi}` with the counts
    :math:`w_b` of drawing as many samples, or groups, with replacement as there are.

    Args:
        samples: How many there are.
        groups: Group of each sample, e.g. its patient, from 0; whole groups are drawn. Each sample is its own if not given.
        resamples: How many.
        seed: Of the counts.

    Raises:
        UsageError: No sample.

    >>> Bootstrap(5, resamples=2).means(np.ones((5, 1))).tolist()
    [[1.0], [1.0]]
    """

    def __init__(
        self, samples: int, *, groups: Int[np.ndarray, " samples"] | None = None, resamples: int = RESAMPLES, seed: int = 0
    ) -> None:
        if not samples:
            raise UsageError("no samples to resample", "at least one", "Give a split that is not empty.")
        self.groups, self.resamples, self._seed = groups, resamples, seed
        self.units = samples if groups is None else int(groups.max()) + 1
        self._kept: list[Int[np.ndarray, "some units"]] = []

    def means(self, columns: Float[np.ndarray, "samples columns"]) -> Float[np.ndarray, "resamples columns"]:
        """Mean of every column in each resample, summed in the type of the columns.

        In float32 that takes half the time and memory, and is exact for columns of zeros and ones, up to 2²⁴ samples.
        """
        sums, sizes = group_sums(columns, self.groups)
        sums = sums.astype(columns.dtype, copy=False)
        means = np.empty((self.resamples, columns.shape[1]))
        done = 0
        for counts in self._counts():
            held = counts.astype(columns.dtype)
            drawn = np.full(len(held), float(self.units)) if self.groups is None else counts @ sizes
            means[done : done + len(held)] = (held @ sums) / drawn[:, None]
            done += len(held)
        return means

    def _counts(self) -> Iterator[Int[np.ndarray, "some units"]]:
        """How often each unit is drawn in each resample, some resamples at a time, in the same order every time."""
        if self._kept:
            yield from self._kept
            return
        generator = np.random.default_rng(self._seed)
        for chunk in np.array_split(np.arange(self.resamples), -(-self.resamples * self.units // _ELEMENTS)):
            rows = [np.bincount(generator.integers(self.units, size=self.units), minlength=self.units) for _ in chunk]
            kind = np.uint8 if max(row.max() for row in rows) < 256 else np.uint32
            counts = np.stack([row.astype(kind) for row in rows])
            if self.resamples * self.units <= _KEPT:
                self._kept.append(counts)
            yield counts


def bootstrap_means(
    columns: Float[np.ndarray, "samples columns"],
    *,
    groups: Int[np.ndarray, " samples"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float[np.ndarray, "resamples columns"]:
    """Mean of every column in each resample: :class:`Bootstrap` for a single use.

    All columns share the counts, and so does every call with the same number of samples and seed: differences between columns
    are paired, also over calls.

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
    return Bootstrap(len(columns), groups=groups, resamples=resamples, seed=seed).means(columns)


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
