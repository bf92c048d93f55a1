"""Freed memory stays with the process, unless its environment decides."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

SCRIPT = """
import sys
from pathlib import Path
from vitkit.cli.allocator import keep_memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))

if sys.argv[1] == "keep":
    keep_memory()
before = resident()
block = b"x" * 2**26
assert resident() > before + 60
del block
print(resident() - before)
"""


def held(how, **environment):
    """MiB that a process still holds of 64 that it freed."""
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES" and not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", SCRIPT, how]
    return int(subprocess.run(command, env=plain | environment, check=True, capture_output=True, text=True).stdout)


def test_freed_memory_is_kept():
    assert held("leave") < 5
    assert held("keep") > 60


def test_the_environment_decides():
    assert held("keep", MALLOC_ARENA_MAX="2") < 5
    assert held("keep", GLIBC_TUNABLES="glibc.malloc.arena_max=2") < 5
