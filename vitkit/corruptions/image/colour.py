"""Corruptions of a pixel's intensity and colour: brightness, contrast and saturation."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.image.constants import Constants, constant
from vitkit.corruptions.image.pieces import in_pieces

# Of red, green and blue in the luminance that the authors take (ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)


def brightness(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """Adds to the value of hue, saturation and value, cut to 1: a gain of each pixel's own. Nothing is random.

    The value is the largest of red, green and blue, and hue and saturation stay when all three are multiplied alike. Black
    becomes grey. A grey image is added to.

    Args:
        images: Values in [0, 1], grey or RGB.
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or neither one nor three channels.

    >>> brightness(torch.tensor([0.2, 0.4, 0.1]).view(1, 3, 1, 1), 2).flatten()
    tensor([0.3000, 0.6000, 0.1500])
    """
    amount = constant("brightness", severity, constants)

    def change(x: Tensor, _: Sequence[int]) -> Tensor:
        if x.shape[1] == 1:
            return x + amount
        value = _largest(x)
        brighter = (value + amount).clamp_(max=1)
        return torch.where(value > 0, x * (brighter / value), brighter)

    return in_pieces("brightness", images, change, channels=(1, 3))


def contrast(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """``(x - μ)·c + μ`` with μ the mean of each channel of each image; nothing is random.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity.
    """
    share = constant("contrast", severity, constants)

    def change(x: Tensor, _: Sequence[int]) -> Tensor:
        # In float64 the order in which threads add up does not show.
        mean = x.mean((2, 3), keepdim=True, dtype=torch.float64).to(torch.float32)
        return (x - mean).mul_(share).add_(mean)

    return in_pieces("contrast", images, change)


def saturate(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """Multiplies the saturation of hue, saturation and value, and adds to it: less at severities 1 and 2, more from 3 on.

    Nothing is random. Grey has no hue; as for the authors it counts as red, so a grey pixel of a coloured image turns reddish
    where something is added. An image of one channel stays as it is.

    Args:
        images: Values in [0, 1], grey or RGB.
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or neither one nor three channels.
    """
    factor, summand = constant("saturate", severity, constants)

    def change(x: Tensor, _: Sequence[int]) -> Tensor:
        if x.shape[1] == 1:
            return x
        value = _largest(x)
        depth = value - torch.minimum(torch.minimum(x[:, 0:1], x[:, 1:2]), x[:, 2:3])
        # value·S' = value·(S·c₀ + c₁) where S = depth / value, at most the value itself.
        deeper = (depth * factor).add_(value * summand).minimum(value)
        grey = depth <= 0
        made = value - (value - x) * (deeper / depth.masked_fill(grey, 1))
        reddish = value - deeper
        made[:, 1:] = torch.where(grey, reddish, made[:, 1:])
        return made

    return in_pieces("saturate", images, change, channels=(1, 3))


def _largest(x: Tensor) -> Tensor:
    return torch.maximum(torch.maximum(x[:, 0:1], x[:, 1:2]), x[:, 2:3])


def luminance(x: Tensor) -> Tensor:
    """Grey of RGB images, and a grey image itself."""
    if x.shape[1] == 1:
        return x
    red, green, blue = LUMINANCE
    return (x[:, 0:1] * red).add_(x[:, 1:2], alpha=green).add_(x[:, 2:3], alpha=blue)
