"""What has to happen to a picture before a model may see it; travels with the model and its checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from vitkit.errors import UsageError
from vitkit.recipe import Recorded

_MODES = {
    "nearest": tv.InterpolationMode.NEAREST_EXACT,
    "bilinear": tv.InterpolationMode.BILINEAR,
    "bicubic": tv.InterpolationMode.BICUBIC,
}


@dataclass(frozen=True)
class Preprocess(Recorded):
    """Resize, crop and normalise, in two halves that cannot be applied twice by mistake.

    Calling it turns a file's picture into an image with values in [0, 1], at the model's size: this half belongs to the data.
    :meth:`normalise` is the other half, which the model applies itself, so corruptions always act on [0, 1].

    Args:
        size: Size the model takes, per axis, in pixels (height, width) or voxels (depth, height, width).
        mean: Mean per channel, as a fraction of full intensity; its length is the number of channels.
        std: Standard deviation per channel, likewise.
        interpolation: How to resize.
        crop: Share of the resized picture that the centre crop keeps along each axis (timm's ``crop_pct``); 1 for volumes.
        squash: Resize each axis by itself, which changes the aspect of the picture and crops nothing at ``crop=1``; otherwise the
            aspect is kept.
        spacing: Distance between neighbouring voxels of the model's input along each axis, in mm. Scans are resampled to it, and
            the model's biases and occluders measure in it; None for pictures, which have no physical size.

    Raises:
        UsageError: Sizes, standard deviations or spacings that are not positive, mean and std of different lengths, a crop of
            volumes, or a spacing for other axes than the size's.

    >>> preprocess = Preprocess(size=(8, 8), mean=(0.5,), std=(0.25,))
    >>> preprocess.normalise(torch.ones(1, 1, 8, 8)).unique()
    tensor([2.])
    """

    size: Sequence[int]
    mean: Sequence[float] = (0.5,)
    std: Sequence[float] = (0.5,)
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    crop: float = 1.0
    squash: bool = False
    spacing: Sequence[float] | None = None

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.size or min(self.size) < 1:
            raise UsageError(
                f"preprocess.size {self.size}", "a positive number of pixels per axis", "Give the size the model takes."
            )
        if len(self.mean) != len(self.std) or not self.mean:
            raise UsageError(
                f"preprocess.mean {self.mean} and preprocess.std {self.std}", "one number per channel", "Make them agree."
            )
        if min(self.std) <= 0:
            raise UsageError(
                f"preprocess.std {self.std}", "positive numbers", "Use the standard deviation of the training images."
            )
        if not 0 < self.crop <= 1:
            raise UsageError(f"preprocess.crop {self.crop}", "a share in (0, 1]", "Use 1 to keep the whole picture.")
        if self.crop != 1 and len(self.size) != 2:
            raise UsageError(
                f"preprocess.crop {self.crop} for volumes of {len(self.size)} axes",
                "1, for pictures alone are cropped",
                "Leave preprocess.crop out; preprocess.size and preprocess.spacing say which part of a scan is seen.",
            )
        if self.interpolation not in _MODES:
            raise UsageError(
                f"preprocess.interpolation {self.interpolation!r}", f"one of {sorted(_MODES)}", "Choose one of these."
            )
        if self.spacing is None:
            return
        object.__setattr__(self, "spacing", tuple(map(float, self.spacing)))
        if len(self.spacing) != len(self.size) or not all(isfinite(step) and step > 0 for step in self.spacing):
            raise UsageError(
                f"preprocess.spacing {self.spacing}",
                f"{len(self.size)} positive numbers of mm, one for each axis of preprocess.size {self.size}",
                "Give the distance between voxels along every axis; `vitkit inspect-data` lists those of your scans.",
            )

    @property
    def channels(self) -> int:
        """Number of channels the model takes."""
        return len(self.mean)

    def __call__(self, image: Image.Image | Tensor) -> Float[Tensor, "channels *size"]:
        """A picture, or a tensor (channels, *space) with values in [0, 1], at the model's size, with values in [0, 1].

        PIL images are resized by PIL, which is what timm's and torchvision's published accuracies were measured with. The
        picture is resized until it just covers size/crop, and the centre is kept.

        Raises:
            UsageError: A tensor whose channels or axes are not the model's.
        """
        if isinstance(image, Image.Image):
            image = image.convert("L" if self.channels == 1 else "RGB")
            return tv.pil_to_tensor(self._resize(image)) / 255
        if image.shape[0] != self.channels or image.ndim != 1 + len(self.size):
            raise UsageError(
                f"an image of shape {tuple(image.shape)}",
                f"{self.channels} channels and {len(self.size)} axes, as preprocess.mean and preprocess.size say",
                "Set preprocess.mean, preprocess.std and preprocess.size to what the data has.",
            )
        if tuple(image.shape[1:]) == self.size and self.crop == 1:
            return image
        if len(self.size) != 2:
            mode = "nearest-exact" if self.interpolation == "nearest" else "trilinear"
            resized = torch.nn.functional.interpolate(image[None], size=self.size, mode=mode)[0]
            return resized.clamp(0, 1)
        return self._resize(image).clamp(0, 1)

    def _resize(self, image: Any) -> Any:
        """A picture to a picture, a tensor to a tensor."""
        target = [int(length / self.crop) for length in self.size]
        if not self.squash and target[0] == target[1]:
            target = target[:1]  # torchvision's own way to keep the aspect, which rounds the longer side as it does
        elif not self.squash:
            size = tv.get_size(image)
            scale = max(wanted / length for wanted, length in zip(target, size, strict=True))
            target = [round(length * scale) for length in size]
        return tv.center_crop(tv.resize(image, target, interpolation=_MODES[self.interpolation], antialias=True), list(self.size))

    def normalise(self, images: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch channels *size"]:
        """(images - mean) / std per channel, for images in [0, 1]."""
        shape = (1, -1) + (1,) * (images.ndim - 2)
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device).view(shape)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device).view(shape)
        return (images - mean) / std
