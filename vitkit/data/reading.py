"""How the file of a scan becomes a tensor for a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitkit.data.cache import VolumeCache
from vitkit.errors import DataError
from vitkit.recipe import recipe
from vitkit.volumes import Intensity, Volume, read, read_mask
from vitkit.volumes.geometry import Xform
from vitkit.volumes.read import Constant, Nonfinite
from vitkit.volumes.volume import by_axis


@dataclass(frozen=True)
class Reading:
    """How a file becomes a tensor; the arguments are those of :class:`~vitkit.data.Scans`."""

    intensity: Intensity
    nonfinite: Nonfinite = "error"
    assume: str | None = None
    xform: Xform = "agree"
    constant: Constant = "error"
    frame: int | None = None
    cache: VolumeCache | None = None

    def __call__(
        self, path: Path, spacing: Sequence[float] | None, limit: Sequence[int] | None = None
    ) -> Float[Tensor, "1 right front head"]:
        """A scan in RAS with values in [0, 1], resampled if a spacing in mm is given.

        Raises:
            DataError: A file that cannot be read, or that a scan cannot be taken from; a scan of more voxels than the limit along
                an axis, which is refused before it is resampled; or a cache that cannot be written.
        """
        if self.cache is None:
            return self.volume(path, spacing, limit).data
        scan = self.cache.load(path, self.steps(spacing), lambda: self.volume(path, spacing, limit).data)
        _check_size(path, scan.shape[1:], limit)
        return scan

    def steps(self, spacing: Sequence[float] | None) -> dict[str, Any]:
        """What is done to a file, as a plain tree."""
        return {
            "intensity": recipe(self.intensity),
            "nonfinite": self.nonfinite,
            "assume": self.assume,
            "xform": self.xform,
            "constant": self.constant,
            "frame": self.frame,
            "spacing": None if spacing is None else list(spacing),
        }

    def mask(self, path: Path, image: Path, spacing: Sequence[float] | None) -> Bool[Tensor, "right front head"]:
        """Where the mask of an image has any label, in RAS, resampled to the nearest voxel if a spacing in mm is given.

        Raises:
            DataError: As for the image; and a mask that does not lie on its image's grid.
        """
        if self.cache is None:
            return self._mask(path, image, spacing)[0].bool()
        # A mask is held against its image, and takes its affine.
        steps = {
            "mask": True,
            "image": self.cache.content(image),
            "assume": self.assume,
            "xform": self.xform,
            "frame": self.frame,
            "spacing": None if spacing is None else list(spacing),
        }
        return self.cache.load(path, steps, partial(self._mask, path, image, spacing))[0].bool()

    def _mask(self, path: Path, image: Path, spacing: Sequence[float] | None) -> Float[Tensor, "1 right front head"]:
        scan = self.read(image, nonfinite="fill", constant="allow")
        mask = read_mask(path, scan, assume=self.assume, xform=self.xform).oriented("RAS")
        if spacing is not None:
            mask = mask.resampled(spacing, "nearest")
        return (mask.data != 0).float()

    def read(self, path: Path, **options: Any) -> Volume:
        """A scan as its file has it; the options are those of :func:`vitkit.volumes.read`."""
        return read(path, assume=self.assume, xform=self.xform, frame=self.frame, **options)

    def volume(self, path: Path, spacing: Sequence[float] | None, limit: Sequence[int] | None = None) -> Volume:
        """What calling this gives, with its place in the patient; the cache is not asked.

        Raises:
            DataError: As for a call.
        """
        volume = self.read(path, nonfinite=self.nonfinite, constant=self.constant).oriented("RAS")
        _check_size(path, volume.size if spacing is None else volume.size_at(spacing), limit)
        try:
            volume = self.intensity(volume)
        except DataError:
            if volume.data.min() != volume.data.max():
                raise
            volume = replace(
                volume, data=torch.zeros_like(volume.data)
            )  # of one value, which would be refused by now if it had to
        if self.constant == "error" and volume.data.min() == volume.data.max():
            raise DataError(
                f"{path}: {type(self.intensity).__name__} leaves all voxels at {float(volume.data.min()):g}",
                "a scan in which something is to be seen",
                "Correct data.intensity, such as a window in HU for what is no CT; data.constant=allow takes it all the same.",
            )
        if spacing is not None:
            volume = volume.resampled(spacing)
        return replace(volume, data=volume.data.clamp(0, 1))


def _check_size(path: Path, found: Sequence[int], limit: Sequence[int] | None) -> None:
    if limit is not None and any(length > most for length, most in zip(found, limit, strict=True)):
        raise DataError(
            f"{path} has {by_axis(found)} voxels at the model's spacing",
            f"{by_axis(limit)} at most, as model.preprocess.size says",
            "Enlarge model.preprocess.size or model.preprocess.spacing, or keep the middle alone with data.oversize=crop.",
        )
