"""How every corruption goes through a batch: checked first, then a few images at a time where that is faster."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from vitkit.errors import UsageError

# Values that a CPU takes at once, so that the steps of one operation find them in its cache. An image's result is its own, so
# how many go together changes nothing.
_PIECE = 1 << 19
LARGE = 1 << 21
"""The same for operations of many steps that are small at first, as those of a fractal are."""


def in_pieces(
    name: str,
    images: Tensor,
    change: Callable[[Tensor, Sequence[int]], Tensor],
    seeds: Sequence[int] | None = None,
    channels: Collection[int] | None = None,
    piece: int = _PIECE,
) -> Tensor:
    """What ``change`` makes of the images, cut to [0, 1].

    Args:
        name: Of the corruption, for errors.
        images: Values in [0, 1].
        change: From a few images as float32 and their seeds to those images corrupted. It may write to neither.
        seeds: One for each image, or None where nothing is random.
        channels: How many an image may have, if not any number.
        piece: Values that a CPU takes at once.

    Raises:
        UsageError: Images that are no batch of pictures, other channels, or not one seed for each image.
    """
    check(name, images, seeds, channels)
    given: Sequence[int] = [0] * len(images) if seeds is None else seeds
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    step = max(1, piece // max(1, images[:1].numel())) if images.device.type == "cpu" else max(1, len(images))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        made = change(images[part].to(torch.float32), given[part])
        if out.dtype == torch.float32:
            torch.clamp(made, 0, 1, out=out[part])
        else:
            out[part] = made.clamp(0, 1)
    return out


def check(name: str, images: Tensor, seeds: Sequence[int] | None = None, channels: Collection[int] | None = None) -> None:
    """Refuse what :func:`in_pieces` refuses.

    Raises:
        UsageError: Images that are no batch of pictures, other channels, or not one seed for each image.
    """
    if images.ndim != 4:
        raise UsageError(
            f"{name} of images of shape {tuple(images.shape)}",
            "pictures of shape (batch, channels, height, width)",
            "Scans have corruptions of their own.",
        )
    if channels is not None and images.shape[1] not in channels:
        raise UsageError(
            f"{name} of images with {images.shape[1]} channels",
            f"{' or '.join(map(str, channels))} channels",
            "Leave this corruption out, or make the images grey or RGB.",
        )
    if seeds is not None and len(seeds) != len(images):
        raise UsageError(f"{len(seeds)} seeds for {len(images)} images", "a seed for each image", "Give as many of each.")
