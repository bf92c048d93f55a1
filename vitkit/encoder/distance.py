"""Segmented shapes by how deep inside of them each voxel lies."""

from collections.abc import Sequence
from math import floor, inf

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def distance_inside(
    inside: Bool[Tensor, "batch *size"], limit: float, spacing: Sequence[float | int] | None = None
) -> Float[Tensor, "batch *size"]:
    """Distance of each voxel inside to the nearest one outside, centre to centre, and 0 outside; exact up to the limit.

    What lies beyond the border of the image is outside. One axis after the other: of the squared distances along the axes before,
    the least with the square of the step along this one, as in Felzenszwalb and Huttenlocher (2012), for steps up to the limit.

    Args:
        inside: Which voxels are inside.
        limit: Largest distance; all that is deeper inside has it.
        spacing: Distance between neighbours along each axis, in the limit's unit; 1 if not given.

    >>> distance_inside(torch.tensor([[False, True, True, True, True]]), limit=9.0).tolist()
    [[0.0, 1.0, 2.0, 2.0, 1.0]]
    """
    steps = list(spacing or [1.0] * (inside.ndim - 1))
    # Shapes fill little of their images, and beyond the box of one is outside, as beyond a border: in that alone it is the same,
    # and seven times as fast. On a GPU to look for the boxes would take longer, and a graph or a rehearsal has none.
    if type(inside) is not Tensor or inside.device.type != "cpu" or torch.compiler.is_compiling():
        return _swept(inside, limit, steps)
    out = torch.zeros(inside.shape)
    for shape, distances in zip(inside, out, strict=True):
        places = shape.nonzero()
        if len(places):
            box = tuple(slice(int(low), int(high) + 1) for low, high in zip(places.amin(0), places.amax(0), strict=True))
            distances[box] = _swept(shape[box][None], limit, steps)[0]
    return out


def _swept(inside: Tensor, limit: float, steps: Sequence[float | int]) -> Tensor:
    squared = torch.where(inside, inf, 0.0)
    for axis, step in enumerate(steps, start=1):
        length, before = squared.shape[axis], squared
        squared = squared.clone()
        for offset in range(1, floor(limit / step) + 1):
            cost = (offset * step) ** 2
            kept = max(length - offset, 0)
            for here, there, border in ((0, length - kept, kept), (length - kept, 0, 0)):
                part = squared.narrow(axis, here, kept)
                torch.minimum(part, before.narrow(axis, there, kept) + cost, out=part)
                squared.narrow(axis, border, length - kept).clamp_(max=cost)
    return squared.clamp_(max=limit**2).sqrt_()


def by_distance(
    images: Float[Tensor, "batch channels *size"], scale: float, spacing: Sequence[float | int] | None = None
) -> Float[Tensor, "batch channels *size"]:
    """Shapes whose voxels, those above one half, are replaced by their distance to the surface over a scale, 1 at most.

    How thick a shape is somewhere, which is spread over many voxels that are all 1, then stands in each voxel. The surface lies
    half a step outside of the outermost voxels, so these are above 0, and what is outside is 0.

    Args:
        images: Segmentations, of one channel: about 1 inside, about 0 outside.
        scale: Distance that becomes 1; deeper inside nothing grows.
        spacing: Distance between neighbours along each axis, in the scale's unit; 1 if not given.
    """
    half = min(spacing or [1.0]) / 2
    deep = distance_inside((images > 0.5).flatten(0, 1), scale + half, spacing).view(images.shape)
    return ((deep - half) / scale).clamp(0, 1).to(images.dtype)
