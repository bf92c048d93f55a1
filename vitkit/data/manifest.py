"""What scans there are, whose they are, and what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vitkit.data.folders import ClassFolders, Kind, shortened
from vitkit.errors import DataError, VitkitError
from vitkit.volumes.nifti import EXTENSIONS

SCANS = Kind("scan", EXTENSIONS)


@dataclass(frozen=True)
class Entry:
    """A scan of a manifest.

    Args:
        id: Its name, which is its path as the manifest has it.
        path: The file.
        where: The manifest and its line, for errors.
        label: Name of its class, if one is known.
        mask: File of its segmentation, if there is one.
        split: train, val or test, if the manifest says.
        patient: Whose scan it is, if the manifest says.
    """

    id: str
    path: Path
    where: str
    label: str | None = None
    mask: Path | None = None
    split: str | None = None
    patient: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The scans of a data set.

    Args:
        source: The file or folder, to be named in errors.
        entries: The scans, in the manifest's order.
        unlabelled: Why no scan has a label, or None if scans have them.
        folders: The class folders that they were found in, if it was so.
    """

    source: str
    entries: list[Entry]
    unlabelled: VitkitError | None = None
    folders: ClassFolders | None = None


def classes_of(manifest: Manifest, given: list[str] | None) -> list[str]:
    """Names of the classes: as given, else the folders', else what the entries hold, by number or by letter.

    >>> entries = [Entry(name, Path(name), "", label) for name, label in (("a", "10"), ("b", "9"))]
    >>> classes_of(Manifest("", entries), None)
    ['9', '10']
    """
    if given or manifest.folders is not None:
        return given or list(manifest.folders.classes)  # type: ignore[union-attr]  # one of the two is there
    labels = {entry.label for entry in manifest.entries if entry.label is not None}
    if all(label.removeprefix("-").isdigit() and label.isascii() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def check_labels(manifest: Manifest, entries: Sequence[Entry], classes: Sequence[str]) -> None:
    """Refuse scans that have no class to be trained or scored on.

    Raises:
        UsageError: The manifest says nothing of classes.
        DataError: A scan without one, or with one that is not among the classes; or fewer than two classes.
    """
    if manifest.unlabelled is not None:
        raise manifest.unlabelled
    for entry in entries:
        if entry.label is None:
            raise DataError(f"{entry.where}: no label for {entry.id}", "a class for each scan", "Fill it in, or delete the line.")
        if entry.label not in classes:
            raise DataError(
                f"{entry.where}: {entry.id} has the label {entry.label}",
                f"one of {shortened(classes)}",
                "Correct the label, or add it to data.classes.",
            )
    if len(classes) < 2:
        raise DataError(
            f"every scan of {manifest.source} has the label {', '.join(classes)}", "two classes at least", "Add scans of another."
        )


def relabelled(manifest: Manifest, where: str) -> list[Entry]:
    """The entries of a split's class folders, after the folders were looked at.

    Raises:
        DataError: See :meth:`ClassFolders.labelled`.
    """
    assert manifest.folders is not None
    ids, labels = manifest.folders.labelled(where)
    entries = {entry.id: entry for entry in manifest.entries}
    return [replace(entries[name], label=label) for name, label in zip(ids, labels, strict=True)]


def check_files(manifest: Manifest) -> None:
    """Refuse a manifest of files that are not there, or of scans that could be in two splits.

    Raises:
        DataError: No scan, a missing file, a scan that is named twice, or a patient in two splits.
    """
    entries, source = manifest.entries, manifest.source
    if not entries:
        raise DataError(f"{source} names no scan", "one at least", "Add lines to it, or correct data.root.")
    missing = [(entry, path) for entry in entries for path in (entry.path, entry.mask) if path is not None and not path.is_file()]
    if missing:
        entry, path = missing[0]
        more = f" (and {len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        raise DataError(
            f"{entry.where} names {path}, which does not exist{more}",
            "the path of a file, relative to data.root or absolute",
            "Correct the manifest, or data.root.",
        )
    seen: dict[Path, Entry] = {}
    homes: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.path.resolve(), entry)
        if first is not entry:
            raise DataError(
                f"{entry.where} names {entry.path} again, after {first.where}", "every scan once", "Delete one of the two."
            )
        if entry.patient is None or entry.split is None:
            continue
        home = homes.setdefault(entry.patient, entry)
        if home.split != entry.split:
            raise DataError(
                f"patient {entry.patient} is in {entry.split} ({entry.where}) and in {home.split} ({home.where})",
                "every patient in one split, or the model is tested on whom it was trained on",
                "Move the patient, or leave out the column split, and vitkit splits by patient.",
            )
