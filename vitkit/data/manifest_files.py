"""Manifests in files: CSV, and the ``dataset.json`` of the Medical Segmentation Decathlon."""

import csv
import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from vitkit.data.manifest import Entry, Manifest
from vitkit.data.part import SPLITS
from vitkit.errors import DataError, UsageError

_COLUMNS = ("image", "mask", "split", "patient")


def read_csv(path: Path, root: Path, label: str | None = None, msd: Manifest | None = None) -> Manifest:
    """The scans of a CSV file: of a column ``image``, and of ``mask``, ``split``, ``patient`` and the label's where it has them.

    Paths are relative to ``root``, or absolute. Beside MSD's ``dataset.json``, whose masks are then the scans', the name of the
    file is enough, with or without its ending.

    Args:
        path: The file, in UTF-8, its values separated by commas, semicolons or tabs.
        root: Folder that the paths in it are relative to.
        label: Column of the classes; ``label`` if not given.
        msd: What ``dataset.json`` beside it says.

    Raises:
        DataError: No column ``image``, a line of another length than the first, no value where there has to be one, or a split
            that is not train, val or test.
    """
    columns = header(path)
    if "image" not in columns:
        raise DataError(
            f"{path} has the columns {', '.join(columns) or 'none'}",
            "a column image, with the path of each scan",
            "Rename the column of paths to image.",
        )
    if double := {name for name in columns if columns.count(name) > 1}:
        raise DataError(f"{path} has several columns {', '.join(sorted(double))}", "one of a name", "Rename all but one.")
    wanted = "label" if label is None or label.lower() == "label" else label
    unlabelled = None
    if wanted not in columns:
        rest = [name for name in columns if name not in _COLUMNS]
        unlabelled = UsageError(
            f"{path} has no column {wanted}, only {', '.join(columns)}",
            "a column with the class of each scan",
            f"Say which it is, e.g. --data.label {rest[-1]}." if rest else "Add it.",
        )
    by_name = {} if msd is None else {key: entry for entry in msd.entries for key in _names(entry)}
    entries = []
    for line, values in _rows(path, columns):
        where = f"{path}, line {line}"
        for name in _COLUMNS:
            if name in values and not values[name] and name != "mask":
                raise DataError(f"{where}: no {name}", "a value in every line", f"Fill it in, or leave out the column {name}.")
        split = values.get("split")
        if split is not None and split not in SPLITS:
            raise DataError(f"{where}: split {split}", f"one of {', '.join(SPLITS)}", "Correct it.")
        image, mask = values["image"], values.get("mask")
        file = root / image
        described = by_name.get(_normal(image)) if msd is not None else None
        if described is not None and not file.is_file():
            file = described.path
        entries.append(
            Entry(
                image,
                file,
                where,
                (values[wanted] or None) if unlabelled is None else None,
                root / mask if mask else described.mask if described is not None else None,
                split,
                values.get("patient"),
            )
        )
    return Manifest(str(path), entries, unlabelled)


def read_msd(path: Path) -> Manifest:
    """The scans of the Medical Segmentation Decathlon's ``dataset.json``: those to train with and to test, and the masks.

    It knows classes of voxels, none of scans, so nothing here has a label; a CSV file beside it can give them.

    Raises:
        DataError: No such file as it should be.
    """
    try:
        tree: Any = json.loads(path.read_text(encoding="utf-8"))
        items = [(item["image"], item["label"]) for item in tree["training"]]
        items += [(item if isinstance(item, str) else item["image"], None) for item in tree.get("test", [])]
        names = [(_normal(image), mask and _normal(mask)) for image, mask in items]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a dataset.json of the Medical Segmentation Decathlon ({type(error).__name__}: {error})",
            "JSON with a list training of objects with image and label",
            "Mend it, or give a CSV manifest with --data.manifest.",
        ) from error
    root = path.parent
    entries = [Entry(image, root / image, str(path), mask=root / mask if mask else None) for image, mask in names]
    unlabelled = UsageError(
        f"{path} has no class for a scan, only masks",
        "a CSV file beside it with the columns image and label",
        "Write one, with a line for each scan; `predict` needs none.",
    )
    return Manifest(str(path), entries, unlabelled)


def _dialect(path: Path) -> tuple[str, str]:
    """The text of a file, and the sign that separates its values."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        content = path.read_bytes()
        if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            found = f'{path} is UTF-16, as Excel\'s "Unicode Text" is'
            raise DataError(found, "a CSV file in UTF-8", 'Save it again; in Excel, as "CSV UTF-8".') from error
        if b"\0" in content:
            found = f"{path} is no text"
            raise DataError(found, "a manifest, which is a CSV file", "Give a folder of scans or their manifest.") from error
        raise DataError(f"{path} is not UTF-8 ({error})", "a CSV file in UTF-8", "Save it again as UTF-8.") from error
    first = text.partition("\n")[0]
    return text, max(",;\t", key=first.count)


def header(path: Path) -> list[str]:
    """The columns, stripped, and in lower case where vitkit knows the name."""
    text, separator = _dialect(path)
    names = [name.strip() for name in next(csv.reader(StringIO(text, newline=""), delimiter=separator), [])]
    return [name.lower() if name.lower() in (*_COLUMNS, "label") else name for name in names]


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Every line with its number and its values by column, without lines that are empty."""
    text, separator = _dialect(path)
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator)
    next(reader)
    rows = []
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(columns):
            raise DataError(
                f"{path}, line {reader.line_num}: {len(values)} values",
                f"{len(columns)}, one for each column",
                "Put values with a comma in them in quotation marks.",
            )
        rows.append((reader.line_num, {name: value.strip() for name, value in zip(columns, values, strict=True)}))
    return rows


def _normal(path: str) -> str:
    return PurePosixPath(path).as_posix()


def _names(entry: Entry) -> list[str]:
    """What a scan of dataset.json may be called: its path, the name of its file, and that without the ending."""
    name = entry.path.name
    return [entry.id, name, name.removesuffix(".gz").removesuffix(".nii")]
