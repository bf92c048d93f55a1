"""Files of one kind in folders named by class."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitkit.data.part import SPLITS
from vitkit.errors import DataError


@dataclass(frozen=True)
class Kind:
    """What files count.

    Args:
        noun: One of them, in words.
        endings: Of their names, in lower case.

    >>> Kind("scan", (".nii", ".nii.gz")).has(Path("head.NII.GZ"))
    True
    """

    noun: str
    endings: Sequence[str]

    def has(self, path: Path) -> bool:
        """Whether a path is one by its ending, and not hidden."""
        return path.name.lower().endswith(tuple(self.endings)) and not path.name.startswith(".")

    def below(self, folder: Path) -> list[str]:
        """Those anywhere below a folder, by their path in it, sorted."""
        return sorted(self._walk(folder))

    def within(self, path: Path) -> bool:
        """Whether a path is one, or a folder that holds one."""
        if path.is_dir():
            return not path.name.startswith(".") and next(self._walk(path), None) is not None
        return self.has(path)

    def _walk(self, folder: Path) -> Iterator[str]:
        for parent, folders, files in os.walk(folder, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(parent, name)
                if self.has(path):
                    yield path.relative_to(folder).as_posix()


def count_endings(folder: Path, endings: Sequence[str]) -> Counter[str]:
    """How many files anywhere below a folder have each of these endings, in lower case; what is hidden is passed over."""
    names = [name.lower() for name in Kind("file", endings).below(folder)]
    return Counter(next(ending for ending in endings if name.endswith(ending)) for name in names)


class ClassFolders:
    """``root/{train,val,test}/CLASS/*``, or ``root/CLASS/*``; files in folders below a class count as well.

    Args:
        root: The folder.
        kind: The files that are looked for; what is hidden, or no such file by its ending, is passed over.
        given: Names of the classes; the names of the folders if not given.
    """

    def __init__(self, root: Path, kind: Kind, given: list[str] | None = None) -> None:
        self.root, self.kind, self.given = root, kind, given
        self.splits = [split for split in SPLITS if (root / split).is_dir()]
        self.classes = given or _folders(root / self.splits[0] if self.splits else root)
        self._scanned: dict[str, tuple[list[str], list[str]]] = {}

    def labelled(self, where: str) -> tuple[list[str], list[str]]:
        """Every file in the class folders of a folder, by its path from the root, with its class.

        Args:
            where: One of the splits, or "" for the root.

        Raises:
            DataError: Folders that are no such thing: no class or one alone, an empty class, one that is not among the classes, a
                missing one, files beside the class folders, folders beside those of the splits.
        """
        if where not in self._scanned:
            self._scanned[where] = self._scan(where)
        return self._scanned[where]

    def _scan(self, where: str) -> tuple[list[str], list[str]]:
        folder, classes, noun = self.root / where, self.classes, self.kind.noun
        beside = [
            path.name for path in sorted(self.root.iterdir()) if where and path.name not in SPLITS and self.kind.within(path)
        ]
        if beside:
            raise DataError(
                f"{self.root} has {', '.join(beside)} beside {where}",
                "either the folders train, val and test, or one folder per class",
                "Move one kind elsewhere.",
            )
        members = {name: [f"{name}/{file}" for file in self.kind.below(folder / name)] for name in _folders(folder)}
        stray = [path.name for path in sorted(folder.iterdir()) if path.is_file() and self.kind.has(path)]
        if not members:
            raise DataError(
                f"{folder} has no class folder" + (f" ({len(stray)} {noun}s lie directly in it)" if stray else ""),
                f"one folder of {noun}s per class",
                f"Sort the {noun}s into {folder}/CLASS, or use `predict`, which needs no classes.",
            )
        if stray:
            raise DataError(
                f"{folder / stray[0]} lies beside the class folders", f"every {noun} in the folder of its class", "Move it there."
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
                    f"class folder {folder / name} has no {noun}", f"files that end in {', '.join(sorted(self.kind.endings))}",
                    f"Add {noun}s, or delete the folder.",
                )  # fmt: skip
        strange, missing = sorted(members.keys() - set(classes)), sorted(set(classes) - members.keys())
        if strange:
            raise DataError(
                f"{folder} has the class folders {', '.join(strange)}",
                f"no other than {shortened(classes)}",
                "Name its folders alike" + (", or add them to data.classes." if self.given else " in every split."),
            )
        if missing and self.given is None:
            raise DataError(
                f"{folder} has no folder for the classes {', '.join(missing)}",
                f"all of {shortened(classes)}, as in the training folder",
                "Add them, or list all classes in data.classes, where a split may lack some.",
            )
        labels = [name for name, files in members.items() for _ in files]
        return [f"{where}/{file}" if where else file for files in members.values() for file in files], labels


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def shortened(names: Sequence[str]) -> str:
    """A list in words, of ten names at most."""
    return ", ".join(names) if len(names) <= 10 else f"{', '.join(names[:10])} and {len(names) - 10} more"
