"""The slow change of brightness across a scan that a receiving coil's sensitivity leaves."""

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.random import uniform
from vitkit.corruptions.volume.scale import Scans, amount

LIMIT, ORDER = 1.5, 3


def bias_field(images: Scans, severity: int, seeds: Sequence[int]) -> Scans:
    r"""Intensity times a smooth field that reaches from :math:`e^{-a}` to :math:`e^a`, with a = 0.3, 0.6, 0.9, 1.2, 1.5.

    .. math::
        x \, e^{a p}, \qquad p = \sum_{0 < i + j + k \le 3} c_{ijk}\, r^i a^j s^k, \qquad \min p = -1,\ \max p = 1

    The polynomial's coefficients are uniform before it is scaled, one set for each seed and the same for all channels. Scaling
    makes the field equally strong in every image, where the usual random coefficients may leave next to nothing.

    Source:
        The polynomial is that of Van Leemput et al. 1999; ROOD-MRI (Boone et al. 2023) draws its coefficients from up to ±1.5.
    """
    strength = amount(severity, LIMIT)
    field = polynomial(seeds, images.shape[2:], images.device)
    return images * field.mul_(strength).exp_().unsqueeze(1).to(images.dtype)


def polynomial(
    seeds: Sequence[int], size: Sequence[int], device: torch.device | str
) -> Float[Tensor, "batch right anterior superior"]:
    """A random polynomial of the third degree for each seed, from -1 at its least to 1 at its greatest."""
    terms = [powers for powers in product(range(ORDER + 1), repeat=3) if 0 < sum(powers) <= ORDER]
    drawn = 2 * uniform(seeds, [len(terms)], device) - 1
    r, a, s = (torch.linspace(-1, 1, length, device=device) if length > 1 else torch.zeros(1, device=device) for length in size)
    # Horner's rule along the last axis, so that only three products are of the whole volume's size.
    planes = [torch.zeros(len(seeds), size[0], size[1], device=device) for _ in range(ORDER + 1)]
    for index, (i, j, k) in enumerate(terms):
        planes[k] += drawn[:, index, None, None] * (r[:, None] ** i * a**j)
    field = planes[ORDER].unsqueeze(-1).expand(-1, -1, -1, size[2]).contiguous()
    for plane in reversed(planes[:ORDER]):
        field.mul_(s).add_(plane.unsqueeze(-1))
    low, high = field.flatten(1).aminmax(dim=1)
    half = ((high - low) / 2).clamp(min=torch.finfo(torch.float32).tiny)  # of one voxel the field is 0
    return field.sub_(((low + high) / 2).view(-1, 1, 1, 1)).div_(half.view(-1, 1, 1, 1))
