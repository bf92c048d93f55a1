"""The process's memory: kept for what comes next, and in large pages."""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MOST = 2**31 - 1


def prepare_memory() -> None:
    """Have glibc keep what is freed, instead of handing it back and asking for it again, and torch ask for large pages.

    Every step of a training or an evaluation frees the same large tensors and needs them anew, and a page that comes from the
    system is first cleared and entered in its tables. What the process holds at its peak it holds from then on. A tensor of some
    MiB is thousands of pages of 4 KiB, too many for a core to remember where they are; on a virtual machine, finding those that
    were not used for a while can take longer than the arithmetic. Nothing happens without glibc, or where the environment already
    says how it allocates. torch reads its variable when it makes its first tensor, so this comes before.

    Source: mallopt(3), madvise(2) and torch's c10/core/impl/alloc_cpu.cpp.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST)
