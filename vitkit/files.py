"""Files that are there whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from vitkit.errors import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room: on the disk, in a quota, under a limit of a file's size


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to, which takes its place once all of it is on the disk and is gone otherwise.

    Raises:
        UsageError: The folder is not there and cannot be made.
        OSError: There is no room; it names the file, which the system's own does not if it was open already.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError) as error:
        found = f"{path.parent} cannot be made ({error.strerror})"
        raise UsageError(found, "a folder, or a place for one that may be written to", "Choose another place.") from error
    # Processes of several machines can share a folder, and their numbers can be the same.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.tmp")
    try:
        yield temporary
        # Without this a crash of the machine could leave the new name with nothing behind it.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in FULL:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
