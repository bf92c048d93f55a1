"""Brightness, which is several operations, each with a name of its own: gain, shift, gamma, HSV value and contrast."""

from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.errors import UsageError

Clipped = tuple[Float[Tensor, "batch channels *size"], Float[Tensor, " batch"]]


def gain(images: Float[Tensor, "batch channels *size"], factor: float) -> Clipped:
    """``factor · x``, cut to [0, 1]; 1 is the identity.

    Args:
        images: Values in [0, 1].
        factor: Positive.

    Returns:
        The images, and the share of each image's values that were cut.

    Raises:
        UsageError: A factor that is not positive.

    >>> images, clipped = gain(torch.tensor([[[0.25, 0.75]]]), 2.0)
    >>> images.tolist(), clipped.tolist()
    ([[[0.5, 1.0]]], [0.5])
    """
    _check_positive("a gain", factor)
    return _cut(images * factor)


def shift(images: Float[Tensor, "batch channels *size"], amount: float) -> Clipped:
    """``x + amount``, cut to [0, 1]; 0 is the identity.

    Args:
        images: Values in [0, 1].
        amount: Fraction of full intensity, in [-1, 1].

    Returns:
        The images, and the share of each image's values that were cut.

    Raises:
        UsageError: An amount outside [-1, 1].
    """
    if not -1 <= amount <= 1:
        raise UsageError(
            f"a shift of {amount}", "a fraction of full intensity in [-1, 1]", "Use e.g. 0.1, where 0 changes nothing."
        )
    return _cut(images + amount)


def gamma(images: Float[Tensor, "batch channels *size"], exponent: float) -> Clipped:
    """``x ** exponent``; 1 is the identity, less brightens and more darkens. Nothing is ever cut.

    Args:
        images: Values in [0, 1].
        exponent: Positive.

    Returns:
        The images, and zeros.

    Raises:
        UsageError: An exponent that is not positive.
    """
    _check_positive("a gamma", exponent)
    return _cut(images**exponent)


def hsv_value(images: Float[Tensor, "batch channels *size"], amount: float) -> Clipped:
    r"""The value of HSV plus an amount, cut to [0, 1]; 0 is the identity. ImageNet-C's "brightness" is this.

    The value :math:`V` of a pixel is the largest of its channels, and hue and saturation stay, so this is a gain for each pixel:

    .. math::
        x \mapsto x \cdot \frac{\min(\max(V + c, 0), 1)}{V}

    A black pixel, which has no hue, becomes a grey one, and in a grey image this is :func:`shift`. Dark pixels are multiplied by
    more than bright ones, so saturated colours survive where a shift would wash them out.

    Args:
        images: Values in [0, 1]; any number of channels.
        amount: Fraction of full intensity, in [-1, 1]; .1 .2 .3 .4 .5 in ImageNet-C (Hendrycks and Dietterich 2019).

    Returns:
        The images, and the share of each image's pixels whose value was cut.

    Raises:
        UsageError: An amount outside [-1, 1].

    >>> images, clipped = hsv_value(torch.tensor([[[0.5], [0.25], [0.0]]]), 0.25)
    >>> images.flatten().tolist(), clipped.tolist()
    ([0.75, 0.375, 0.0], [0.0])
    """
    if not -1 <= amount <= 1:
        raise UsageError(
            f"an amount of HSV value of {amount}",
            "a fraction of full intensity in [-1, 1]",
            "Use e.g. 0.1, where 0 changes nothing.",
        )
    value = images.amax(1, keepdim=True)
    lifted = value + amount
    made = torch.where(value > 0, images * (lifted.clamp(0, 1) / value), lifted.clamp(0, 1))
    outside = (lifted < 0) | (lifted > 1)
    return made.clamp(0, 1), outside.flatten(1).to(torch.float32).mean(1)  # clamped: a product may round to more than 1


def contrast(images: Float[Tensor, "batch channels *size"], factor: float) -> Clipped:
    r""":math:`(x - \mu)\,c + \mu`, :math:`\mu` the mean of each channel of the image itself, cut to [0, 1]; 1 is the identity.

    Args:
        images: Values in [0, 1].
        factor: Positive; .4 .3 .2 .1 .05 in ImageNet-C (Hendrycks and Dietterich 2019).

    Returns:
        The images, and the share of each image's values that were cut.

    Raises:
        UsageError: A factor that is not positive.

    >>> contrast(torch.tensor([[[0.25, 0.75]]]), 0.5)[0].tolist()
    [[[0.375, 0.625]]]
    """
    _check_positive("a contrast", factor)
    # In double precision, where another order of adding up, for another batch or number of threads, does not show in the result.
    mean = images.flatten(2).to(torch.float64).mean(2).to(images.dtype).view(*images.shape[:2], *[1] * (images.ndim - 2))
    return _cut(images + (factor - 1) * (images - mean))


def _check_positive(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise UsageError(f"{name} of {value}", "a positive number, where 1 changes nothing", "Use e.g. 0.5 or 2.")


def _cut(images: Tensor) -> Clipped:
    outside = (images < 0) | (images > 1)
    return images.clamp(0, 1), outside.flatten(1).to(torch.float32).mean(1)
