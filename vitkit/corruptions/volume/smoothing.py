"""Blur by a Gaussian."""

from collections.abc import Sequence

import numpy as np

from vitkit.corruptions.volume.along import along
from vitkit.corruptions.volume.scale import Scans, amount, steps

LIMIT = 4.0  # mm


def smoothing(images: Scans, severity: int, seeds: Sequence[int], spacing: Sequence[float] | None = None) -> Scans:
    """A Gaussian of 0.8, 1.6, 2.4, 3.2, 4 mm standard deviation, cut off at four of them; voxels at the border go on beyond it.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: Not used: nothing is random.
        spacing: Distance between voxels in mm; 1 if not given.

    Source:
        ROOD-MRI (Boone et al. 2023) for the limit.
    """
    sigma = amount(severity, LIMIT)
    for axis, step in enumerate(steps(spacing)):
        images = along(images, axis, gaussian(images.shape[axis + 2], sigma / step))
    return images


def gaussian(length: int, sigma: float) -> np.ndarray:
    """The matrix (length, length) of the blur, with ``sigma`` in voxels; the first and the last voxel are repeated outside."""
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    matrix = np.zeros((length, length))
    rows = np.arange(length)
    for offset, weight in zip(offsets, kernel / kernel.sum(), strict=True):
        np.add.at(matrix, (rows, (rows + offset).clip(0, length - 1)), weight)
    return matrix
