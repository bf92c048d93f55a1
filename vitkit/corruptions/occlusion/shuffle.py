"""Shuffled patches: everything is there, and nothing in its place."""

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.occlusion.orders import random_orders
from vitkit.errors import UsageError


def shuffle(
    images: Float[Tensor, "batch channels *size"], cells: int, seeds: Sequence[int]
) -> Float[Tensor, "batch channels *size"]:
    """Each image cut into equal patches, which change places at random (Naseer et al. 2021, section 3.3).

    Args:
        images: Of any number of axes.
        cells: Patches along each axis; 1 is the identity.
        seeds: One for each image.

    Raises:
        UsageError: A number of patches that does not divide an axis.

    >>> image = torch.arange(16.0).view(1, 1, 4, 4)
    >>> sorted(shuffle(image, 2, [1]).flatten().tolist()) == image.flatten().tolist()
    True
    """
    size = images.shape[2:]
    if cells < 1 or any(length % cells for length in size):
        raise UsageError(
            f"{cells} shuffled patches along each axis of images of size {tuple(size)}",
            "a number that divides every axis",
            "Use another number, or another size.",
        )
    ndim = len(size)
    # (batch, channels, g₁, p₁, g₂, p₂, ...) to (batch, g₁, g₂, ..., channels, p₁, p₂, ...) and back
    cut = images.reshape(*images.shape[:2], *(part for length in size for part in (cells, length // cells)))
    there = [0, *range(2, 2 + 2 * ndim, 2), 1, *range(3, 3 + 2 * ndim, 2)]
    patches = cut.permute(there)
    shape, count = patches.shape, prod(patches.shape[1 : 1 + ndim])
    orders = random_orders(seeds, count).to(images.device)
    index = orders + torch.arange(len(images), device=images.device)[:, None] * count
    moved = patches.reshape(len(images) * count, -1)[index.flatten()].view(shape)
    back = [there.index(place) for place in range(len(there))]
    return moved.permute(back).reshape(images.shape)
