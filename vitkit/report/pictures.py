"""What the model saw, as images that live inside the page."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

_BYTES = 100_000  # above this a picture is made smaller, so that a page of fifty can be read on a phone
_WIDTH = 960  # six samples of 160 pixels


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def embed(folder: Path, name: str | None) -> Picture | None:
    """The picture of this name in a run's folder; None if there is none, if it is broken, or if it lies outside the folder."""
    path = folder / (name or ".")
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content), formats=["PNG"]) as opened:
            opened.load()
            image: Image.Image = opened
            if len(content) <= _BYTES:
                return Picture(_uri("png", content), image.width, image.height)
            image = image.convert("RGB")
            if image.width > _WIDTH:
                image = image.resize((_WIDTH, max(1, image.height * _WIDTH // image.width)), Image.Resampling.LANCZOS)
            smaller = BytesIO()
            image.save(smaller, "WEBP", quality=85)
            return Picture(_uri("webp", smaller.getvalue()), image.width, image.height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"
