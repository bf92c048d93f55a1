"""The .npz files of MedMNIST."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vitkit.data.base import ImageData
from vitkit.data.part import OTHERS, SPLITS, Layout, Part, array_part
from vitkit.errors import DataError, UsageError, VitkitError


class MedMNIST(ImageData):
    """A MedMNIST file (.npz) of 2D pictures, grey or colour, or of 3D volumes.

    Its keys are ``{train,val,test}_images`` and ``{train,val,test}_labels``. Images are bytes of shape (n, height, width),
    (n, height, width, 3) or (n, depth, height, width); labels are integers of shape (n,) or (n, 1). A split that the file does
    not hold is missed only when it is asked for. Source: Yang et al., MedMNIST v2, Scientific Data 10, 41 (2023).

    Args:
        path: The file.
        classes: Names of the classes; if not given, the training labels' numbers.
        batch_size: Samples in a batch.
        num_workers: Processes that read pictures; 0 reads in the main one.
        augment: Transforms of training images (tensors in [0, 1]) that keep their shape.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        path: str,
        classes: list[str] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        augment: list[nn.Module] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, augment, seed)
        self.path, self.given = Path(path), classes
        self.name = self.path.stem

    def open(self) -> Layout:
        """Read the labels, and of the images what shape and type they have.

        Raises:
            UsageError: There is no such file.
            DataError: It is no such file as it should be.
        """
        if not self.path.is_file():
            folder = self.path.is_dir()
            raise UsageError(
                f"data.path {self.path} {'is a folder' if folder else 'does not exist'}",
                "a MedMNIST file (.npz)",
                "Give the file itself; a folder of scans is for vitkit.data.Scans, one of pictures for vitkit.data.ImageFolder."
                if folder
                else "Correct data.path.",
            )
        with self._file() as file:
            splits = [split for split in SPLITS if f"{split}_images" in file or f"{split}_labels" in file]
            missing = [key for split in splits or SPLITS[:2] for key in (f"{split}_images", f"{split}_labels") if key not in file]
            if missing:
                raise DataError(
                    f"{self.path} lacks {', '.join(missing)}; it holds {', '.join(file) or 'nothing'}",
                    "images and labels of each split: train_images, train_labels, val_images, ...",
                    "Save them under these keys with numpy.savez_compressed.",
                )
            headers = {split: self._header(file, f"{split}_images") for split in splits}
            labels = {split: self._labels(file[f"{split}_labels"], split, headers[split][0]) for split in splits}
        shapes = {shape[1:] for shape in headers.values()}
        if len(shapes) > 1:
            raise DataError(
                f"{self.path} has images of the shapes {' and '.join(map(str, sorted(shapes)))}", "one shape in every split",
                "Bring all the images to one shape.",
            )  # fmt: skip
        ndim, channels = self._kind(shapes.pop())
        reference = labels[splits[0]]
        classes = self.given or [str(number) for number in range(max(reference, default=-1) + 1)]
        unseen = sorted(set(range(len(classes))) - set(reference))
        if unseen and self.given is None:
            raise DataError(
                f"{self.path}: no {splits[0]} sample has label {', '.join(map(str, unseen))}",
                f"labels from 0 to {len(classes) - 1} without a gap",
                "Number the classes from 0, or name all of them in data.classes.",
            )
        parts = {split: partial(self._part, split, labels[split]) for split in splits}
        remedy = "Give a file that has the keys SPLIT_images and SPLIT_labels, with samples in them, " + OTHERS
        return Layout(str(self.path), classes, channels, ndim, parts, remedy)

    @contextmanager
    def _file(self) -> Iterator["np.lib.npyio.NpzFile"]:
        if not zipfile.is_zipfile(self.path):
            raise DataError(f"{self.path} is no .npz file, or a truncated one", "a MedMNIST file", "Download or copy it again.")
        try:
            with np.load(self.path, allow_pickle=False) as file:
                yield file
        except VitkitError:
            raise
        except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path} cannot be read: {error}", "a MedMNIST file", "Download or copy it again.") from error

    def _header(self, file: "np.lib.npyio.NpzFile", key: str) -> tuple[int, ...]:
        """An array's shape, after a check of its type; reads the array itself only to say what is wrong with it."""
        assert file.zip is not None  # the file is open
        with file.zip.open(f"{key}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
        if dtype != np.uint8:
            broken = np.isnan(file[key]).sum() if dtype.kind == "f" else 0
            raise DataError(
                f"{self.path}: {key} is {dtype}" + (f" and holds {broken} NaN" if broken else ""),
                "uint8, where 255 is full intensity",
                "Clear the NaN and save as uint8." if broken else "Scale to 0 to 255, round, and save as uint8.",
            )
        return shape

    def _labels(self, labels: np.ndarray, split: str, count: int) -> list[int]:
        if labels.dtype.kind not in "ui":
            raise DataError(f"{self.path}: {split}_labels is {labels.dtype}", "integers", "Save them as uint8.")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise DataError(
                f"{self.path}: {split}_labels has shape {labels.shape}",
                f"({count},) or ({count}, 1): one class per image",
                "Choose one label per image; several at once are not supported.",
            )
        if len(labels) != count:
            raise DataError(
                f"{self.path} has {count} {split}_images and {len(labels)} {split}_labels",
                "one label per image",
                "Make them agree.",
            )
        return labels.tolist()

    def _kind(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Axes and channels of an image of this shape."""
        match shape:
            case (_, _):
                return 2, 1
            case (_, _, 3):
                return 2, 3
            case (_, _, _):
                return 3, 1
        raise DataError(
            f"{self.path} has images of shape {shape}",
            "(height, width), (height, width, 3) or (depth, height, width)",
            "Bring the images to one of these forms.",
        )

    def _part(self, split: str, labels: Sequence[int]) -> Part:
        with self._file() as file:
            images = torch.from_numpy(file[f"{split}_images"])
        images = images.movedim(-1, 1) if self.layout.channels == 3 else images[:, None]
        return array_part(images, labels, [f"{split}/{index}" for index in range(len(labels))])
