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

from vitkit.errors import DataError, UsageError
from vitkit.evaluation.storage.samples import PartWriter, check_samples, is_intact, join, part_writer
from vitkit.evaluation.tree import at, first_difference
from vitkit.files import FULL, replacing

_OURS = ("results.json", "results.csv", "samples.parquet", "profiles.json", "parts/*.parquet")
_TEMPORARY = (*(f".{name}.*.tmp" for name in ("run.json", *_OURS[:-1])), "parts/.*.tmp", "pictures/.*.tmp", ".*.claim")
_ABANDONED = 600.0  # seconds after which nobody is still writing


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
        self._samples = info["data"]["n"]
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
            check_samples(self.path)
        except DataError:
            (self.path / "samples.parquet").unlink(missing_ok=True)

    def has(self, identifier: str) -> bool:
        """Whether the part of a condition is there as it was written for this run; one that is not is removed."""
        part = self._part(identifier)
        if identifier in self._intact or not part.exists():
            return identifier in self._intact
        try:
            if not is_intact(part, self._keys[identifier]):
                part.unlink(missing_ok=True)
                return False
        except FileNotFoundError:  # merged by another process just now
            return False
        self._intact.add(identifier)
        return True

    @contextmanager
    def part(self, identifier: str) -> Iterator[PartWriter]:
        """A writer for the samples of a condition, whose part is there as a whole once the block is left, or not at all.

        With the first part the run is there: what fails before leaves no trace that stands in the way of trying again.

        Raises:
            UsageError: Another process made the folder that of another run meanwhile.
        """
        try:
            with replacing(self._part(identifier)) as temporary:
                with part_writer(temporary, self._keys[identifier]) as writer:
                    yield writer
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
            entries = join(map(self._part, identifiers), temporary)
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
                place = first_difference(found.get(field), wanted) or ()
                theirs, ours = at(found.get(field), place), at(wanted, place)
                if field == "data":  # of which a hash says less than how much there is
                    before = read_run(self.path)["info"]["data"]["n"]
                    theirs, ours = f"{theirs} of {before:,} samples", f"{ours} of {self._samples:,} samples"
                told = f"{self.path / 'run.json'} is of another run: its {'.'.join([field, *place])} is {_brief(theirs)}"
                raise UsageError(told, _brief(ours), remedy)

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
            "room for the samples: for each some 100 bytes and the logits under each condition, and 1,000 bytes in the end",
            "Free some, or raise the limit; the same command goes on where it stopped.",
        ) from error


def _part_key(key: Mapping[str, Any], identifier: str, what: Any) -> str:
    """What a part depends on: all that its run does, but of the suite only the condition."""
    told = {field: value for field, value in key.items() if field != "suite"} | {"id": identifier, "condition": what}
    return f"sha256:{sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}"


def _brief(value: Any) -> str:
    """A value in at most some hundred signs, and of a long list how long it is."""
    text = repr(value)
    if len(text) <= 100:
        return text
    return f"{len(value)} entries, {text:.60}…" if isinstance(value, list) else f"{text:.100}…"


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
