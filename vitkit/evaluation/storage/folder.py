"""The folder of a run: what it is a run of, a part for each finished condition, and all samples in the end."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from vitkit.errors import DataError, UsageError
from vitkit.evaluation.storage.checksum import AlteredError, Checksum, of_entry
from vitkit.files import FULL, replacing

KEPT_LOGITS = 100  # classes up to which logits are stored

SCHEMA = pa.schema(
    [
        ("suite", pa.string()),
        ("condition", pa.string()),
        ("severity", pa.float64()),
        ("id", pa.string()),
        ("group", pa.string()),
        ("label", pa.int32()),
        ("prediction", pa.int32()),
        ("confidence", pa.float32()),
        ("p_label", pa.float32()),
        ("rank", pa.int32()),
        ("loss", pa.float32()),
        ("entropy", pa.float32()),
        ("brier", pa.float32()),
        ("logits", pa.list_(pa.float32())),
    ]
)

_OPTIONS = {"compression": "zstd", "version": "2.6"}
_ROWS = 2**11  # rows held before they are written
_META = b"vitkit"
_STORED = ("checksums", "key", "warnings")  # of an entry: how it is stored, and not what it says
_OURS = ("results.json", "results.csv", "samples.parquet", "profiles.json", "parts/*.parquet")
_TEMPORARY = (*(f".{name}.*.tmp" for name in ("run.json", *_OURS[:-1])), "parts/.*.tmp", "pictures/.*.tmp", ".*.claim")
_ABANDONED = 600.0  # seconds after which nobody is still writing
_DAMAGED = (AlteredError, pa.ArrowException, KeyError, IndexError, TypeError, ValueError, OSError)


class RunFolder:
    """A folder that holds one run, whose key says which.

    Every part carries the key that it was computed for, and a checksum of its content: what was cut off, edited or copied from
    another run is not taken for this run's.

    Args:
        path: The folder; it may hold other things, such as the checkpoint.
        key: What makes it this run: every field has to be equal for it to go on.
        info: What else is to be remembered of it; that of the beginning is kept when a run goes on.
        parts: For each condition's id what it is: its class and arguments.
        shared: Whether other processes may be at work in the folder right now.

    Raises:
        UsageError: The folder holds another run, or results without one. Nothing is touched then.
    """

    def __init__(
        self, path: Path, key: dict[str, Any], info: dict[str, Any], parts: Mapping[str, Any], shared: bool = False
    ) -> None:
        self.path, self._parts = path, path / "parts"
        remedy = "Choose another --out, or remove the results that are there."
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file", "a folder", "Choose another --out.")
        self._key = json.loads(json.dumps(key))
        self._keys = {identifier: _part_key(key, identifier, what) for identifier, what in parts.items()}
        self._intact: set[str] = set()
        if (path / "run.json").exists():
            self._check_same(remedy)
        elif found := [pattern for pattern in _OURS if any(path.glob(pattern))]:
            raise UsageError(f"{path} holds {', '.join(found)} of something else", "a folder without results", remedy)
        self._run = json.dumps({"key": key, "info": info}, indent=1) + "\n"
        for leftover in [found for pattern in _TEMPORARY for found in path.glob(pattern)]:
            # What another process writes is young; a single process has nobody beside it.
            with suppress(FileNotFoundError):
                if not shared or time.time() - leftover.stat().st_mtime > _ABANDONED:
                    leftover.unlink()

    @property
    def finished(self) -> bool:
        """Whether the samples of all conditions are merged."""
        return (self.path / "samples.parquet").exists()

    def check_finished(self) -> None:
        """Remove merged samples that are not what was written, so that they are computed again."""
        try:
            with _opened(self.path) as (file, entries):
                _check(file, entries)
        except DataError:
            (self.path / "samples.parquet").unlink(missing_ok=True)

    def has(self, identifier: str) -> bool:
        """Whether the part of a condition is there as it was written for this run; one that is not is removed."""
        part = self._part(identifier)
        if identifier in self._intact or not part.exists():
            return identifier in self._intact
        try:
            with pq.ParquetFile(part) as file:
                [entry] = json.loads(file.metadata.metadata[_META])
                if entry["key"] != self._keys[identifier]:
                    raise AlteredError("of another run")
                _check(file, [entry])
        except FileNotFoundError:  # merged by another process just now
            return False
        except _DAMAGED:
            part.unlink(missing_ok=True)
            return False
        self._intact.add(identifier)
        return True

    @contextmanager
    def part(self, identifier: str) -> Iterator["PartWriter"]:
        """A writer for the samples of a condition, whose part is there as a whole once the block is left, or not at all.

        With the first part the run is there: what fails before leaves no trace that stands in the way of trying again.

        Raises:
            UsageError: Another process made the folder that of another run meanwhile.
        """
        try:
            with replacing(self._part(identifier)) as temporary, pq.ParquetWriter(temporary, SCHEMA, **_OPTIONS) as file:
                writer = PartWriter(file, self._keys[identifier])
                yield writer
                writer.finish()
                self._begin()
        except BaseException:
            for folder in (self._parts, self.path / "pictures", self.path):
                with suppress(OSError):  # not empty
                    folder.rmdir()
            raise
        self._intact.add(identifier)

    def merge(self, identifiers: Sequence[str]) -> None:
        """Join the parts into ``samples.parquet``, a row group at a time, and remove them."""
        with replacing(self.path / "samples.parquet") as temporary:
            entries = []
            with pq.ParquetWriter(temporary, SCHEMA, **_OPTIONS) as file:
                for identifier in identifiers:  # one open at a time, however many there are
                    with pq.ParquetFile(self._part(identifier)) as part:
                        entries += json.loads(part.metadata.metadata[_META])
                        for group in range(part.num_row_groups):
                            file.write_table(part.read_row_group(group))
                file.add_key_value_metadata({_META: json.dumps(entries)})
            self._warn([warning for entry in entries for warning in entry.get("warnings", ())])
        self.clean()

    def clean(self) -> None:
        """Remove the parts of a finished run."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def _part(self, identifier: str) -> Path:
        return self._parts / f"{slug(identifier)}.parquet"

    def _begin(self) -> None:
        """Make the folder this run's, unless it is already."""
        run = self.path / "run.json"
        if not run.exists():
            with replacing(run) as temporary:
                temporary.write_text(self._run, encoding="utf-8")
        else:
            self._check_same(
                "Every process of a run needs the same model and all of the data, without a sampler that deals it out; for "
                "another run, choose another --out."
            )

    def _check_same(self, remedy: str) -> None:
        found = read_run(self.path)["key"]
        for field, wanted in self._key.items():
            if found.get(field) != wanted:
                told = f"{self.path / 'run.json'} is of another run: its {field} is {found.get(field)!r:.100}"
                raise UsageError(told, f"{wanted!r:.100}", remedy)

    def _warn(self, warnings: list[str]) -> None:
        """Remember what was found out while it ran, once."""
        tree = read_run(self.path)
        if new := [warning for warning in warnings if warning not in tree["info"]["warnings"]]:
            tree["info"]["warnings"] += new
            with replacing(self.path / "run.json") as temporary:
                temporary.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Say it in one line where the disk is full.

    Raises:
        DataError: It is, or a quota or a limit of a file's size was reached.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DataError(
            f"no room on the disk of {path} ({os.strerror(error.errno or 0)})",
            "room for the samples, some 100 bytes for each of them under each condition, and its logits",
            "Free some; the same command goes on where it stopped.",
        ) from error


