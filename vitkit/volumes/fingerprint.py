"""What a set of scans is like, and what is wrong with which of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

import numpy as np

from vitkit.errors import DataError, VitkitError
from vitkit.volumes.geometry import Xform
from vitkit.volumes.nifti import dtype_name, opened
from vitkit.volumes.read import Nonfinite, read, read_mask
from vitkit.volumes.volume import Volume, by_axis, length_at

PERCENTILES = (0.5, 50.0, 99.5)
"""Of the intensities of each scan."""

_FAR = 30  # times the median spacing, and less than its 30th part: metres or micrometres, not another protocol

STEP = 8
"""What a proposed size is a multiple of: the voxels of a patch in ``configs/volume/scans.yaml``."""


@dataclass(frozen=True)
class Record:
    """One scan.

    Args:
        image: Its file.
        mask: The file of its mask, if it has one.
        size: Voxels along right, anterior, superior: the axes nearest to these.
        spacing: mm between voxels along these, to six digits.
        steps: The same, as they are.
        orientation: How the file itself stores the axes, such as ``"LPS"``.
        dtype: Type of the voxels in the file.
        intensities: Percentiles 0.5, 50 and 99.5, the header's scale applied.
        labels: What the mask holds.
    """

    image: Path
    mask: Path | None
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    steps: tuple[float, float, float]
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
        sizes, spacings = self._sizes, self._spacings
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
        yield "a spacing to start from", listed(self.spacing)
        yield f"and a size for all, in steps of {STEP}", listed(self.size())
        if (most := self.size(0.95)) != self.size():
            yield "for 95 % along each axis, cropped", listed(most)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """A spacing to start from, in mm along R, A and S: the median along each of the :attr:`usual` scans, to three digits."""
        first, second, third = (float(f"{step:.3g}") for step in np.median([record.spacing for record in self.usual], axis=0))
        return first, second, third

    def size(self, share: float = 1.0) -> tuple[int, int, int]:
        """Voxels of :attr:`spacing` along R, A and S into which a share of the :attr:`usual` scans fits along each, rounded up to
        a multiple of :data:`STEP`.
        """
        spacing = self.spacing
        fitting = np.array([list(map(length_at, record.size, record.steps, spacing)) for record in self.usual])
        first, second, third = (ceil(np.quantile(column, share) / STEP) * STEP for column in fitting.T)
        return first, second, third

    @property
    def usual(self) -> tuple[Record, ...]:
        """Scans whose spacing is not far from the median, as that of a file in metres may be; all where every one is far."""
        return tuple(record for record, far in zip(self.records, _far_off(self.records), strict=True) if not far) or self.records

    @property
    def _sizes(self) -> np.ndarray:
        return np.array([record.size for record in self.records])

    @property
    def _spacings(self) -> np.ndarray:
        return np.array([record.spacing for record in self.records])


def fingerprint(
    scans: Iterable[tuple[Path, Path | None]],
    *,
    nonfinite: Nonfinite = "error",
    constant: Literal["error", "allow"] = "error",
    frame: int | None = None,
    assume: str | None = None,
    xform: Xform = "agree",
) -> Fingerprint:
    """Read every scan, and its mask if it has one; a file that cannot be used is noted, and the next one read.

    Args:
        scans: Files of images, each with that of its mask or None.
        nonfinite: As for :func:`vitkit.volumes.read`, like the others.
        constant: Whether a scan of one single value is a problem.
        frame: Which one of a 4D file's frames.
        assume: Orientation of files whose header says none.
        xform: What to believe where sform and qform disagree.
    """
    records, problems = [], []
    for image, mask in scans:
        try:
            volume = read(image, nonfinite=nonfinite, constant=constant, frame=frame, assume=assume, xform=xform)
            record = _record(image, volume)
        except VitkitError as error:
            problems.append(Problem(image, error))
            continue
        if mask is not None:
            try:
                labels = np.unique(read_mask(mask, volume, assume=assume, xform=xform).data.numpy())
                record = replace(record, mask=mask, labels=tuple(map(int, labels)))
            except VitkitError as error:
                problems.append(Problem(mask, error))
        records.append(record)
    for record, far in zip(records, _far_off(records), strict=True):
        if far:
            problems.append(Problem(record.image, _far(record, np.median([other.spacing for other in records], axis=0))))
    return Fingerprint(tuple(records), tuple(problems))


def _far_off(records: Sequence[Record]) -> list[bool]:
    """Which of the scans have a spacing that is far from the median of all."""
    if not records:
        return []
    spacings = np.array([record.spacing for record in records])
    ratios = spacings / np.median(spacings, axis=0)
    return ((ratios > _FAR) | (ratios < 1 / _FAR)).any(axis=1).tolist()


def _far(record: Record, middle: np.ndarray) -> DataError:
    told, median = (by_axis([float(f"{step:.3g}") for step in spacing]) for spacing in (record.spacing, middle))
    return DataError(
        f"{record.image} has a spacing of {told} mm, where the median is {median} mm",
        "scans of one kind",
        "Look at the unit in its header (xyzt_units), or leave it out.",
    )


def _record(path: Path, volume: Volume) -> Record:
    with opened(path) as file:
        dtype = dtype_name(file.header)
    low, middle, high = (float(value) for value in np.percentile(volume.data.numpy(), PERCENTILES))
    turned = volume.oriented()
    return Record(path, None, turned.size, turned.spacing, turned.steps, volume.orientation, dtype, (low, middle, high))


def listed(lengths: Sequence[float | int]) -> str:
    """Lengths as an option takes them."""
    return f"[{', '.join(f'{length:g}' for length in lengths)}]"


def _range(values: Sequence[float] | np.ndarray) -> str:
    low, middle, high = np.percentile(values, [0, 50, 100])
    return f"{low:.5g}" if low == high else f"{low:.5g} … {middle:.5g} … {high:.5g}"


def _ranges(values: np.ndarray) -> str:
    return " × ".join(f"({text})" if "…" in (text := _range(column)) else text for column in values.T)


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).most_common())
