"""Maps and masks that are given: a file for every sample, or a function."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vitkit.errors import DataError, UsageError
from vitkit.volumes import read

Maps = Callable[[Tensor, Sequence[str]], Float[Tensor, "batch *places"]]

_ENDINGS = (".npy", ".png", ".nii", ".nii.gz")


def find_maps(maps: str | Callable[..., Any]) -> Maps:
    """The maps of a folder or of a function.

    Raises:
        UsageError: Neither is there.
    """
    if isinstance(maps, str) and Path(maps).is_dir():
        return MapFolder(maps)
    function: Any = maps
    if isinstance(maps, str):
        try:
            function = resolve_name(maps)
        except (ImportError, AttributeError, ValueError):
            function = None
    if not callable(function):
        raise UsageError(f"maps: {maps}", "a folder of maps, or where to import a function from", "Check the path, or the name.")

    def ask(images: Tensor, ids: Sequence[str]) -> Tensor:
        made = function(images, ids)
        if not isinstance(made, Tensor) or len(made) != len(images):
            kind = f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
            raise UsageError(f"maps: {kind} for {len(images)} images", "a map for each", "Return (batch, *size).")
        return made.float()

    return ask


class MapFolder:
    """A file for every sample.

    Args:
        folder: Holds ``ID.npy``, ``ID.png``, ``ID.nii`` or ``ID.nii.gz`` for a sample of that id, whose own ending may be left
            out: ``cats/7.npy`` is the map of ``cats/7.jpg``. Pictures are read as intensities; scans are turned to RAS, as the
            model gets them.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __call__(self, images: Tensor, ids: Sequence[str]) -> Float[Tensor, "batch *places"]:
        """The map of each sample.

        Raises:
            DataError: A file that is missing or that cannot be read, or maps of different shapes; the sample is named.
        """
        maps = [self._read(sample) for sample in ids]
        for sample, one in zip(ids, maps, strict=True):
            if one.shape != maps[0].shape or one.ndim != images.ndim - 2:
                raise DataError(
                    f"the map of {sample} in {self.folder} has the shape {tuple(one.shape)}",
                    f"{tuple(maps[0].shape)}, as that of {ids[0]}" if one.ndim == images.ndim - 2 else f"{images.ndim - 2} axes",
                    "Give all maps the shape of the images as the model gets them, or of its patches.",
                )
        return torch.stack(maps)

    def fingerprint(self) -> str:
        """A hash of the names and contents of all maps."""
        found = sha256()
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name.endswith(_ENDINGS)):
            found.update(f"{path.relative_to(self.folder).as_posix()}\n{sha256(path.read_bytes()).hexdigest()}\n".encode())
        return f"sha256:{found.hexdigest()}"

    def _read(self, sample: str) -> Tensor:
        stems = [sample]
        while (shorter := str(Path(stems[-1]).with_suffix(""))) != stems[-1] and Path(shorter).name:
            stems.append(shorter)
        paths = (self.folder / f"{stem}{ending}" for stem in stems for ending in _ENDINGS)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise DataError(
                f"no map of sample {sample} in {self.folder}",
                f"{stems[-1]} with one of the endings {', '.join(_ENDINGS)}",
                "Add it, or leave the sample out.",
            )
        try:
            if path.suffix == ".npy":
                values = np.load(path, allow_pickle=False)
            elif path.suffix == ".png":
                with Image.open(path) as picture:
                    values = np.asarray(picture.convert("F"))
            else:
                return read(path).oriented().data[0].float()
            return torch.from_numpy(np.array(values, dtype=np.float32))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"the map of sample {sample}, {path}, cannot be read: {error}", "numbers", "Mend it.") from error
