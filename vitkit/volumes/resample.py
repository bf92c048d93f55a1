"""Resampling along one axis at a time, exact on what changes linearly."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

Interpolation = Literal["linear", "nearest"]


def positions(length: int, count: int, step: float) -> np.ndarray:
    """Where ``count`` samples lie that are ``step`` voxels apart and share their centre with ``length`` voxels, in voxels."""
    return (np.arange(count) - (count - 1) / 2) * step + (length - 1) / 2


def resample_axis(
    data: Shaped[Tensor, "..."], axis: int, count: int, step: float, interpolation: Interpolation
) -> Shaped[Tensor, "..."]:
    """``count`` samples along an axis, ``step`` voxels apart, about the same centre.

    Beyond the outermost voxels' centres their values go on.

    ``linear`` interpolates between voxels. Where the step is longer than a voxel, a sample is the mean of the interpolant over
    step - 1 voxels about its place, so that every voxel counts (at 2, the mean of two voxels); a ramp stays that ramp to
    rounding. ``nearest`` takes the nearest voxel, of two equally near ones the later.
    """
    length = data.shape[axis]
    where = positions(length, count, step)
    if interpolation == "nearest":
        # Rounded, so that the error of a float does not decide between two equally near voxels.
        nearest = np.floor(where.round(6) + 0.5).astype(np.int64).clip(0, length - 1)
        return data.index_select(axis, torch.from_numpy(nearest).to(data.device))
    half = max(step - 1, 0.0) / 2
    first = np.floor(where - half).astype(np.int64)
    taps = int((np.floor(where + half) - first).max()) + 2
    shape = [count if dim == axis % data.ndim else 1 for dim in range(data.ndim)]
    out = torch.zeros([count if dim == axis % data.ndim else size for dim, size in enumerate(data.shape)], dtype=data.dtype)
    out = out.to(data.device)
    for tap in range(taps):
        weights = _mean_of_hat(where - (first + tap), half)
        index = torch.from_numpy((first + tap).clip(0, length - 1)).to(data.device)
        out.addcmul_(data.index_select(axis, index), torch.from_numpy(weights).to(out).view(shape))
    return out


def _mean_of_hat(offset: np.ndarray, half: float) -> np.ndarray:
    """Mean of the hat function max(0, 1 - |x|) over [offset - half, offset + half]."""
    if half < 1e-4:  # the difference of two integrals would lose its digits, and the mean is the value to 1e-4
        return np.maximum(0, 1 - np.abs(offset))
    return (_integral_of_hat(offset + half) - _integral_of_hat(offset - half)) / (2 * half)


def _integral_of_hat(end: np.ndarray) -> np.ndarray:
    """Integral of the hat function from minus infinity."""
    x = end.clip(-1, 1)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)
