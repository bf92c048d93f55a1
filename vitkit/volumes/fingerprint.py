"""What a set of scans is like, and what is wrong with which of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vitkit.errors import VitkitError
from vitkit.volumes.nifti import dtype_name, opened
from vitkit.volumes.read import read, read_mask
from vitkit.volumes.volume import Volume

PERCENTILES = (0.5, 50.0, 99.5)
"""Of the intensities of each scan."""


@dataclass(frozen=True)
class Record:
    """One scan.

    Args:
        image: Its file.
        mask: The file of its mask, if it has one.
        size: Voxels along right, anterior, superior: the axes nearest to these.
        spacing: mm between voxels along these.
        orientation: How the file itself stores the axes, such as ``"LPS"``.
        dtype: Type of the voxels in the file.
        intensities: Percentiles 0.5, 50 and 99.5, the header's scale applied.
        labels: What the mask holds.
    """

    image: Path
    mask: Path | None
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    dtype: str
    intensities: tuple[float, float, float]
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used as it is, and why."""

    file: Path
    error: VitkitError


@dataclass(frozen=True)
class Fingerprint:
    """A set of scans: those that can be read, and what is wrong with the others."""

    records: tuple[Record, ...]
    problems: tuple[Problem, ...]

    def summary(self) -> Iterator[tuple[str, str]]:
        """Each property with its value over the scans that can be read, or its smallest … median … largest one."""
        yield "scans that can be read", str(len(self.records))
        if not self.records:
            return
        sizes, spacings = (np.array([getattr(record, name) for record in self.records]) for name in ("size", "spacing"))
        yield "size, voxels R × A × S", _ranges(sizes)
        yield "spacing, mm R × A × S", _ranges(spacings)
        yield "extent, mm R × A × S", _ranges((sizes * spacings).round(1))
        yield "stored as", _counted(record.orientation for record in self.records)
        yield "voxel type", _counted(record.dtype for record in self.records)
        for percentile, values in zip(
            PERCENTILES, zip(*(record.intensities for record in self.records), strict=True), strict=True
        ):
            yield f"intensity, percentile {percentile:g}", _range(values)
        if any(record.mask for record in self.records):
            yield "labels in masks", _counted(str(label) for record in self.records for label in record.labels)
        yield "a spacing to start from", f"[{', '.join(f'{step:.3g}' for step in np.median(spacings, axis=0))}]"
        covered = np.ceil(np.percentile(sizes * spacings / np.median(spacings, axis=0), 95, axis=0))
        yield "and the size that 95 % fit into", f"[{', '.join(f'{length:.0f}' for length in covered)}]"


def fingerprint(scans: Iterable[tuple[Path, Path | None]]) -> Fingerprint:
    """Read every scan, and its mask if it has one; a file that cannot be used is noted, and the next one read.

    Args:
        scans: Files of images, each with that of its mask or None.
    """
    records, problems = [], []
    for image, mask in scans:
        try:
            volume = read(image)
            record = _record(image, volume)
        except VitkitError as error:
            problems.append(Problem(image, error))
            continue
        if mask is not None:
            try:
                labels = np.unique(read_mask(mask, volume).data.numpy())
                record = replace(record, mask=mask, labels=tuple(map(int, labels)))
            except VitkitError as error:
                problems.append(Problem(mask, error))
        records.append(record)
    return Fingerprint(tuple(records), tuple(problems))


def _record(path: Path, volume: Volume) -> Record:
    with opened(path) as file:
        dtype = dtype_name(file.header)
    low, middle, high = (float(value) for value in np.percentile(volume.data.numpy(), PERCENTILES))
    turned = volume.oriented()
    return Record(path, None, turned.size, turned.spacing, volume.orientation, dtype, (low, middle, high))


def _range(values: Sequence[float] | np.ndarray) -> str:
    low, middle, high = np.percentile(values, [0, 50, 100])
    return f"{low:.5g}" if low == high else f"{low:.5g} … {middle:.5g} … {high:.5g}"


def _ranges(values: np.ndarray) -> str:
    return " × ".join(f"({text})" if "…" in (text := _range(column)) else text for column in values.T)


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).most_common())
