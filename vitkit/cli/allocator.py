"""The C library's memory, kept for what comes next."""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MOST = 2**31 - 1


def keep_memory() -> None:
    """Have glibc keep what is freed, instead of handing it back to the system and asking for it again.

    Every step of a training or an evaluation frees the same large tensors and needs them anew, and a page that comes from the
    system is first cleared and entered in its tables. What the process holds at its peak it holds from then on. Nothing happens
    without glibc, or where the environment already says how it allocates.

    Source: mallopt(3).
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _MOST)
