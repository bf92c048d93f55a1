"""Freed memory stays with the process, unless its environment decides."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

SCRIPT = """
import sys
from pathlib import Path
from vitkit.cli.allocator import prepare_memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))

if sys.argv[1] == "keep":
    prepare_memory()
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


PAGES = """
from pathlib import Path
from vitkit.cli.allocator import prepare_memory
prepare_memory()
import torch
tensor = torch.ones(2**24)
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("AnonHugePages")))
"""
ASKED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(not ASKED.exists() or "[madvise]" not in ASKED.read_text(), reason="large pages are not there for the asking")
@pytest.mark.parametrize(("asked", "least", "most"), [("1", 48, 10**6), ("0", 0, 8)])
def test_large_tensors_lie_in_large_pages(asked, least, most):
    environment = os.environ | {"THP_MEM_ALLOC_ENABLE": asked}
    if asked == "1":
        del environment["THP_MEM_ALLOC_ENABLE"]  # what happens by itself
    done = subprocess.run([sys.executable, "-c", PAGES], env=environment, check=True, capture_output=True, text=True)
    assert least <= int(done.stdout) <= most
