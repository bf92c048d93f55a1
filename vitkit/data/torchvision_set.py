"""The data sets that torchvision knows."""

import inspect
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np
import torchvision
from PIL import Image
from torch import Tensor, nn

from vitkit.data.base import ImageData
from vitkit.data.part import Layout, Part
from vitkit.data.picture import plain
from vitkit.data.splits import stratified
from vitkit.errors import DataError, UsageError


class TorchVision(ImageData):
    """A classification set of torchvision, by the name of its class: CIFAR10, FashionMNIST, GTSRB, OxfordIIITPet, ...

    Validation pictures are taken from the training split, every class alike, unless ``val_split`` names a split of their own.

    Args:
        name: Name of the class in torchvision.datasets.
        root: Folder of its files.
        download: Fetch the files if they are not there; this only works where there is a network.
        val_fraction: Share of the training split that is taken for validation.
        split_seed: Seed of that choice; the seed of training does not change it.
        train_split: What the set calls its training split, if it has names for them; OxfordIIITPet has "trainval".
        val_split: What it calls its validation split, to use that one.
        test_split: What it calls its test split; ImageNet has "val".
        batch_size: Samples in a batch.
        num_workers: Processes that read pictures; 0 reads in the main one.
        augment: Transforms of training images (tensors in [0, 1]) that keep their shape.
        seed: Seed of the order and of the augmentation.

    Raises:
        UsageError: torchvision has no such set, or it is not made of train and test splits.
    """

    def __init__(
        self,
        name: str,
        root: str,
        download: bool = False,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        train_split: str = "train",
        val_split: str | None = None,
        test_split: str = "test",
        batch_size: int = 64,
        num_workers: int = 0,
        augment: list[nn.Module] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, augment, seed)
        self.name, self.root, self.download = name, root, download
        self.val_fraction, self.split_seed = val_fraction, split_seed
        self._names = {"train": train_split, "val": val_split, "test": test_split}
        self._sets: dict[str, Any] = {}
        self._factory = _find(name)
        self._parameters = inspect.signature(self._factory).parameters
        if "train" not in self._parameters and "split" not in self._parameters:
            raise UsageError(f"data.name {name}", "a set with a training and a test split", "Choose another, as CIFAR10.")
        if val_split is not None and "train" in self._parameters:
            raise UsageError(
                f"data.val_split {val_split!r} for {name}, which has a training and a test split only",
                "no val_split",
                "Leave it out; validation pictures are then taken from the training split.",
            )

    def prepare_data(self) -> None:
        """Download, on one process, what is to be downloaded."""
        if self.download:
            for split, name in self._names.items():
                if name is not None:
                    self._set(split)

    def open(self) -> Layout:
        """Make the training set, for the classes' names and the pictures' channels."""
        training = self._set("train")
        labels = _labels(training, self.name)
        names = getattr(training, "classes", None) or range(max(labels, default=-1) + 1)
        classes = [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]
        channels = 1 if len(training) and _picture(training, f"{self.name} train", 0).mode == "L" else 3
        parts = {"train": partial(self._part, "train"), "val": partial(self._part, "val"), "test": partial(self._part, "test")}
        return Layout(f"{self.name} in {self.root}", classes, channels, 2, parts, "Use another split.")

    def _part(self, split: str) -> Part:
        source = "train" if split == "val" and self._names["val"] is None else split
        images = self._set(source)
        labels = _labels(images, self.name)
        ids = [f"{source}/{index}" for index in range(len(labels))]
        chosen: Sequence[int] = range(len(labels))
        if split != "test" and self._names["val"] is None:
            shares = (1 - self.val_fraction, self.val_fraction)
            chosen = stratified(ids, labels, shares, self.split_seed)[split == "val"]
        read = partial(_read, images, f"{self.name} {source}", chosen)
        found, names = [labels[index] for index in chosen], [ids[index] for index in chosen]
        return Part(read, found, names, partial(_content, read))

    def _set(self, split: str) -> Any:
        if split not in self._sets:
            which: dict[str, Any] = {"train": split == "train"} if "train" in self._parameters else {"split": self._names[split]}
            fetch = {"download": self.download} if "download" in self._parameters else {}
            try:
                self._sets[split] = self._factory(self.root, **which, **fetch)
            except Exception as error:  # torchvision raises RuntimeError, OSError, ValueError, each set in its own way
                raise self._explained(split, error) from error
        return self._sets[split]

    def _explained(self, split: str, error: Exception) -> UsageError | DataError:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "for argument split" in reason:
            return UsageError(f"{self.name}: {reason}", "a split that it has", f"Set data.{split}_split to one of these.")
        if self.download:
            return DataError(
                f"fetching {self.name} into {self.root} failed: {reason}",
                "a network, without which nothing can be downloaded",
                f"Copy the set's files into {self.root}, laid out as torchvision does, and set data.download to false.",
            )
        return UsageError(
            f"{self.name} was not found in {self.root}: {reason}",
            "the set's files, laid out as torchvision does",
            "Copy them there, or set data.download to true, which only works where there is a network.",
        )


def _find(name: str) -> Any:
    sets = torchvision.datasets
    known = [each for each, kind in vars(sets).items() if isinstance(kind, type) and issubclass(kind, sets.VisionDataset)]
    if name not in known:
        lower = {each.lower(): each for each in known}
        close = get_close_matches(name.lower(), lower, n=1)
        raise UsageError(
            f"data.name {name}",
            "a class of torchvision.datasets",
            f"Did you mean {lower[close[0]]}?" if close else "Choose one, as CIFAR10.",
        )
    return getattr(sets, name)


def _content(read: Callable[[int], Image.Image | Tensor], index: int) -> bytes:
    values = np.asarray(read(index))
    return f"{values.dtype} {values.shape} ".encode() + values.tobytes()


def _labels(images: Any, name: str) -> list[int]:
    """Every label, from the lists that most sets keep; else by reading every picture."""
    for attribute in ("targets", "labels", "_labels"):
        labels = getattr(images, attribute, None)
        if labels is not None and len(labels) == len(images):
            break
    else:
        labels = [label for _, label in getattr(images, "_samples", None) or (images[index] for index in range(len(images)))]
    try:
        return [int(label) for label in labels]
    except (TypeError, ValueError):
        raise UsageError(
            f"data.name {name}: its labels are no numbers", "a set with one class per picture", "Choose another, as CIFAR10."
        ) from None


def _picture(images: Any, source: str, index: int) -> Image.Image:
    try:
        return images[index][0]
    except Exception as error:  # a reader of any kind, which does not name its file
        raise DataError(f"{source}/{index} cannot be read: {error}", "a whole picture", "Fetch the set's files again.") from error


def _read(images: Any, source: str, chosen: Sequence[int], index: int) -> Image.Image | Tensor:
    return plain(_picture(images, source, chosen[index]))
