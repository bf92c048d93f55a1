"""A NIfTI file to a volume, or an error that says what is wrong with it."""

from dataclasses import replace
from os import PathLike
from typing import Any, Literal, get_args

import numpy as np
import torch
from nibabel.arrayproxy import ArrayProxy

from vitkit.errors import DataError, UsageError, require_choice
from vitkit.volumes.geometry import Xform, disagreement, file_affine
from vitkit.volumes.nifti import Nifti, dtype_name, opened
from vitkit.volumes.volume import Volume

Nonfinite = Literal["error", "fill"]
Constant = Literal["error", "allow"]
Slices = tuple[slice, slice, slice]


def read(
    path: str | PathLike[str],
    *,
    nonfinite: Nonfinite = "error",
    constant: Constant = "error",
    frame: int | None = None,
    channels_last: bool = False,
    assume: str | None = None,
    xform: Xform = "agree",
) -> Volume:
    """A scan as its file has it: 32-bit floats of shape ``(channels, *size)``.

    The scale of the header (scl_slope, scl_inter) is applied, so CT values are HU. A 3D file has one channel; a fourth axis of
    length 1 is no axis. Nothing is turned or resampled: see :meth:`Volume.oriented` and :meth:`Volume.resampled`.

    Args:
        path: NIfTI-1 or -2, .nii or .nii.gz, of either byte order.
        nonfinite: What becomes of voxels that are NaN or infinite: ``error`` refuses the file and says how many there are;
            ``fill`` gives NaN and minus infinity the smallest finite value of the scan, and infinity the largest.
        constant: Whether a scan of one single value is refused.
        frame: Which one of a 4D file's frames (volumes in time), counted from 0.
        channels_last: The fourth axis of a 4D file is channels.
        assume: Orientation of a file whose header says none (sform_code and qform_code 0), such as ``"LAS"``.
        xform: What to believe where sform and qform, or sform and pixdim, disagree.

    Raises:
        UsageError: There is no such file or frame, or an option that is none of its choices.
        DataError: The file is damaged, its voxels are no numbers, there are too many or too few axes, its geometry is unknown or
            contradicts itself (see :func:`vitkit.volumes.geometry.file_affine`), or its intensities are constant or not finite.
    """
    require_choice("constant", constant, get_args(Constant))
    with opened(path) as file:
        affine = file_affine(file.header, file.path, assume, xform)
        values = values_of(file, frame, channels_last)
        _drain(file)
    values = finite(values, file, nonfinite)
    if constant == "error" and values.size and values.min() == values.max():
        raise DataError(
            f"{path}: all {values.size} voxels have the value {values.flat[0]:g}",
            "a scan in which something is to be seen",
            "Look at how it was exported, or leave it out; constant='allow' reads it all the same.",
        )
    return Volume(torch.from_numpy(values), affine, str(path))


def read_mask(
    path: str | PathLike[str], image: Volume | None = None, *, assume: str | None = None, xform: Xform = "agree"
) -> Volume:
    """A mask as its file has it: 32-bit whole numbers, 0 or more, of shape ``(1, *size)``; it may be constant.

    Args:
        path: The file.
        image: The volume that it is a mask of, as :func:`read` gave it; its shape and affine have to be those of the mask,
            which takes its affine, so that both are turned and resampled to the same voxels.
        assume: As for :func:`read`.
        xform: As for :func:`read`.

    Raises:
        UsageError: There is no such file, or ``xform`` is none of its choices.
        DataError: As :func:`read`; and voxels that are no whole numbers, or negative; a mask of four axes, also where the image's
            file has four; and a mask on another grid than its image.
    """
    with opened(path) as file:
        affine = file_affine(file.header, file.path, assume, xform)
        values = values_of(file, None, False, exact=True)
        _drain(file)
    whole = np.rint(values)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        wrong = ~(np.abs(values - whole) <= 1e-4)  # NaN is wrong, too; 1e-4, because a scale may round
    if (count := int(wrong.sum())) or whole.max() > np.iinfo(np.int32).max:
        example = values[wrong][0] if count else whole.max()
        raise DataError(
            f"{path}: {count or 'some'} voxels of the mask are no labels, such as {example:g}",
            "whole numbers of 32 bits",
            "Give the mask itself, not a probability map, resampled by nearest neighbours if at all.",
        )
    if count := int((whole < 0).sum()):  # which would count as foreground
        raise DataError(
            f"{path}: {count} voxels of the mask are negative, such as {whole[whole < 0][0]:g}",
            "labels of 0 or more, 0 being what is not segmented",
            "Give the mask itself, with 0 where nothing is segmented.",
        )
    mask = Volume(torch.from_numpy(whole.astype(np.int32)), affine, str(path))
    if image is not None:
        check_pair(image, mask)
        mask = replace(mask, affine=image.affine)  # its own may be rounded otherwise, and lead to another shape or other axes
    return mask


