"""Picture files of every kind, read into the few forms that the rest has to know."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vitkit.errors import DataError

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings by which a file in a folder is taken for a picture."""


def read_picture(path: Path) -> Image.Image | Float[Tensor, "1 height width"]:
    """The picture of a file, turned as its EXIF orientation says and brought to a plain form by :func:`plain`.

    Raises:
        DataError: A file that is empty, truncated, no picture, of more than one picture, or of pixels whose range is unknown.
    """
    try:
        return _decode(path)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is not a picture, whatever its ending",
            f"a file of the kind {', '.join(sorted(EXTENSIONS))}",
            "Delete it, or save it again as PNG.",
        ) from None
    except Exception as error:  # Pillow's readers raise nearly every type there is
        remedy = "Copy it again from its source, or delete it."
        raise DataError(f"{path} cannot be read: {error}", "a whole picture", remedy) from error


def _decode(path: Path) -> Image.Image | Tensor:
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes)", "a picture", "Copy it again from its source, or delete it.")
    with Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
        # A photo's MPO file holds previews beside the picture; elsewhere there is no telling which frame is meant.
        if frames > 1 and image.format != "MPO":
            raise DataError(f"{path} holds {frames} frames", "one picture", "Save each frame to a file of its own.")
        return plain(ImageOps.exif_transpose(image))


def plain(image: Image.Image) -> Image.Image | Float[Tensor, "1 height width"]:
    """A picture of any mode as 8-bit grey (L) or colour (RGB), or, from 16-bit grey, as a tensor with values in [0, 1].

    Transparent pixels are laid over white, palettes looked up, CMYK and others converted to RGB. 16-bit grey is divided by 65535
    and keeps its depth. 16-bit colour arrives from Pillow with 8 bits.

    Raises:
        ValueError: 32-bit pixels, whose range is not known.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not known")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError(f"its pixels are integers from {values.min()} to {values.max()}, beyond 16 bits")
        return torch.from_numpy((values / 65535).astype(np.float32))[None]
    if image.has_transparency_data:
        over = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return over.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
