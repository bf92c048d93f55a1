"""Corruptions that computers make: warped, pixelated and compressed."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, prod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitkit.corruptions.image import codec, libjpeg
from vitkit.corruptions.image.constants import Constants, constant
from vitkit.corruptions.image.filters import gaussian
from vitkit.corruptions.image.pieces import check, in_pieces
from vitkit.corruptions.random import uniform
from vitkit.errors import UsageError

_PACKAGE_ELASTIC = (250 * 0.05, 250 * 0.065, 250 * 0.085, 250 * 0.1, 250 * 0.12)


def elastic_transform(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int],
    constants: Literal["imagenet", "cifar", "imagecorruptions"] = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """An affine map that moves three points at random, then a smooth random displacement of every pixel, both bilinear.

    The displacements along both axes are uniform noise in [-1, 1), blurred by a Gaussian and multiplied (Simard et al. 2003).
    Mirrored beyond the border.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: One for each image.
        constants: "imagenet", "cifar", or "imagecorruptions" for those of the package of that name, which has no affine map and
            displacements that go with the size of the image.

    Raises:
        UsageError: Another severity, or not one seed for each image.
    """
    if constants == "imagecorruptions":
        constant("elastic_transform", severity, "imagenet")
        height, width = images.shape[-2:]
        factor, moves = _PACKAGE_ELASTIC[severity - 1] * 0.005 * height, 0.0
        sigmas: tuple[float, float] = (0.01 * height, 0.01 * width)
    else:
        factor, sigma, moves = constant("elastic_transform", severity, constants)
        sigmas = (sigma, sigma)

    def change(x: Tensor, seeds: Sequence[int]) -> Tensor:
        if moves:
            x = _warped(x, _affine(seeds, x.shape[-2:], moves).to(x), "mirror")
        if factor:
            fields = uniform(seeds, [2, *x.shape[-2:]], x.device).mul_(2).sub_(1)
            across, down = (gaussian(fields, sigmas, "reflect", 3.0) * factor).unbind(1)
            rows, columns = (torch.arange(length, device=x.device) for length in x.shape[-2:])
            x = _warped(x, torch.stack([across + columns, down + rows[:, None]], -1), "reflect")
        return x

    return in_pieces("elastic_transform", images, change, seeds)


def pixelate(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """Fewer pixels, each the mean of those whose middle it covers, enlarged again without smoothing; nothing is random.

    Args:
        images: Values in [0, 1].
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity.
    """
    share = constant("pixelate", severity, constants)
    check("pixelate", images)
    down, right = (_Spans(length, max(1, int(length * share)), images.device) for length in images.shape[-2:])
    # Whole rows are moved faster than single pixels, so the image is turned for its columns.
    means = right.means(down.means(images.to(torch.float32)).mT.contiguous()).clamp_(0, 1)
    return down.repeated(right.repeated(means.to(images.dtype)).mT.contiguous())


def jpeg_compression(
    images: Float[Tensor, "batch channels height width"],
    severity: int,
    seeds: Sequence[int] = (),
    constants: Constants = "imagenet",
) -> Float[Tensor, "batch channels height width"]:
    """What a JPEG of low quality leaves; nothing is random.

    Args:
        images: Values in [0, 1], grey or RGB. They are rounded to 256 levels first.
        severity: 1 to 5.
        seeds: Not used.
        constants: "imagenet" or "cifar".

    Raises:
        UsageError: Another severity, or neither one nor three channels.
    """
    return jpeg(images, constant("jpeg_compression", severity, constants))


def jpeg(images: Float[Tensor, "batch channels height width"], quality: int) -> Float[Tensor, "batch channels height width"]:
    """What is left of pictures in a JPEG with colours at half of the resolution, as is common: libjpeg's levels, bit for bit.

    The files of ImageNet-C were saved with a quality of 85, so this on what a corruption made is nearer to them.

    Args:
        images: Values in [0, 1], grey or RGB. They are rounded to 256 levels first.
        quality: 1 to 100.

    Raises:
        UsageError: Neither one nor three channels, or a quality outside of 1 to 100.

    >>> jpeg(torch.full((1, 3, 8, 8), 0.5), 85).unique()
    tensor([0.5020])
    """
    if not 1 <= quality <= 100:
        raise UsageError(f"a JPEG of quality {quality}", "1 to 100", "Use e.g. 85.")

    if images.device.type == "cpu" and (found := codec.find()) is not None:
        check("jpeg_compression", images, channels=(1, 3))
        return codec.in_threads(images.to(torch.float32), quality, found).to(images.dtype)

    def change(x: Tensor, _: Sequence[int]) -> Tensor:
        return libjpeg.coded((x * 255).add_(0.5).floor_(), quality).mul_(1 / 255)

    return in_pieces("jpeg_compression", images, change, channels=(1, 3), piece=1 << 20)


class _Spans:
    """Rows in spans of nearly equal height; a row belongs to the span that its middle lies in."""

    def __init__(self, length: int, spans: int, device: torch.device) -> None:
        firsts = [ceil(i * length / spans - 0.5) for i in range(spans)]
        self.firsts = torch.tensor(firsts, device=device)
        counts = [after - first for first, after in pairwise([*firsts, length])]
        self.counts = torch.tensor(counts, device=device, dtype=torch.float32)[:, None]
        self.spans = torch.tensor([int((i + 0.5) * spans / length) for i in range(length)], device=device)

    def means(self, x: Tensor) -> Tensor:
        """The mean of the rows of each span."""
        *before, height, width = x.shape
        images = torch.arange(prod(before), device=x.device)
        starts = (images[:, None] * height + self.firsts).flatten()
        rows = torch.arange(len(images) * height, device=x.device)
        # Each row of the result is a bag of rows that follow one another, added up from the first to the last.
        total = F.embedding_bag(rows, x.reshape(-1, width), starts, mode="sum")
        return total.view(*before, len(self.firsts), width).mul_(1 / self.counts)

    def repeated(self, x: Tensor) -> Tensor:
        """The row of the span at every row."""
        return x.index_select(-2, self.spans)


def _affine(seeds: Sequence[int], size: Sequence[int], moves: float) -> Tensor:
    """Where each pixel of the result comes from, (batch, height, width, 2) as x and y: an affine map as three points move."""
    height, width = size
    middle, third = (height // 2, width // 2), min(height, width) // 3
    points = [
        (middle[0] + third, middle[1] + third),
        (middle[0] + third, middle[1] - third),
        (middle[0] - third, middle[1] - third),
    ]
    before = torch.tensor(points, dtype=torch.float64)
    after = before + (uniform(seeds, (3, 2), stream=1).double() * 2 - 1) * moves
    one = torch.ones(len(seeds), 3, 1, dtype=torch.float64)
    # Rows (x', y', 1) of the moved points times the map are the points where they were.
    inverse = torch.linalg.lstsq(torch.cat([after, one], -1), before.expand(len(seeds), -1, -1)).solution
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return torch.einsum("hwk,bkc->bhwc", torch.stack([x, y, torch.ones_like(x)], -1), inverse)


def _warped(x: Tensor, places: Tensor, edge: Literal["mirror", "reflect"]) -> Tensor:
    """The images at other places, which are x and y in pixels."""
    size = torch.tensor([x.shape[-1], x.shape[-2]], device=x.device)
    corners = edge == "mirror"  # whether -1 and 1 are the middles of the outer pixels or their outer sides
    scaled = places * (2 / (size - 1).clamp(min=1)) - 1 if corners else (2 * places + 1) / size - 1
    return F.grid_sample(x, scaled.to(torch.float32), mode="bilinear", padding_mode="reflection", align_corners=corners)
