"""Brightness, which is three operations with three names: gain, shift and gamma."""

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


def _check_positive(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise UsageError(f"{name} of {value}", "a positive number, where 1 changes nothing", "Use e.g. 0.5 or 2.")


def _cut(images: Tensor) -> Clipped:
    outside = (images < 0) | (images > 1)
    return images.clamp(0, 1), outside.flatten(1).to(torch.float32).mean(1)
