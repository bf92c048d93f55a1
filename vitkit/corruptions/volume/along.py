"""One axis of a batch of volumes at a time: most of what a scanner does wrong is a linear map of its lines."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from vitkit.corruptions.volume.scale import Scans


def along(images: Scans, axis: int, matrix: np.ndarray) -> Scans:
    """A real matrix times every line of voxels along an axis.

    Args:
        images: A batch.
        axis: 0, 1 or 2: right, anterior or superior.
        matrix: (voxels, voxels), in float64.
    """
    turned = images.movedim(axis + 2, -1) @ torch.from_numpy(matrix.T.copy()).to(images)
    return turned.movedim(-1, axis + 2).contiguous()


def each_along(images: Scans, axes: Sequence[int], change: Callable[[Scans, int], Scans]) -> Scans:
    """Every image changed along an axis of its own; those of one axis together."""
    changed = torch.empty_like(images)
    for axis in sorted(set(axes)):
        chosen = torch.tensor([index for index, other in enumerate(axes) if other == axis], device=images.device)
        changed[chosen] = change(images[chosen], axis)
    return changed


def circulant(kernel: np.ndarray) -> np.ndarray:
    """The matrix of a cyclic convolution."""
    place = np.arange(len(kernel))
    return kernel[(place[:, None] - place) % len(kernel)]


def interpolation(at: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """The matrix (points, knots) that interpolates linearly between knots, and is constant beyond the first and the last."""
    return np.stack([np.interp(at, knots, one) for one in np.eye(len(knots))], axis=1)


def slab_means(edges: np.ndarray, length: int) -> np.ndarray:
    """The matrix (slabs, voxels) of means over slabs, whose edges may cut a voxel; voxel i reaches from i to i + 1."""
    low, high = edges[:-1, None], edges[1:, None]
    shared = (np.minimum(high, np.arange(1, length + 1)) - np.maximum(low, np.arange(length))).clip(0)
    return shared / shared.sum(1, keepdims=True)