def _part_key(key: Mapping[str, Any], identifier: str, what: Any) -> str:
    """What a part depends on: all that its run does, but of the suite only the condition."""
    told = {field: value for field, value in key.items() if field != "suite"} | {"id": identifier, "condition": what}
    return f"sha256:{sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}"


class PartWriter:
    """Collects the samples of one condition; ``entry`` describes it, and may be set until the block is left."""

    def __init__(self, file: pq.ParquetWriter, key: str = "") -> None:
        self.entry: dict[str, Any] = {}
        self._file, self._key, self._waiting = file, key, 0
        self._checksum = Checksum()
        self._tables: list[pa.Table] = []

    def write(
        self,
        name: tuple[str, str, float],
        ids: list[str],
        labels: Tensor,
        outcome: dict[str, Tensor],
        logits: Tensor,
        groups: list[str | None] | None = None,
    ) -> None:
        """Add samples.

        Args:
            name: Suite, condition and severity.
            ids: Of the samples.
            labels: Of the samples.
            outcome: What :func:`vitkit.metrics.record` says of them.
            logits: Of the samples.
            groups: Of the samples, where they have any.
        """
        n, classes = logits.shape
        offsets = pa.array(range(0, (n + 1) * classes, classes), pa.int32())
        values = pa.array(logits.float().reshape(-1).numpy())
        columns = {
            "suite": [name[0]] * n,
            "condition": [name[1]] * n,
            "severity": [name[2]] * n,
            "id": ids,
            "group": [None] * n if groups is None else groups,
            "label": labels.numpy(),
            **{key: value.numpy() for key, value in outcome.items()},
            "logits": pa.ListArray.from_arrays(offsets, values) if classes <= KEPT_LOGITS else [None] * n,
        }
        self._tables.append(
            pa.table([pa.array(columns[field.name]).cast(field.type, safe=False) for field in SCHEMA], schema=SCHEMA)
        )
        self._waiting += n
        if self._waiting >= _ROWS:
            self._flush()

    def finish(self) -> None:
        """Write what is left, and the entry with the checksums."""
        self._flush()
        checksums = self._checksum.hexdigests() | {"entry": of_entry(self.entry)}
        self._file.add_key_value_metadata({_META: json.dumps([self.entry | {"checksums": checksums, "key": self._key}])})

    def _flush(self) -> None:
        if self._tables:
            table = pa.concat_tables(self._tables).combine_chunks()
            self._checksum.update(table)
            self._file.write_table(table)
        self._tables, self._waiting = [], 0


