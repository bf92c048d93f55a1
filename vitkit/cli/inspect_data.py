"""``vitkit inspect-data``: what a set of scans is like, what is wrong with which of them, and three planes of a few."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from vitkit.cli.arguments import Parser
from vitkit.cli.say import say
from vitkit.errors import DataError, UsageError
from vitkit.files import replacing

if TYPE_CHECKING:
    from vitkit.volumes import Fingerprint, Record

_EPILOG = """\
PATH is a CSV manifest with the columns image and, if there are masks, mask; a folder with such a manifest or with the
dataset.json of the Medical Segmentation Decathlon; a folder of NIfTI files; or one such file.

examples:
  vitkit inspect-data path/to/scans
  vitkit inspect-data path/to/scans/manifest.csv --out runs/scans

exit codes: 0 no problem, 1 problems, 2 usage
"""


def main(argv: list[str]) -> int:
    """Look at every scan; returns the exit code."""
    description = "Read every scan and mask, say what they are like and what is wrong with which, and draw a few."
    parser = Parser("vitkit inspect-data", "PATH [--out DIR] [--pictures N]", description, _EPILOG)
    parser.add_argument("path", metavar="PATH", type=Path, help="a manifest or a folder of scans")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder of scans.csv and planes.png; runs/NAME-data if not given")
    parser.add_argument("--pictures", metavar="N", type=int, default=3, help="scans in planes.png; 3 if not given")
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

    scans, wrong = _scans(path)
    found = fingerprint(scans)
    problems = [Problem(path, error) for error in wrong] + list(found.problems)
    _show(found, len(problems))
    for problem in problems:
        say(f"problem: {problem.error}")
    if found.records:
        _write_csv(found.records, out / "scans.csv")
        chosen = _spread(found.records, arguments.pictures)
        pairs = [(read(record.image), read_mask(record.mask) if record.mask else None) for record in chosen]
        draw_planes(pairs, out / "planes.png")
        say(f"every scan: {out / 'scans.csv'}")
        say(f"three planes: {out / 'planes.png'}")
    return 1 if problems else 0


def _scans(path: Path) -> tuple[list[tuple[Path, Path | None]], list[DataError]]:
    """Images with their masks, and what is wrong with the manifest as a whole."""
    from vitkit.data.find_manifest import find_manifest
    from vitkit.data.manifest import check_files
    from vitkit.volumes.nifti import is_nifti

    if not path.exists():
        raise UsageError(f"{path} does not exist", "a manifest or a folder of scans", "Correct the path.")
    if path.is_file() and is_nifti(path):
        return [(path, None)], []
    manifest = find_manifest(path, check=False)
    wrong = []
    try:
        check_files(manifest)
    except DataError as error:
        wrong.append(error)
    return [(entry.path, entry.mask) for entry in manifest.entries], wrong


def _show(found: "Fingerprint", problems: int) -> None:
    caption = "where scans differ: smallest … median … largest, or (how many)" if found.records else None
    table = Table(box=box.SIMPLE, show_header=False, caption=caption)
    for name, value in found.summary():
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
        rows.writerow(["image", "mask", "size", "spacing", "orientation", "dtype", "low", "median", "high", "labels"])
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
