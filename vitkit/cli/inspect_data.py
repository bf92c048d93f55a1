"""``vitkit inspect-data``: what a set of scans is like, what is wrong with which of them, and three planes of a few."""

import argparse
import csv
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from vitkit.cli.arguments import Parser
from vitkit.cli.say import say
from vitkit.errors import DataError, UsageError, VitkitError
from vitkit.files import replacing

if TYPE_CHECKING:
    from vitkit.data.manifest import Manifest
    from vitkit.volumes import Fingerprint, Record

_EPILOG = """\
PATH is a CSV manifest with the columns image and, if there are masks, mask; a folder with such a manifest or with the
dataset.json of the Medical Segmentation Decathlon; a folder of NIfTI files; or one such file.

examples:
  vitkit inspect-data path/to/scans
  vitkit inspect-data path/to/scans/manifest.csv --out runs/scans
  vitkit inspect-data path/to/scans --label outcome --nonfinite fill

exit codes: 0 no problem, 1 problems, 2 usage
"""

_AS_IN_FIT: dict[str, dict[str, Any]] = {
    "manifest": {"metavar": "FILE", "help": "the manifest, where there are several"},
    "label": {"metavar": "COLUMN", "help": "its column of classes; label if not given"},
    "nonfinite": {"choices": ("error", "fill"), "default": "error", "help": "fill: NaN and infinity may be filled"},
    "constant": {"choices": ("error", "allow"), "default": "error", "help": "allow: scans of one value may be there"},
    "frame": {"metavar": "N", "type": int, "help": "which one of the frames of 4D files, from 0"},
    "assume": {"metavar": "CODES", "help": "orientation of files whose header says none, such as LAS"},
    "xform": {"choices": ("agree", "sform", "qform"), "default": "agree", "help": "which one to believe"},
}


_OTHER_FORMATS = (".img", ".img.gz", ".mgz", ".mha", ".mhd", ".nrrd", ".dcm", ".nii.bz2", ".nii.xz")


def main(argv: list[str]) -> int:
    """Look at every scan; returns the exit code."""
    description = "Read every scan and mask, say what they are like and what is wrong with which, and draw a few."
    parser = Parser("vitkit inspect-data", "PATH [OPTIONS]", description, _EPILOG)
    parser.add_argument("path", metavar="PATH", type=Path, help="a manifest or a folder of scans")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder of scans.csv and planes.png; runs/NAME-data if not given")
    parser.add_argument("--pictures", metavar="N", type=int, default=3, help="scans in planes.png; 3 if not given")
    same = parser.add_argument_group("as of `vitkit fit`, where they begin with --data, too: for what it would otherwise refuse")
    for name, options in _AS_IN_FIT.items():
        same.add_argument(f"--{name}", f"--data.{name}", dest=name, **options)
    arguments = parser.parse_args(argv)
    if arguments.pictures < 1:
        raise UsageError(f"--pictures {arguments.pictures}", "one at least", "Leave it out for three.")
    path: Path = arguments.path
    out: Path = arguments.out or Path("runs") / f"{path.resolve().name.partition('.')[0]}-data"
    if out.is_file():
        raise UsageError(f"--out {out} is a file", "a folder", "Choose another --out.")
    if path.suffix == ".npz":
        raise UsageError(
            f"{path} is a MedMNIST file", "scans, which have a geometry", "Train on it as it is; nothing has to be chosen."
        )
    # Imported here, so that help comes at once.
    from vitkit.volumes import Problem, draw_planes, fingerprint, read, read_mask
    from vitkit.volumes.axes import parse_codes

    if arguments.assume is not None:
        parse_codes(arguments.assume)
    geometry = {"assume": arguments.assume, "xform": arguments.xform}
    options = geometry | {name: getattr(arguments, name) for name in ("nonfinite", "constant", "frame")}
    manifest = _scans(path, arguments.manifest, arguments.label)
    found = fingerprint([(entry.path, entry.mask) for entry in manifest.entries], **options)
    problems = [Problem(path, error) for error in _faults(manifest, arguments.label)] + list(found.problems)
    _show([*_about(manifest), *found.summary()], len(problems), bool(found.records))
    for problem in problems:
        say(f"problem: {problem.error}")
    if found.records:
        _write_csv(found.records, out / "scans.csv")
        chosen = _spread(found.records, arguments.pictures)
        pairs = [(read(r.image, **options), read_mask(r.mask, **geometry) if r.mask else None) for r in chosen]
        draw_planes(pairs, out / "planes.png")
        say(f"every scan: {out / 'scans.csv'}")
        say(f"three planes: {out / 'planes.png'}")
        if len(classes := {entry.label for entry in manifest.entries} - {None}) > 1 and not problems:
            say(f"train: {shlex.join(_command(found, len(classes), {'root': path, **_told(arguments, parser)}))}")
    return 1 if problems else 0


def _scans(path: Path, manifest: str | None, label: str | None) -> "Manifest":
    from vitkit.data.find_manifest import find_manifest
    from vitkit.data.manifest import SCANS, Entry, Manifest

    if not path.exists():
        raise UsageError(f"{path} does not exist", "a manifest or a folder of scans", "Correct the path.")
    if path.is_file() and SCANS.has(path):
        return Manifest(str(path), [Entry(path.name, path, str(path))], UsageError("one scan alone", "a set", "Give a folder."))
    return find_manifest(path, manifest, label, check=False)


