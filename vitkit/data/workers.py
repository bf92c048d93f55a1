"""Which file a worker process was reading when it died, and how it went."""

import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import wait
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
        iterator: Any = super().__iter__()
        try:
            yield from iterator
        except (RuntimeError, OSError, EOFError) as error:
            # The memory that a worker shared can be gone before torch notices that the worker is: that is no RuntimeError.
            if isinstance(error, RuntimeError) and not _DEATH.search(str(error)):
                raise
            explained = None
            for _ in range(10):
                with suppress(RuntimeError):  # torch's handler of signals raises here too, once for each worker that dies
                    dead = _dead(iterator)
                    explained = _explained(dead) if dead else death(error)
                    break
            if explained is None:
                raise
            with suppress(RuntimeError):
                iterator._shutdown_workers()
            raise explained from error
        finally:
            # The garbage collector, which an error leaves them to, closes their queues first: they would wait there for 5 s.
            if self.num_workers and not self.persistent_workers:
                with suppress(RuntimeError):
                    iterator._shutdown_workers()


def _dead(iterator: Any) -> dict[int, str]:
    """Workers that are gone, and how they went."""
    workers = getattr(iterator, "_workers", [])
    ended = wait([worker.sentinel for worker in workers], timeout=1.0)
    for worker in workers:
        if worker.sentinel in ended:  # its files are closed, which is not yet its end
            worker.join(1.0)
    codes = {worker.pid: worker.exitcode for worker in workers}
    return {pid: _way(code) for pid, code in codes.items() if code}


def _way(code: int) -> str:
    """In torch's words."""
    return f"signal: {signal.strsignal(-code) or -code}" if code < 0 else f"exit code {code}"


def death(error: BaseException) -> DataError | None:
    """What to say of an error by which torch tells that workers died; None for any other error.

    torch raises it wherever the main process happens to be, so a loader cannot always catch it.
    """
    found = _DEATH.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    way = re.search(r"signal: .+|exit code \d+", found["how"])
    return _explained({int(pid): way[0].strip() if way else "" for pid in found["pids"].split(",")})


def _explained(dead: Mapping[int, str]) -> DataError:
    names = {name: way for board in list(_boards) for pid, way in dead.items() if (name := board.read(pid)) is not None}
    ways = ", ".join(dict.fromkeys(way for way in (names or dead).values() if way))
    reading = f" while it was reading {' and '.join(names)}" if names else ""
    remedy = "If memory ran out, use a smaller data.num_workers or data.batch_size"
    return DataError(
        f"a worker process died{reading}{f' ({ways})' if ways else ''}",
        "workers that live as long as the loader",
        f"{remedy}; if it is always the same file, look at that file." if names else f"{remedy}.",
    )
