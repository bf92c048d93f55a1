"""A scan in memory: its voxels, and where in the patient each of them lies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod

import numpy as np
import torch
from jaxtyping import Bool, Float64, Shaped
from torch import Tensor

from vitkit.errors import DataError, UsageError
from vitkit.machine import format_memory, total_memory
from vitkit.volumes.axes import moves, nearest_axes, parse_codes, write_codes
from vitkit.volumes.resample import Interpolation, resample_axis


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their geometry.

    Voxel (i, j, k), counted from 0, has its centre at ``affine @ (i, j, k, 1)``, in mm to the patient's right, front and head
    (RAS). Every method returns a new volume whose affine puts each voxel where it truly lies; none guesses.

    Args:
        data: Voxels, of shape ``(channels, *size)``.
        affine: From voxel to RAS in mm, 64-bit; kept as a copy that cannot be written to.
        source: The file it came from, to be named in errors.

    Raises:
        UsageError: An affine that is singular or not finite, or whose last row is not (0, 0, 0, 1).

    >>> scan = Volume(torch.rand(1, 4, 6, 8), np.diag([-2.0, 1.0, 1.5, 1.0]), "scan.nii")
    >>> scan.orientation, scan.spacing
    ('LAS', (2.0, 1.0, 1.5))
    >>> scan.oriented().resampled((1.0, 1.0, 1.0)).size
    (8, 6, 12)
    """

    data: Shaped[Tensor, "channels first second third"]
    affine: Float64[np.ndarray, "4 4"]
    source: str

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        finite = affine.shape == (4, 4) and bool(np.isfinite(affine).all())
        if not finite or affine[3].tolist() != [0, 0, 0, 1] or np.linalg.matrix_rank(affine) < 4:
            raise UsageError(
                f"{self.source}: the affine {affine.tolist()}",
                "4 × 4 finite numbers, not singular, the last row 0, 0, 0, 1",
                "Give the matrix from voxels to mm.",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        first, second, third = self.data.shape[1:]
        return first, second, third

    @property
    def channels(self) -> int:
        """Values per voxel."""
        return self.data.shape[0]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along each axis, in mm, to six digits, as a header's 32-bit floats hold it."""
        first, second, third = map(_six_digits, self.steps)
        return first, second, third

    @property
    def steps(self) -> tuple[float, float, float]:
        """Lengths of the affine's columns, in mm. By way of 32 bits, so that the last of 64 bits decides about no voxel."""
        first, second, third = np.linalg.norm(self.affine[:3, :3], axis=0).astype(np.float32).tolist()
        return first, second, third

    @property
    def orientation(self) -> str:
        """Where the axes run to, by the nearest axis of the patient: ``"RAS"`` is right, anterior (front), superior (head)."""
        return write_codes(nearest_axes(self.affine))

    def oriented(self, codes: str = "RAS") -> "Volume":
        """With axes that run this way, by flips and permutations alone: every voxel keeps its value and its place.

        Raises:
            UsageError: Codes that are no orientation.
        """
        order, flipped = moves(nearest_axes(self.affine), parse_codes(codes))
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for target, (axis, flip) in enumerate(zip(order, flipped, strict=True)):
            step[axis, target] = -1 if flip else 1
            step[axis, 3] = self.size[axis] - 1 if flip else 0
        data = self.data.permute(0, *(1 + axis for axis in order))
        data = data.flip([1 + target for target, flip in enumerate(flipped) if flip])
        # Plus zero, because -0.0 is other bits than 0.0.
        return replace(self, data=data.contiguous(), affine=self.affine @ step + 0.0)

    def resampled(self, spacing: Sequence[float | int], interpolation: Interpolation = "linear") -> "Volume":
        """At another spacing, with the same centre and orientation.

        Along an axis of n voxels there will be round(n · old / new), one at least, so the edges of the whole move by less than
        half a new voxel. Where new voxels reach over the old edge, the outermost old ones go on. ``linear`` and ``nearest``
        are described at :func:`vitkit.volumes.resample.resample_axis`; an axis that has the spacing already is left as it is.

        Args:
            spacing: Distance between voxels along each of this volume's axes, in mm.
            interpolation: ``linear`` for intensities, ``nearest`` for labels.

        Raises:
            UsageError: Spacings that are not three positive numbers, or linear interpolation of whole numbers, which labels are.
            DataError: More voxels than the machine's memory holds.
        """
        sizes = self.size_at(spacing)
        taken = self.channels * prod(sizes) * self.data.element_size()
        if sizes != self.size and taken > (total := total_memory()):
            before, after = (
                f"{by_axis(size)} voxels of {by_axis(at)} mm" for size, at in ((self.size, self.spacing), (sizes, spacing))
            )
            raise DataError(
                f"{self.source}: {before} would be {after}, which take {format_memory(taken)}",
                f"what fits into the machine's {format_memory(total)}",
                "Resample to a larger spacing: model.preprocess.spacing of a config.",
            )
        if interpolation not in ("linear", "nearest"):
            raise UsageError(f"interpolation {interpolation!r}", "linear or nearest", "Choose one of these.")
        if interpolation == "linear" and not self.data.is_floating_point():
            raise UsageError(
                f"{self.source}: linear interpolation of whole numbers ({self.data.dtype})",
                "nearest for labels, or intensities in floats",
                'Write interpolation="nearest".',
            )
        data, step = self.data, np.eye(4)
        # The axis that shrinks most comes first, so that the others have less to do.
        for axis in sorted(range(3), key=lambda axis: self.spacing[axis] / spacing[axis]):
            if _six_digits(spacing[axis]) == self.spacing[axis]:
                continue
            ratio, length, count = spacing[axis] / self.steps[axis], self.size[axis], sizes[axis]
            data = resample_axis(data, 1 + axis, count, ratio, interpolation)
            step[axis, axis] = ratio
            step[axis, 3] = (length - 1) / 2 - (count - 1) / 2 * ratio
        return replace(self, data=data, affine=self.affine @ step)

    def size_at(self, spacing: Sequence[float | int]) -> tuple[int, int, int]:
        """Voxels along each axis after :meth:`resampled`.

        Raises:
            UsageError: Spacings that are not three positive numbers.
        """
        if len(spacing) != 3 or not all(isfinite(step) and step > 0 for step in spacing):
            raise UsageError(f"a spacing of {tuple(spacing)} mm", "a positive number for each of three axes", "Correct it.")
        first, second, third = map(length_at, self.size, self.steps, spacing)
        return first, second, third

    def cropped_or_padded(
        self, size: Sequence[int], start: Sequence[int] | None = None, fill: float = 0.0
    ) -> tuple["Volume", Bool[Tensor, "first second third"]]:
        """Brought to a size: cropped where it is longer, padded where it is shorter, and which voxels are real.

        Args:
            size: Voxels along each axis.
            start: The first voxel to keep along each axis; negative where padding begins. If not given, the middle is kept, and
                of an odd number of voxels that go or come, the larger half lies at the end.
            fill: Value of voxels that are not real.

        Returns:
            The volume, and True where a voxel is of this one, False where it was filled.

        Raises:
            UsageError: A size or start that is not three whole numbers, or a size below 1.
        """
        if len(size) != 3 or min(size) < 1 or (start is not None and len(start) != 3):
            raise UsageError(
                f"a crop of size {tuple(size)}" + ("" if start is None else f" from {tuple(start)}"),
                "a whole number for each of three axes, sizes of 1 at least",
                "Correct it.",
            )
        if start is None:
            start = middle_start(self.size, size)
        data, real = placed(self.data, start, size, fill)
        step = np.eye(4)
        step[:3, 3] = start
        return replace(self, data=data, affine=self.affine @ step), real


def length_at(length: int, step: float | int, wanted: float | int) -> int:
    """Voxels of an axis after resampling from one step to another."""
    same = _six_digits(wanted) == _six_digits(step)
    return length if same else max(1, round(length / (wanted / step)))


def middle_start(found: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The first voxel to keep of the middle; of an odd number of voxels that go or come, the larger half lies at the end."""
    return [(old - new) // 2 if old >= new else -((new - old) // 2) for old, new in zip(found, wanted, strict=True)]


def by_axis(lengths: Sequence[float | int]) -> str:
    """One length for each axis, in words."""
    return " × ".join(f"{length:.9g}" for length in lengths)


def _six_digits(length: float | int) -> float:
    return float(f"{length:.6g}")


def placed(
    data: Shaped[Tensor, "channels first second third"], start: Sequence[int], size: Sequence[int], fill: float
) -> tuple[Shaped[Tensor, "channels to_first to_second to_third"], Bool[Tensor, "to_first to_second to_third"]]:
    """The box of voxels from ``start``, which may lie partly outside, and which of its voxels are the data's."""
    low = [max(0, begin) for begin in start]
    high = [max(least, min(old, begin + new)) for least, begin, new, old in zip(low, start, size, data.shape[1:], strict=True)]
    kept = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    there = tuple(
        slice(least - begin, most - begin) if most > least else slice(0, 0)
        for least, most, begin in zip(low, high, start, strict=True)
    )
    out = torch.full((data.shape[0], *size), fill, dtype=data.dtype, device=data.device)
    real = torch.zeros(tuple(size), dtype=torch.bool, device=data.device)
    # An axis on which nothing overlaps makes the box empty on both sides, whatever the others say.
    if all(most > least for least, most in zip(low, high, strict=True)):
        out[(slice(None), *there)] = data[(slice(None), *kept)]
        real[there] = True
    return out, real
