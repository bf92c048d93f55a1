"""What every source of labelled pictures has in common: splits, loaders, a fixed order, and a fingerprint."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from hashlib import sha256

import lightning.pytorch as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from vitkit.data.order import EpochLoader, EpochOrder
from vitkit.data.part import SPLITS, Images, Layout, Part
from vitkit.data.sample import Sample, collate
from vitkit.data.workers import Loader
from vitkit.errors import DataError, UsageError
from vitkit.preprocess import Preprocess

_STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",), None: ()}


class ImageData(L.LightningDataModule, ABC):
    """Labelled pictures or volumes in fixed splits, as a Lightning data module.

    A subclass says in :meth:`open` what there is. Splits are ``train``, ``val``, ``test`` and ``predict``, the last being the
    test split where a subclass has nothing else. Samples are images in [0, 1]; normalising them is the model's part.

    The order of training depends on (seed, epoch) alone, and augmentation on (seed, epoch, sample), so neither the number of
    workers nor a resume changes what is seen. The last batch of an epoch is dropped if it is not full, unless it is the only one.

    Args:
        batch_size: Samples in a batch.
        num_workers: Processes that read pictures; 0 reads in the main one.
        augment: Transforms of training images, each a module that takes an image tensor with values in [0, 1], at the model's
            size, and keeps its shape.
        seed: Seed of the order and of the augmentation; splits do not depend on it.

    Raises:
        UsageError: A batch size below 1 or a number of workers below 0.
    """

    preprocess: Preprocess | None = None
    """The model's; None leaves pictures at the size they have."""
    name: str

    def __init__(self, batch_size: int = 64, num_workers: int = 0, augment: list[nn.Module] | None = None, seed: int = 0) -> None:
        super().__init__()
        for key, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
            if value < least:
                raise UsageError(f"data.{key}={value}", f"a number not below {least}", f"Correct data.{key}.")
        self.batch_size, self.num_workers, self.augment, self.seed = batch_size, num_workers, list(augment or ()), seed
        self._loaded: dict[str, Part] = {}

    @abstractmethod
    def open(self) -> Layout:
        """Find out what there is, loading no more than that takes; called once."""

    @cached_property
    def layout(self) -> Layout:
        """What there is."""
        return self.open()

    @property
    def classes(self) -> list[str]:
        """Names of the classes; a label is an index into them."""
        return self.layout.classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.layout.classes)

    @property
    def channels(self) -> int:
        """Channels of the images that the splits give: the model's, or without a preprocess those of the stored pictures."""
        return self.preprocess.channels if self.preprocess is not None else self.layout.channels

    @property
    def ndim(self) -> int:
        """Axes of an image: 2 for pictures, 3 for volumes."""
        return self.layout.ndim

    def setup(self, stage: str | None = None) -> None:
        """Load and check the splits of a stage (``fit``, ``validate``, ``test``, ``predict``), or of none but what is there."""
        for split in _STAGES[stage]:
            self.split(split)
        _ = self.layout

    def split(self, name: str) -> Images:
        """The samples of a split, augmented if it is ``train``.

        Raises:
            DataError: There is no such split, it is empty, or a label lies outside the classes.
            UsageError: A preprocess for another number of axes, or for channels that these pictures cannot be given.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        self._check_preprocess()
        return self._images(self._loaded[name], self.augment if name == "train" else ())

    def _images(self, part: Part, augment: Sequence[nn.Module]) -> Images:
        """A split as the model sees it."""
        return Images(part, self.channels, self.preprocess, augment, self.seed)

    def splits(self) -> dict[str, list[str]]:
        """Ids of every sample in ``train``, ``val`` and ``test``, as far as there are such splits: the record of the split."""
        parts = self.layout.parts
        return {name: list((self._loaded.get(name) or parts[name]()).ids) for name in SPLITS if name in parts}

    def fingerprint(self, split: str, chosen: Iterable[int] | None = None) -> str:
        """SHA-256 over ids, labels and the pictures as they are stored, so that it is the same on every machine: ``sha256:...``.

        Args:
            split: Which.
            chosen: Indices of samples, in their order; all if not given.

        Raises:
            DataError: A file that cannot be read.
        """
        part, digest = self.split(split).part, sha256()
        for index in range(len(part.ids)) if chosen is None else chosen:
            digest.update(repr((part.ids[index], int(part.labels[index]))).encode())
            try:
                content = part.content(index)
            except OSError as error:
                remedy = "Copy it again from its source, or delete it."
                raise DataError(f"{part.ids[index]} cannot be read: {error}", "a readable file", remedy) from error
            digest.update(sha256(content).digest())
        return f"sha256:{digest.hexdigest()}"

    def train_dataloader(self) -> DataLoader[Sample]:
        """Batches in this epoch's order."""
        images = self.split("train")
        replicas, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)
        order = EpochOrder(images, num_replicas=replicas, rank=rank, shuffle=True, seed=self.seed)
        return EpochLoader(
            images,
            batch_size=self.batch_size,
            sampler=order,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            drop_last=len(order) > self.batch_size,
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Batches of the validation split, in its own order."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Batches of the test split, in its own order."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Batches of the pictures to predict, in their own order."""
        return self._in_order("predict")

    def _in_order(self, split: str) -> DataLoader[Sample]:
        return Loader(
            self.split(split),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )

    def _load(self, name: str) -> Part:
        layout = self.layout
        key = "test" if name == "predict" and name not in layout.parts else name
        if key not in layout.parts:
            raise DataError(
                f"{layout.source} has no {key} split", f"one of {', '.join(layout.parts)}", layout.remedy.replace("SPLIT", key)
            )
        part = layout.parts[key]()
        if not part.ids:
            raise DataError(
                f"the {key} split of {layout.source} has zero samples", "one at least", layout.remedy.replace("SPLIT", key)
            )
        least = -1 if name == "predict" else 0
        for label, sample in zip(part.labels, part.ids, strict=True):
            if not least <= label < len(layout.classes):
                raise DataError(
                    f"{layout.source}: {sample} has label {label}",
                    f"a class from 0 to {len(layout.classes) - 1}",
                    "Correct the label, or name all the classes in data.classes.",
                )
        return part

    def _check_preprocess(self) -> None:
        layout, preprocess = self.layout, self.preprocess
        if preprocess is None:
            return
        if len(preprocess.size) != layout.ndim:
            raise UsageError(
                f"{layout.source} has images of {layout.ndim} axes",
                f"{len(preprocess.size)}, as preprocess.size {list(preprocess.size)} says",
                "Give preprocess.size one number per axis of the images.",
            )
        if preprocess.channels != layout.channels and 1 not in (preprocess.channels, layout.channels):
            raise UsageError(
                f"{layout.source} has images of {layout.channels} channels",
                f"{preprocess.channels}, as preprocess.mean says",
                f"Give preprocess.mean and preprocess.std {layout.channels} numbers.",
            )
