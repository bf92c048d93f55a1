"""Where the scans of a data set are listed."""

from pathlib import Path, PurePosixPath

from vitkit.data.folders import ClassFolders
from vitkit.data.manifest import SCANS, Entry, Manifest, check_files
from vitkit.data.manifest_files import header, read_csv, read_msd
from vitkit.data.part import SPLITS
from vitkit.errors import DataError, UsageError


def find_manifest(
    root: Path, manifest: str | None = None, label: str | None = None, classes: list[str] | None = None, check: bool = True
) -> Manifest:
    """The scans at a path, in whichever form they are described.

    Looked for are, in this order: a CSV file with a column ``image`` (``manifest.csv``, if there are several), together with
    MSD's ``dataset.json`` if there is one; ``dataset.json`` alone; folders ``{train,val,test}/CLASS`` or ``CLASS`` with scans.
    Beside a manifest, other CSV files need not be readable.

    Args:
        root: A folder, or a manifest itself, whose paths are then relative to the folder it is in.
        manifest: File of the manifest, relative to ``root`` or not; looked for if not given.
        label: Column of the classes; ``label`` if not given.
        classes: Names of the classes of class folders.
        check: Whether its files are looked for, and its patients' splits compared.

    Raises:
        UsageError: Nothing of the kind is there; the message says what was looked for.
        DataError: A manifest that lacks a column, names a missing file or names one twice, or puts a patient in two splits; or no
            manifest, and a CSV file that cannot be read.
    """
    if root.is_file():
        if SCANS.has(root):
            reason = UsageError(f"data.root {root} is a scan", "a folder of scans, or their manifest", "Correct data.root.")
            return Manifest(str(root), [Entry(root.name, root, str(root), None)], reason)
        if manifest is not None and Path(manifest).name != root.name and (root.parent / manifest).is_file():
            remedy = "Leave one of them out: --data.manifest null, where a config or a checkpoint names one."
            raise UsageError(f"data.root {root} is a file", "a folder, as data.manifest is given too", remedy)
        root, manifest = root.parent, root.name
    if not root.is_dir():
        raise UsageError(f"data.root {root} does not exist", "a folder of scans, or their manifest", "Correct data.root.")
    found = _looked_for(root, label, classes) if manifest is None else _given(root, manifest, label)
    if check:
        check_files(found)
    return found


def _given(root: Path, manifest: str, label: str | None) -> Manifest:
    path = next((path for path in (root / manifest, Path(manifest)) if path.is_file()), None)
    if path is None:
        csvs = ", ".join(path.name for path in _csvs(root)) or "none"
        missing = UsageError(
            f"data.manifest {manifest} is neither in {root} nor elsewhere",
            f"a CSV file or MSD's dataset.json; CSV files in {root}: {csvs}",
            "Correct data.manifest.",
        )
        # To predict, scans are enough; a config or a checkpoint names the manifest of what was trained on.
        if csvs != "none" or not SCANS.within(root):
            raise missing
        return Manifest(str(root), [Entry(name, root / name, str(root), None) for name in SCANS.below(root)], missing)
    if path.suffix.lower() == ".json":
        return read_msd(path)
    msd = root / "dataset.json"
    return read_csv(path, root, label, read_msd(msd) if msd.is_file() else None)


def _looked_for(root: Path, label: str | None, classes: list[str] | None) -> Manifest:
    msd = read_msd(root / "dataset.json") if (root / "dataset.json").is_file() else None
    csvs = _csvs(root)
    tables = {path: header(path) for path in csvs if path.name.lower() == "manifest.csv"}
    chosen = [path for path, columns in tables.items() if "image" in columns]
    if not chosen:
        unreadable = []
        for path in csvs:
            try:
                tables[path] = header(path)
            except (DataError, OSError) as error:
                unreadable.append(error)
        chosen = [path for path, columns in tables.items() if "image" in columns]
        if not chosen and unreadable:  # any of which could be the manifest
            raise unreadable[0]
    if len(chosen) > 1:
        names = ", ".join(path.name for path in chosen)
        raise UsageError(
            f"{root} has {len(chosen)} CSV files with a column image: {names}", "one manifest", "Choose with --data.manifest."
        )
    if chosen:
        return read_csv(chosen[0], root, label, msd)
    if msd is not None:
        return msd
    if SCANS.within(root):
        return _in_folders(root, classes)
    beside = "; ".join(f"{path.name} has the columns {', '.join(columns) or 'none'}" for path, columns in tables.items())
    raise UsageError(
        f"no scans in {root}" + (f" ({beside})" if beside else ""),
        "a CSV manifest with the columns image and label (manifest.csv), MSD's dataset.json, folders CLASS/*.nii.gz or "
        "{train,val,test}/CLASS/*.nii.gz, or a MedMNIST file (.npz)",
        "Correct data.root, or write a manifest: a line for each scan, with its path and its class.",
    )


def _in_folders(root: Path, classes: list[str] | None) -> Manifest:
    """Scans in class folders; whether these are in order is looked at when labels are asked for, which predicting does not."""
    folders = ClassFolders(root, SCANS, classes)
    entries = []
    for name in SCANS.below(root):
        parts = PurePosixPath(name).parts[:-1]
        split = parts[0] if folders.splits and parts and parts[0] in SPLITS else None
        rest = parts[1:] if split else parts
        label = rest[0] if rest and rest[0] in folders.classes else None
        entries.append(Entry(name, root / name, str(root), label, split=split))
    return Manifest(str(root), entries, folders=folders)


def _csvs(root: Path) -> list[Path]:
    tables = (path for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv") and not path.name.startswith("."))
    return sorted(path for path in tables if path.is_file())
