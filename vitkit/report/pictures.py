"""What the model saw, as images that live inside the page."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

MOST = 100_000  # bytes of one picture; above it is made smaller
_BUDGET = 6_000_000  # bytes of all pictures of a page, a third more once they are text, so that a phone can load it
_STEPS = ((960, 85), (780, 75), (640, 65), (480, 55), (360, 45))  # widths in pixels and qualities that are tried; six samples


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def share(count: int) -> int:
    """Bytes that each of so many pictures may take on one page."""
    return min(MOST, _BUDGET // max(count, 1))


def embed(folder: Path, name: str | None, most: int = MOST) -> Picture | None:
    """The picture of this name in a run's folder, as WebP where it takes more bytes than ``most``, made smaller until it does not
    or is as small as can be read; None if there is none, if it is broken, or if it lies outside the folder.
    """
    path = folder / (name or ".")
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content), formats=["PNG"]) as opened:
            opened.load()
            if len(content) <= most:
                return Picture(_uri("png", content), opened.width, opened.height)
            image: Image.Image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    for width, quality in _STEPS:
        if image.width > width:
            image = image.resize((width, max(1, image.height * width // image.width)), Image.Resampling.LANCZOS)
        smaller = BytesIO()
        image.save(smaller, "WEBP", quality=quality)
        if smaller.tell() <= most:
            break
    return Picture(_uri("webp", smaller.getvalue()), image.width, image.height)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"
