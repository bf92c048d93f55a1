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
MIRRORED = 3  # axes


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
    """Turned about the middle, then shifted; 0 comes in from outside.

    In two passes, each of which interpolates linearly: within the planes of A and S, then along R. Every axis is interpolated
    once, as in one pass with eight neighbours a voxel, but planes are several times as fast.

    Args:
        images: A batch.
        turns: Rotations in mm, by less than a right angle, in float64 on the CPU.
        shifts: Translations in mm.
        step: Distance between voxels in mm.
    """
    scale = torch.tensor(step, dtype=torch.float64)
    # From a voxel's place to the place it comes from, in voxels about the middle: r' = M r + t.
    back = turns.transpose(1, 2) * scale / scale[:, None]
    origin = -(turns.transpose(1, 2) @ shifts.unsqueeze(-1)).squeeze(-1) / scale
    # The first pass stands at (r', a, s), so r = (r' - M₀₁ a - M₀₂ s - t₀) / M₀₀ has to be put into the other two rows.
    share = back[:, 1:, :1] / back[:, :1, :1]
    within = torch.cat([share, back[:, 1:, 1:] - share * back[:, :1, 1:]], dim=2)
    offset = origin[:, 1:] - share[..., 0] * origin[:, :1]
    planes = _sampled(images.movedim(2, 1), _grid(images, within, offset))
    lines = torch.stack([back[:, 0], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(len(images), 3)], dim=1)
    at = torch.stack([origin[:, 0], torch.zeros(len(images), dtype=torch.float64)], dim=1)
    return _sampled(planes.permute(0, 3, 2, 1, 4), _grid(images, lines, at, first=0).transpose(1, 2)).permute(0, 2, 3, 1, 4)


def _grid(images: Tensor, matrix: Tensor, offset: Tensor, first: int = 1) -> Tensor:
    """(batch, R, A, S, 2): where each voxel comes from, along S and along the axis ``first``, as shares of half the volume."""
    size = torch.tensor([images.shape[2 + first], images.shape[4]], dtype=torch.float64)
    # torch wants the last axis first.
    matrix, offset = (matrix * (2 / size)[:, None]).flip(1).mT, (offset * (2 / size)).flip(1)
    weights, at = (values.to(images.device, images.dtype).unsqueeze(1).unsqueeze(1) for values in (matrix, offset))
    r, a, s = (torch.arange(length, device=images.device, dtype=images.dtype) - (length - 1) / 2 for length in images.shape[2:])
    plane = r[:, None, None] * weights[..., 0, :] + a[:, None] * weights[..., 1, :] + at
    return plane.unsqueeze(3) + (s[:, None] * weights[..., 2, :]).unsqueeze(2)


def _sampled(planes: Tensor, grid: Tensor) -> Tensor:
    """Planes (batch, planes, channels, height, width) at a grid (batch, planes, height, width, 2)."""
    found = F.grid_sample(planes.flatten(0, 1), grid.flatten(0, 1), mode="bilinear", padding_mode="zeros", align_corners=False)
    return found.view_as(planes)


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
    count = round(amount(severity, float(MIRRORED), levels=MIRRORED))
    return images.flip(tuple(range(2, 2 + count)))
