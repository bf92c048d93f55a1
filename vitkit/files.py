"""Files that are there whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile

from vitkit.errors import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: on the disk, in a quota, under a limit of a file's size
_REFUSED = (
    *(errno.EROFS, errno.EACCES, errno.EPERM),  # a place that may not be written to
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),  # none for such a name
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to, which takes its place once all of it is on the disk and is gone otherwise.

    Raises:
        UsageError: The folder is not there and cannot be made, or the file may not be written.
        OSError: There is no room; it names the file, which the system's own does not if it was open already.
    """
    make_folder(path.parent)
    # Processes of several machines can share a folder, and their numbers can be the same.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.tmp")
    try:
        with _allowed(path):
            temporary.touch()  # here, where an error can be about nothing else
        yield temporary
        # Without this a crash of the machine could leave the new name with nothing behind it.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        with _allowed(path):
            temporary.replace(path)
    except OSError as error:
        if error.errno in FULL:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # a read-only file system refuses even to delete what is not there
            temporary.unlink()


def make_folder(path: Path) -> None:
    """Make a folder and those around it, where they are not there yet.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        found = f"{path} cannot be made ({error.strerror})"
        raise UsageError(found, "a folder, or a place for one that may be written to", "Choose another place.") from error


def require_writable(folder: Path) -> None:
    """Find out whether files can be made in a folder, or it in the nearest one that is there; nothing is left behind.

    Raises:
        UsageError: They cannot.
    """
    with _allowed(folder):
        place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        with TemporaryFile(dir=place):
            pass


def unwritable(path: Path | str, error: OSError) -> UsageError:
    """What to say of a path that the system let nobody write to."""
    found = f"{path} cannot be written ({os.strerror(error.errno or errno.EACCES)})"
    return UsageError(found, "a place that may be written to", "Choose another one.")


@contextmanager
def _allowed(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED:
            raise unwritable(path, error) from error
        raise
