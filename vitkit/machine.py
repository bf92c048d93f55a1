"""How much memory there is."""

import os
import re
from pathlib import Path

import torch

from vitkit.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_memory(text: str) -> int:
    """Bytes of a size such as ``8GiB``, ``500 MB`` or ``24G``.

    Raises:
        UsageError: No such size.

    >>> parse_memory("8GiB"), parse_memory("1.5 GB")
    (8589934592, 1500000000)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise UsageError(f"a memory of {text!r}", "a number with a unit", "Write it as 8GiB, 500MB or 24G.")
    return int(float(found[1]) * _UNITS[found[2]])


def format_memory(size: int) -> str:
    """A size as people read it.

    >>> format_memory(8589934592), format_memory(1500)
    ('8.00 GiB', '1.5 KiB')
    """
    if size >= 2**30:
        return f"{size / 2**30:,.2f} GiB"
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"


def free_memory(device: str = "cpu") -> int:
    """Bytes that can be taken now: of the GPU, or of the machine within what a container may have."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    meminfo = _meminfo()
    free = meminfo.get("MemAvailable", total_memory())
    limit, used = _number("memory.max"), _number("memory.current")
    return free if limit is None or used is None else max(min(free, limit - used), 0)


def total_memory(device: str = "cpu") -> int:
    """Bytes that there are: of the GPU, or of the machine within what a container may have."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    everything = _meminfo().get("MemTotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _number("memory.max")
    return everything if limit is None else min(everything, limit)


def _meminfo() -> dict[str, int]:
    """Linux's own count; empty elsewhere."""
    path = Path("/proc/meminfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}


def _number(name: str) -> int | None:
    """A figure of the container's group; None if there is none, or no limit."""
    path = Path("/sys/fs/cgroup") / name
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdigit() else None
