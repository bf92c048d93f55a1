"""What a severity of 1 to 5 amounts to, and the choices that an image's seed makes."""

from collections.abc import Sequence
from math import isfinite
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.random import uniform
from vitkit.errors import UsageError

Direction = Literal["brighter", "darker"]
Scans = Float[Tensor, "batch channels right anterior superior"]
"""Values in [0, 1] on a grid of voxels: right, anterior and superior."""

_CHOICES = 1  # the stream of random numbers that decides directions, apart from that of noise


def amount(severity: int, limit: float, identity: float = 0.0, levels: int = 5) -> float:
    """``identity`` at 0, ``limit`` at the highest severity, and linear in between.

    Raises:
        UsageError: A severity outside the scale.

    >>> [amount(severity, 0.8) for severity in (0, 1, 5)], amount(5, 3.0, identity=1.0)
    ([0.0, 0.16, 0.8], 3.0)
    """
    if isinstance(severity, bool) or severity not in range(levels + 1):
        raise UsageError(f"a severity of {severity}", f"a whole number from 1 to {levels}", "0 changes nothing.")
    return identity + (limit - identity) * severity / levels


def towards(direction: Direction, brighter: float, darker: float) -> float:
    """One of two amounts.

    Raises:
        UsageError: Another direction.
    """
    if direction not in ("brighter", "darker"):
        raise UsageError(f"direction: {direction!r}", "brighter or darker", "Choose one of these.")
    return brighter if direction == "brighter" else darker


def signs(seeds: Sequence[int], *shape: int) -> Float[Tensor, "batch *shape"]:
    """-1 or 1, as often, on the CPU."""
    return torch.where(uniform(seeds, shape, stream=_CHOICES) < 0.5, -1.0, 1.0)


def axes_of(seeds: Sequence[int], axes: Sequence[int]) -> list[int]:
    """One of the axes for each image, all as often."""
    drawn = uniform(seeds, (), stream=_CHOICES + 1)
    return [axes[int(place * len(axes))] for place in drawn.tolist()]


def steps(spacing: Sequence[float] | None) -> tuple[float, float, float]:
    """Distance between voxels along each axis in mm; 1 if it is not known.

    Raises:
        UsageError: Not three positive numbers.
    """
    if spacing is None:
        return (1.0, 1.0, 1.0)
    if len(spacing) != 3 or not all(isfinite(step) and step > 0 for step in spacing):
        raise UsageError(
            f"spacing: {list(spacing)}", "three positive numbers, mm along right, front and head", "Write e.g. [1.5, 1.5, 3.0]."
        )
    right, anterior, superior = map(float, spacing)
    return (right, anterior, superior)
