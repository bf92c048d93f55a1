"""A file's affine: from its header alone, or not at all."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64
from nibabel.nifti1 import Nifti1Header

from vitkit.errors import DataError, require_choice
from vitkit.volumes.axes import parse_codes

Xform = Literal["agree", "sform", "qform"]

CODES = range(6)
"""What sform_code and qform_code may be: 0 unknown, 1 scanner, 2 aligned, 3 Talairach, 4 MNI 152, 5 another template."""
_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # of NIfTI's spatial units, in mm: none (which means mm), m, mm, micrometres
# The header's 32-bit floats leave errors of 1e-7, a quaternion at half a turn one of 3e-4 in its first number, twice that as an
# angle; a spacing that was rounded to four digits is off by 5e-4. What differs more was meant to differ.
_SPACING, _ANGLE, _OFFSET, _SHEAR = 1e-3, 2e-3, 0.1, 1e-3


def file_affine(
    header: Nifti1Header, path: Path, assume: str | None = None, xform: Xform = "agree"
) -> Float64[np.ndarray, "4 4"]:
    """From voxel to RAS in mm, as a header says it.

    The sform, or without one the qform. Where a header has both they have to agree, and the sform's spacing with pixdim: within
    0.1 % of the spacing, 0.002 in the cosines and a tenth of a voxel in the first voxel's place. Metres and micrometres become
    mm; a header without a unit means mm.

    Args:
        header: The header as it was written.
        path: Its file, to be named in errors.
        assume: Orientation of a file whose header says none (both codes 0), such as ``"LAS"``: spacing is then that of pixdim,
            and the origin the middle of the scan.
        xform: Which one to believe where they disagree.

    Raises:
        UsageError: ``xform`` is none of its choices.
        DataError: Codes that NIfTI does not know; no orientation, if none is assumed; sform, qform and pixdim that disagree, if
            none is to be believed; an affine that is not finite, singular or sheared; a spacing that is zero or negative.
    """
    require_choice("xform", xform, get_args(Xform))
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    for name, code in codes.items():
        if code not in CODES:
            raise DataError(
                f"{path}: {name}_code is {code}",
                "0 to 5, the codes of NIfTI",
                f"Ask where the file comes from, and write the right code with nibabel's set_{name}.",
            )
    scale = _units(header, path)
    if xform != "agree" and not codes[xform]:
        raise DataError(f"{path} has no {xform} ({xform}_code is 0)", f"a {xform}, as xform={xform!r} says", "Leave xform out.")
    if xform != "sform":
        _check_pixdim(header, path)
    if not any(codes.values()):
        if assume is None:
            raise DataError(
                f"{path}: sform_code and qform_code are 0, so nothing is known of its orientation",
                "a header that says which side is left",
                "Find out how the scan lies and write it with nibabel's set_sform, or state it, such as assume='LAS'.",
            )
        return _assumed(header, assume, scale)
    affines = {}
    if codes["sform"] and xform != "qform":
        affines["sform"] = _check(header.get_sform().astype(np.float64), path, "sform")
    if codes["qform"] and xform != "sform":
        affines["qform"] = _check(_qform(header, path), path, "qform")
    if xform == "agree" and "sform" in affines:
        spacing = np.linalg.norm(affines["sform"][:3, :3], axis=0)
        pixdim = np.array(header["pixdim"][1:4], dtype=np.float64)
        if np.any(np.abs(spacing - pixdim) > _SPACING * pixdim):
            raise DataError(
                f"{path}: the sform's spacing is {_numbers(spacing)} mm and pixdim {_numbers(pixdim)}",
                "one spacing",
                "Find out which is right; believe the sform with xform='sform', or mend the header with nibabel's set_zooms.",
            )
    if len(affines) == 2 and (words := disagreement(affines["sform"], affines["qform"])):
        raise DataError(
            f"{path}: sform and qform disagree: {words}",
            "one geometry",
            "Find out which is right, and believe it with xform='sform' or xform='qform'.",
        )
    affine = affines["sform"] if "sform" in affines else affines["qform"]
    affine[:3] *= scale
    return affine


def disagreement(one: Float64[np.ndarray, "4 4"], other: Float64[np.ndarray, "4 4"]) -> str:
    """How two affines differ by more than rounding, in words; empty if they do not."""
    spacings = [np.linalg.norm(affine[:3, :3], axis=0) for affine in (one, other)]
    if np.any(np.abs(spacings[0] - spacings[1]) > _SPACING * spacings[0]):
        return f"spacings of {_numbers(spacings[0])} and {_numbers(spacings[1])} mm"
    turned = np.abs(one[:3, :3] / spacings[0] - other[:3, :3] / spacings[1]).max()
    if turned > _ANGLE:
        return f"cosines of their axes differ by {turned:.3g}"
    moved = np.linalg.norm(one[:3, 3] - other[:3, 3])
    return f"the first voxel's place differs by {moved:.3g} mm" if moved > _OFFSET * spacings[0].min() else ""


def _numbers(values: np.ndarray) -> str:
    return " × ".join(f"{value:.5g}" for value in values)


def _units(header: Nifti1Header, path: Path) -> float:
    code = int(header["xyzt_units"]) & 7
    if code not in _UNITS:
        raise DataError(
            f"{path}: the spatial unit {code} in xyzt_units",
            "metres, mm or micrometres",
            "Mend it with nibabel's set_xyzt_units.",
        )
    return _UNITS[code]


def _check_pixdim(header: Nifti1Header, path: Path) -> None:
    pixdim = np.array(header["pixdim"][1:4], dtype=np.float64)
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        raise DataError(
            f"{path}: a spacing (pixdim) of {_numbers(pixdim)}",
            "three positive numbers of mm",
            "Write the scanner's spacing with nibabel's set_zooms" + _or_sform(header),
        )


def _or_sform(header: Nifti1Header) -> str:
    return "; or believe the sform alone with xform='sform'." if int(header["sform_code"]) else "."


def _qform(header: Nifti1Header, path: Path) -> np.ndarray:
    turn = float(header["pixdim"][0])
    if turn not in (-1, 0, 1):
        raise DataError(f"{path}: pixdim[0], the handedness of the qform, is {turn:g}", "1 or -1", "Write the qform again.")
    header = header.copy()
    header["pixdim"][0] = turn or 1  # as NIfTI says of 0
    try:
        return header.get_qform().astype(np.float64)
    except ValueError as error:
        numbers = [float(header[f"quatern_{name}"]) for name in "bcd"]
        first, second, third = (f"{number:g}" for number in numbers)
        raise DataError(
            f"{path}: quatern_b, c and d, {first}, {second} and {third}, are no rotation: the sum of their squares is "
            f"{sum(number * number for number in numbers):.7g}",
            "1 at most, as of a quaternion of length 1",
            "Write the qform again with nibabel's set_qform" + _or_sform(header),
        ) from error


def _check(affine: np.ndarray, path: Path, name: str) -> np.ndarray:
    matrix, spacing = affine[:3, :3], np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all():
        raise DataError(f"{path}: the {name} holds NaN or infinity", "finite numbers", "Write the right one with nibabel.")
    directions = matrix / np.where(spacing > 0, spacing, 1)
    if abs(np.linalg.det(directions)) < _SHEAR:
        raise DataError(
            f"{path}: the {name} {matrix.tolist()} is singular",
            "three axes that span space",
            f"Write the right one with nibabel's set_{name}; for a single slice, give the thickness.",
        )
    cosines = np.abs(directions.T @ directions - np.eye(3)).max()
    if cosines > _SHEAR:
        raise DataError(
            f"{path}: the {name} is sheared; the cosine between two of its axes is {cosines:.3g}",
            f"axes at right angles (cosines below {_SHEAR:g})",
            "Resample it to a straight grid, for example with nibabel.processing.resample_to_output.",
        )
    return affine


def _assumed(header: Nifti1Header, codes: str, scale: float) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0
    spacing = np.array(header["pixdim"][1:4], dtype=np.float64) * scale
    for axis, (world, sign) in enumerate(parse_codes(codes)):
        affine[world, axis] = sign * spacing[axis]
    shape = np.array(header["dim"][1:4], dtype=np.float64)
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return affine
