"""3D scans from NIfTI files, with their geometry."""

import json
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitkit.data.base import ImageData
from vitkit.data.cache import VolumeCache
from vitkit.data.find_manifest import find_manifest
from vitkit.data.folders import shortened
from vitkit.data.manifest import Entry, check_labels, classes_of, relabelled
from vitkit.data.medmnist import MedMNIST
from vitkit.data.part import OTHERS, SPLITS, Images, Layout, Part
from vitkit.data.reading import Reading
from vitkit.data.splits import by_patient, parts_of
from vitkit.errors import DataError, UsageError, require_choice
from vitkit.preprocess import Preprocess
from vitkit.volumes import Intensity, Percentile, Volume
from vitkit.volumes.axes import parse_codes
from vitkit.volumes.geometry import Xform
from vitkit.volumes.read import Constant, Nonfinite
from vitkit.volumes.volume import middle_start, placed

Oversize = Literal["error", "crop"]


class Scans(ImageData):
    """Your own 3D scans (NIfTI, .nii or .nii.gz), with a class for each.

    What there is, is read from what lies in ``root``: a CSV manifest (``manifest.csv``, or any with a column ``image``), MSD's
    ``dataset.json`` with a CSV file of classes beside it, or class folders (``root/{train,val,test}/CLASS/*.nii.gz`` or
    ``root/CLASS/*.nii.gz``). A manifest has a line for each scan: its path in ``image``, its class in ``label`` or in the column
    that ``label`` names here, and if you like ``split`` (train, val, test), ``patient`` and ``mask``. A MedMNIST file (.npz) is
    taken as :class:`MedMNIST` takes it.

    Where nothing says which split a scan belongs to, they are split by ``fractions``, every class alike, and scans of one patient
    together. Validation scans are taken from those to train with where there are none. To predict, every scan that is listed is
    taken, labelled or not; with splits, those of the test split if there are any.

    Each scan is turned to RAS by flips and permutations, its intensities are mapped to [0, 1], it is resampled to the model's
    ``preprocess.spacing`` (linearly; where voxels get larger, over means) and brought to ``preprocess.size`` about its middle.
    Where it is smaller it is padded with 0, and :attr:`Sample.real` says where. Nothing is guessed: a file whose geometry is
    unknown or contradicts itself, or whose voxels are not finite, is an error that names it.

    Samples are ``(1, R, A, S)``: the axes run to the patient's right, front and head. Their names are the paths of the manifest,
    their groups its patients.

    Args:
        root: Folder of the scans, or their manifest.
        manifest: The manifest, relative to ``root`` or not; found by itself if there is one only.
        label: Column of the classes; ``label`` if not given.
        classes: Names of the classes in the order of a model's outputs; other labels are refused. If not given, those that are
            there, sorted, numbers by their value.
        intensity: From a scan's values to [0, 1]: by its own percentiles, or a window of HU for CT.
        nonfinite: What becomes of voxels that are NaN or infinite: ``error``, or ``fill`` with the smallest finite value
            (infinity: the largest).
        assume: Orientation of files whose header says none, such as ``LAS``; they are refused if not given.
        xform: What to believe where a file's sform and qform disagree: ``sform``, ``qform``, or neither: ``agree``.
        constant: ``error``, or ``allow`` for scans of one single value, in the file or once their intensities were scaled.
        frame: Which one of the frames of 4D files, counted from 0.
        oversize: What to do with scans that are larger than ``preprocess.size``: ``error``, or ``crop`` to their middle.
        masks: Whether training samples come with their segmentation, from the manifest's column ``mask``, for a model with
            ``amount``. Masks are resampled to the nearest voxel.
        cache: Folder in which prepared scans are kept for later epochs and runs; it can be shared, and deleted at any time.
        fractions: Shares of train, val and test where the manifest has no splits.
        split_seed: Seed of that split; the seed of training does not change it.
        batch_size: Samples in a batch.
        num_workers: Processes that read scans; 0 reads in the main one.
        augment: Transforms of training volumes (tensors in [0, 1]) that keep their shape; see :mod:`vitkit.data.augment`.
        seed: Seed of the order and of the augmentation.

    Raises:
        UsageError: An option that is none of its choices.
    """

    def __init__(
        self,
        root: str,
        manifest: str | None = None,
        label: str | None = None,
        classes: list[str] | None = None,
        intensity: Intensity = Percentile(),
        nonfinite: Nonfinite = "error",
        assume: str | None = None,
        xform: Xform = "agree",
        constant: Constant = "error",
        frame: int | None = None,
        oversize: Oversize = "error",
        masks: bool = False,
        cache: str | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        batch_size: int = 8,
        num_workers: int = 0,
        augment: list[nn.Module] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, augment, seed)
        for name, value, choices in (
            ("nonfinite", nonfinite, Nonfinite),
            ("xform", xform, Xform),
            ("constant", constant, Constant),
            ("oversize", oversize, Oversize),
        ):
            require_choice(f"data.{name}", value, get_args(choices))
        if assume is not None:
            parse_codes(assume)
        self.root, self.given_manifest, self.label, self.given = Path(root), manifest, label, classes
        kept = None if cache is None else VolumeCache(cache)
        self.reading = Reading(intensity, nonfinite, assume, xform, constant, frame, kept)
        self.oversize: Oversize = oversize
        self.masks = masks
        self.fractions, self.split_seed = fractions, split_seed
        self.name = self.root.resolve().stem if self.root.is_file() else self.root.resolve().name
        self._paths: dict[str, Path] = {}
        self._masks: dict[str, Path | None] = {}

    def open(self) -> Layout:
        """Find the scans, and look at no file yet.

        Raises:
            UsageError: Nothing of the kind is there; the message says what was looked for.
            DataError: A manifest that is not as it should be.
        """
        if self.root.suffix == ".npz":
            return MedMNIST(str(self.root), self.given).layout
        self.manifest = find_manifest(self.root, self.given_manifest, self.label, self.given)
        self._paths = {entry.id: entry.path for entry in self.manifest.entries}
        self._masks = {entry.id: entry.mask for entry in self.manifest.entries}
        classes = classes_of(self.manifest, self.given)
        remedy = f"Write SPLIT in the column split of {self.manifest.source}, {OTHERS}"
        if self.manifest.folders is not None:
            remedy = f"Add scans in {self.root / 'SPLIT'}/CLASS, {OTHERS}"
        given = [split for split in SPLITS if any(entry.split == split for entry in self.manifest.entries)]
        if self.manifest.folders is not None:
            given = self.manifest.folders.splits
        parts, note = parts_of(given, self._labelled, self._share, self.fractions)
        return Layout(self.manifest.source, classes, 1, 3, {**parts, "predict": self._predicted}, remedy, note)

    def volume(self, name: str) -> Volume:
        """A scan as the model sees it, with its place in the patient: each channel of :attr:`Sample.image`, before augmentation.

        What was computed from it can be put into its place (``dataclasses.replace(volume, data=...)``) and be written onto the
        grid of the file, which is its source, by :func:`vitkit.volumes.write_back`.

        Args:
            name: Id of the sample, in any split.

        Raises:
            UsageError: There is no such scan, or this is a MedMNIST file, whose volumes have no place.
            DataError: A file that cannot be read, or is too large, as in the splits.
        """
        _ = self.layout
        if name not in self._paths:
            close = get_close_matches(name, self._paths, n=1)
            remedy = f"Did you mean {close[0]}?" if close else "The ids of the splits are these names."
            raise UsageError(f"no scan {name} in {self.root}", "the id of a sample of a NIfTI file", remedy)
        if self.preprocess is None:
            return self.reading.volume(self._paths[name], None)
        size, limit = self.preprocess.size, self.preprocess.size if self.oversize == "error" else None
        return self.reading.volume(self._paths[name], self.preprocess.spacing, limit).cropped_or_padded(size)[0]

    def _entries(self, where: str) -> list[Entry]:
        """The scans of a split, or all of them."""
        manifest = self.manifest
        if manifest.folders is not None:
            return relabelled(manifest, where)
        return [entry for entry in manifest.entries if not where or entry.split == where]

    def _labelled(self, split: str) -> Part:
        return self._part(self._entries(split))

    def _load(self, name: str) -> Part:
        # Here, and not where the parts are made: who trains need not know the labels of a test split that is withheld.
        classes = self.layout.classes
        if self._paths and name != "predict" and self.manifest.folders is None:
            check_labels(self.manifest, [entry for entry in self.manifest.entries if entry.split == name], classes)
        return super()._load(name)

    def _share(self, where: str, fractions: Sequence[float], share: int) -> Part:
        entries = self._entries(where)
        check_labels(self.manifest, entries, self.classes)
        # A patient and a scan that are called the same are not the same.
        whose = [f"scan {entry.id}" if entry.patient is None else f"patient {entry.patient}" for entry in entries]
        chosen = by_patient(whose, [str(entry.label) for entry in entries], fractions, self.split_seed)[share]
        return self._part([entries[index] for index in chosen])

    def _predicted(self) -> Part:
        entries = self.manifest.entries
        return self._part([entry for entry in entries if entry.split == "test"] or entries)

    def _part(self, entries: Sequence[Entry]) -> Part:
        index = {name: position for position, name in enumerate(self.classes)}
        paths = [entry.path for entry in entries]
        labels = [index.get(entry.label or "", -1) for entry in entries]
        ids, groups = [entry.id for entry in entries], [entry.patient for entry in entries]
        return Part(partial(_stored, self.reading, paths), labels, ids, partial(_content, self.reading, paths), groups)

    def _images(self, part: Part, augment: Sequence[nn.Module]) -> Images:
        if not self._paths:  # of a MedMNIST file
            return super()._images(part, augment)
        paths = [self._paths[name] for name in part.ids]
        masks = self._masks_of(part) if self.masks and part is self._loaded.get("train") else None
        return ScanImages(part, paths, self.reading, self.oversize, self.channels, self.preprocess, augment, self.seed, masks)

    def _masks_of(self, part: Part) -> list[Path]:
        found = {name: path for name in part.ids if (path := self._masks[name]) is not None}
        missing = [name for name in part.ids if name not in found]
        if missing:
            raise DataError(
                f"{self.manifest.source} names no mask for {shortened(missing)}",
                "a mask for every training scan, as data.masks asks for",
                "Fill in the column mask, or leave out data.masks.",
            )
        return list(found.values())

    def _check_preprocess(self) -> None:
        super()._check_preprocess()
        if self._paths and self.preprocess is not None and self.preprocess.spacing is None:
            path = next(iter(self._paths.values()))
            own = self.reading.read(path, nonfinite="fill", constant="allow").oriented()
            raise UsageError(
                "no model.preprocess.spacing",
                "the distance in mm to which scans are resampled along the axes right, front and head",
                f"Set it, for example to [{', '.join(f'{step:g}' for step in own.spacing)}], which is that of {path}.",
            )


