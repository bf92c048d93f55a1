"""The cache gives what was put into it, or makes it again."""

import errno
import json
import multiprocessing
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from vitkit.data import cache as module
from vitkit.data.cache import VolumeCache
from vitkit.errors import DataError

SHAPE = (1, 90, 17, 33)


def made(seed=0):
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def source(tmp_path):
    """A file that has been as it is for a long time, as far as its times say."""
    path = tmp_path / "scan.nii"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr(module, "_SETTLED", 0)


def refuse():
    raise AssertionError("what is in the cache is not made again")


@pytest.mark.parametrize("again", [False, True])
def test_what_is_loaded_is_what_was_made(tmp_path, source, settled, again):
    cache = VolumeCache(tmp_path / "cache")
    assert torch.equal(cache.load(source, 1, made), made())
    if again:
        cache = VolumeCache(tmp_path / "cache")
    found = cache.load(source, 1, refuse)
    assert torch.equal(found, made())
    found.zero_()  # is not the cache's own
    assert torch.equal(cache.load(source, 1, refuse), made())


def test_an_entry_can_be_mapped_by_numpy(tmp_path, source):
    cache = VolumeCache(tmp_path / "cache")
    cache.load(source, 1, made)
    mapped = np.load(cache.entry(source, 1), mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, made().numpy())


def test_the_key_is_the_content_and_the_transforms(tmp_path, source, settled, monkeypatch):
    cache = VolumeCache(tmp_path / "cache")
    entry = cache.entry(source, {"spacing": [1.0]})
    copy = tmp_path / "copy.nii"
    copy.write_bytes(source.read_bytes())
    assert cache.entry(copy, {"spacing": [1.0]}) == entry
    assert cache.entry(source, {"spacing": [2.0]}) != entry
    status = source.stat()
    source.write_bytes(b"CONTENT")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same size, and claims to be as old
    assert cache.entry(source, {"spacing": [1.0]}) != entry
    assert VolumeCache(tmp_path / "cache").entry(source, {"spacing": [1.0]}) != entry
    source.write_bytes(b"content")
    assert cache.entry(source, {"spacing": [1.0]}) == entry
    monkeypatch.setattr(module, "FORMAT", 2)
    assert cache.entry(source, {"spacing": [1.0]}) != entry


def test_a_file_that_was_just_written_is_hashed_until_it_has_settled(tmp_path, source):
    cache = VolumeCache(tmp_path / "cache")
    first = cache.entry(source, 1)
    status = source.stat()
    source.write_bytes(b"CONTENT")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache.entry(source, 1) != first
    assert not (tmp_path / "cache" / "contents").exists()


def test_contents_are_hashed_once_for_all_processes(tmp_path, source, settled, monkeypatch):
    entry = VolumeCache(tmp_path / "cache").entry(source, 1)
    monkeypatch.setattr(module, "file_digest", lambda *arguments: 1 / 0)
    assert VolumeCache(tmp_path / "cache").entry(source, 1) == entry
    [note] = (tmp_path / "cache" / "contents").iterdir()
    for broken in ("", "{}", "[]", json.dumps({"signature": 3, "sha256": "x"})):
        note.write_text(broken)
        with pytest.raises(ZeroDivisionError):
            VolumeCache(tmp_path / "cache").entry(source, 1)


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: data[:5],
    lambda data: data[:70],
    lambda data: data[: len(data) // 2],
    lambda data: data[:-1],
    lambda data: data + b"x",
    lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
    lambda data: data[:4096] + bytes(4096) + data[8192:],
    lambda data: data[:-40] + bytes([data[-40] ^ 128]) + data[-39:],
    lambda data: data.replace(b"(1, 90, 17, 33)", b"(1, 17, 90, 33)"),
    lambda data: data.replace(b"(1, 90, 17, 33)", b"(9999999999999)"),
    lambda data: b"no numpy" + data,
])  # fmt: skip
def test_a_damaged_entry_is_noticed_and_made_again(tmp_path, source, caplog, damage):
    cache = VolumeCache(tmp_path / "cache")
    cache.load(source, 1, made)
    entry = cache.entry(source, 1)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert entry.read_bytes() != whole
    assert torch.equal(cache.load(source, 1, made), made())
    assert f"{entry} is damaged" in caplog.text
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("where", ["write_array", "fsync"])
def test_a_full_disk(tmp_path, source, monkeypatch, where):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((np.lib.format, "write_array") if where == "write_array" else (os, "fsync")), full)
    with pytest.raises(
        DataError, match=r"cache .* cannot be written \(No space left on device\); .* MB for this one.*data\.cache"
    ):
        VolumeCache(tmp_path / "cache").load(source, 1, made)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_folder_that_is_none(tmp_path, source):
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match="cannot be written"):
        VolumeCache(tmp_path / "cache").load(source, 1, made)


def race(folder, source, start, results):
    cache = VolumeCache(folder)
    start.wait()
    same = True
    for transforms in range(20):
        same &= torch.equal(cache.load(Path(source), transforms, lambda seed=transforms: made(seed)), made(transforms))
    results.put(same)


def test_processes_that_write_the_same_entries_at_once(tmp_path, source):
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=race, args=(tmp_path / "cache", source, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [True] * 4
    for process in processes:
        process.join()
    entries = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(entries) == 20
    assert {path.suffix for path in entries} == {".npy"}


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing says which files are open")
def test_what_is_held_keeps_no_file_open(tmp_path, source):
    cache = VolumeCache(tmp_path / "cache")
    cache.load(source, 1, made)
    before = descriptors()
    held = [cache.load(source, 1, refuse) for _ in range(10)]
    assert descriptors() == before
    assert all(torch.equal(volume, made()) for volume in held)


def test_too_many_open_files_are_no_damage(tmp_path, source, settled, caplog):
    cache = VolumeCache(tmp_path / "cache")
    cache.load(source, 1, made)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(DataError, match=r"entry .*\.npy cannot be opened \(.*Too many open files.*ulimit -n"):
            cache.load(source, 1, refuse)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not caplog.text
    assert torch.equal(cache.load(source, 1, refuse), made())


def test_what_is_held_is_no_shared_memory(tmp_path, source):
    cache = VolumeCache(tmp_path / "cache")
    cache.load(source, 1, made)
    assert not cache.load(source, 1, refuse).is_shared()  # or a loader's worker would pass on a descriptor that it has not
