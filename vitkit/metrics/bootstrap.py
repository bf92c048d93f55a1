"""The bootstrap by sample or by group, paired over everything that is measured on the same samples."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any
from weakref import finalize

import numpy as np
from jaxtyping import Float, Int, UInt8

from vitkit.errors import UsageError

RESAMPLES = 1000
LEVEL = 0.95

_ELEMENTS = 2**20  # counts that are worked with at once: 8 MiB however many samples there are
_IN_MEMORY = 2**22  # bytes of counts that are held; more are in a file

Columns = Float[np.ndarray, "samples columns"]


class Bootstrap:
    r"""Resamples that any number of columns share, so that whatever is made of them is paired.

    The mean of a column in a resample is :math:`\bar x^*_{bj} = \sum_i w_{bi} x_{ij} / \sum_i w_{bi}` with the counts
    :math:`w_b` of drawing as many samples, or groups, with replacement as there are.

    The counts are drawn once. Those of many samples are kept in a file without a name, a byte each: memory does not grow with
    them, and nothing is left of it however the process ends.

    Args:
        samples: How many there are.
        groups: Group of each sample, e.g. its patient, from 0; whole groups are drawn. Each sample is its own if not given.
        resamples: How many.
        seed: Of the counts.
        folder: Where the file is; the system's folder for temporary files if not given.

    Raises:
        UsageError: No sample.

    >>> Bootstrap(5, resamples=2).means(np.ones((5, 1))).tolist()
    [[1.0], [1.0]]
    """

    def __init__(
        self,
        samples: int,
        *,
        groups: Int[np.ndarray, " samples"] | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
        folder: Path | None = None,
    ) -> None:
        if not samples:
            raise UsageError("no samples to resample", "at least one", "Give a split that is not empty.")
        self.groups, self.resamples = groups, resamples
        self.units = samples if groups is None else int(groups.max()) + 1
        place = None if folder is None else str(folder)
        self._counts = SpooledTemporaryFile(_IN_MEMORY, dir=place)  # noqa: SIM115 - it is closed with this object
        finalize(self, self._counts.close)
        self._draw(np.random.default_rng(seed))

    def means(self, columns: Columns | Callable[[slice], Columns]) -> Float[np.ndarray, "resamples columns"]:
        """Mean of every column in each resample.

        Args:
            columns: One row a sample; or what gives the rows of a slice of the samples, so that they need not all be there at
                once. Products are taken in their type: float32 takes half the time, and an interval does not see it.
        """
        rows = columns if callable(columns) else columns.__getitem__
        if self.groups is not None:
            rows = self._sums_and_sizes(self.groups, rows).__getitem__
        totals: Any = 0.0
        self._counts.seek(0)
        for block in _slices(self.units, self._width):
            size = block.stop - block.start
            counts = np.frombuffer(self._counts.read(self.resamples * size), np.uint8).reshape(self.resamples, size)
            values = rows(block)
            totals = totals + (counts.astype(values.dtype) @ values).astype(float)
        return np.asarray(totals / self.units if self.groups is None else totals[:, :-1] / totals[:, -1:])

    @property
    def _width(self) -> int:
        """Units whose counts are worked with at once."""
        return max(1, _ELEMENTS // self.resamples)

    def _draw(self, generator: np.random.Generator) -> None:
        """Write how often each unit is drawn in each resample, as :meth:`means` reads it: for some units, all resamples."""
        for some in _slices(self.resamples, max(1, _ELEMENTS // self.units)):
            # A byte is enough: that one of 256 units or more is drawn as often as 256 times has a chance below 1 / 256!.
            counts = np.stack([self._drawn(generator) for _ in range(some.start, some.stop)])
            for block in _slices(self.units, self._width):
                self._counts.seek(self.resamples * block.start + some.start * (block.stop - block.start))
                self._counts.write(counts[:, block].tobytes())

    def _drawn(self, generator: np.random.Generator) -> UInt8[np.ndarray, " units"]:
        return np.bincount(generator.integers(self.units, size=self.units), minlength=self.units).astype(np.uint8)

    def _sums_and_sizes(
        self, groups: Int[np.ndarray, " samples"], rows: Callable[[slice], Columns]
    ) -> Float[np.ndarray, "groups columns_and_size"]:
        """Sum of every column in each group, and in a last column how many samples it has."""
        sums = np.zeros((self.units, rows(slice(0, 1)).shape[1] + 1))
        for some in _slices(len(groups), self._width):
            values = rows(some)
            np.add.at(sums, groups[some], np.column_stack([values, np.ones(len(values))]))
        return sums


def _slices(length: int, width: int) -> Iterator[slice]:
    for start in range(0, length, width):
        yield slice(start, min(start + width, length))


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
