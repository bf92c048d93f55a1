"""The samples of a run as files: written condition by condition, joined, and read again as they were written."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from vitkit.errors import DataError, UsageError
from vitkit.evaluation.storage.checksum import AlteredError, Checksum, of_entry

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
_DAMAGED = (AlteredError, pa.ArrowException, KeyError, IndexError, TypeError, ValueError, OSError)


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


@contextmanager
def part_writer(path: Path, key: str) -> Iterator[PartWriter]:
    """A writer of the samples of one condition, which are all in the file once the block is left."""
    with pq.ParquetWriter(path, SCHEMA, **_OPTIONS) as file:
        writer = PartWriter(file, key)
        yield writer
        writer.finish()


def is_intact(path: Path, key: str) -> bool:
    """Whether a part is there as it was written for a run's key.

    Raises:
        FileNotFoundError: There is none.
    """
    try:
        with pq.ParquetFile(path) as file:
            [entry] = _entries(file)
            if entry["key"] != key:
                return False
            _check(file, [entry])
    except FileNotFoundError:
        raise
    except _DAMAGED:
        return False
    return True


def join(parts: Iterable[Path], into: Path) -> list[dict[str, Any]]:
    """Put parts into one file, a row group at a time, and return their entries."""
    entries = []
    with pq.ParquetWriter(into, SCHEMA, **_OPTIONS) as file:
        for path in parts:  # one open at a time, however many there are
            with pq.ParquetFile(path) as part:
                entries += _entries(part)
                for group in range(part.num_row_groups):
                    file.write_table(part.read_row_group(group))
        file.add_key_value_metadata({_META: json.dumps(entries)})
    return entries


def check_samples(path: Path) -> None:
    """Read the samples of a run, and hold none of them.

    Raises:
        UsageError: The run is not finished.
        DataError: The file was cut off or edited, or is not one of vitkit's.
    """
    with _opened(path) as (file, entries):
        _check(file, entries)


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
            del table, tables  # before the next are read
        _check_end(file, group)


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Each condition's entry, without its samples.

    Raises:
        UsageError: The run is not finished.
        DataError: The file was cut off, an entry was edited, or it is not one of vitkit's.
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
            yield samples, _entries(samples)
    except _DAMAGED as error:
        raise DataError(f"{file} cannot be read ({error})", "the samples of a run", f"{remedy}computes them anew.") from error


def _entries(file: pq.ParquetFile) -> list[dict[str, Any]]:
    """What describes each condition in a file, held against its checksum."""
    if _META not in (file.metadata.metadata or {}):
        raise AlteredError("it was written by something else, or without what vitkit notes in it")
    entries: list[dict[str, Any]] = json.loads(file.metadata.metadata[_META])
    for entry in entries:
        if "checksums" in entry and of_entry(entry) != entry["checksums"]["entry"]:
            raise AlteredError("its description of a condition is not what was written")
    return entries


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    """What an entry says of its condition."""
    return {key: value for key, value in entry.items() if key not in _STORED}


def _row_groups(file: pq.ParquetFile, first: int, entry: dict[str, Any], columns: list[str]) -> Iterator[pa.Table]:
    """The samples of an entry, held against its checksums; files of earlier versions have none."""
    checksums = entry.get("checksums")
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
