"""Brightness as conditions of a suite, at explicit amounts on both sides of the identity."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import contrast, gain, gamma, hsv_value, shift
from vitkit.errors import UsageError
from vitkit.evaluation.condition import Applied, Condition, Context, check_name, check_severities


class _Brightness(Condition):
    suite = "brightness"

    def __init__(
        self, operation: Callable[[Tensor, float], tuple[Tensor, Tensor]], key: str, severities: Sequence[float], name: str | None
    ) -> None:
        self.severities = check_severities(key, severities)
        for index, severity in enumerate(self.severities):
            try:
                operation(torch.zeros(1, 1, 1), severity)
            except UsageError as error:
                raise UsageError(f"{key}[{index}]: {error.found}", error.expected, error.remedy) from error
        self.operation = operation
        self.name = check_name(name or self.title.lower().replace(" ", "_"))

    def apply(self, images: Float[Tensor, "batch channels *size"], severity: float, context: Context) -> Applied:
        """The images at this severity, and what was cut."""
        changed, clipped = self.operation(images, severity)
        return Applied(changed, clipped=clipped)


class Gain(_Brightness):
    """Intensity times a factor, cut to [0, 1].

    Args:
        factors: Positive; 1 is the identity.
        name: Name in the results, "gain" by default.

    Raises:
        UsageError: A factor that is not positive.
    """

    title, unit, identity = "Gain", "factor", 1.0

    def __init__(self, factors: Sequence[float], name: str | None = None) -> None:
        super().__init__(gain, "factors", factors, name)


class Shift(_Brightness):
    """Intensity plus an amount, cut to [0, 1].

    Args:
        amounts: Fractions of full intensity, in [-1, 1]; 0 is the identity.
        name: Name in the results, "shift" by default.

    Raises:
        UsageError: An amount outside [-1, 1].
    """

    title, unit, identity = "Shift", "fraction of full intensity", 0.0

    def __init__(self, amounts: Sequence[float], name: str | None = None) -> None:
        super().__init__(shift, "amounts", amounts, name)


class Gamma(_Brightness):
    """Intensity to a power.

    Args:
        exponents: Positive; 1 is the identity, less brightens, more darkens.
        name: Name in the results, "gamma" by default.

    Raises:
        UsageError: An exponent that is not positive.
    """

    title, unit, identity = "Gamma", "exponent", 1.0

    def __init__(self, exponents: Sequence[float], name: str | None = None) -> None:
        super().__init__(gamma, "exponents", exponents, name)


class HSVValue(_Brightness):
    """The value of HSV plus an amount, cut to [0, 1]: ImageNet-C's "brightness", which is a gain for each pixel.

    Args:
        amounts: Fractions of full intensity, in [-1, 1]; 0 is the identity.
        name: Name in the results, "hsv_value" by default.

    Raises:
        UsageError: An amount outside [-1, 1].
    """

    title, unit, identity = "HSV value", "fraction of full value", 0.0

    def __init__(self, amounts: Sequence[float], name: str | None = None) -> None:
        super().__init__(hsv_value, "amounts", amounts, name)


class Contrast(_Brightness):
    """Distance to the mean of each channel of the image, times a factor, cut to [0, 1].

    Args:
        factors: Positive; 1 is the identity.
        name: Name in the results, "contrast" by default.

    Raises:
        UsageError: A factor that is not positive.
    """

    title, unit, identity = "Contrast", "factor on contrast", 1.0

    def __init__(self, factors: Sequence[float], name: str | None = None) -> None:
        super().__init__(contrast, "factors", factors, name)
