"""Noise of a sensor: Gaussian, shot, impulse and speckle."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.image.constants import Constants, constant
from vitkit.corruptions.image.pieces import in_pieces
from vitkit.corruptions.random import bits, normal, poisson


def gaussian_noise(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """``x + σ·n`` with n standard normal, for every value by itself: noise of electronics.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.

    >>> import torch
    >>> gaussian_noise(torch.full((2, 3, 8, 8), 0.5), 3, [1, 2]).shape
    torch.Size([2, 3, 8, 8])
    """
    scale = constant("gaussian_noise", severity, constants)
    return in_pieces("gaussian_noise", images, lambda x, seeds: normal(seeds, x.shape[1:], x.device).mul_(scale).add_(x), seeds)


def shot_noise(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """``Poisson(c·x) / c`` for every value by itself: light that comes in c photons at full intensity.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    photons = constant("shot_noise", severity, constants)
    return in_pieces("shot_noise", images, lambda x, seeds: poisson(seeds, x * photons).mul_(1 / photons), seeds)


def impulse_noise(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """A share of the values becomes 0 or 1, each as often: salt and pepper, in every channel by itself.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    # Of the whole numbers that 32 bits can be, so many from the lowest and from the highest.
    half = round(constant("impulse_noise", severity, constants) / 2 * 2**32)

    def change(x: Tensor, seeds: Sequence[int]) -> Tensor:
        drawn = bits(seeds, x.shape[1:], x.device)
        return x.masked_fill(drawn < half - 2**31, 0).masked_fill_(drawn >= 2**31 - half, 1)

    return in_pieces("impulse_noise", images, change, seeds)


def speckle_noise(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """``x + x·σ·n`` with n standard normal, for every value by itself: noise that grows with the intensity.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    scale = constant("speckle_noise", severity, constants)
    return in_pieces(
        "speckle_noise", images, lambda x, seeds: normal(seeds, x.shape[1:], x.device).mul_(scale).add_(1).mul_(x), seeds
    )
