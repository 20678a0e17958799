"""How the C library treats the memory that compiled programs free."""

from __future__ import annotations

import ctypes
from functools import lru_cache

_KEEPING = {-1: 1 << 30, -2: 1 << 26, -3: 1 << 25}  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD; see mallopt(3)


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Lets the C library keep freed memory, where it is glibc.

    The 31 MB that a window takes are freed and allocated again 100 times a second. The heap of a
    thread may have no room for them beside what it holds. Then glibc maps another heap each time
    and gives it back, and a step takes up to twice as long, for 300,000 page faults a second.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option, value in _KEEPING.items():
        set_option(option, value)
