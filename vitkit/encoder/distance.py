"""Segmented shapes by how deep inside of them each voxel lies."""

from collections.abc import Sequence
from math import floor, inf

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.errors import UsageError


def distance_inside(
    inside: Bool[Tensor, "batch *size"], limit: float, spacing: Sequence[float | int] | None = None
) -> Float[Tensor, "batch *size"]:
    r"""Distance of each voxel's centre to the surface of the shape it is in, and 0 outside; exact up to the limit.

    .. math::
        d(x) = \min_{y \text{ outside}} \sqrt{\sum_i s_i^2 \max(|x_i - y_i| - \tfrac12, 0)^2}

    Voxels are boxes of the spacing :math:`s`, and what lies beyond the border of the image is outside. One axis after the other:
    of the squared distances along the axes before, the least with the square of the way along this one, as in Felzenszwalb and
    Huttenlocher (2012), for ways up to the limit.

    Args:
        inside: Which voxels are inside.
        limit: Largest distance; all that is deeper inside has it.
        spacing: Distance between neighbours along each axis, in the limit's unit; 1 if not given.

    Raises:
        UsageError: Another number of spacings than axes, or one that is not positive; or such a limit.

    >>> distance_inside(torch.tensor([[False, True, True, True, True]]), limit=9.0).tolist()
    [[0.0, 0.5, 1.5, 1.5, 0.5]]
    """
    steps = list(spacing or [1.0] * (inside.ndim - 1))
    if len(steps) != inside.ndim - 1 or not all(length > 0 for length in (*steps, limit)):
        found = f"a limit of {limit} and a spacing of {steps} for {inside.ndim - 1} axes"
        raise UsageError(found, "positive numbers, one spacing for each axis", "Correct them.")
    # Shapes fill little of their images, and beyond the box of one is outside, as beyond a border: in the box alone it is the
    # same, and less to do. On a GPU looking for the boxes would take longer, and a graph or a rehearsal has none.
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
        for offset in range(1, min(floor(limit / step + 0.5), length) + 1):
            cost, kept = ((offset - 0.5) * step) ** 2, length - offset
            for here, there, border in ((0, length - kept, kept), (length - kept, 0, 0)):
                part = squared.narrow(axis, here, kept)
                part.copy_(torch.minimum(part, before.narrow(axis, there, kept) + cost))
                squared.narrow(axis, border, length - kept).clamp_(max=cost)
    return squared.clamp_(max=limit**2).sqrt_()


def by_distance(
    images: Float[Tensor, "batch channels *size"], scale: float, spacing: Sequence[float | int] | None = None
) -> Float[Tensor, "batch channels *size"]:
    """Shapes whose voxels, those above one half, are replaced by their distance to the surface over a scale, 1 at most.

    How thick a shape is somewhere, which is spread over many voxels that are all 1, then stands in each voxel.

    Args:
        images: Segmentations: about 1 inside, about 0 outside.
        scale: Distance that becomes 1; deeper inside nothing grows.
        spacing: Distance between neighbours along each axis, in the scale's unit; 1 if not given.

    Raises:
        UsageError: As for :func:`distance_inside`.
    """
    return (distance_inside((images > 0.5).flatten(0, 1), scale, spacing) / scale).view(images.shape).to(images.dtype)
