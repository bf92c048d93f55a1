"""JPEGs through torchvision's codec, several at once: on a CPU, libjpeg's assembly is faster than any tensors."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vitkit.corruptions import compiled
from vitkit.corruptions.image import libjpeg

_TOGETHER = 16
"""Images that a thread takes at once."""

Codec = Callable[[Tensor, int], Tensor]
"""From a picture of whole numbers and a quality to the picture that the JPEG's reader finds."""


def in_threads(images: Tensor, quality: int, codec: Codec) -> Tensor:
    """A batch through a codec, on as many cores as torch uses.

    What is around the codec is done by numpy, since each of torch's own loops would ask for all of the cores; and for many images
    at once, since threads wait for each other whenever they come back to Python.

    Args:
        images: Shape (batch, 1 or 3, height, width), values in [0, 1] on the CPU. They are rounded to 256 levels.
        quality: 1 to 100.
        codec: What codes.
    """
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    threads = torch.get_num_threads()
    together = min(max(-(-len(images) // threads), 1), _TOGETHER)

    def work(start: int) -> None:
        part = slice(start, start + together)
        for picture, into in zip(_pixels(images[part]), out[part], strict=True):
            found = codec(picture.permute(2, 0, 1), quality).permute(1, 2, 0)
            if not compiled.planes(found, into):
                np.copyto(into.numpy(), found.permute(2, 0, 1).numpy())
                np.multiply(into.numpy(), np.float32(1 / 255), out=into.numpy())

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(0, len(images), together)))
    return out


def _pixels(images: Tensor) -> Tensor:
    """256 levels, (batch, height, width, channels)."""
    count, channels, height, width = images.shape
    out = torch.empty(count, height, width, channels, dtype=torch.uint8)
    if all(compiled.pixels(image, into) for image, into in zip(images, out, strict=True)):
        return out
    values = images.numpy() * np.float32(255)
    np.add(values, np.float32(0.5), out=values)
    planes = values.astype(np.uint8)  # cuts the fraction off
    np.stack(list(planes.swapaxes(0, 1)), axis=-1, out=out.numpy())
    return out


@cache
def find() -> Codec | None:
    """Torchvision's; None where it has none, for 0.29 calls its own deprecated, or one with other levels than :mod:`.libjpeg`."""
    try:
        import torchvision.io  # noqa: F401  # loads the operators, which few need

        encode, decode = torch.ops.image.encode_jpeg.default, torch.ops.image.decode_jpeg.default
        noise = torch.randint(256, (3, 21, 35), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        for quality in (10, 75):
            found, expected = decode(encode(noise, quality), 0), libjpeg.coded(noise[None].float(), quality)[0]
            if not torch.equal(found.float(), expected):
                return None
    except (ImportError, AttributeError, RuntimeError, TypeError):
        return None
    return lambda picture, quality: decode(encode(picture, quality), 0)
