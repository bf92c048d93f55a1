"""Parts, their checksums, several processes, a full disk, and a process that is killed at any moment."""

import errno
import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import time
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from vitkit import files
from vitkit.errors import DataError, UsageError
from vitkit.evaluation import Gain, Suite, evaluate, load_results, provenance, summarise
from vitkit.evaluation.storage.checksum import Checksum
from vitkit.evaluation.storage.claims import STALE, Claims

forking = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
# Processes are forked so that each of the many need not import torch again; on one thread, as here, that is safe.
quiet = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def suite(reverse=False):
    return Suite("small", [Gain([2.0, 0.75, 0.5] if reverse else [0.5, 0.75, 2.0])])


def content(folder):
    """Every file's hash; of the results and the run without the time and the command."""
    found = {}
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        data = path.read_bytes()
        if path.name in ("results.json", "run.json"):
            tree = json.loads(data)
            tree.get("info", tree)["created"] = ""
            tree.pop("checksum", None)  # of the time, too
            data = json.dumps(tree).encode()
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Somebody may commit while these tests run, and each of many runs would ask; the machine itself does not go down."""
    monkeypatch.setattr(provenance, "commit", lambda: None)
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where runs that several tests begin with are made once."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def unbroken(model, loader, kept, tmp_path):
    if not (kept / "unbroken").exists():
        evaluate(model, loader, suite(), kept / "unbroken")
    shutil.copytree(kept / "unbroken", tmp_path / "unbroken")
    return content(tmp_path / "unbroken")


def table(**columns):
    return pa.table(columns)


def digests(*tables):
    checksum = Checksum()
    for one in tables:
        checksum.update(one)
    return checksum.hexdigests()


def test_a_checksum_is_of_values_and_nothing_else():
    whole = table(a=["x", None, "yz"], b=pa.array([[1.0], None, []], pa.list_(pa.float32())), c=[1, 2, 3])
    longer = pa.concat_tables([whole, whole])
    assert digests(longer.slice(3)) == digests(whole) == digests(longer.slice(0, 3))
    assert digests(pa.concat_tables([whole.slice(0, 1), whole.slice(1)])) == digests(whole)
    assert digests(whole.select(["c"])) == {"c": digests(whole)["c"]}
    lists = pa.list_(pa.float32())
    different = [
        (table(a=["ab", "c"]), table(a=["a", "bc"])),
        (table(a=["", "a"]), table(a=[None, "a"])),
        (table(a=pa.array([0, 1], pa.int32())), table(a=pa.array([None, 1], pa.int32()))),
        (table(a=[1, 2]), table(a=[2, 1])),
        (table(a=pa.array([[1], [2]], lists)), table(a=pa.array([[1, 2], []], lists))),
        (table(a=pa.array([[1], None], lists)), table(a=pa.array([[1], []], lists))),
        (table(a=pa.array([1], pa.int32())), table(a=pa.array([1], pa.int64()))),
    ]
    assert all(digests(one) != digests(other) for one, other in different)


def stop(monkeypatch, model, loader, out):
    """A run with all of its parts, before they are merged."""

    def merge(self, identifiers):
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr("vitkit.evaluation.storage.folder.RunFolder.merge", merge)
        with pytest.raises(InterruptedError):
            evaluate(model, loader, suite(), out)


def rewritten(part, change=lambda table: table, entry=lambda entry: entry):
    """Edited by a tool that keeps the metadata."""
    told = [entry(one) for one in json.loads(pq.read_metadata(part).metadata[b"vitkit"])]
    content = change(pq.read_table(part))
    pq.write_table(content.replace_schema_metadata({b"vitkit": json.dumps(told)}), part)


def flip(part):
    data = bytearray(part.read_bytes())
    data[40] ^= 0xFF
    part.write_bytes(data)


def predict_zero(content):
    index = content.schema.get_field_index("prediction")
    return content.set_column(index, "prediction", pa.array([0] * len(content), pa.int32()))


@pytest.mark.parametrize(
    "edit",
    [
        lambda part: part.write_bytes(part.read_bytes()[:-20]),
        lambda part: part.write_bytes(b""),
        flip,
        lambda part: rewritten(part, predict_zero),
        lambda part: rewritten(part, lambda content: content.slice(0, 40)),
        lambda part: rewritten(part, lambda content: pa.concat_tables([content, content])),
        lambda part: rewritten(part, entry=lambda entry: entry | {"clipped": 0.5}),
        lambda part: part.write_bytes((part.parent / "clean_0.parquet").read_bytes()),
    ],
    ids=["cut", "empty", "flipped", "prediction", "fewer", "twice", "entry", "another"],
)
def test_a_part_that_was_cut_off_or_edited_is_computed_again(model, loader, unbroken, kept, tmp_path, monkeypatch, edit):
    out = tmp_path / "broken"
    if not (kept / "stopped").exists():
        stop(monkeypatch, model, loader, kept / "stopped")
    shutil.copytree(kept / "stopped", out)
    assert len(list(out.glob("parts/*"))) == 4
    edit(out / "parts" / "brightness.gain_0.75.parquet")
    calls = []
    model.register_forward_hook(lambda *_: calls.append(0))
    evaluate(model, loader, suite(), out)
    assert len(calls) == 1, "not that condition alone was computed"
    assert content(out) == unbroken


def test_a_part_of_another_run_is_not_taken_for_this_ones(model, loader, unbroken, tmp_path, monkeypatch):
    stop(monkeypatch, model, loader, tmp_path / "a")
    stop(monkeypatch, type(model)(seed=1), loader, tmp_path / "b")
    part = "parts/brightness.gain_0.5.parquet"
    (tmp_path / "a" / part).write_bytes((tmp_path / "b" / part).read_bytes())
    evaluate(model, loader, suite(), tmp_path / "a")
    assert content(tmp_path / "a") == unbroken


def test_edited_samples_are_told_of_and_computed_again(model, loader, unbroken, tmp_path):
    out = tmp_path / "unbroken"
    rewritten(out / "samples.parquet", predict_zero)
    with pytest.raises(
        DataError,
        match=r"samples\.parquet cannot be read \(its column .* is not what was written\).* Run the same evaluation again",
    ):
        summarise(out)
    rewritten(out / "samples.parquet", entry=lambda entry: {key: value for key, value in entry.items() if key != "suite"})
    with pytest.raises(
        DataError, match=r"samples\.parquet cannot be read \(its description of a condition is not what was written\)"
    ):
        summarise(out)
    evaluate(model, loader, suite(), out)
    assert content(out) == unbroken


def test_another_order_of_conditions_gives_the_same_records(model, loader, unbroken, tmp_path):
    evaluate(model, loader, suite(reverse=True), tmp_path / "reverse")
    one, other = (pq.read_table(tmp_path / name / "samples.parquet") for name in ("unbroken", "reverse"))
    keys = [("severity", "ascending"), ("suite", "ascending"), ("id", "ascending")]
    assert one.num_rows == 200
    assert one.sort_by(keys).equals(other.sort_by(keys))
    assert not one.equals(other)


def run(model, loader, out, log, which, environment, told):
    os.environ.update(environment)
    results = evaluate(model, loader, which, out)
    told.put(replace(results, created=""))
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")


class Logged(Gain):
    """Writes down which severity was applied to a chunk."""

    path = None

    def apply(self, images, severity, context):
        if len(images) > 1:  # one by one only pictures are made
            with self.path.open("a") as file:
                file.write(f"{severity} {os.getpid()}\n")
        return super().apply(images, severity, context)


@forking
@quiet
def test_processes_share_the_conditions_and_the_result(model, loader, tmp_path, monkeypatch):
    monkeypatch.setattr(Logged, "path", tmp_path / "applied")
    factors = [0.5, 0.6, 0.7, 0.8, 0.9]
    alone = evaluate(model, loader, Suite("shared", [Logged(factors)]), tmp_path / "alone")
    (tmp_path / "applied").unlink()
    fork = multiprocessing.get_context("fork")
    told = fork.SimpleQueue()
    out, log = tmp_path / "shared", tmp_path / "log"
    environments = [{"WORLD_SIZE": "2", "RANK": str(rank)} for rank in range(2)]
    arguments = [(model, loader, out, log, Suite("shared", [Logged(factors)]), one, told) for one in environments]
    processes = [fork.Process(target=run, args=one) for one in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert content(out) == content(tmp_path / "alone")
    assert told.get() == told.get() == replace(alone, created="")
    assert len(log.read_text().split()) == 2
    applied = [line.split()[0] for line in (tmp_path / "applied").read_text().splitlines()]
    # Of a user's own condition the first images go through twice, to see that it makes the same of them.
    assert sorted(applied) == [str(factor) for factor in factors for _ in range(2)], (
        "a condition was computed twice, or not at all"
    )


def test_a_process_with_another_model_is_refused(model, loader, tmp_path):
    evaluate(model, loader, suite(), tmp_path, shared=True)
    (tmp_path / "samples.parquet").unlink()
    with pytest.raises(UsageError, match=r"run\.json is of another run: its model"):
        evaluate(type(model)(seed=1), loader, suite(), tmp_path, shared=True)


def die_with_a_claim(folder):
    with Claims(folder).take("work"):
        os._exit(1)


def test_a_claim_is_of_one_process_until_its_block_ends(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)
    with one.take("work") as first, other.take("work") as second, other.take("more") as third:
        assert (first, second, third) == (True, False, True)
    with other.take("work") as again:
        assert again
    assert not list(tmp_path.iterdir())


@forking
@quiet
def test_the_claim_of_a_dead_process_is_anybodys(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=die_with_a_claim, args=(tmp_path,))
    process.start()
    process.join()
    assert (tmp_path / ".work.claim").exists()
    with Claims(tmp_path).take("work") as mine:
        assert mine


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_a_claim_without_a_sign_of_life_for_a_minute_is_anybodys(tmp_path, host):
    claim = tmp_path / ".work.claim"
    claim.write_text(f"{host} {os.getpid()}")
    with Claims(tmp_path).take("work") as mine:
        assert not mine
    os.utime(claim, (time.time() - STALE - 5,) * 2)
    with Claims(tmp_path).take("work") as mine:
        assert mine


@pytest.mark.parametrize("fails", [0, 2, 7, 12])
def test_a_full_disk_is_an_error_of_one_line_and_leaves_nothing_half_written(
    model, loader, unbroken, tmp_path, monkeypatch, fails
):
    out, calls = tmp_path / "full", iter(range(100))

    def fsync(descriptor):
        if next(calls) == fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        with pytest.raises(DataError, match=r"no room on the disk of .*full .*; expected room .* goes on where it stopped"):
            evaluate(model, loader, suite(), out)
    assert not list(tmp_path.rglob("*.tmp"))
    evaluate(model, loader, suite(), out)
    assert content(out) == unbroken


def test_a_limit_that_the_system_sets_is_a_full_disk(model, loader, unbroken, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        with pytest.raises(DataError, match="no room on the disk"):
            evaluate(model, loader, suite(), tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "full").rglob("*.parquet"))
    assert not list(tmp_path.rglob("*.tmp"))
    evaluate(model, loader, suite(), tmp_path / "full")
    assert content(tmp_path / "full") == unbroken


def test_other_errors_of_the_system_stay_what_they_are(loader, tmp_path):
    def model(images):
        raise PermissionError(errno.EACCES, "a cache of the model's own")

    with pytest.raises(PermissionError):
        evaluate(model, loader, suite(), tmp_path / "out")


@forking
@quiet
def test_killed_at_twenty_random_moments_and_resumed_equals_unbroken(model, loader, tmp_path):
    """Moments are spread over a whole run; where one ended before it was killed, another is begun."""
    fork, choose = multiprocessing.get_context("fork"), random.Random(0)
    few = torch.utils.data.DataLoader(torch.utils.data.Subset(loader.dataset, range(15)), batch_size=4)
    tiny = Suite("tiny", [Gain([0.5, 2.0])])
    start = time.monotonic()
    evaluate(model, few, tiny, tmp_path / "unbroken", chunk=5)
    length, unbroken = time.monotonic() - start, content(tmp_path / "unbroken")
    killed, runs = 0, 0
    while killed < 20:
        out = tmp_path / f"run{runs}"
        process = fork.Process(target=evaluate, args=(model, few, tiny, out), kwargs={"chunk": 5})
        process.start()
        process.join(choose.uniform(0, length))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        if process.exitcode == -signal.SIGKILL:
            killed += 1
        else:
            assert process.exitcode == 0
            assert content(out) == unbroken
            runs += 1
    evaluate(model, few, tiny, out, chunk=5)
    assert content(out) == unbroken
    assert load_results(out).data.n == 15
