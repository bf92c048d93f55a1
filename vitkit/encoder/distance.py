"""How deep inside of a segmented shape each voxel lies."""

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
    squared = torch.where(inside, inf, 0.0)
    for axis, step in enumerate(spacing or [1.0] * (inside.ndim - 1), start=1):
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
