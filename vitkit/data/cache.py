"""Prepared volumes kept on disk, for all the workers and ranks of a training and for the next one."""

import errno
import json
import logging
import os
import re
import time
from collections.abc import Callable
from hashlib import file_digest, sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from vitkit.errors import DataError, UsageError
from vitkit.files import replacing

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of what an entry holds; another one makes every entry anew."""
_BLOCK = 2**16  # bytes that are added up before they are hashed
_CHECKSUM = 32  # bytes of a SHA-256, behind the array
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f4', 'fortran_order': False, 'shape': (?P<shape>\([\d, ]*\)), \} *\n", re.DOTALL
)
_TOO_MANY = (os.strerror(errno.EMFILE), os.strerror(errno.ENFILE))  # open files, of the process or of the machine
_SETTLED = 2 * 10**9  # nanoseconds after which a file that was written again has another time of change


class VolumeCache:
    """Tensors made from files, each in a file of its own that numpy can read or map into memory (.npy, not compressed).

    An entry's name is the SHA-256 of the file's content and of what was done to it, so nothing outdated is ever found, and copies
    of a scan share an entry. It is written under another name and then renamed: whoever reads finds all of it or nothing, also
    while others write the same. It ends with a checksum, and one that was cut off or damaged is made again. Nothing is deleted;
    the folder may be, at any time.

    Args:
        folder: Where they are; made when the first is written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "scan.nii")
    ...     _ = path.write_bytes(b"a scan")
    ...     cache = VolumeCache(folder)
    ...     first = cache.load(path, {"spacing": 1}, lambda: torch.ones(1, 2, 2, 2))
    ...     again = cache.load(path, {"spacing": 1}, lambda: 1 / 0)  # is not called
    >>> torch.equal(first, again)
    True
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._contents: dict[str, tuple[list[int], str]] = {}

    def load(
        self, path: Path, transforms: Any, make: Callable[[], Float32[Tensor, "channels *size"]]
    ) -> Float32[Tensor, "channels *size"]:
        """What ``make`` makes of a file, from the cache if it is there.

        Args:
            path: The file.
            transforms: What ``make`` does, as a plain tree: all that decides its result besides the file.
            make: Reads and prepares the file.

        Raises:
            DataError: The entry cannot be written, for want of space or otherwise; or not opened, for too many files are.
        """
        entry = self.entry(path, transforms)
        found = _read(entry)
        if found is None:
            found = make().contiguous()
            self._write(entry, found)
        return found

    def entry(self, path: Path, transforms: Any) -> Path:
        """The file of an entry, whether it is there or not."""
        tree = {"format": FORMAT, "content": self.content(path), "transforms": transforms}
        key = sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.npy"

    def content(self, path: Path) -> str:
        """SHA-256 of a file, remembered here and on disk for as long as size and times say that it is the same."""
        status = path.stat()
        signature = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        name = str(path.absolute())
        known = self._contents.get(name)
        if known is not None and known[0] == signature:
            return known[1]
        note = self.folder / "contents" / f"{sha256(name.encode()).hexdigest()}.json"
        try:
            written = json.loads(note.read_text(encoding="utf-8"))
            content = str(written["sha256"]) if written["signature"] == signature else None
        except (OSError, ValueError, KeyError, TypeError):
            content = None
        if content is None:
            begin = time.time_ns()
            with path.open("rb") as file:
                content = file_digest(file, "sha256").hexdigest()
            # The clock of a file system is coarse: a file may be written twice in a moment, and keep its size and times.
            if begin - status.st_ctime_ns < _SETTLED:
                return content
            try:
                note.parent.mkdir(parents=True, exist_ok=True)
                with replacing(note) as temporary:
                    temporary.write_text(json.dumps({"signature": signature, "sha256": content}), encoding="utf-8")
            except (OSError, UsageError) as error:
                raise _unwritable(self.folder, error, 0) from error
        self._contents[name] = (signature, content)
        return content

    def _write(self, entry: Path, volume: Tensor) -> None:
        values = volume.numpy()
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            with replacing(entry) as temporary, temporary.open("wb") as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
                file.write(_checksum(values.reshape(-1).view(np.uint8), values.shape))
        except (OSError, UsageError) as error:
            raise _unwritable(self.folder, error, values.nbytes) from error


def _read(entry: Path) -> Float32[Tensor, "channels *size"] | None:
    """An entry, or None where there is none, or one that is not whole."""
    try:
        # Mapped, not read: the checksum goes over the pages where they are, and a batch or a crop copies what it needs. What is
        # written to the tensor stays in this process. By torch, for Python's mmap keeps the file open for as long as it lives.
        # By way of numpy, for torch takes its own mapping for memory that another process can share.
        data = torch.from_file(str(entry), shared=False, size=entry.stat().st_size, dtype=torch.uint8).numpy()
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's, which has the system's words and no number
        if any(words in str(error) for words in _TOO_MANY):
            raise DataError(
                f"the cache's entry {entry} cannot be opened ({error})",
                "a file that may be opened",
                "Raise the limit of open files (ulimit -n), or lower data.num_workers.",
            ) from error
        log.warning("the cache's entry %s is damaged (%s) and will be made again", entry, error)
        return None
    header = _HEADER.match(data[:256].tobytes())
    if header is not None:
        shape = tuple(map(int, re.findall(rb"\d+", header["shape"])))
        values = data[header.end() : -_CHECKSUM]
        if len(values) == 4 * prod(shape) and data[-_CHECKSUM:].tobytes() == _checksum(values, shape):
            return torch.from_numpy(values.view(np.float32).reshape(shape))
    log.warning("the cache's entry %s is damaged and will be made again", entry)
    return None


def _checksum(flat: UInt8[np.ndarray, " bytes"], shape: tuple[int, ...]) -> bytes:
    """SHA-256 of the shape and of the sums of blocks: at the speed of memory, and any one change changes it."""
    whole = len(flat) - len(flat) % _BLOCK
    sums = flat[:whole].view(np.uint64).reshape(-1, _BLOCK // 8).sum(axis=1, dtype=np.uint64)
    return sha256(repr(shape).encode() + sums.tobytes() + flat[whole:].tobytes()).digest()


def _unwritable(folder: Path, error: OSError | UsageError, size: int) -> DataError:
    cause = error.__cause__ if isinstance(error, UsageError) else error
    return DataError(
        f"the cache {folder} cannot be written ({getattr(cause, 'strerror', None) or error})",
        "a writable folder with room for every scan" + (f", {size / 1e6:.1f} MB for this one" if size else ""),
        "Free some space, choose another folder with data.cache, or leave data.cache out.",
    )
