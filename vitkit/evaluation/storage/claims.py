"""Which process of a run works at what, told by files in the folder that they share."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

BEAT, STALE = 5.0, 60.0  # seconds between two signs of life; without one, after which a claim is anybody's


class Claims:
    """Claims on pieces of work, each a file that only one process can make.

    A claim ends with its block. That of a process that died ends as soon as another on the same machine looks for it, and on
    other machines once it has given no sign of life for a minute. Two processes may so work at the same piece, if one of them was
    merely asleep; that costs time and no result, since both write the same bytes, each as a whole.

    Args:
        folder: Where the files are made; on a file system that all processes see.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = f"{socket.gethostname()} {os.getpid()}"

    @contextmanager
    def take(self, name: str) -> Iterator[bool]:
        """Whether the work of this name is this process's own until the block is left."""
        path = self._folder / f".{name}.claim"
        if not (self._make(path) or (self._abandoned(path) and self._make(path))):
            yield False
            return
        left = Event()
        beating = Thread(target=_beat, args=(path, left), daemon=True)
        beating.start()
        try:
            yield True
        finally:
            left.set()
            beating.join()
            path.unlink(missing_ok=True)

    def _make(self, path: Path) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self._owner)
        except FileExistsError:
            return False
        return True

    def _abandoned(self, path: Path) -> bool:
        """Whether nobody works at it any more; the claim is then removed."""
        try:
            host, _, process = path.read_text(encoding="utf-8").partition(" ")
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return True
        here = os.name == "posix" and host == socket.gethostname() and process.isdecimal()
        if age < STALE and not (here and not _alive(int(process))):
            return False
        path.unlink(missing_ok=True)
        return True


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _beat(path: Path, left: Event) -> None:
    while not left.wait(BEAT):
        try:
            os.utime(path)
        except FileNotFoundError:
            return
