"""The folder of a run: what it is a run of, a part for each finished condition, and all samples in the end."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from vitkit.errors import DataError, UsageError
from vitkit.files import replacing

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
_OURS = ("results.json", "results.csv", "samples.parquet", "profiles.json", "parts/*.parquet")


class RunFolder:
    """A folder that holds one run, whose key says which.

    Args:
        path: The folder; it may hold other things, such as the checkpoint.
        key: What makes it this run: every field has to be equal for it to go on.
        info: What else is to be remembered of it; that of the beginning is kept when a run goes on.

    Raises:
        UsageError: The folder holds another run, or results without one. Nothing is touched then.
    """

    def __init__(self, path: Path, key: dict[str, Any], info: dict[str, Any]) -> None:
        self.path, self._parts = path, path / "parts"
        remedy = "Choose another --out, or remove the results that are there."
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file", "a folder", "Choose another --out.")
        if (path / "run.json").exists():
            _check_same(path / "run.json", read_run(path)["key"], json.loads(json.dumps(key)), remedy)
        elif found := [pattern for pattern in _OURS if any(path.glob(pattern))]:
            raise UsageError(f"{path} holds {', '.join(found)} of something else", "a folder without results", remedy)
        self._run = json.dumps({"key": key, "info": info}, indent=1) + "\n"
        for leftover in [*path.glob(".samples.parquet.*.tmp"), *self._parts.glob(".*.tmp")]:
            leftover.unlink()

    @property
    def finished(self) -> bool:
        """Whether the samples of all conditions are merged."""
        return (self.path / "samples.parquet").exists()

    def has(self, identifier: str) -> bool:
        """Whether the part of a condition is there and can be read; one that cannot is removed."""
        part = self._part(identifier)
        try:
            pq.read_metadata(part)
        except FileNotFoundError:
            return False
        except (pa.ArrowException, OSError):
            part.unlink()
            return False
        return True

    @contextmanager
    def part(self, identifier: str) -> Iterator["PartWriter"]:
        """A writer for the samples of a condition, whose part is there as a whole once the block is left, or not at all.

        With the first part the run is there: what fails before leaves no trace that stands in the way of trying again.
        """
        try:
            with replacing(self._part(identifier)) as temporary, pq.ParquetWriter(temporary, SCHEMA, **_OPTIONS) as file:
                writer = PartWriter(file)
                yield writer
                writer.finish()
                if not (self.path / "run.json").exists():
                    with replacing(self.path / "run.json") as run:
                        run.write_text(self._run, encoding="utf-8")
        except BaseException:
            for folder in (self._parts, self.path):
                with suppress(OSError):  # not empty
                    folder.rmdir()
            raise

    def merge(self, identifiers: list[str]) -> None:
        """Join the parts into ``samples.parquet``, a row group at a time, and remove them."""
        with replacing(self.path / "samples.parquet") as temporary:
            parts = [pq.ParquetFile(self._part(identifier)) for identifier in identifiers]
            entries = [json.loads(part.metadata.metadata[_META]) for part in parts]
            with pq.ParquetWriter(temporary, SCHEMA, **_OPTIONS) as file:
                for part in parts:
                    for group in range(part.num_row_groups):
                        file.write_table(part.read_row_group(group))
                    part.close()
                file.add_key_value_metadata({_META: json.dumps(entries)})
        self.clean()

    def clean(self) -> None:
        """Remove the parts of a finished run."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def _part(self, identifier: str) -> Path:
        return self._parts / f"{slug(identifier)}.parquet"


class PartWriter:
    """Collects the samples of one condition; ``entry`` describes it, and may be set until the block is left."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self.entry: dict[str, Any] = {}
        self._file, self._waiting = file, 0
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
        """Write what is left, and the entry."""
        self._flush()
        self._file.add_key_value_metadata({_META: json.dumps(self.entry)})

    def _flush(self) -> None:
        if self._tables:
            self._file.write_table(pa.concat_tables(self._tables).combine_chunks())
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
        DataError: The file was cut off, or is not one of vitkit's.
    """
    file = path / "samples.parquet"
    if not file.exists():
        raise UsageError(f"no file {file}", "a finished run", "Run the same evaluation again; it goes on where it stopped.")
    try:
        with pq.ParquetFile(file) as samples:
            group = 0
            present = [name for name in columns if name in samples.schema_arrow.names]
            for entry in json.loads(samples.metadata.metadata[_META]):
                tables: list[pa.Table] = []
                while sum(len(table) for table in tables) < entry["n"]:
                    tables.append(samples.read_row_group(group, present))
                    group += 1
                table = pa.concat_tables(tables) if tables else SCHEMA.empty_table().select(present)
                for name in set(columns) - set(present):
                    table = table.append_column(name, pa.nulls(len(table), SCHEMA.field(name).type))
                yield entry, table
    except (pa.ArrowException, KeyError, IndexError, TypeError, OSError) as error:
        raise DataError(
            f"{file} cannot be read ({error})", "the samples of a run", "Evaluate again into an empty folder."
        ) from error


def _check_same(file: Path, found: dict[str, Any], wanted: dict[str, Any], remedy: str) -> None:
    for field in wanted:
        if found.get(field) != wanted[field]:
            raise UsageError(
                f"{file} is of another run: its {field} is {found.get(field)!r:.100}", f"{wanted[field]!r:.100}", remedy
            )
