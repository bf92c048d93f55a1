"""Weather: snow, frost and fog."""

from collections.abc import Sequence
from math import ceil, cos, pi, sin

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import compiled
from vitkit.corruptions.image.colour import luminance
from vitkit.corruptions.image.constants import Constants, constant
from vitkit.corruptions.image.filters import gaussian, motion, padded
from vitkit.corruptions.image.pieces import LARGE, in_pieces
from vitkit.corruptions.random import normal, uniform

_DIRECTIONS = 8  # of needles of ice


def snow(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """Flakes that fall along a line of an angle from -135° to -45°, over an image that is whitened.

    Flakes are normal noise, enlarged, where it is above a threshold, and smeared; they and their picture turned by 180° are added
    to ``a·x + (1 - a)·max(x, 1.5·grey + 0.5)``.

    Args:
        images: Values in [0, 1], grey or RGB.
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, neither one nor three channels, or not one seed for each image.
    """
    mean, scale, zoom, threshold, radius, sigma, share = constant("snow", severity, constants)

    def change(x: Tensor, seeds: Sequence[int]) -> Tensor:
        height, width = x.shape[-2:]
        rows, columns = ceil(height / zoom), ceil(width / zoom)
        noise = normal(seeds, (1, rows, columns), x.device).mul_(scale).add_(mean)
        size = (round(rows * zoom), round(columns * zoom))
        large = F.interpolate(noise, size=size, mode="bilinear", align_corners=True)[..., :height, :width]
        flakes = large.masked_fill(large < threshold, 0).clamp_(0, 1)
        flakes = motion(flakes, radius, sigma, (uniform(seeds, (), stream=1) * 90 - 135).tolist())
        white = torch.maximum(x, luminance(x).mul_(1.5).add_(0.5) if x.shape[1] == 3 else x * 1.5 + 0.5)
        return (x * share).add_(white, alpha=1 - share).add_(flakes).add_(flakes.flip(-2, -1))

    return in_pieces("snow", images, change, seeds, channels=(1, 3))


def fog(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """``(x + a·f)·m / (m + a)`` with m the image's largest value and f a plasma fractal in [0, 1] that all channels share.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    amount, decay = constant("fog", severity, constants)

    def change(x: Tensor, seeds: Sequence[int]) -> Tensor:
        height, width = x.shape[-2:]
        cloud = plasma(seeds, 1 << (max(height, width) - 1).bit_length(), decay, x.device)[:, None, :height, :width]
        largest = x.amax((1, 2, 3), keepdim=True)
        return (x + cloud * amount).mul_(largest / (largest + amount))

    return in_pieces("fog", images, change, seeds, piece=LARGE)


def plasma(seeds: Sequence[int], size: int, decay: float | int, device: torch.device | str) -> Float[Tensor, "batch size size"]:
    """A landscape in [0, 1] by midpoint displacement (diamond-square, Fournier et al. 1982), which repeats beyond its border.

    From the coarsest grid to the finest: the middle of four neighbours is their mean and a uniform number in [-w², w²), first
    across the diagonals, then along the axes; w begins with 100 and is divided by ``decay`` after each scale.

    Args:
        seeds: One for each image.
        size: A power of 2.
        decay: More is smoother.
        device: Where to make it.
    """
    heights = torch.zeros(len(seeds), 1, 1, device=device)
    wobble, scale = 100.0, 0
    while heights.shape[-1] < size:
        cells = heights.shape[-1]
        # Three new points for each that is there.
        noise = uniform(seeds, (3, cells, cells), device, stream=scale).mul_(2).sub_(1).mul_(wobble**2)
        down, right = heights.roll(-1, 1), heights.roll(-1, 2)
        middle = (heights + down + right + down.roll(-1, 2)).mul_(1 / 4).add_(noise[:, 0])
        above = (heights + right + middle + middle.roll(1, 1)).mul_(1 / 4).add_(noise[:, 1])
        beside = (heights + down + middle + middle.roll(1, 2)).mul_(1 / 4).add_(noise[:, 2])
        finer = heights.new_empty(len(seeds), 2 * cells, 2 * cells)
        finer[:, ::2, ::2], finer[:, 1::2, 1::2], finer[:, ::2, 1::2], finer[:, 1::2, ::2] = heights, middle, above, beside
        heights, wobble, scale = finer, wobble / decay, scale + 1
    heights = heights - heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True).clamp(min=1e-12)


def frost(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """``a·x + b·f`` with f a pane of frost: **not the authors'**, who blend in one of five photographs of ice.

    The photographs are other people's, so each image has frost of its own here: ridges of smooth noise at several scales, bent by
    more noise, bluish and white. a and b are the authors', and mean and spread of f are near those of their photographs, but
    figures for frost are not to be compared with any on ImageNet-C.

    Args:
        images: Values in [0, 1]; tinted where they are RGB.
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    image, ice = constant("frost", severity, constants)

    def change(x: Tensor, seeds: Sequence[int]) -> Tensor:
        return (x * image).add_(pane(seeds, x.shape[-2:], x.shape[1] == 3, x.device), alpha=ice)

    return in_pieces("frost", images, change, seeds, piece=LARGE)


def pane(
    seeds: Sequence[int], size: Sequence[int], coloured: bool, device: torch.device | str
) -> Float[Tensor, "batch channels height width"]:
    """Frost on a pane: needles in facets, each with a direction of its own, over clouds of thicker and thinner ice.

    Noise is smeared along the direction of its facet (line integral convolution, Cabral & Leedom 1993). The numbers are chosen so
    that mean, spread and correlation from pixel to pixel lie among those of the authors' photographs: .48 to .81, .07 to .13, and
    .7 to .85.

    Args:
        seeds: One for each image.
        size: Height and width.
        coloured: Three channels with a tint between white and blue, or one.
        device: Where to make it.
    """
    height, width = size
    # Facets are about eighteen pixels wide, with borders bent by noise.
    cells = (max(2, round(height / 18)), max(2, round(width / 18)))
    bend = _smooth(normal(seeds, (2, cells[0], cells[1]), device, stream=1), size)
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    y, x = rows[:, None] + 5 * bend[:, 0], columns + 5 * bend[:, 1]
    row, column = (y * (cells[0] / height)).long(), (x * (cells[1] / width)).long()
    facet = row.clamp_(0, cells[0] - 1) * cells[1] + column.clamp_(0, cells[1] - 1)
    towards = (uniform(seeds, (cells[0] * cells[1],), device, stream=2) * _DIRECTIONS).long().gather(1, facet.flatten(1))
    grain = gaussian(normal(seeds, (height, width), device, stream=3), 0.8)
    wide = padded(padded(grain, -2, 8, "reflect"), -1, 8, "reflect")
    needles = _needles(wide, towards.view(len(seeds), height, width))
    clouds = plasma(seeds, 1 << (max(height, width) - 1).bit_length(), 1.7, device)[:, :height, :width] - 0.5
    level, tint = uniform(seeds, (2, 1, 1), device, stream=100).unbind(1)
    # Bright needles are sharp and dark ones shallow, as ice is.
    ice = level * 0.34 + 0.48 + clouds * 0.28 + needles.clamp(min=-1) * 0.1
    if not coloured:
        return ice.unsqueeze(1)
    return torch.stack([ice - 0.16 * tint, ice, ice + 0.05 + 0.04 * tint], 1).clamp_(0, 1)


def _needles(wide: Tensor, towards: Tensor) -> Tensor:
    """Noise with a margin of eight pixels, smeared along the direction of each pixel's facet."""
    steps = range(-8, 9, 2)
    angles = [pi * index / _DIRECTIONS for index in range(_DIRECTIONS)]
    lines = [[(round(step * sin(angle)), round(step * cos(angle))) for step in steps] for angle in angles]
    weights = [(1 - abs(step) / 9) / 0.8 for step in steps]
    out = torch.empty(towards.shape, device=wide.device)
    if compiled.smear(wide, towards, out, lines, weights):
        return out
    height, width = towards.shape[-2:]
    smeared = wide.new_zeros(_DIRECTIONS, *towards.shape)
    for needle, line in zip(smeared, lines, strict=True):
        for (down, right), weight in zip(line, weights, strict=True):
            needle.add_(wide[:, 8 + down : 8 + down + height, 8 + right : 8 + right + width] * weight)
    return smeared.gather(0, towards[None])[0]


def _smooth(coarse: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(coarse, size=tuple(size), mode="bilinear", align_corners=True)
