"""A volume to a file, whole or not at all: on its own grid, or back on the grid of the file it was made from."""

import gzip
import math
from io import BufferedIOBase
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from nibabel.nifti1 import Nifti1Header
from scipy import ndimage
from torch import Tensor

from vitkit.errors import UsageError
from vitkit.files import replacing
from vitkit.volumes.geometry import Xform, file_affine
from vitkit.volumes.nifti import EXTENSIONS, opened
from vitkit.volumes.volume import Volume, placed

_LABELS = np.iinfo(np.int32)
_MOST_OFF = 0.01  # of a voxel; grids that differ less, anywhere on them, are one grid whose affine was rounded


def save(volume: Volume, path: str | PathLike[str]) -> None:
    """Write a volume on its own grid, as NIfTI-1 with its affine as sform and qform (code 1, scanner).

    Whole numbers keep the smallest of the types uint8, int16 and int32 that holds them, floats become 32-bit; several channels
    are a fourth axis. The header's affine is of 32 bits. The same volume gives the same bytes. The file is there whole or not
    at all.

    Raises:
        UsageError: A name that does not end in .nii or .nii.gz, labels outside 32 bits, or an axis of more than 32,767 voxels,
            NIfTI-1's most.
    """
    if max(volume.data.shape) > np.iinfo(np.int16).max:
        raise UsageError(
            f"a volume of {' × '.join(map(str, volume.size))} voxels", "32,767 at most along an axis", "Crop or resample it."
        )
    header = Nifti1Header()
    header.set_data_shape(volume.size)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(volume.affine, code=1)
    header.set_qform(volume.affine, code=1)
    _write(_stored(volume), header, Path(path))


def write_back(
    volume: Volume,
    path: str | PathLike[str],
    like: str | PathLike[str] | None = None,
    *,
    fill: float = 0.0,
    assume: str | None = None,
    xform: Xform = "agree",
) -> None:
    """Write a mask or a map onto the grid of the file that it was computed from.

    The new file has that file's header: its affine to the bit, its codes and its units. A volume that was only turned, cropped
    or padded is returned voxel for voxel; one that was resampled is, by nearest neighbours if it holds whole numbers and by
    linear interpolation if it holds floats. Voxels that the volume does not cover get ``fill``. Types are those of :func:`save`.

    Args:
        volume: The mask (whole numbers or booleans) or map (floats).
        path: Where to write: .nii or .nii.gz.
        like: The file whose grid it is; the volume's source if not given.
        fill: Value outside of the volume: a whole number for whole numbers, 0 or 1 for booleans.
        assume: As that file was read with.
        xform: As that file was read with.

    Raises:
        UsageError: A name that does not end in .nii or .nii.gz, no such file as ``like``, labels outside 32 bits, a fill that the
            volume's values cannot be, or an ``xform`` that is none of its choices.
        DataError: That file cannot be read.
    """
    with opened(volume.source if like is None else like) as file:
        header, size = file.header.copy(), file.shape[:3]
        data = onto(volume, file_affine(header, file.path, assume, xform), size, fill)
    # What the header says of the image's values does not hold of the mask's.
    header["scl_slope"] = 1
    for name in ("scl_inter", "cal_min", "cal_max", "intent_code"):
        header[name] = 0
    _write(data, header, Path(path))


