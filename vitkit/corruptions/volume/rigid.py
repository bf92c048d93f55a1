"""Anatomy that is turned, moves while it is scanned, or is mirrored by a header that lies."""

from collections.abc import Sequence
from math import cos, radians, sin

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.volume.along import each_along
from vitkit.corruptions.volume.scale import Scans, amount, axes_of, signs, steps

DEGREES = 30.0
MIRRORED = 3


def rotation(images: Scans, severity: int, seeds: Sequence[int], spacing: Sequence[float] | None = None) -> Scans:
    """Turned by 6, 12, 18, 24, 30 degrees about the middle, about one axis and to one side, both of which the seed draws.

    Linear interpolation; 0 comes in from outside.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: One for each image.
        spacing: Distance between voxels in mm, which matters where it differs between axes.

    Source:
        ROOD-MRI (Boone et al. 2023) for the limit.
    """
    angle, step = radians(amount(severity, DEGREES)), steps(spacing)
    sides = signs(seeds).tolist()
    places = [axis + (0 if side < 0 else 3) for axis, side in zip(axes_of(seeds, (0, 1, 2)), sides, strict=True)]
    return each_along(images, places, lambda part, place: turned(part, place % 3, angle if place >= 3 else -angle, step))


def turned(images: Scans, axis: int, angle: float, step: Sequence[float]) -> Scans:
    """Turned about an axis, plane by plane: from the next of R, A, S, R, ... towards the one after that, in radians."""
    first, second = sorted(other for other in range(3) if other != axis)
    towards = -angle if axis == 1 else angle  # about A it is S that turns towards R
    planes = images.movedim(axis + 2, 2)
    height, width = planes.shape[3:]
    y, x = (
        (torch.arange(length, device=images.device, dtype=images.dtype) - (length - 1) / 2) * step[other]
        for length, other in ((height, first), (width, second))
    )
    # Where a pixel comes from: the turn taken back.
    from_y = (cos(towards) * y[:, None] + sin(towards) * x) / step[first]
    from_x = (cos(towards) * x - sin(towards) * y[:, None]) / step[second]
    grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], dim=-1).expand(len(images), -1, -1, -1)
    sampled = F.grid_sample(planes.flatten(1, 2), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.view_as(planes).movedim(2, axis + 2)


def moved(
    images: Scans,
    turns: Float[Tensor, "batch 3 3"],
    shifts: Float[Tensor, "batch 3"],
    step: Sequence[float],
) -> Scans:
    """Turned about the middle, then shifted.

    Args:
        images: A batch.
        turns: Rotations in mm, in float64 on the CPU.
        shifts: Translations in mm.
        step: Distance between voxels in mm.
    """
    size = torch.tensor(images.shape[2:], dtype=torch.float64)
    scale = torch.tensor(step, dtype=torch.float64)
    # From a voxel's place to where it comes from, both about the middle and as shares of half the volume, as torch has them.
    back = (turns.transpose(1, 2) * scale / scale[:, None]) * (2 / size)[:, None]
    origin = -((turns.transpose(1, 2) @ shifts.unsqueeze(-1)).squeeze(-1) / scale) * (2 / size)
    back, origin = (values.flip(1).to(images.device, images.dtype) for values in (back, origin))  # the last axis comes first
    r, a, s = (torch.arange(length, device=images.device, dtype=images.dtype) - (length - 1) / 2 for length in images.shape[2:])
    plane = r[:, None, None] * back[:, None, None, :, 0] + a[:, None] * back[:, None, None, :, 1] + origin[:, None, None]
    grid = plane.unsqueeze(3) + (s[:, None] * back[:, None, :, 2])[:, None, None]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def euler(angles: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    """Rotations about R, then A, then S, in radians."""
    turns = torch.eye(3, dtype=angles.dtype).expand(len(angles), 3, 3)
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3, dtype=angles.dtype).repeat(len(angles), 1, 1)
        turn[:, first, first] = turn[:, second, second] = angles[:, axis].cos()
        turn[:, second, first] = angles[:, axis].sin()
        turn[:, first, second] = -angles[:, axis].sin()
        turns = turn @ turns
    return turns


def orientation_flip(images: Scans, severity: int, seeds: Sequence[int]) -> Scans:
    """Axes mirrored, as by a header that lies: R (1), R and A (2: LPS taken for RAS), or R, A and S (3).

    Args:
        images: A batch.
        severity: 1 to 3; there are no more axes.
        seeds: Not used: nothing is random.
    """
    count = round(amount(severity, MIRRORED, levels=MIRRORED))
    return images.flip(tuple(range(2, 2 + count)))
