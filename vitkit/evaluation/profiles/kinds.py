"""What a suite lists under ``profiles``: transformations whose drift through the model's layers is measured."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isfinite
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import gamma, hsv_value
from vitkit.errors import UsageError
from vitkit.evaluation.condition import check_name
from vitkit.recipe import Recorded


class Drift(Recorded, ABC):
    """A transformation whose drift through the layers is measured; one of your own is a subclass.

    >>> import torch
    >>> class Negative(Drift):
    ...     name, title, images = "negative", "Negative", 16
    ...
    ...     def __call__(self, images):
    ...         return 1 - images
    >>> Negative()(torch.zeros(1, 1, 2, 2)).unique()
    tensor([1.])

    Attributes:
        name: Name in the results, different for each profile of a suite.
        title: What a reader sees.
        images: How many it is measured on, the first ones of the data.
        family: Whether it is gain · x + shift with nothing cut, under which a certificate can hold.
    """

    name: str
    title: str
    images: int = 64
    family: bool = False

    @abstractmethod
    def __call__(self, images: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch channels *size"]:
        """The images transformed, each for itself; they may leave [0, 1]."""

    def _set(self, name: str | None, default: str, images: int) -> None:
        if isinstance(images, bool) or not isinstance(images, int) or images < 1:
            raise UsageError(f"images: {images!r}", "a positive whole number", "Use e.g. 64.")
        self.name, self.images = check_name(name or default), images


class AffineDrift(Drift):
    """gain · x + shift, with nothing cut: the family that a certificate is about.

    Args:
        gain: Positive factor; one number, or one for each channel.
        shift: What is added, in fractions of full intensity; likewise.
        images: How many it is measured on.
        name: Name in the results; made of gain and shift if not given.

    Raises:
        UsageError: A gain that is not positive, numbers that are not finite, or a number of images that is none.

    >>> import torch
    >>> AffineDrift(0.5, 0.25)(torch.ones(1, 1, 1, 1)).item()
    0.75
    """

    family = True

    def __init__(
        self,
        gain: float | int | Sequence[float | int] = 1.0,
        shift: float | int | Sequence[float | int] = 0.0,
        images: int = 64,
        name: str | None = None,
    ) -> None:
        self.gain, self.shift = _numbers("gain", gain), _numbers("shift", shift)
        if min(self.gain) <= 0:
            raise UsageError(f"gain: {gain!r}", "positive numbers", "Use e.g. 0.8, where 1 changes nothing.")
        parts = [
            (key, words, values)
            for key, words, values, identity in (("gain", "Gain", self.gain, 1.0), ("shift", "shift", self.shift, 0.0))
            if any(value != identity for value in values)
        ]
        made = "_".join("_".join([key, *(f"{value:g}" for value in values)]) for key, _, values in parts)
        self._set(name, made or "identity", images)
        title = " and ".join(f"{words} {', '.join(f'{value:g}' for value in values)}" for _, words, values in parts)
        self.title = title[:1].upper() + title[1:] or "Identity"

    def __call__(self, images: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch channels *size"]:
        """The images times the gain, plus the shift.

        Raises:
            UsageError: Numbers for other channels than the images have.
        """
        for key, values in (("gain", self.gain), ("shift", self.shift)):
            if len(values) not in (1, images.shape[1]):
                raise UsageError(
                    f"{key} of {len(values)} numbers for images of {images.shape[1]} channels", "one each", "Give one number."
                )
        gain, shift = (images.new_tensor(values).view(1, -1, *[1] * (images.ndim - 2)) for values in (self.gain, self.shift))
        return gain * images + shift


class GammaDrift(Drift):
    """Intensity to a power, which is no gain and no shift.

    Args:
        exponent: Positive; 1 is the identity.
        images: How many it is measured on.
        name: Name in the results; made of the exponent if not given.

    Raises:
        UsageError: An exponent that is not positive, or a number of images that is none.
    """

    def __init__(self, exponent: float | int, images: int = 64, name: str | None = None) -> None:
        [self.exponent] = _numbers("exponent", exponent)
        if self.exponent <= 0:
            raise UsageError(f"exponent: {exponent!r}", "a positive number", "Use e.g. 0.8, where 1 changes nothing.")
        self._set(name, f"gamma_{self.exponent:g}", images)
        self.title = f"Gamma {self.exponent:g}"

    def __call__(self, images: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch channels *size"]:
        """The images to the power of the exponent."""
        return gamma(images, self.exponent)[0]


class HSVValueDrift(Drift):
    """ImageNet-C's brightness: a gain for each pixel, cut to [0, 1].

    Args:
        amount: Fraction of full intensity, in [-1, 1]; 0 is the identity.
        images: How many it is measured on.
        name: Name in the results; made of the amount if not given.

    Raises:
        UsageError: An amount outside [-1, 1], or a number of images that is none.
    """

    def __init__(self, amount: float | int, images: int = 64, name: str | None = None) -> None:
        [self.amount] = _numbers("amount", amount)
        if abs(self.amount) > 1:
            raise UsageError(f"amount: {amount!r}", "a fraction of full intensity in [-1, 1]", "Use e.g. 0.1.")
        self._set(name, f"hsv_value_{self.amount:g}", images)
        self.title = f"HSV value {self.amount:+g}"

    def __call__(self, images: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch channels *size"]:
        """The images with another value, cut to [0, 1]."""
        return hsv_value(images, self.amount)[0]


def _numbers(key: str, given: object) -> list[float]:
    values: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    if not values or any(isinstance(v, bool) or not isinstance(v, (int, float)) or not isfinite(v) for v in values):
        raise UsageError(f"{key}: {given!r}", "a finite number", f"Write e.g. {key}: 0.8.")
    return [float(value) for value in values]
