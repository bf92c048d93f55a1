"""Blurs and resampling that several corruptions share, in sums of shifted images that give every image the same, alone or not."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, cos, exp, radians, sin
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitkit.corruptions import compiled

Edge = Literal["nearest", "mirror", "reflect"]
"""Beyond the border: the last pixel (aaa|abc), a mirror through the last pixel's middle (dcb|abc) or along its side (cba|abc)."""


def beyond(length: int, before: int, after: int, edge: Edge, device: torch.device) -> Tensor:
    """Which pixel of an axis stands at each place from ``-before`` to ``length + after - 1``."""
    places = torch.arange(-before, length + after, device=device)
    match edge:
        case "nearest":
            return places.clamp(0, length - 1)
        case "mirror":
            period = max(2 * (length - 1), 1)
            return (length - 1) - ((places % period) - (length - 1)).abs()
        case "reflect":
            within = places % (2 * length)
            return torch.minimum(within, 2 * length - 1 - within)


@lru_cache(maxsize=64)
def around(length: int, reach: int, edge: Edge) -> Tensor:
    """As :func:`beyond`, as far on either side, for compiled loops; not to be written to."""
    return beyond(length, reach, reach, edge, torch.device("cpu"))


def padded(x: Tensor, dim: int, width: int, edge: Edge) -> Tensor:
    """The axis, one of the last two, with ``width`` more pixels on each side."""
    if 0 < width < x.shape[dim] and edge != "reflect" and x.ndim == 4:
        sides = (width, width, 0, 0) if dim == -1 else (0, 0, width, width)
        return F.pad(x, sides, mode="replicate" if edge == "nearest" else "reflect")
    return x.index_select(dim, beyond(x.shape[dim], width, width, edge, x.device)) if width else x


@lru_cache(maxsize=64)
def gaussian_weights(sigma: float, truncate: float = 4.0) -> tuple[float, ...]:
    """Of a Gaussian on whole pixels, normalised, out to ``truncate`` standard deviations.

    >>> len(gaussian_weights(1.0)), round(sum(gaussian_weights(1.0)), 9)
    (9, 1.0)
    """
    radius = int(truncate * sigma + 0.5)
    weights = [exp(-0.5 * (k / sigma) ** 2) if k else 1.0 for k in range(-radius, radius + 1)]
    return tuple(weight / sum(weights) for weight in weights)


def correlate(x: Tensor, weights: Sequence[float], dim: int, edge: Edge) -> Tensor:
    """Along one axis, with an odd number of weights that are symmetric."""
    radius, length = len(weights) // 2, x.shape[dim]
    wide = padded(x, dim, radius, edge)
    out = wide.narrow(dim, radius, length) * weights[radius]
    both = torch.empty_like(out)
    for k in range(1, radius + 1):
        torch.add(wide.narrow(dim, radius - k, length), wide.narrow(dim, radius + k, length), out=both)
        out.add_(both.mul_(weights[radius + k]))
    return out


def gaussian(x: Tensor, sigma: float | int | tuple[float, float], edge: Edge = "nearest", truncate: float = 4.0) -> Tensor:
    """Gaussian blur of the last two axes; ``sigma`` in pixels, of which less than 0.5 / ``truncate`` changes nothing."""
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    both = [gaussian_weights(float(each), truncate) if each > 0 else (1.0,) for each in sigmas]
    if all(len(weights) <= length for weights, length in zip(both, x.shape[-2:], strict=True)):
        out = torch.empty_like(x)
        if compiled.blur(x, out, both, [around(n, len(w) // 2, edge) for n, w in zip(x.shape[-2:], both, strict=True)]):
            return out
    for dim, weights in zip((-2, -1), both, strict=True):
        # Wider than the image, the same few pixels would be added again and again: their weights are added up instead.
        if len(weights) > x.shape[dim]:
            matrix = folded(weights, x.shape[dim], edge).to(x)
            x = matrix @ x if dim == -2 else x @ matrix.T
        elif len(weights) > 1:
            x = correlate(x, weights, dim, edge)
    return x


def folded(weights: Sequence[float], length: int, edge: Edge) -> Tensor:
    """The matrix that correlates an axis of a length with weights."""
    radius = len(weights) // 2
    places = beyond(length, radius, radius, edge, torch.device("cpu")).unfold(0, len(weights), 1)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, places, torch.tensor(weights, dtype=torch.float64).expand_as(places))


def zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of the images enlarged bilinearly to their size, corner pixel onto corner pixel."""
    height, width = x.shape[-2:]
    rows, columns = ceil(height / factor), ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = x[..., top : top + rows, left : left + columns]
    size = (round(rows * factor), round(columns * factor))
    return F.interpolate(middle, size=size, mode="bilinear", align_corners=True)[..., :height, :width]


def motion(x: Tensor, radius: int, sigma: float | int, angles: Sequence[float]) -> Tensor:
    """Each image smeared towards one side, as by a camera that moves: 2·radius + 1 copies with one half of a Gaussian as weights.

    Args:
        x: Images.
        radius: Of the smear, in pixels.
        sigma: Of the Gaussian, in pixels.
        angles: One for each image, in degrees: 0 smears to the right of each pixel's source, 90 downwards.
    """
    weights = [exp(-0.5 * (step / sigma) ** 2) for step in range(2 * radius + 1)]
    weights = [weight / sum(weights) for weight in weights]
    height, width = x.shape[-2:]
    out = torch.zeros_like(x)
    wide = padded(padded(x, -2, min(2 * radius, height), "nearest"), -1, min(2 * radius, width), "nearest")
    top, left = min(2 * radius, height), min(2 * radius, width)
    for index, angle in enumerate(angles):
        down, right = sin(radians(angle)), cos(radians(angle))
        for step, weight in enumerate(weights):
            y, across = ceil(step * down - 0.5), ceil(step * right - 0.5)
            if abs(y) >= height or abs(across) >= width:
                break  # further than the image is long
            out[index].add_(wide[index, :, top + y : top + y + height, left + across : left + across + width], alpha=weight)
    return out
