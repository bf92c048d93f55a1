"""Pictures in folders named by class."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from torch import Tensor, nn

from vitkit.data.base import ImageData
from vitkit.data.folders import ClassFolders, Kind
from vitkit.data.part import OTHERS, Layout, Part
from vitkit.data.picture import EXTENSIONS, read_picture
from vitkit.data.splits import parts_of, stratified
from vitkit.errors import UsageError

PICTURES = Kind("picture", sorted(EXTENSIONS))


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
        self._folders = ClassFolders(self.root, PICTURES, self.given)
        parts, note = parts_of(self._folders.splits, self._folder, self._share, self.fractions)
        if not self._folders.splits or self.files is not None:
            parts["predict"] = self._everything
        remedy = f"Add pictures in {self.root / 'SPLIT'}/CLASS, {OTHERS}"
        return Layout(str(self.root), self._folders.classes, 3, 2, parts, remedy, note)

    def _part(self, ids: Sequence[str], labels: Sequence[str]) -> Part:
        index = {name: position for position, name in enumerate(self.classes)}
        found = [index.get(name, -1) for name in labels]
        return Part(partial(_read, self.root, ids), found, ids, partial(_content, self.root, ids))

    def _folder(self, where: str) -> Part:
        return self._part(*self._folders.labelled(where))

    def _share(self, where: str, fractions: Sequence[float], share: int) -> Part:
        ids, labels = self._folders.labelled(where)
        chosen = stratified(ids, labels, fractions, self.split_seed)[share]
        return self._part([ids[index] for index in chosen], [labels[index] for index in chosen])

    def _everything(self) -> Part:
        ids = PICTURES.below(self.root) if self.files is None else self.files
        return self._part(ids, [name.rpartition("/")[0].partition("/")[0] for name in ids])


def _read(root: Path, ids: Sequence[str], index: int) -> Image.Image | Tensor:
    return read_picture(root / ids[index])


def _content(root: Path, ids: Sequence[str], index: int) -> bytes:
    return (root / ids[index]).read_bytes()
