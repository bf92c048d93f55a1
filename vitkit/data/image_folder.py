"""Pictures in folders named by class."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from torch import Tensor, nn

from vitkit.data.base import SPLITS, ImageData
from vitkit.data.part import Layout, Part
from vitkit.data.picture import EXTENSIONS, read_picture
from vitkit.data.splits import stratified
from vitkit.errors import DataError, UsageError


class ImageFolder(ImageData):
    """Your own pictures, in one folder per class.

    Either ``root/{train,val,test}/CLASS/*.png``, or ``root/CLASS/*.png``, which is split by ``fractions``, every class alike.
    Where ``root/train`` has no ``root/val`` beside it, validation pictures are taken from it, in the proportion of the first
    two fractions. Files in folders below a class count as well; what is hidden or no picture by its ending is passed over.

    To predict, every picture below ``root`` is taken, also where there are no class folders; with train, val and test folders,
    the test pictures. A picture in no known class has label -1.

    How files are read, 16-bit, palette, CMYK and transparent ones among them, is told at :func:`vitkit.data.picture.plain`.

    Args:
        root: The folder.
        classes: Names of the classes in the order of a model's outputs; folders of other names are refused, and classes without a
            folder allowed. If not given, the sorted names of the class folders.
        files: Predict these instead of the whole folder; relative to ``root``.
        fractions: Shares of train, val and test where the folder itself has no such folders.
        split_seed: Seed of that split; the seed of training does not change it.
        batch_size: Samples in a batch.
        num_workers: Processes that read pictures; 0 reads in the main one.
        augment: Transforms of training images (tensors in [0, 1]) that keep their shape.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        root: str,
        classes: list[str] | None = None,
        files: list[str] | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        batch_size: int = 64,
        num_workers: int = 0,
        augment: list[nn.Module] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, augment, seed)
        self.root, self.given, self.files, self.fractions, self.split_seed = Path(root), classes, files, fractions, split_seed
        self.name = self.root.resolve().name
        self._scanned: dict[str, tuple[list[str], list[str]]] = {}

    def open(self) -> Layout:
        """Look through the folder.

        Raises:
            UsageError: There is no such folder, or no such file among ``files``.
        """
        if not self.root.is_dir():
            found = "is a file" if self.root.exists() else "does not exist"
            raise UsageError(f"data.root {self.root} {found}", "a folder of pictures", "Correct data.root.")
        for name in self.files or ():
            if not (self.root / name).is_file():
                raise UsageError(f"data.files: {self.root / name} does not exist", "a picture", "Correct data.files.")
        folders = [split for split in SPLITS if (self.root / split).is_dir()]
        classes = self.given or _folders(self.root / folders[0] if folders else self.root)
        parts: dict[str, Callable[[], Part]] = {split: partial(self._folder, split) for split in folders}
        if not folders:
            parts = {split: partial(self._share, "", self.fractions, index) for index, split in enumerate(SPLITS)}
        elif "train" in folders and "val" not in folders:
            train, val, _ = self.fractions
            shares = (train / (train + val), val / (train + val)) if train + val > 0 else (train, val)
            parts |= {split: partial(self._share, "train", shares, index) for index, split in enumerate(SPLITS[:2])}
        if not folders or self.files is not None:
            parts["predict"] = self._everything
        return Layout(str(self.root), classes, 3, 2, parts, f"Add pictures in {self.root / 'SPLIT'}/CLASS, or use another split.")

    def _part(self, ids: Sequence[str], labels: Sequence[str]) -> Part:
        index = {name: position for position, name in enumerate(self.classes)}
        return Part(
            partial(_read, self.root, ids), [index.get(name, -1) for name in labels], ids, partial(_sizes, self.root, ids)
        )

    def _labelled(self, where: str) -> tuple[list[str], list[str]]:
        """Every picture in the class folders of a folder, with its class, after all that could be wrong was looked at."""
        if where not in self._scanned:
            self._scanned[where] = self._scan(where)
        return self._scanned[where]

    def _scan(self, where: str) -> tuple[list[str], list[str]]:
        folder, classes = self.root / where, self.classes
        beside = [
            path.name for path in sorted(self.root.iterdir()) if where and path.name not in SPLITS and _holds_pictures(path)
        ]
        if beside:
            raise DataError(
                f"{self.root} has {', '.join(beside)} beside {where}",
                "either the folders train, val and test, or one folder per class",
                "Move one kind elsewhere.",
            )
        members = {name: [f"{name}/{file}" for file in _pictures(folder / name)] for name in _folders(folder)}
        stray = [path.name for path in sorted(folder.iterdir()) if path.is_file() and _is_picture(path)]
        if not members:
            raise DataError(
                f"{folder} has no class folder" + (f" ({len(stray)} pictures lie directly in it)" if stray else ""),
                "one folder of pictures per class",
                f"Sort the pictures into {folder}/CLASS, or use `predict`, which needs no classes.",
            )
        if stray:
            raise DataError(
                f"{folder / stray[0]} lies beside the class folders", "every picture in the folder of its class", "Move it there."
            )
        if len(classes) == 1:
            raise DataError(
                f"{folder} has one class folder only, {classes[0]}",
                "two classes at least",
                "Add the folder of another class, or set data.root to the folder above.",
            )
        for name, files in members.items():
            if not files:
                raise DataError(
                    f"class folder {folder / name} has no picture", f"files that end in {', '.join(sorted(EXTENSIONS))}",
                    "Add pictures, or delete the folder.",
                )  # fmt: skip
        strange, missing = sorted(members.keys() - set(classes)), sorted(set(classes) - members.keys())
        if strange:
            raise DataError(
                f"{folder} has the class folders {', '.join(strange)}",
                f"no other than {_shortened(classes)}",
                "Name its folders alike" + (", or add them to data.classes." if self.given else " in every split."),
            )
        if missing and self.given is None:
            raise DataError(
                f"{folder} has no folder for the classes {', '.join(missing)}",
                f"all of {_shortened(classes)}, as in the training folder",
                "Add them, or list all classes in data.classes, where a split may lack some.",
            )
        labels = [name for name, files in members.items() for _ in files]
        return [f"{where}/{file}" if where else file for files in members.values() for file in files], labels

    def _folder(self, where: str) -> Part:
        return self._part(*self._labelled(where))

    def _share(self, where: str, fractions: Sequence[float], share: int) -> Part:
        ids, labels = self._labelled(where)
        chosen = stratified(ids, labels, fractions, self.split_seed)[share]
        return self._part([ids[index] for index in chosen], [labels[index] for index in chosen])

    def _everything(self) -> Part:
        ids = _pictures(self.root) if self.files is None else self.files
        return self._part(ids, [name.rpartition("/")[0].partition("/")[0] for name in ids])


def _read(root: Path, ids: Sequence[str], index: int) -> Image.Image | Tensor:
    return read_picture(root / ids[index])


def _sizes(root: Path, ids: Sequence[str]) -> Iterator[bytes]:
    for name in ids:
        yield str((root / name).stat().st_size).encode() + b"\n"


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> list[str]:
    """Pictures anywhere below a folder, by their path in it, sorted."""
    return sorted(_walk(folder))


def _holds_pictures(path: Path) -> bool:
    if path.is_dir():
        return not path.name.startswith(".") and next(_walk(path), None) is not None
    return _is_picture(path)


def _walk(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if _is_picture(path):
                yield path.relative_to(folder).as_posix()


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 10 else f"{', '.join(names[:10])} and {len(names) - 10} more"