def slug(identifier: str) -> str:
    """A condition's id as the name of a file."""
    return identifier.replace("/", "_")


def read_run(path: Path) -> dict[str, Any]:
    """Key and info of the run in a folder.

    Raises:
        UsageError: The folder holds none.
        DataError: Its ``run.json`` cannot be read.
    """
    file = path / "run.json"
    if not file.exists():
        raise UsageError(f"no file {file}", "the folder of an evaluation", "Run vitkit evaluate first.")
    try:
        tree: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        assert isinstance(tree["key"], dict)
        assert isinstance(tree["info"], dict)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise DataError(f"{file} cannot be read", "the key and info of a run", "Evaluate again into an empty folder.") from error
    return tree


def read_samples(path: Path, columns: list[str]) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Each condition's entry with its samples, one condition at a time; a column that older files are without is null.

    Raises:
        UsageError: The run is not finished.
        DataError: The file was cut off or edited, or is not one of vitkit's.
    """
    with _opened(path) as (file, entries):
        group = 0
        present = [name for name in columns if name in file.schema_arrow.names]
        for entry in entries:
            tables = list(_row_groups(file, group, entry, present))
            group += len(tables)
            table = pa.concat_tables(tables) if tables else SCHEMA.empty_table().select(present)
            for name in set(columns) - set(present):
                table = table.append_column(name, pa.nulls(len(table), SCHEMA.field(name).type))
            yield _told(entry), table
        _check_end(file, group)


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Each condition's entry, without its samples.

    Raises:
        UsageError: The run is not finished.
        DataError: The file was cut off, or is not one of vitkit's.
    """
    with _opened(path) as (_, entries):
        return [_told(entry) for entry in entries]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[pq.ParquetFile, list[dict[str, Any]]]]:
    """The samples of a run, and the entries of its conditions."""
    file = path / "samples.parquet"
    remedy = "Run the same evaluation again; it "
    if not file.exists():
        raise UsageError(f"no file {file}", "a finished run", f"{remedy}goes on where it stopped.")
    try:
        with pq.ParquetFile(file) as samples:
            yield samples, json.loads(samples.metadata.metadata[_META])
    except _DAMAGED as error:
        raise DataError(f"{file} cannot be read ({error})", "the samples of a run", f"{remedy}computes them anew.") from error


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    """What an entry says of its condition."""
    return {key: value for key, value in entry.items() if key not in _STORED}


def _row_groups(file: pq.ParquetFile, first: int, entry: dict[str, Any], columns: list[str]) -> Iterator[pa.Table]:
    """The samples of an entry, held against its checksums; files of earlier versions have none."""
    checksums = entry.get("checksums")
    if checksums is not None and of_entry(entry) != checksums["entry"]:
        raise AlteredError("its description of a condition is not what was written")
    checksum, read = Checksum(), 0
    while read < entry["n"]:
        table = file.read_row_group(first, columns)
        first, read = first + 1, read + len(table)
        if checksums is not None:
            checksum.update(table)
        yield table
    checksum.check(checksums or {})


def _check_end(file: pq.ParquetFile, groups: int) -> None:
    if groups != file.num_row_groups:
        raise AlteredError("it holds samples of nothing")


def _check(file: pq.ParquetFile, entries: list[dict[str, Any]]) -> None:
    """Read all that is in a file, and hold none of it."""
    groups = 0
    for entry in entries:
        groups += sum(1 for _ in _row_groups(file, groups, entry, SCHEMA.names))
    _check_end(file, groups)
