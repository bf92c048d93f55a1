"""Spatter: drops of water, or splashes of mud, on the lens."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions import compiled
from vitkit.corruptions.image.constants import Constants, constant
from vitkit.corruptions.image.filters import around, beyond, gaussian
from vitkit.corruptions.image.pieces import LARGE, in_pieces
from vitkit.corruptions.random import normal

_WATER = (175 / 255, 238 / 255, 238 / 255)  # pale turquoise
_MUD = (63 / 255, 42 / 255, 20 / 255)
_GREY = (0.2989, 0.5870, 0.1140)
_FAR = 20.0  # pixels, where the distance to a drop's rim counts no further


def spatter(
    images: Float[Tensor, "batch channels height width"], severity: int, seeds: Sequence[int], constants: Constants = "imagenet"
) -> Float[Tensor, "batch channels height width"]:
    """Blurred normal noise is liquid where it is above a threshold: water at severities 1 to 3, mud at 4 and 5.

    Water adds turquoise, in strength as liquid is thick and lit from one side by its rim; mud covers.

    Args:
        images: Values in [0, 1], grey or RGB.
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, neither one nor three channels, or not one seed for each image.
    """
    mean, scale, sigma, threshold, strength, is_mud = constant("spatter", severity, constants)

    def change(x: Tensor, seeds: Sequence[int]) -> Tensor:
        liquid = gaussian(normal(seeds, (1, *x.shape[-2:]), x.device).mul_(scale).add_(mean), sigma)
        wet = liquid > threshold
        if is_mud:
            cover = gaussian(wet.to(torch.float32), strength)
            cover = cover.masked_fill(cover < 0.8, 0)
            return x * (1 - cover) + cover * _colour(_MUD, x)
        shine = liquid.masked_fill(~wet, 0).clamp_(0, 1).mul_(255).floor_()
        shine *= _lit(rims(shine))
        shine *= strength / shine.amax((1, 2, 3), keepdim=True).clamp(min=1)
        return x + shine * _colour(_WATER, x)

    return in_pieces("spatter", images, change, seeds, channels=(1, 3), piece=LARGE)


def _colour(rgb: tuple[float, float, float], x: Tensor) -> Tensor:
    values = rgb if x.shape[1] == 3 else (sum(a * b for a, b in zip(rgb, _GREY, strict=True)),)
    return torch.tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1)


def rims(levels: Tensor, low: float = 50.0, high: float = 150.0) -> Tensor:
    """True on edges, by Canny 1986: gradients of Sobel that are the largest across the edge, above ``high`` or joined to such.

    Args:
        levels: From 0 to 255, of shape (batch, 1, height, width).
        low: Least gradient, as the sum of both absolute components.
        high: Least gradient of an edge somewhere.
    """
    tangent = 0.41421356  # of 22.5°
    edges = torch.empty_like(levels, dtype=torch.bool)
    if compiled.rims(levels, edges, (low, high, tangent)):
        return edges
    height, width = levels.shape[-2:]
    rows = beyond(height, 1, 1, "nearest", levels.device)
    wide = levels.index_select(-2, rows).index_select(-1, beyond(width, 1, 1, "nearest", levels.device))
    smooth = wide[..., :-2, :] + 2 * wide[..., 1:-1, :] + wide[..., 2:, :]
    across = smooth[..., 2:] - smooth[..., :-2]
    smooth = wide[..., :-2] + 2 * wide[..., 1:-1] + wide[..., 2:]
    down = smooth[..., 2:, :] - smooth[..., :-2, :]
    steep, flat = down.abs(), across.abs()
    size = steep + flat
    surrounded = F.pad(size, (1, 1, 1, 1))

    def at(y: int, x: int) -> Tensor:
        return surrounded[..., 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    # The gradient's direction to the nearest of four, with the neighbour on one side allowed to be as large.
    ahead = torch.where(across * down < 0, (size > at(-1, 1)) & (size > at(1, -1)), (size > at(-1, -1)) & (size > at(1, 1)))
    level = (size > at(0, -1)) & (size >= at(0, 1))
    upright = (size > at(-1, 0)) & (size >= at(1, 0))
    peak = torch.where(steep < tangent * flat, level, torch.where(flat < tangent * steep, upright, ahead))
    possible = peak & (size > low)
    edges = possible & (size > high)
    while True:
        beside = F.pad(edges, (1, 1, 1, 1))
        rows = beside[..., :-2, :] | beside[..., 1:-1, :] | beside[..., 2:, :]
        joined = possible & (rows[..., :-2] | rows[..., 1:-1] | rows[..., 2:])
        if torch.equal(joined, edges):
            return edges
        edges = joined


def _lit(edges: Tensor) -> Tensor:
    """How brightly liquid shines, 0 to 255: distance to the next edge, contrast stretched, embossed from the upper left."""
    near = _mean(distance(edges)).floor_()
    # Equalised: each of the 21 levels by the share of pixels up to it, without those of the lowest.
    places = near.shape[-2] * near.shape[-1]
    levels, bins = near.flatten(1).long(), int(_FAR) + 1
    first = torch.arange(len(near), device=near.device)[:, None] * bins
    counts = torch.bincount((levels + first).flatten(), minlength=len(near) * bins).view(-1, bins)
    up_to = counts.cumsum(1).to(torch.float32)
    lowest = levels.amin(1)
    least = up_to.gather(1, lowest[:, None])
    table = ((up_to - least) * (255 / (places - least).clamp(min=1))).round_().clamp_(0, 255)
    # Where all pixels are of one level, that is what they stay.
    table = torch.where(least < places, table, lowest[:, None].to(table.dtype))
    stretched = table.gather(1, levels).view_as(near)
    wide = _mirrored(stretched)
    emboss = torch.zeros_like(stretched)
    for row, weights in enumerate(((-2, -1, 0), (-1, 1, 1), (0, 1, 2))):
        for column, weight in enumerate(weights):
            if weight:
                emboss.add_(wide[..., row : row + near.shape[-2], column : column + near.shape[-1]], alpha=weight)
    return _mean(emboss.clamp_(0, 255)).round_()


def distance(edges: Tensor) -> Tensor:
    """Pixels from each place to the next edge, Euclidean, at most 20."""
    reach = int(_FAR)
    squares = torch.empty(edges.shape, device=edges.device)
    if compiled.distances(edges, squares, reach):
        return squares.sqrt_()
    height, width = edges.shape[-2:]
    # Along a row: steps of 1, 2, 4, 8 and 16 pixels reach every distance to 31.
    along = torch.full_like(edges, reach, dtype=torch.int16).masked_fill_(edges, 0)
    for step in (1, 2, 4, 8, 16):
        if step < width:
            before = along.clone()
            _lower(along[..., step:], before[..., :-step] + step)
            _lower(along[..., :-step], before[..., step:] + step)
    # Between rows: the square is the least, over rows, of the square along that row and the square of how far the row is.
    along *= along
    nearest = along.clone()
    for step in range(1, min(reach, height)):
        moved = along + step**2
        _lower(nearest[..., step:, :], moved[..., :-step, :])
        _lower(nearest[..., :-step, :], moved[..., step:, :])
    return nearest.to(torch.float32).sqrt_()


def _lower(x: Tensor, other: Tensor) -> None:
    torch.minimum(x, other, out=x)


def _mean(x: Tensor) -> Tensor:
    """Over 3 × 3 pixels."""
    out = torch.empty_like(x)
    if compiled.mean(x, out, [around(length, 1, "mirror") for length in x.shape[-2:]]):
        return out
    wide = _mirrored(x)
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).mul_(1 / 9)


def _mirrored(x: Tensor) -> Tensor:
    rows = beyond(x.shape[-2], 1, 1, "mirror", x.device)
    return x.index_select(-2, rows).index_select(-1, beyond(x.shape[-1], 1, 1, "mirror", x.device))
