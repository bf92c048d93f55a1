"""Files that are there whole or not at all."""

import errno
import os
import re
import resource
from pathlib import Path

import pytest

from vitkit.errors import UsageError
from vitkit.files import make_folder, replacing, require_writable

CLOSED = Path("/sys")  # where not even root can make a file
closed = pytest.mark.skipif(not (CLOSED / "kernel").is_dir(), reason="this system has no folder that is closed to root")


def raising(code):
    def fail(path, *_, **__):
        raise OSError(code, os.strerror(code), str(path))

    return fail


def test_where_there_is_no_room_the_file_is_named_and_the_old_one_stays(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(OSError, match=re.escape(f"'{path}'")), replacing(path) as temporary, temporary.open("w") as file:
            file.write("x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"table.csv": "old"}


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize(("step", "found"), [("mkdir", "{0.parent} cannot be made"), ("touch", "{0} cannot be written")])
def test_where_nothing_may_be_written_the_file_is_named_and_not_the_temporary_one(tmp_path, monkeypatch, code, step, found):
    monkeypatch.setattr(Path, step, raising(code))
    path = tmp_path / "table.csv"
    with pytest.raises(UsageError) as caught, replacing(path):
        pass
    assert str(caught.value).startswith(f"{found.format(path)} ({os.strerror(code)}); expected a ")
    assert ".tmp" not in str(caught.value)


def test_a_file_system_that_is_read_only_refuses_to_delete_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "touch", raising(errno.EROFS))
    monkeypatch.setattr(Path, "unlink", raising(errno.EROFS))
    with pytest.raises(UsageError, match=re.escape("table.csv cannot be written (Read-only file system)")):
        replacing(tmp_path / "table.csv").__enter__()


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "table.csv" / "in").mkdir(parents=True)
    told = r"table\.csv cannot be written \(Is a directory\)"
    with pytest.raises(UsageError, match=told), replacing(tmp_path / "table.csv") as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]


def test_an_error_of_what_is_written_stays_what_it_is(tmp_path):
    with pytest.raises(PermissionError), replacing(tmp_path / "table.csv"):
        raise PermissionError(errno.EACCES, "Permission denied", "a file that was read")
    assert not list(tmp_path.iterdir())


@closed
def test_a_place_that_is_really_closed():
    with pytest.raises(UsageError, match=r"/sys/table\.csv cannot be written"):
        replacing(CLOSED / "table.csv").__enter__()
    with pytest.raises(UsageError, match=r"/sys/new cannot be made"):
        make_folder(CLOSED / "new")
    with pytest.raises(UsageError, match=r"/sys/new/out cannot be written"):
        require_writable(CLOSED / "new" / "out")


def test_asking_whether_a_folder_can_be_written_leaves_nothing(tmp_path):
    require_writable(tmp_path / "new" / "out")
    require_writable(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file cannot be written \(Not a directory\)"):
        require_writable(tmp_path / "file")
