"""Which file a worker process was reading when it died."""

import os
import re
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader, Subset, get_worker_info

from vitkit.data.sample import Batch, Sample
from vitkit.errors import DataError

_LENGTH = 1024
_DEATH = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) (?P<how>[^.]*)")
_boards: "WeakSet[Board]" = WeakSet()


class Board:
    """Where each worker leaves word of what it is about to read; its lines are in memory that the processes share.

    Args:
        workers: How many there will be.
    """

    def __init__(self, workers: int) -> None:
        self._pids = torch.zeros(workers, dtype=torch.int64).share_memory_()
        self._names = torch.zeros(workers, _LENGTH, dtype=torch.uint8).share_memory_()
        _boards.add(self)

    def write(self, name: str) -> None:
        """Leave word, if this is a worker."""
        worker = get_worker_info()
        if worker is None or worker.id >= len(self._pids):
            return
        line = name.encode()[:_LENGTH].ljust(_LENGTH, b"\0")
        self._names[worker.id] = torch.frombuffer(bytearray(line), dtype=torch.uint8)
        self._pids[worker.id] = os.getpid()

    def read(self, pid: int) -> str | None:
        """What a process was reading, if it was one of the workers."""
        [places] = (self._pids == pid).nonzero(as_tuple=True)
        return bytes(self._names[places[0]].tolist()).rstrip(b"\0").decode(errors="replace") if len(places) else None


class Loader(DataLoader[Sample]):
    """A loader that names the file which a worker was reading when it died.

    Its workers start when the first batch is asked for.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator, which DataLoader's own type does not foresee
        if self.num_workers:
            images: Any = self.dataset
            while isinstance(images, Subset):
                images = images.dataset
            images.board = Board(self.num_workers)
        try:
            yield from super().__iter__()
        except RuntimeError as error:
            explained = death(error)
            if explained is None:
                raise
            raise explained from error


def death(error: BaseException) -> DataError | None:
    """What to say of an error by which torch tells that workers died; None for any other error.

    torch raises it wherever the main process happens to be, so a loader cannot always catch it.
    """
    found = _DEATH.search(str(error))
    if not isinstance(error, RuntimeError) or found is None:
        return None
    pids = [int(pid) for pid in found["pids"].split(",")]
    names = [name for board in list(_boards) for pid in pids if (name := board.read(pid)) is not None]
    if not names:
        return None
    return DataError(
        f"a worker process died while it was reading {' and '.join(dict.fromkeys(names))} ({found['how'].strip()})",
        "workers that live as long as the loader",
        "If memory ran out, use a smaller data.num_workers or data.batch_size; if it is always the same file, look at that file.",
    )
