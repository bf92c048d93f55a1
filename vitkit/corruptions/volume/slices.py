"""Fewer samples along an axis than the voxels say: slices that are thick, or that are far apart."""

from collections.abc import Sequence

import numpy as np

from vitkit.corruptions.volume.along import along, each_along, interpolation, slab_means
from vitkit.corruptions.volume.scale import Scans, amount, axes_of, steps

FACTOR = 10.0
THICKNESS = 10.0  # mm


def thick_slices(images: Scans, severity: int, seeds: Sequence[int], spacing: Sequence[float] | None = None) -> Scans:
    """Axial slices thicker than a voxel by 2, 4, 6, 8, 10 mm: means over them, interpolated linearly from centre to centre.

    The slices lie about the middle of the volume; the outermost are as thin as what is left for them.

    Args:
        images: A batch.
        severity: 1 to 5.
        seeds: Not used: nothing is random.
        spacing: Distance between voxels in mm; 1 if not given.
    """
    step = steps(spacing)[2]
    return along(images, 2, thickened(images.shape[-1], (step + amount(severity, THICKNESS)) / step))


def downsampling(images: Scans, severity: int, seeds: Sequence[int]) -> Scans:
    """2.8, 4.6, 6.4, 8.2, 10 times fewer planes along one axis, which the seed draws, and linear interpolation between them.

    Planes are taken as they are, without a mean over those that are left out, so details alias. They lie evenly, as many as come
    nearest to the factor.

    Source:
        ROOD-MRI (Boone et al. 2023), after TorchIO's random anisotropy.
    """
    factor = amount(severity, FACTOR, identity=1.0)
    axes = axes_of(seeds, (0, 1, 2))
    return each_along(images, axes, lambda part, axis: along(part, axis, thinned(part.shape[axis + 2], factor)))


def thickened(length: int, thickness: float) -> np.ndarray:
    """The matrix of means over slices of a thickness in voxels and of the lines between their centres."""
    count = max(1, int(np.ceil(length / thickness - 1e-9)))
    edges = (length / 2 + (np.arange(count + 1) - count / 2) * thickness).clip(0, length)
    centres = (edges[:-1] + edges[1:]) / 2
    return interpolation(np.arange(length) + 0.5, centres) @ slab_means(edges, length)


def thinned(length: int, factor: float) -> np.ndarray:
    """The matrix that keeps one voxel in ``factor``, evenly, and draws lines between those that are kept."""
    count = max(1, round(length / factor))
    kept = np.floor((np.arange(count) + 0.5) * (length / count)).astype(int)
    return interpolation(np.arange(length), kept) @ np.eye(length)[kept]