def check_pair(image: Volume, mask: Volume) -> None:
    """Refuse a mask that does not lie on its image's grid, voxel upon voxel.

    Raises:
        DataError: Their shapes differ, or their affines do by more than rounding.
    """
    remedy = "Give the mask of this image, or resample it onto the image's grid by nearest neighbours."
    if image.size != mask.size:
        raise DataError(
            f"the mask {mask.source} has {' × '.join(map(str, mask.size))} voxels", f"{' × '.join(map(str, image.size))}, as "
            f"{image.source} has", remedy,
        )  # fmt: skip
    if words := disagreement(image.affine, mask.affine):
        raise DataError(
            f"the mask {mask.source} does not lie where {image.source} does: {words}", "the same affine in both", remedy
        )


def finite(values: np.ndarray, file: Nifti, nonfinite: Nonfinite) -> np.ndarray:
    """The values without NaN and infinity, or an error that counts them."""
    require_choice("nonfinite", nonfinite, get_args(Nonfinite))
    good = np.isfinite(values)
    if good.all():
        return values
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    first = [int(index) for index in np.argwhere(~good)[0]]
    found = f"{file.path}: of {values.size} voxels {nan} are NaN and {infinite} infinite, the first at {tuple(first[1:])}"
    if not good.any():
        raise DataError(found, "finite intensities", "Export the scan again, or leave it out.")
    if nonfinite == "error":
        raise DataError(found, "finite intensities", "Mend the file, or read it with nonfinite='fill'.")
    low, high = values[good].min(), values[good].max()
    return np.nan_to_num(values, nan=low, neginf=low, posinf=high)


def values_of(
    file: Nifti,
    frame: int | None,
    channels_last: bool,
    exact: bool = False,
    box: Slices = (slice(None), slice(None), slice(None)),
) -> np.ndarray:
    """The voxels of a box, of shape ``(channels, *size)`` in C order; exact ones are a mask's."""
    kind = file.header.get_data_dtype()
    if kind.kind not in "iuf":
        colours = int(file.header["datatype"]) in (128, 2304)
        what = "colours (RGB)" if colours else f"of the type {dtype_name(file.header)}"
        raise DataError(
            f"{file.path}: its voxels are {what}",
            "one real number in each",
            "Convert it to grey values; a picture of a segmentation has to be made into labels.",
        )
    shape = file.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if channels_last and len(shape) == 5 and shape[3] == 1:  # NIfTI's own place for vectors
        shape = (*shape[:3], shape[4])
    last: tuple[Any, ...] = ()
    if len(shape) < 3:
        raise DataError(
            f"{file.path} has {len(shape)} axes, {' × '.join(map(str, shape))}", "a scan of three", "Read pictures as pictures."
        )
    if len(shape) > 3:
        if len(shape) > 4 or (frame is None and not channels_last):
            found = f"{file.path} has {len(shape)} axes, {' × '.join(map(str, shape))}"
            if exact:  # no frame is said of masks, for most 4D images come with a mask of three axes
                remedy = "Write one of its volumes to a file of its own; volumes of one label each, as one volume of labels."
                raise DataError(found, "a mask of three, also of one frame of a scan of four", remedy)
            raise DataError(
                found,
                "a scan of three",
                "Say which frame=N of the fourth axis to read; in Python channels_last=True takes all of them as channels."
                if len(shape) == 4
                else "Write each of its volumes to a file of its own first.",
            )
        if frame is not None and not 0 <= frame < shape[3]:
            raise UsageError(f"frame {frame} of {file.path}", f"a number from 0 to {shape[3] - 1}", "Correct frame.")
        last = (slice(None) if frame is None else frame,)
    elif frame not in (None, 0):
        raise UsageError(f"frame {frame} of {file.path}, which has one", "frame 0, or none", "Leave frame out.")
    spec = (shape, kind, file.header.get_data_offset())
    values = _scaled(ArrayProxy(file.stream, spec, mmap=not file.compressed)[(*box, *last)], file, exact)
    values = values[None] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    return np.ascontiguousarray(values)


def _scaled(stored: np.ndarray, file: Nifti, exact: bool) -> np.ndarray:
    """With the header's scale, as 64-bit floats if exact, and as 32-bit ones otherwise."""
    if np.isinf(file.header["scl_slope"]):
        found = f"{file.path}: its header scales intensities by {file.header['scl_slope']} (scl_slope)"
        raise DataError(found, "a number, or 0 for no scale", "Export the scan again, or mend its header.")
    slope, inter = file.header.get_slope_inter()  # nothing where the slope is 0 or NaN, which means that there is no scale
    plain = slope is None or (slope, inter) == (1, 0)
    # Integers of 8 and 16 bits are exact in 32-bit floats; the scale of all others is applied in 64 bits.
    wide = np.dtype(np.float64 if exact or (not plain and stored.dtype.itemsize > 2) else np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what is no 32-bit number becomes none, and is counted
        values = stored.astype(wide)
        if not plain:
            values *= wide.type(slope)
            values += wide.type(inter)
        return values if exact else values.astype(np.float32, copy=False)


def _drain(file: Nifti) -> None:
    """Read a gzip stream to its end, where its checksum is."""
    while file.compressed and file.stream.read(1 << 20):
        pass
