"""One split of a data set: where its pictures are, and what becomes of each on its way to the model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from vitkit.data.sample import Sample
from vitkit.data.workers import Board
from vitkit.errors import DataError, UsageError, VitkitError
from vitkit.preprocess import Preprocess

SPLITS = ("train", "val", "test")
OTHERS = "or use another split: `vitkit validate` scores the split val, and `vitkit evaluate --split` any."


@dataclass(frozen=True)
class Part:
    """A split as it is stored.

    Args:
        read: Index to picture: a PIL image of mode L or RGB, or a tensor (channels, *size) with values in [0, 1].
        labels: Class of each picture, -1 if unknown.
        ids: Name of each picture.
        content: Index to what tells a picture from any other, the same on every machine: the bytes of its file, or its pixels as
            they are stored or, of torchvision's sets, decoded.
        groups: What each picture shares with others, such as its patient, or None; None if that is known of no picture.
    """

    read: Callable[[int], Image.Image | Tensor]
    labels: Sequence[int]
    ids: Sequence[str]
    content: Callable[[int], bytes]
    groups: Sequence[str | None] | None = None


@dataclass(frozen=True)
class Layout:
    """What a data set was found to hold.

    Args:
        source: The file, folder or set, to be named in errors.
        classes: Names of the classes.
        channels: Channels of a picture as it is stored.
        ndim: Axes of a picture.
        parts: How to load each split that there is.
        remedy: What to do where a split is asked for that there is not; ``SPLIT`` stands for its name.
        note: Which splits were made for the user, and how; empty if the data have their own.
    """

    source: str
    classes: list[str]
    channels: int
    ndim: int
    parts: Mapping[str, Callable[[], Part]]
    remedy: str
    note: str = ""


def array_part(images: UInt8[Tensor, "count channels *size"], labels: Sequence[int], ids: Sequence[str], full: int = 255) -> Part:
    """A split whose pictures lie in memory, as bytes of which ``full`` is full intensity.

    They are kept in a tensor because worker processes then share it, whether they are forked or spawned.
    """
    return Part(partial(_scaled, images, full), labels, ids, partial(_bytes, images))


def _scaled(images: Tensor, full: int, index: int) -> Tensor:
    return images[index].float().contiguous() / full


def _bytes(images: Tensor, index: int) -> bytes:
    return str(tuple(images[index].shape)).encode() + images[index].numpy().tobytes()


class Images(Dataset[Sample]):
    """A split as a model sees it: every picture at the model's size and with its channels, values in [0, 1].

    Args:
        part: The split as it is stored.
        channels: Channels that every sample gets; grey is repeated, colour becomes its luma.
        preprocess: The model's; None leaves the pictures' size as it is.
        augment: Transforms of an image tensor with values in [0, 1] that keep its shape. What they draw from torch's global
            generator depends on (seed, epoch, id of the sample) alone: neither on the order nor on the number of workers. Those
            of torchvision, and what inherits ``v2.Transform``, move a sample's mask of real voxels and its segmentation as they
            move its image; others must not move voxels where there are such.
        seed: Seed of the augmentation.
    """

    def __init__(
        self, part: Part, channels: int, preprocess: Preprocess | None = None, augment: Sequence[nn.Module] = (), seed: int = 0
    ) -> None:
        self.part, self.channels, self.preprocess, self.augment, self.seed = part, channels, preprocess, list(augment), seed
        self.epoch = 0
        self.board: Board | None = None

    @property
    def labels(self) -> Sequence[int]:
        """Class of each picture."""
        return self.part.labels

    @property
    def ids(self) -> Sequence[str]:
        """Name of each picture."""
        return self.part.ids

    def __len__(self) -> int:
        return len(self.part.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.part.ids[index]
        if self.board is not None:
            self.board.write(name)
        try:
            image, real, mask = self._picture(index)
        except VitkitError:
            raise
        except Exception as error:  # whatever a reader raises, the file has to be known
            remedy = "Look at that file; VITKIT_DEBUG=1 shows where it went wrong."
            raise DataError(f"{name} cannot be read: {type(error).__name__}: {error}", "a readable file", remedy) from error
        if self.augment:
            image, real, mask = self._augmented(image, real, mask, name)
        group = None if self.part.groups is None else self.part.groups[index]
        return Sample(image, int(self.part.labels[index]), name, real, mask, group)

    def _picture(
        self, index: int
    ) -> tuple[Float[Tensor, "channels *size"], Bool[Tensor, "*size"] | None, Bool[Tensor, "*size"] | None]:
        """A picture at the model's size, which of its voxels are real, if not all of them are, and its segmentation, if any."""
        return self._image(self.part.read(index)), None, None

    def _image(self, picture: Image.Image | Tensor) -> Float[Tensor, "channels *size"]:
        if isinstance(picture, Tensor):
            picture = _with_channels(picture, self.channels)
            if picture.ndim == 4 and self.preprocess is not None:
                _check_proportions(picture.shape[1:], self.preprocess.size)
        if self.preprocess is not None:
            return self.preprocess(picture)
        if isinstance(picture, Tensor):
            return picture
        return tv.pil_to_tensor(picture.convert("L" if self.channels == 1 else "RGB")) / 255

    def _augmented(
        self, image: Tensor, real: Tensor | None, mask: Tensor | None, name: str
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        shape = image.shape
        with torch.random.fork_rng(devices=[]):
            digest = blake2b(f"{self.seed}/{self.epoch}/{name}".encode(), digest_size=8).digest()
            # Not torch.manual_seed, which would reset an accelerator's generator too, and with it the model's dropout.
            torch.default_generator.manual_seed(int.from_bytes(digest, "little"))
            for transform in self.augment:
                given = [each for each in (real, mask) if each is not None]
                if given and isinstance(transform, v2.Transform):
                    moved, *others = transform(tv_tensors.Image(image), *(tv_tensors.Mask(each[None].byte()) for each in given))
                    image, others = moved.as_subclass(Tensor), [each.as_subclass(Tensor)[0].bool() for each in others]
                    real = None if real is None else others[0]
                    mask = None if mask is None else others[-1]
                else:
                    if given and any(isinstance(inner, v2.Transform) for inner in transform.modules()):
                        found = f"data.augment has a {type(transform).__name__} around transforms of torchvision's kind"
                        remedy = "Use torchvision.transforms.v2.Compose."
                        raise UsageError(found, "one that moves masks and padding as well", remedy)
                    image = transform(image)
        if image.shape != shape:
            raise UsageError(
                f"data.augment turned an image of shape {tuple(shape)} into one of {tuple(image.shape)}",
                "transforms that keep the shape, for they come after the picture was brought to the model's size",
                f"Give the cropping transform the size {list(shape[1:])}.",
            )
        image = image.clamp(0, 1)
        return (image if real is None else image * real), real, mask


def _with_channels(image: Tensor, channels: int) -> Tensor:
    if image.shape[0] == channels:
        return image
    if image.shape[0] == 1:
        return image.expand(channels, *image.shape[1:]).contiguous()
    return tv.rgb_to_grayscale(image)


def _check_proportions(found: Sequence[int], size: Sequence[int]) -> None:
    """Refuse to stretch a volume that has no spacing along one axis more than along another, beyond rounding."""
    least = min(wanted / length for length, wanted in zip(found, size, strict=True))
    if any(abs(wanted - least * length) > 1 for length, wanted in zip(found, size, strict=True)):
        volumes, model = (" × ".join(map(str, lengths)) for lengths in (found, size))
        raise UsageError(
            f"volumes of {volumes} voxels for a model.preprocess.size of {model}",
            "the same proportions, so that nothing is stretched along one axis",
            f"Set model.preprocess.size to {list(found)}, or a multiple of it.",
        )
