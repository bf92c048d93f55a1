"""What tells that stored samples are still those that were written."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_APART = ("checksums", "key")  # of an entry: what is no part of its own checksum


class AlteredError(Exception):
    """Stored samples, or what describes them, are not what was written."""


class Checksum:
    """SHA-256 of each column of the samples of one condition, table by table: values, not bytes of a file.

    Which values are null, how long each text and each list is, and the values themselves, so that two columns have one checksum
    only if they are equal. A reader that wants some of the columns checks these alone.
    """

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def update(self, table: pa.Table) -> None:
        """Take in a table, as it is written or read as one row group."""
        for name, column in zip(table.column_names, table.columns, strict=True):
            values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
            _feed(self._columns.setdefault(name, sha256()), values)

    def check(self, expected: Mapping[str, str]) -> None:
        """Compare what was read with what was written.

        Raises:
            AlteredError: A column differs.
        """
        for name, digest in self._columns.items():
            if digest.hexdigest() != expected.get(name):
                raise AlteredError(f"its column {name} is not what was written")

    def hexdigests(self) -> dict[str, str]:
        """Of every column, by its name."""
        return {name: digest.hexdigest() for name, digest in self._columns.items()}


def of_entry(entry: Mapping[str, Any]) -> str:
    """SHA-256 of what describes a condition's samples."""
    told = {key: value for key, value in entry.items() if key not in _APART}
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _feed(digest: Any, values: pa.Array) -> None:
    kind = "list" if pa.types.is_list(values.type) else values.type  # Parquet gives a list's items another name
    digest.update(f"{kind} {len(values)} {values.null_count} ".encode())
    if values.null_count:
        digest.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes())
        values = values.drop_null()
    if pa.types.is_list(values.type):
        digest.update(_bytes(pc.list_value_length(values)))
        _feed(digest, values.flatten())
    elif pa.types.is_string(values.type):
        digest.update(_bytes(pc.binary_length(values)))
        _, offsets, data = values.buffers()
        if len(values) and data is not None:
            ends = np.frombuffer(offsets, np.int32)[[values.offset, values.offset + len(values)]]
            digest.update(memoryview(data)[ends[0] : ends[1]])
    else:
        digest.update(_bytes(values))


def _bytes(values: pa.Array) -> bytes:
    raw: bytes = values.to_numpy(zero_copy_only=False).tobytes()
    return raw