def onto(
    volume: Volume, affine: Float64[np.ndarray, "4 4"], size: tuple[int, ...], fill: float
) -> Shaped[Tensor, "channels first second third"]:
    """The values of a volume at the voxels of another grid."""
    values = _stored(volume)
    _check_fill(fill, values.dtype)
    step = np.linalg.inv(volume.affine) @ affine  # from a voxel of the grid to one of the volume
    exact = step.round()
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(length - 1 for length in size), 1]
    turns = np.abs(exact[:3, :3])
    if np.abs((step - exact) @ corners.T).max() < _MOST_OFF and (turns.sum(0) == 1).all() and (turns.sum(1) == 1).all():
        order = [int(turns[:, axis].argmax()) for axis in range(3)]
        signs = [int(exact[source, axis]) for axis, source in enumerate(order)]
        data = values.permute(0, *(1 + source for source in order))
        data = data.flip([1 + axis for axis, sign in enumerate(signs) if sign < 0])
        begin = [int(exact[source, 3]) for source in order]
        start = [at if sign > 0 else length - 1 - at for at, sign, length in zip(begin, signs, data.shape[1:], strict=True)]
        return placed(data, start, size, fill)[0]
    whole = not values.is_floating_point()
    matrix, offset = step[:3, :3], step[:3, 3]
    inside = ndimage.affine_transform(
        np.ones(volume.size, dtype=np.uint8), matrix, offset, size, order=0, mode="grid-constant", cval=0
    ).astype(bool)
    out = np.full((volume.channels, *size), fill, dtype=np.float32 if not whole else np.int32)
    for channel, old in enumerate(values.numpy().astype(out.dtype, copy=False)):
        moved = ndimage.affine_transform(old, matrix, offset, size, order=0 if whole else 1, mode="nearest")
        out[channel][inside] = moved[inside]
    return torch.from_numpy(out)


def _stored(volume: Volume) -> Shaped[Tensor, "channels first second third"]:
    """The values in a type that a file can have: 32-bit floats, booleans or 32-bit whole numbers."""
    if volume.data.is_floating_point():
        return volume.data.float()
    values = volume.data.numpy()
    if values.dtype.kind == "b":
        return volume.data
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < _LABELS.min or high > _LABELS.max:
        raise UsageError(
            f"{volume.source}: labels from {low} to {high}",
            f"whole numbers of 32 bits, {_LABELS.min} to {_LABELS.max}",
            "Number the labels anew, or write a map of floats.",
        )
    return volume.data.int()


def _check_fill(fill: float, dtype: torch.dtype) -> None:
    if dtype.is_floating_point:
        most = torch.finfo(dtype).max
        fits, expected = not math.isfinite(fill) or abs(fill) <= most, f"at most {most:g}, as a 32-bit float"
    else:
        low, high = (0, 1) if dtype == torch.bool else (_LABELS.min, _LABELS.max)
        fits, expected = float(fill).is_integer() and low <= fill <= high, f"a whole number from {low} to {high}"
    if not fits:
        raise UsageError(f"fill={fill} of a volume of {dtype}", expected, "Correct fill.")


def _write(data: Shaped[Tensor, "channels first second third"], header: Nifti1Header, path: Path) -> None:
    if not path.name.lower().endswith(EXTENSIONS):
        raise UsageError(f"{path}", "a name that ends in .nii or .nii.gz", "Correct it.")
    values = data.numpy()
    header.set_data_dtype(_kind(values))
    header.set_data_shape(values.shape[1:] if len(values) == 1 else (*values.shape[1:], len(values)))
    start = header.sizeof_hdr + 4  # four zeros behind the header say that there is no extension
    header["vox_offset"] = start
    # NIfTI's first axis runs fastest.
    voxels = np.moveaxis(values, 0, -1).astype(header.get_data_dtype())
    with replacing(path) as temporary, temporary.open("wb") as raw:
        if path.name.lower().endswith(".gz"):
            # Without a name and a time in it the same volume gives the same file.
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=6) as packed:
                _put(packed, header, voxels)
        else:
            _put(raw, header, voxels)


def _put(stream: BufferedIOBase, header: Nifti1Header, voxels: np.ndarray) -> None:
    stream.write(header.binaryblock + bytes(4))
    stream.writelines(channel.tobytes(order="F") for channel in np.moveaxis(voxels, -1, 0))


def _kind(values: np.ndarray) -> type[np.generic]:
    if values.dtype.kind == "f":
        return np.float32
    if values.dtype.kind == "b":
        return np.uint8
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kinds: tuple[type[np.integer], ...] = (np.uint8, np.int16)
    return next((kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max), np.int32)
