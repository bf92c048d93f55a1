"""C++ is compiled once and kept; what cannot be compiled is not there, and nothing is left of the attempt."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from vitkit import compiled

SOURCE = 'extern "C" int doubled(int x) { return 2 * x; }\n'


@pytest.fixture
def source(monkeypatch, tmp_path):
    """A file to compile, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "doubled.cpp"
    path.write_text(SOURCE)
    compiled.library.cache_clear()
    if compiled.library(path) is None:
        pytest.skip("needs a C++ compiler with OpenMP")
    yield path
    compiled.library.cache_clear()


def files(source):
    return sorted((source.parent / "cache").rglob("*"))


def test_it_is_compiled_once(source):
    [folder, file] = files(source)
    before = file.stat().st_mtime_ns
    compiled.library.cache_clear()
    assert compiled.library(source).doubled(21) == 42
    assert files(source) == [folder, file]
    assert file.stat().st_mtime_ns == before


def test_another_source_or_other_flags_are_another_library(source):
    source.write_text(SOURCE.replace("2 * x", "FACTOR * x"))
    for factor in (3, 4):
        assert compiled.library(source, f"-DFACTOR={factor}").doubled(5) == 5 * factor
    assert len(files(source)) == 4


def test_who_compiles_at_the_same_time_leaves_one_file(source):
    source.write_text(SOURCE + "// new\n")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: compiled.library.__wrapped__(source), range(2)))
    assert [library.doubled(1) for library in found] == [2, 2]
    assert len(files(source)) == 3


@pytest.mark.parametrize("lacking", ["compiler", "sense", "file", "folder", "home", "wish"])
def test_without_a_way_there_is_none(lacking, source, monkeypatch, tmp_path):
    compiled.library.cache_clear()
    before = files(source)
    if lacking == "compiler":
        monkeypatch.setenv("CXX", "no-such-compiler")
    elif lacking == "sense":
        source.write_text("no C++")
    elif lacking == "file":
        source.unlink()
    elif lacking == "folder":
        (tmp_path / "full").write_text("a file")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))
    elif lacking == "home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(compiled.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    else:
        monkeypatch.setenv(compiled.SWITCH, "0")
    assert compiled.library(source) is None
    assert files(source) == before
