"""What the model saw: a strip of images."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from vitkit.files import replacing

SHOWN = 6

_SMALLEST, _LARGEST, _GAP, _CHECK = 64, 128, 4, 4  # pixels


def save_strip(
    path: Path, images: Float[Tensor, "batch channels *size"], removed: Bool[Tensor, "batch *size"] | None = None
) -> None:
    """Write images side by side as a PNG.

    Small images are enlarged without smoothing and large ones reduced, so that the shorter side has 64 to 128 pixels. Of a volume
    the middle slice along its first axis is shown, its last axis upwards, of channels that make no colour the first.

    Args:
        path: Where to.
        images: Values in [0, 1].
        removed: Pixels of removed tokens, which are drawn as a checker pattern that no image has.
    """
    shown = torch.zeros(len(images), *images.shape[2:], dtype=torch.bool) if removed is None else removed
    tiles = [_tile(*_slice(image, area)) for image, area in zip(images.float().cpu(), shown.cpu(), strict=True)]
    height, width = tiles[0].shape[:2]
    strip = np.full((height, (width + _GAP) * len(tiles) - _GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        strip[:, index * (width + _GAP) :][:, :width] = tile
    with replacing(path) as temporary:
        Image.fromarray(strip).save(temporary, format="PNG", optimize=True)


def _slice(image: Tensor, area: Tensor) -> tuple[Float[Tensor, "3 height width"], Bool[Tensor, "height width"]]:
    if area.ndim == 3:  # right, front, head: the sagittal plane with the front to the right and the head up
        middle = len(area) // 2
        image, area = (x.transpose(-1, -2).flip(-2) for x in (image[:, middle], area[middle]))
    if area.ndim == 1:
        image, area = image[:, None], area[None]
    return (image if len(image) == 3 else image[:1].expand(3, -1, -1)), area


def _tile(image: Float[Tensor, "3 height width"], area: Bool[Tensor, "height width"]) -> UInt8[np.ndarray, "rows columns 3"]:
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    hidden = area.numpy()
    short = min(hidden.shape)
    if short < _SMALLEST:
        factor = -(-_SMALLEST // short)
        pixels, hidden = (values.repeat(factor, 0).repeat(factor, 1) for values in (pixels, hidden))
    elif short > _LARGEST:
        size = (round(hidden.shape[1] * _LARGEST / short), round(hidden.shape[0] * _LARGEST / short))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
        hidden = np.asarray(Image.fromarray(hidden).resize(size, Image.Resampling.NEAREST))
    rows, columns = np.indices(hidden.shape) // _CHECK
    checker = np.where((rows + columns) % 2, 200, 235).astype(np.uint8)
    return np.where(hidden[..., None], checker[..., None], pixels)
