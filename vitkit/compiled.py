"""Loops in C++ for the CPU, compiled for it when they are first needed, and kept in the user's cache.

They are for what torch does on a CPU only in many passes over memory. Without a compiler, or where ``VITKIT_COMPILE=0`` says so,
torch does the same.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

SWITCH = "VITKIT_COMPILE"
"""Environment variable that, set to 0, leaves everything to torch."""
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")
_PATIENCE = 120.0  # seconds


@cache
def library(source: Path, *flags: str) -> ctypes.CDLL | None:
    """A source file as a library, compiled if the cache has none of it; None without a compiler, or where it fails.

    Args:
        source: C++, with functions that are ``extern "C"``.
        flags: For the compiler, beside those of every source.
    """
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if os.environ.get(SWITCH) == "0" or compiler is None:
        return None
    command = [compiler, *_FLAGS, *flags]
    try:
        key = sha256("\n".join((source.read_text(), *command, _processor())).encode()).hexdigest()[:16]
        file = _cache() / f"{source.stem}-{key}.so"
        if not file.exists():
            _compile(command, source, file)
        return ctypes.CDLL(str(file))
    except (OSError, RuntimeError, subprocess.SubprocessError):  # no home to keep it in, or a compiler that does not know this
        return None


def _compile(command: list[str], source: Path, file: Path) -> None:
    """Under another name first: several processes may do this at the same time, and any of them may be killed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder) / file.name
        subprocess.run([*command, str(source), "-o", str(made)], check=True, capture_output=True, timeout=_PATIENCE)  # noqa: S603
        made.replace(file)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitkit"


def _processor() -> str:
    """What tells one CPU from another: a home may be shared by machines."""
    info = Path("/proc/cpuinfo")
    known = ("model name", "flags", "Features", "CPU part")
    lines = info.read_text().splitlines() if info.exists() else []
    return "\n".join([platform.machine(), platform.processor(), *sorted({line for line in lines if line.startswith(known)})])
