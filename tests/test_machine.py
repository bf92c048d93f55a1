import pytest

from vitkit import machine
from vitkit.errors import UsageError
from vitkit.machine import free_memory, parse_memory, total_memory


@pytest.mark.parametrize(
    ("text", "size"), [("8GiB", 2**33), ("8 gib", 2**33), ("500MB", 5 * 10**8), ("24G", 24 * 10**9), ("1.5KiB", 1536), ("7", 7)]
)
def test_sizes_are_read(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "8 apples", "-1GiB", "0", "8GiBs", "1e3"])
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="a number with a unit"):
        parse_memory(text)


def test_no_more_is_free_than_there_is():
    assert 0 < free_memory() <= total_memory()


def test_a_container_may_have_less_than_the_machine(monkeypatch):
    monkeypatch.setattr(machine, "_number", {"memory.max": 2**20, "memory.current": 2**19}.get)
    assert total_memory() == 2**20
    assert free_memory() == 2**19
    monkeypatch.setattr(machine, "_number", lambda name: None)
    assert total_memory() > 2**20
