"""From what a scanner measured to values in [0, 1]."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from vitkit.errors import DataError, UsageError
from vitkit.recipe import Recorded
from vitkit.volumes.volume import Volume


class Intensity(Recorded, ABC):
    """How the intensities of a volume become values in [0, 1]."""

    def __call__(self, volume: Volume) -> Volume:
        """The same volume with 32-bit floats in [0, 1].

        Raises:
            DataError: NaN or infinite voxels, of which one could spoil all others; or no two intensities to lie between.
        """
        if wrong := int((~torch.isfinite(volume.data)).sum()):
            raise DataError(
                f"{volume.source}: {wrong} voxels are NaN or infinite", "finite intensities", "Read it with nonfinite='fill'."
            )
        return replace(volume, data=self.scaled(volume.data, volume.source))

    @abstractmethod
    def scaled(
        self, data: Shaped[Tensor, "channels first second third"], source: str
    ) -> Float32[Tensor, "channels first second third"]:
        """Finite intensities in [0, 1]; the source is for errors."""


@dataclass(frozen=True)
class Window(Intensity):
    """A window of CT values: ``low`` and below become 0, ``high`` and above 1, linear in between.

    The same for every scan, as is right where intensities have a unit. A window of centre c and width w is ``Window(c - w/2,
    c + w/2)``.

    Args:
        low: Lower end, in HU.
        high: Upper end, in HU.

    Raises:
        UsageError: Ends that are not finite, or not in this order.

    >>> lung = Volume(torch.tensor([-1400.0, -1350.0, -600.0, 150.0, 900.0]).view(1, 5, 1, 1), np.eye(4), "ct.nii")
    >>> Window(-1350.0, 150.0)(lung).data.flatten().tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low < self.high):
            raise UsageError(
                f"a window from {self.low} to {self.high} HU", "two finite numbers, the lower one first", "Correct it."
            )

    def scaled(
        self, data: Shaped[Tensor, "channels first second third"], source: str
    ) -> Float32[Tensor, "channels first second third"]:
        """HU in the window."""
        return ((data.float() - self.low) / (self.high - self.low)).clamp(0, 1)


@dataclass(frozen=True)
class Percentile(Intensity):
    """Between two percentiles of the scan's own voxels, channel by channel: the lower becomes 0 and the upper 1.

    For MRI, whose intensities have no unit and vary from scan to scan: neither the gain and shift of a scanner nor a share of
    outliers smaller than the percentiles leave changes the result.

    Args:
        lower: Percentile that becomes 0, from 0 to 100.
        upper: Percentile that becomes 1.

    Raises:
        UsageError: Percentiles outside [0, 100], or not in this order.

    >>> scan = Volume(torch.arange(101.0).view(1, 101, 1, 1), np.eye(4), "mri.nii")
    >>> scaled = Percentile(10.0, 90.0)(scan).data.flatten()
    >>> scaled[[0, 10, 50, 90, 100]].tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """

    lower: float = 0.5
    upper: float = 99.5

    def __post_init__(self) -> None:
        if not 0 <= self.lower < self.upper <= 100:
            raise UsageError(
                f"percentiles {self.lower} and {self.upper}", "numbers from 0 to 100, the lower one first", "Correct them."
            )

    def scaled(
        self, data: Shaped[Tensor, "channels first second third"], source: str
    ) -> Float32[Tensor, "channels first second third"]:
        """Intensities between their percentiles.

        Raises:
            DataError: Both percentiles are the same intensity, so that nothing lies between them.
        """
        out = torch.empty(data.shape)
        for channel, values in enumerate(data):
            low, high = _percentiles(values.numpy().ravel(), [self.lower, self.upper])
            if low == high:
                raise DataError(
                    f"{source}: both percentiles {self.lower:g} and {self.upper:g} of its intensities are {low:g}",
                    "two different ones",
                    "Choose percentiles further apart, such as Percentile(0.0, 100.0), or a Window.",
                )
            out[channel] = values.double().sub_(low).div_(high - low).clamp_(0, 1)  # in 64 bits, for a large shift
        return out


def _percentiles(values: np.ndarray, percents: list[float]) -> list[float]:
    """As numpy's, interpolated in 64 bits without a copy of all values in 64 bits."""
    places = np.array(percents) / 100 * (values.size - 1)
    below = np.floor(places).astype(np.int64)
    above = (below + 1).clip(max=values.size - 1)
    ranked = np.partition(values, np.unique([below, above]))
    low, high = ranked[below].astype(np.float64), ranked[above].astype(np.float64)
    return [float(number) for number in low + (high - low) * (places - below)]
