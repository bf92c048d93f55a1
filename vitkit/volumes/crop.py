"""A part of a scan, without reading the rest of it."""

from collections.abc import Sequence
from os import PathLike

import torch

from vitkit.errors import UsageError
from vitkit.volumes.geometry import Xform, file_affine
from vitkit.volumes.nifti import Nifti, opened
from vitkit.volumes.read import Nonfinite, finite, values_of
from vitkit.volumes.volume import Volume


def read_crop(
    path: str | PathLike[str],
    start: Sequence[int],
    size: Sequence[int],
    *,
    nonfinite: Nonfinite = "error",
    frame: int | None = None,
    channels_last: bool = False,
    assume: str | None = None,
    xform: Xform = "agree",
) -> Volume:
    """A box of an uncompressed NIfTI file, with the affine of the box; nothing but the box is read.

    It equals ``read(path)`` cut to ``start`` and ``size``, except that it may be constant, and that voxels which are not finite
    are seen, and filled from, only in the box.

    Args:
        path: An uncompressed file (.nii).
        start: First voxel along each of the file's own axes.
        size: Voxels along each of them.
        nonfinite: As for :func:`vitkit.volumes.read`, like all that follow.
        frame: Which frame of a 4D file.
        channels_last: The fourth axis is channels.
        assume: Orientation of a file that says none.
        xform: What to believe where a header contradicts itself.

    Raises:
        UsageError: There is no such file, it is compressed, the box does not lie in the scan, or an option is none
            of its choices.
        DataError: As for :func:`vitkit.volumes.read`.
    """
    with opened(path) as file:
        return crop_of(file, start, size, nonfinite, frame, channels_last, assume, xform)


def crop_of(
    file: Nifti,
    start: Sequence[int],
    size: Sequence[int],
    nonfinite: Nonfinite = "error",
    frame: int | None = None,
    channels_last: bool = False,
    assume: str | None = None,
    xform: Xform = "agree",
) -> Volume:
    """The same of a file that is open."""
    if file.compressed:
        raise UsageError(
            f"a crop of {file.path}, which is compressed: every byte before it would have to be unpacked",
            "an uncompressed .nii file",
            "Unpack it with gunzip, or read the whole with vitkit.volumes.read.",
        )
    box = tuple(zip(start, size, file.shape, strict=False))
    if len(start) != 3 or len(size) != 3 or any(at < 0 or length < 1 or at + length > whole for at, length, whole in box):
        raise UsageError(
            f"a crop of size {tuple(size)} from {tuple(start)} of {file.path}",
            f"a box inside its {' × '.join(map(str, file.shape[:3]))} voxels",
            "Correct it; Volume.cropped_or_padded pads what lies outside.",
        )
    affine = file_affine(file.header, file.path, assume, xform)
    first, second, third = (slice(at, at + length) for at, length in zip(start, size, strict=True))
    values = finite(values_of(file, frame, channels_last, box=(first, second, third)), file, nonfinite)
    affine[:3, 3] += affine[:3, :3] @ list(start)
    return Volume(torch.from_numpy(values), affine, str(file.path))