def _faults(manifest: "Manifest", label: str | None) -> "Iterator[VitkitError]":
    """What is wrong with a manifest as a whole."""
    from vitkit.data.manifest import check_files, check_labels, classes_of, relabelled

    entries = [entry for entry in manifest.entries if entry.split != "test"]  # whose labels may be withheld
    there = [entry for entry in manifest.entries if entry.path.is_file() and (entry.mask is None or entry.mask.is_file())]
    # Files that are missing are problems of their own.
    checks: list[Callable[[], object]] = [lambda: check_files(replace(manifest, entries=there if manifest.entries else []))]
    if {"val", "test"} & (splits := {entry.split for entry in manifest.entries}) and "train" not in splits:
        yield DataError(f"{manifest.source} has no train split", "scans to train on", "Write train in the column split.")
    trained = {entry.label for entry in manifest.entries if entry.split in (None, "train")} - {None}
    lost = {entry.label for entry in manifest.entries} - {None} - trained
    if trained and lost:
        yield DataError(
            f"{manifest.source} has no scan of {', '.join(sorted(map(str, lost)))} to train on",
            "every class in the train split",
            "Move scans of it there, or leave it out.",
        )
    if entries and manifest.folders is None and (manifest.unlabelled is None or label is not None):
        checks.append(lambda: check_labels(manifest, entries, classes_of(manifest, None)))
    if manifest.folders is not None and any(entry.label for entry in manifest.entries):
        checks += [partial(relabelled, manifest, split) for split in manifest.folders.splits or [""]]
    for check in checks:
        try:
            check()
        except VitkitError as error:
            yield error


def _about(manifest: "Manifest") -> Iterator[tuple[str, str]]:
    """What a manifest says of its scans."""
    from vitkit.data.folders import count_endings
    from vitkit.data.manifest import classes_of
    from vitkit.data.part import SPLITS

    entries = manifest.entries
    for name, values in (
        ("classes", [entry.label for entry in entries]),
        ("splits", [entry.split for entry in entries]),
    ):
        if counts := Counter(value for value in values if value is not None):
            ordered = classes_of(manifest, None) if name == "classes" else [split for split in SPLITS if split in counts]
            yield name, ", ".join(f"{value} ({counts[value]})" for value in ordered)
        elif name == "classes" and manifest.unlabelled is not None:
            hint = " (--label COLUMN)" if "--data.label" in manifest.unlabelled.remedy else ""
            yield name, f"none: {manifest.unlabelled.found}{hint}"
    if manifest.folders is not None and (others := count_endings(manifest.folders.root, _OTHER_FORMATS)):
        listed = ", ".join(f"{count} {ending}" for ending, count in sorted(others.items()))
        yield "not read", f"{listed}; NIfTI is: convert them"
    if patients := {entry.patient for entry in entries} - {None}:
        yield "patients", str(len(patients))


def _told(arguments: argparse.Namespace, parser: Parser) -> dict[str, object]:
    """The options that `vitkit fit` has to be told as well."""
    return {name: value for name in _AS_IN_FIT if (value := getattr(arguments, name)) != parser.get_default(name)}


def _command(found: "Fingerprint", classes: int, data: dict[str, object]) -> list[str]:
    """What trains on these scans."""
    from vitkit.evaluation.bundled import bundled_configs
    from vitkit.volumes.fingerprint import listed

    config = bundled_configs("volume")["scans"]
    shown = config.relative_to(Path.cwd()) if config.is_relative_to(Path.cwd()) else config
    words = ["vitkit", "fit", "--config", str(shown)]
    words += [word for name, value in data.items() for word in (f"--data.{name}", str(value))]
    words += ["--model.preprocess.spacing", listed(found.spacing), "--model.preprocess.size", listed(found.size())]
    return words + (["--model.num_classes", str(classes)] if classes > 2 else [])


def _show(rows: Sequence[tuple[str, str]], problems: int, read: bool) -> None:
    caption = "where scans differ: smallest … median … largest, or (how many)" if read else None
    table = Table(box=box.SIMPLE, show_header=False, caption=caption)
    for name, value in rows:
        table.add_row(name, value)
    table.add_row("problems", str(problems))
    Console(soft_wrap=False).print(table)


def _spread(records: "Sequence[Record]", count: int) -> "list[Record]":
    """So many of the scans, evenly from the first to the last."""
    count = min(count, len(records))
    return [records[index * (len(records) - 1) // max(1, count - 1)] for index in range(count)]


def _write_csv(records: "Sequence[Record]", path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["image", "mask", "size_ras", "spacing_ras_mm", "stored_as", "dtype", "low", "median", "high", "labels"])
        for record in records:
            rows.writerow(
                [
                    record.image,
                    record.mask or "",
                    " ".join(map(str, record.size)),
                    " ".join(map(str, record.spacing)),
                    record.orientation,
                    record.dtype,
                    *(f"{value:g}" for value in record.intensities),
                    " ".join(map(str, record.labels)),
                ]
            )