class ScanImages(Images):
    """A split of scans as a model sees them: at its spacing and size, with what is padded marked.

    Args:
        part: The split.
        paths: The files.
        reading: How they are read.
        oversize: What to do with a scan that is larger than the model's size.
        channels: Channels that every sample gets, all of them the same.
        preprocess: The model's; None leaves scans at the spacing and size they have.
        augment: Transforms of training volumes.
        seed: Seed of the augmentation.
        masks: Files of the scans' masks, if samples are to have them.
    """

    def __init__(
        self,
        part: Part,
        paths: Sequence[Path],
        reading: Reading,
        oversize: Oversize,
        channels: int,
        preprocess: Preprocess | None = None,
        augment: Sequence[nn.Module] = (),
        seed: int = 0,
        masks: Sequence[Path] | None = None,
    ) -> None:
        spacing = None if preprocess is None else preprocess.spacing
        limit = preprocess.size if preprocess is not None and oversize == "error" else None
        read = partial(_stored, reading, paths, spacing=spacing, limit=limit)
        super().__init__(replace(part, read=read), channels, None, augment, seed)
        self.paths, self.masks = paths, masks
        self.reading, self.spacing = reading, spacing
        self.size: Any = None if preprocess is None else preprocess.size

    def _picture(
        self, index: int
    ) -> tuple[Float[Tensor, "channels *size"], Bool[Tensor, "*size"] | None, Bool[Tensor, "*size"] | None]:
        scan = super()._picture(index)[0]
        mask = None if self.masks is None else self.reading.mask(self.masks[index], self.paths[index], self.spacing)
        found, size = tuple(scan.shape[1:]), self.size
        if size is None or found == size:
            return scan, None, mask
        start = middle_start(found, size)
        placed_scan, real = placed(scan, start, size, 0.0)
        placed_mask = None if mask is None else placed(mask[None], start, size, 0.0)[0][0]
        return placed_scan, None if bool(real.all()) else real, placed_mask


def _stored(
    reading: Reading,
    paths: Sequence[Path],
    index: int,
    spacing: Sequence[float] | None = None,
    limit: Sequence[int] | None = None,
) -> Tensor:
    return reading(paths[index], spacing, limit)


def _content(reading: Reading, paths: Sequence[Path], index: int) -> bytes:
    return json.dumps(reading.steps(None), sort_keys=True).encode() + paths[index].read_bytes()
