"""What is painted over a hidden area."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.corruptions.random import uniform
from vitkit.errors import UsageError

Fill = Literal["zero", "mean", "noise", "blur", "image"] | float

_NAMES = ("zero", "mean", "noise", "blur", "image")
_WIDTH = 16  # standard deviations of the blur that make up an axis
_NOISE = 0x6F63  # a stream of draws of its own, beside those that choose the place


def paint(
    images: Float[Tensor, "batch channels *size"],
    area: Bool[Tensor, "batch *size"],
    fill: Fill = "mean",
    seeds: Sequence[int] = (),
    others: Float[Tensor, "batch channels *size"] | None = None,
) -> Float[Tensor, "batch channels *size"]:
    """Images with an area painted over; what is painted depends on the image, its seed and its other image alone.

    Args:
        images: Values in [0, 1].
        area: What to paint over.
        fill: "zero" is black, "mean" the mean of each channel of the image itself, a number an intensity in [0, 1]; "noise" is
            uniform in [0, 1] for every pixel and channel; "blur" the image itself, blurred by three boxes that come close to a
            Gaussian of a sixteenth of each axis; "image" the same place of another image.
        seeds: One for each image, for "noise".
        others: Another image for each, for "image".

    Raises:
        UsageError: Another fill, or one whose seeds or other images are not given.

    >>> paint(torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[True, False]]]), "mean").tolist()
    [[[[0.5, 1.0]]]]
    """
    check_fill(fill)
    match fill:
        case "mean":
            value = images.mean(dim=tuple(range(2, images.ndim)), keepdim=True)
        case "zero":
            value = images.new_zeros(())
        case "noise":
            _check_given(fill, "seed", seeds, images)
            value = uniform(seeds, images.shape[1:], images.device).to(images.dtype)
        case "blur":
            value = blurred(images)
        case "image":
            _check_given(fill, "other image", () if others is None else others, images)
            assert others is not None
            value = others.to(images)
        case _:
            value = images.new_tensor(fill)
    return torch.where(area.unsqueeze(1).to(images.device), value, images)


def blurred(images: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch channels *size"]:
    """Images blurred along every axis by a standard deviation of a sixteenth of its length; beyond the border is nothing.

    Three boxes in turn, made of running sums in float64, whose bits depend neither on the batch nor on the number of threads.
    """
    values = images.double()
    for axis in range(2, images.ndim):
        length = images.shape[axis]
        # A box of 2r + 1 pixels has the variance r(r + 1)/3, and those of three add up (Wells 1986).
        radius = max(1, round(((1 + 4 * (length / _WIDTH) ** 2) ** 0.5 - 1) / 2))
        place = torch.arange(length, device=images.device)
        low, high = (place - radius).clamp(min=0), (place + radius + 1).clamp(max=length)
        count = (high - low).view(-1, *[1] * (images.ndim - axis - 1))
        for _ in range(3):
            sums = torch.cat([torch.zeros_like(values.narrow(axis, 0, 1)), values.cumsum(axis)], axis)
            values = (sums.index_select(axis, high) - sums.index_select(axis, low)) / count
    return values.to(images.dtype).clamp(0, 1)


def check_fill(fill: Fill) -> None:
    """Refuse what is no fill.

    Raises:
        UsageError: None of the names, and no intensity in [0, 1].
    """
    named = isinstance(fill, str) and fill in _NAMES
    if not named and not (isinstance(fill, (int, float)) and not isinstance(fill, bool) and 0 <= fill <= 1):
        names = ", ".join(f'"{name}"' for name in _NAMES)
        raise UsageError(f"fill {fill!r}", f"{names} or an intensity in [0, 1]", "Choose one of these.")


def _check_given(fill: Fill, what: str, given: Sequence[int] | Tensor, images: Tensor) -> None:
    if len(given) != len(images):
        raise UsageError(f"fill {fill!r} with {len(given)} for {len(images)} images", f"one {what} for each", "Give them.")
