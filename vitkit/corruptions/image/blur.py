"""Blurs: out of focus, Gaussian, through frosted glass, by motion and by zooming."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import compiled
from vitkit.corruptions.image.constants import Constants, constant
from vitkit.corruptions.image.filters import around, correlate, gaussian, motion, padded, zoomed
from vitkit.corruptions.image.pieces import in_pieces
from vitkit.corruptions.random import bits, uniform


def defocus_blur(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """The mean over a disk whose edge is smoothed: a lens out of focus. Mirrored beyond the border; nothing is random.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity.
    """
    kernel = disk(*constant("defocus_blur", severity, constants))
    return in_pieces("defocus_blur", images, lambda x, _: _round_blur(x, kernel))


def gaussian_blur(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """Gaussian blur of a standard deviation in pixels, the last pixel going on beyond the border; nothing is random.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity.
    """
    sigma = constant("gaussian_blur", severity, constants)
    return in_pieces("gaussian_blur", images, lambda x, _: gaussian(x, sigma))


def glass_blur(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """Blurred, pixels moved by up to a few places, and blurred again: seen through frosted glass.

    Pixel after pixel, from the last to the first, takes the colour of one that is drawn near it. The authors mean to exchange the
    two, but a row of an array in their language is a view, so that the other keeps its colour; so it does here.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    sigma, reach, rounds = constant("glass_blur", severity, constants)

    def change(x: Tensor, seeds: Sequence[int]) -> Tensor:
        # Rounded down to 256 levels, as the authors do; a thousandth more, lest 128 blurred to 127.9999 becomes 127.
        blurred = gaussian(x, sigma).mul_(255).add_(1e-3).floor_().mul_(1 / 255) if rounds else x
        source = shuffled(seeds, x.shape[-2:], reach, rounds, x.device)
        moved = blurred.flatten(2).gather(2, source.unsqueeze(1).expand(-1, x.shape[1], -1))
        return gaussian(moved.view_as(x), sigma)

    return in_pieces("glass_blur", images, change, seeds)


def motion_blur(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """Smeared along a line of an angle from -45° to 45°, with one half of a Gaussian as weights: a camera that moves.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    radius, sigma = constant("motion_blur", severity, constants)
    return in_pieces(
        "motion_blur", images, lambda x, seeds: motion(x, radius, sigma, (uniform(seeds, ()) * 90 - 45).tolist()), seeds
    )


def zoom_blur(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """The mean of the image and of enlargements of its middle: a camera that moves forward. Nothing is random.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity.
    """
    stop, step = constant("zoom_blur", severity, constants)
    count = ceil((stop - 1) / step)  # with the rounding of floats that gives the authors one more at some severities

    def change(x: Tensor, _: Sequence[int]) -> Tensor:
        # A factor of 1 is the image itself, once more.
        total = 2 * x
        for index in range(1, count):
            total += zoomed(x, 1 + index * step)
        return total.mul_(1 / (count + 1))

    return in_pieces("zoom_blur", images, change)


@lru_cache(maxsize=16)
def disk(radius: float | int, sigma: float) -> Tensor:
    """Kernel of a lens out of focus: 1 within a radius, normalised, and smoothed by a Gaussian on 3 × 3 or 5 × 5 pixels.

    >>> disk(3, 0.1).shape, round(float(disk(3, 0.1).sum()), 6)
    (torch.Size([17, 17]), 1.0)
    """
    half = 8 if radius <= 8 else int(radius)
    around = torch.arange(-half, half + 1, dtype=torch.float64)
    inside = (around.square()[:, None] + around.square() <= radius**2).double()
    reach = torch.arange(-1, 2) if radius <= 8 else torch.arange(-2, 3)
    weights = (-0.5 * (reach / sigma).double().square()).exp()
    smoothing = (weights / weights.sum()).tolist()
    return correlate(correlate(inside / inside.sum(), smoothing, 0, "mirror"), smoothing, 1, "mirror")


def _round_blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlation with a kernel that is symmetric both ways and nearly constant along a row: a sum of rows of running sums.

    A row of the kernel is a stack of centred boxes, one at each of its few steps, and a box along a row of the image is the
    difference of two running sums. So the cost goes with the circumference of a disk instead of with its area.
    """
    half, (height, width) = len(kernel) // 2, x.shape[-2:]
    quarter = kernel[half:, half:]
    weights = (quarter - torch.nn.functional.pad(quarter, (0, 1))[:, 1:]).tolist()
    cells = [(reach, row, weights[row][reach]) for reach in range(half + 1) for row in range(half + 1)]
    steps = [(reach, row, weight) for reach, row, weight in cells if abs(weight) > 1e-9]
    out = torch.empty_like(x)
    if compiled.boxes(x, out, steps, [around(height, half, "mirror"), around(width, half, "mirror")], half):
        return out
    out.zero_()
    wide = padded(padded(x, -2, half, "mirror"), -1, half, "mirror")
    sums = wide.new_zeros(*wide.shape[:-1], wide.shape[-1] + 1)
    sums[..., 1:] = wide.cumsum(-1)
    both = torch.empty_like(x)
    for reach, rows in groupby(steps, lambda step: step[0]):
        box = sums.narrow(-1, half + reach + 1, width) - sums.narrow(-1, half - reach, width)
        for _, row, weight in rows:
            if row:
                torch.add(box.narrow(-2, half - row, height), box.narrow(-2, half + row, height), out=both)
                out.add_(both.mul_(weight))
            else:
                out.add_(box.narrow(-2, half, height) * weight)
    return out


def shuffled(seeds: Sequence[int], size: Sequence[int], reach: int, rounds: int, device: torch.device) -> Tensor:
    """From which pixel each takes its colour in the end, as places in the flattened image: of shape (batch, height · width).

    In each round, from the last pixel to the first, one takes the colour of another, drawn ``-reach`` to ``reach - 1`` rows and
    columns away. A later one has its new colour already, so it is followed to where it took that from, all pixels at once: after
    k steps of following twice as far as before, 2ᵏ pixels lie between.
    """
    height, width = size
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    # The authors' loops leave out a margin, one pixel wider before than behind.
    moving = ((rows > reach) & (rows <= height - reach))[:, None] & ((columns > reach) & (columns <= width - reach))
    moving = moving.flatten()
    places = torch.arange(height * width, device=device)
    total = places.expand(len(seeds), -1)
    drawn = bits(seeds, (rounds, height * width), device).to(torch.int64)
    for each in drawn.unbind(1):
        across = ((each & 0xFFFF) * (2 * reach) >> 16) - reach
        down = (((each >> 16) & 0xFFFF) * (2 * reach) >> 16) - reach
        source = torch.where(moving, places + down * width + across, places)
        onward = (source > places) & moving[source]
        while bool(onward.any()):
            further = source.gather(1, source)
            onward_there = onward.gather(1, source)
            source = torch.where(onward, further, source)
            onward &= onward_there
        total = total.gather(1, source)
    return total
