"""Files that are there whole or not at all."""

import re
import resource

import pytest

from vitkit.files import replacing


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
