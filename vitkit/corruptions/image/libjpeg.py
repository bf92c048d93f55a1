"""What is lost in a JPEG, without its bytes: the rounding of libjpeg's coder and decoder, step by step, in tensors on any device.

Between the two, the bytes are only packed and unpacked, and nothing is lost there. All sums are of whole numbers that float32
(colours) or float64 (cosine transform) holds exactly, so every level equals libjpeg's own, whatever adds them up in what order.
Source: libjpeg 6b and libjpeg-turbo as they come, with the accurate integer transform, and colours at half of the
resolution, smoothly doubled.
"""

from functools import lru_cache
from io import BytesIO

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

# The cosine transform of 8 levels in units of 2^-13. libjpeg adds products with rounded constants, so an entry may be off by one
# from the nearest integer. Even rows are symmetric and odd ones antisymmetric: here is the left half.
_LEFT = torch.tensor(
    [
        [8192, 8192, 8192, 8192],
        [11363, 9633, 6437, 2260],
        [10703, 4433, -4433, -10703],
        [9633, -2259, -11362, -6436],
        [8192, -8192, -8192, 8192],
        [6437, -11362, 2261, 9633],
        [4433, -10704, 10704, -4433],
        [2260, -6436, 9633, -11363],
    ],
    dtype=torch.float64,
)
_COSINES = torch.cat([_LEFT, _LEFT.flip(1) * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)[:, None]], 1)
_HALF = torch.tensor(0.5, dtype=torch.float32)
_UNIT = 2.0**-16  # of the colours' weights


def coded(levels: Tensor, quality: int) -> Tensor:
    """The levels that a JPEG's reader finds.

    Args:
        levels: Shape (batch, 1 or 3, height, width), whole numbers from 0 to 255 as float32. They are overwritten.
        quality: 1 to 100.
    """
    count, channels, height, width = levels.shape
    if channels == 1:
        return _plane(levels[:, 0].sub_(128), quality, 0)[:, None]
    luminance, *colours = _ycc(levels)
    luminance = _plane(luminance, quality, 0)
    small = _plane(_halved(torch.cat(colours)), quality, 1)[..., : -(-width // 2)].sub(128)
    # No smooth upsampling where colours are two pixels wide.
    large = _doubled(small) if small.shape[-1] > 2 else small.repeat_interleave(2, -2).repeat_interleave(2, -1)
    blue, red = large[:, :height, :width].unflatten(0, (2, count))
    return _rgb(luminance, blue, red, out=levels)


def _ycc(rgb: Tensor) -> list[Tensor]:
    """Luminance, and the differences of blue and red, each around 0."""
    red, green, blue = rgb.unbind(1)
    planes = []
    for of_red, of_green, of_blue, offset in (
        (19595, 38470, 7471, 32768 - (128 << 16)),
        (-11059, -21709, 32768, 32767),
        (32768, -27439, -5329, 32767),
    ):
        plane = torch.add(torch.tensor(offset * _UNIT, dtype=torch.float32), red, alpha=of_red * _UNIT)
        planes.append(plane.add_(green, alpha=of_green * _UNIT).add_(blue, alpha=of_blue * _UNIT).floor_())
    return planes


def _rgb(luminance: Tensor, blue: Tensor, red: Tensor, out: Tensor) -> Tensor:
    torch.add(_HALF, red, alpha=91881 * _UNIT, out=out[:, 0])
    torch.add(_HALF, blue, alpha=-22554 * _UNIT, out=out[:, 1])
    out[:, 1].add_(red, alpha=-46802 * _UNIT)
    torch.add(_HALF, blue, alpha=116130 * _UNIT, out=out[:, 2])
    return out.floor_().add_(luminance[:, None]).clamp_(0, 255)


def _halved(planes: Tensor) -> Tensor:
    """The mean of every two by two, rounded down and up in turn; edges are repeated to whole blocks right, to even ones below."""
    planes = _extended(planes, 2, 16)
    planes = planes[:, ::2] + planes[:, 1::2]
    planes = planes[..., ::2] + planes[..., 1::2]
    in_turn = torch.tensor([0.25, 0.5], dtype=torch.float32, device=planes.device).repeat(planes.shape[-1] // 2)
    return planes.mul_(0.25).add_(in_turn).floor_()


def _doubled(planes: Tensor) -> Tensor:
    """Twice as high and wide: three parts of the nearest pixel and one of the next, in both directions."""
    count, height, width = planes.shape
    planes = planes * (1 / 16)
    nearest = planes * 3
    tall = planes.new_empty(count, height, 2, width)
    above, below = tall.unbind(2)
    torch.add(nearest[:, 1:], planes[:, :-1], out=above[:, 1:])
    torch.add(nearest[:, :-1], planes[:, 1:], out=below[:, :-1])
    torch.add(nearest[:, 0], planes[:, 0], out=above[:, 0])
    torch.add(nearest[:, -1], planes[:, -1], out=below[:, -1])
    tall = tall.flatten(1, 2)
    left = tall * 3
    right = left.clone()
    left[..., 1:] += tall[..., :-1]
    left[..., 0] += tall[..., 0]
    right[..., :-1] += tall[..., 1:]
    right[..., -1] += tall[..., -1]
    # Halves are rounded up and down in turn.
    wide = left.new_empty(*left.shape, 2)
    wide[..., 0] = left.add_(8 / 16).floor_()
    wide[..., 1] = right.add_(7 / 16).floor_()
    return wide.flatten(-2)


def _plane(levels: Tensor, quality: int, table: int) -> Tensor:
    """Levels around 0 through the rounded cosine transform of each 8 by 8 and back, around 128."""
    height, width = levels.shape[-2:]
    levels = _extended(levels, 8, 8).contiguous()
    across = levels.shape[-1]
    steps, inverse = _steps(quality, table, across // 8, levels.device)
    # Whole numbers after every product with the cosines, as in libjpeg: first the rows, in quarters, then the columns.
    # Two buffers in turn, which stay in a CPU's cache.
    x = levels.double().view(-1, 8, across)
    y = torch.mm(x.view(-1, 8), (_COSINES.T * 2.0**-11).to(x.device)).add_(0.5).floor_().view_as(x)
    there, back = ((by * _COSINES).to(x.device).expand(len(x), 8, 8) for by in (2.0**-15, 2.0**-11))
    torch.bmm(there, y, out=x).add_(0.5).floor_()
    x.mul_(inverse).round_().mul_(steps)
    torch.bmm(back.mT, x, out=y).add_(0.5).floor_()
    torch.mm(y.view(-1, 8), (_COSINES * 2.0**-18).to(x.device), out=x.view(-1, 8))
    x.add_(128.5).floor_().clamp_(0, 255)
    return x.float().view(levels.shape)[:, :height, :width]


@lru_cache(maxsize=64)
def _steps(quality: int, table: int, blocks: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of one step in each of 8 by 8 coefficients the size, and its inverse for coefficients that are eight times as large."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    quantization = Image.open(file).quantization  # type: ignore[attr-defined]
    steps = torch.tensor(quantization[table], dtype=torch.float64, device=device).view(8, 8).repeat(1, blocks)
    # A whole step and a half is rounded away from 0: this much more decides it, and nothing else.
    return steps, (1 + 2.0**-40) / (8 * steps)


def _extended(planes: Tensor, down: int, across: int) -> Tensor:
    """The last row and column repeated up to a multiple."""
    more = (-planes.shape[-1] % across, -planes.shape[-2] % down)
    return F.pad(planes, (0, more[0], 0, more[1]), mode="replicate") if any(more) else planes
