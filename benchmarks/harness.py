"""Timing side by side: alternating in one process, medians, and peak memory in a process of its own each."""

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vitkit.cli.allocator import prepare_memory

prepare_memory()  # before torch makes a tensor, here and in the processes that measure memory

import torch  # noqa: E402

_M_MMAP_THRESHOLD, _M_MMAP_MAX = -3, -4

Step = Callable[[], object]
Make = Callable[[], Step]
"""Builds a candidate (a model, its inputs) and returns the step to be measured."""


def compare(
    candidates: Mapping[str, Make], baseline: str, rounds: int = 15, warmup: int = 3, memory: bool = True, again: bool = False
) -> dict[str, Any]:
    """Median time and peak memory of each candidate, and their ratios to a baseline measured in the same rounds.

    Without ``memory``, only time is measured, which spares a process for each candidate. With ``again``, each step is taken twice
    in a row and the second one is timed, which finds in the caches what the first one left there, and not what the other
    candidates did.

    A ratio of times is the median over rounds of the ratio within a round, so that a slow minute of the machine hits both sides.
    While time is measured, freed memory is kept, in large pages, as on vitkit's command line: otherwise what a step has to ask
    of the system again, and waits for, hangs on what other candidates happen to hold.
    """
    steps = {name: make() for name, make in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(warmup + rounds):
        # Every other round runs backwards, so that no candidate always follows the same one.
        for name in list(steps)[:: 1 if index % 2 else -1]:
            if again:
                steps[name]()
            start = time.perf_counter()
            steps[name]()
            elapsed = time.perf_counter() - start
            if index >= warmup:
                seconds[name].append(elapsed)
    del steps
    gc.collect()
    found: dict[str, dict[str, Any]] = {
        name: {
            "milliseconds": round(1e3 * statistics.median(times), 3),
            "time_ratio": round(statistics.median(a / b for a, b in zip(times, seconds[baseline], strict=True)), 3),
        }
        for name, times in seconds.items()
    }
    if memory:
        peaks = {name: peak_memory(make) for name, make in candidates.items()}
        for name, peak in peaks.items():
            found[name]["peak_mib"] = round(peak / 2**20, 1)
            found[name]["memory_ratio"] = round(peak / max(peaks[baseline], 1), 3)
    return found


def peak_memory(make: Make) -> int:
    """How far a step raises the resident memory above what building the candidate took, in bytes (Linux only)."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(make, send, torch.get_num_threads()))
    process.start()
    send.close()
    try:
        return int(receive.recv())
    finally:
        process.join()


def _measure(make: Make, send: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    libc = ctypes.CDLL("libc.so.6")
    # Each large tensor is mapped on its own and given back when it is freed. On a heap that keeps everything, the same step was
    # seen to peak at 210, 258 and 284 MiB, by how the gaps that one tensor left happened to fit the next.
    libc.mallopt(_M_MMAP_MAX, 2**16)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**17)
    step = make()
    gc.collect()
    libc.malloc_trim(0)  # what building freed goes back, or the step would reuse it unseen
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark to what is resident now
    before, code = _status("VmRSS"), _status("RssFile")
    step()
    # What a first step reads of its libraries' code, about 9 MiB of MKL and oneDNN, is not the step's.
    send.send(_status("VmHWM") - before - (_status("RssFile") - code))


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def environment() -> dict[str, Any]:
    """What a figure has to state to mean anything."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "allocator": "keeps what is freed, in large pages",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def options(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with every benchmark's option: ``--out``, runs/bench/NAME.json unless told. Results of a release are committed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path("runs/bench") / f"{name}.json", help="file of the results")
    return parser


def write(out: Path, results: Mapping[str, Any]) -> None:
    """Print the results with their environment, and write them where ``--out`` says."""
    text = json.dumps({"environment": environment(), "results": results}, indent=2) + "\n"
    save(out, text)
    print(text, end="")


def save(path: Path, text: str) -> None:
    """Write a file under another name first, so that what is there is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)
